"""What one task hands to the next: a reference into the ledger and counts. Nothing else crosses XCom."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from airflow.sdk.exceptions import AirflowSkipException
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from capillary.airflow_errors import PlanMissing
from capillary.counted import counted
from capillary.ledger.plan import Plan
from capillary.ledger.plan_id import PlanId

if TYPE_CHECKING:
    from airflow.sdk import Context

_LOG: Final = logging.getLogger("capillary.plan")
_Count: TypeAlias = Annotated[int, Field(ge=0)]


@checked_dataclass(frozen=True, config=ConfigDict(strict=True))
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
    requests: _Count
    canary: bool
    waits_for_canary: bool
    eligible: _Count
    invalid: _Count
    duplicates: _Count
    known_before: _Count
    over_cap: _Count
    planned: _Count
    known_elsewhere: _Count
    known_through: str

    @classmethod
    def of(cls, plan: Plan) -> PlanReference:
        """Return the reference of a plan."""
        return cls(**{each.name: getattr(plan, each.name) for each in fields(cls)})

    @classmethod
    def parse(cls, value: object) -> PlanReference:
        """Read it from XCom.

        Raises:
            PlanMissing: it is none; a number without its token, or a token alone, is none either.
        """
        names = [each.name for each in fields(cls)]
        if not isinstance(value, Mapping) or not set(names) <= set(value):
            raise PlanMissing(value)
        try:
            reference = cls(**{name: value[name] for name in names})
        except ValidationError:
            raise PlanMissing(value) from None
        if (reference.badge_run_id is None) is not (reference.token is None):
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

    def equation(self) -> str:
        """Return what became of the query's rows, parts that count none left out: it stays on one line."""
        parts = [
            f"{self.invalid:,} invalid" if self.invalid else "",
            counted(self.duplicates, "duplicate") if self.duplicates else "",
            f"{self.known_before:,} known before" if self.known_before else "",
            f"{self.over_cap:,} over the cap" if self.over_cap else "",
            f"{self.planned:,} planned",
        ]
        return f"{self.eligible:,} eligible = {' + '.join(filter(None, parts))}"


def nothing_to_do(context: Context, reference: PlanReference, why: str) -> dict[str, Any]:
    """Skip this task; of a mapped one, return the reference: one skipped part would have all that follows skipped.

    Raises:
        AirflowSkipException: the task is not mapped.
    """
    map_index = context["ti"].map_index
    if map_index is None or map_index < 0:
        raise AirflowSkipException(why)
    _LOG.info("%s", why)
    return reference.to_xcom()
