"""What one task hands to the next: a reference into the ledger and counts. Nothing else crosses XCom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from capillary.errors import TerminalError
from capillary.ledger.plan import Plan
from capillary.ledger.plan_id import PlanId


class PlanMissing(TerminalError):
    """A task was given no plan, or something that is none."""

    def __init__(self, given: object) -> None:
        super().__init__(
            f"no plan was handed over ({type(given).__name__}): the task that plans has failed, or its XCom was "
            "cleared. Look at its log, then clear it and what follows"
        )


@dataclass(frozen=True, slots=True)
class PlanReference:
    """One plan in the ledger.

    Attributes:
        badge_run_id: `badge_run.id`; None after a dry run, which writes nothing.
        token: `badge_run.token`, compared whenever the plan is opened; None after a dry run.
        requests: approvals needed.
        canary: held small under an unproven configuration.
        waits_for_canary: nothing was planned, since the canary is not decided yet.
        eligible, invalid, duplicates, known_before, over_cap, planned: customers, as `badge_run` counts them.
        known_elsewhere: the part of `known_before` that other campaigns of the occasion have taken.
        known_through: the names of those campaigns; empty without any.
    """

    badge_run_id: int | None
    token: str | None
    requests: int
    canary: bool
    waits_for_canary: bool
    eligible: int
    invalid: int
    duplicates: int
    known_before: int
    over_cap: int
    planned: int
    known_elsewhere: int
    known_through: str

    @classmethod
    def of(cls, plan: Plan) -> PlanReference:
        """Return the reference of a plan."""
        return cls(**{name: getattr(plan, name) for name in cls.__slots__})

    @classmethod
    def parse(cls, value: object) -> PlanReference:
        """Read it from XCom.

        Raises:
            PlanMissing: it is none; a number without its token, or a token alone, is none either.
        """
        if not isinstance(value, Mapping) or not set(cls.__slots__) <= set(value):
            raise PlanMissing(value)
        reference = cls(**{name: value[name] for name in cls.__slots__})
        dry = reference.badge_run_id is None and reference.token is None
        if not dry and not (isinstance(reference.badge_run_id, int) and isinstance(reference.token, str)):
            raise PlanMissing(value)
        return reference

    def to_xcom(self) -> dict[str, int | bool | str | None]:
        """Return plain values."""
        return asdict(self)

    @property
    def plan_id(self) -> PlanId | None:
        """The plan in the ledger; None after a dry run."""
        return None if self.badge_run_id is None or self.token is None else PlanId(self.badge_run_id, self.token)

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing was written."""
        return self.badge_run_id is None
