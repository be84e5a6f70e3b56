"""Which open request keeps a run under an unproven configuration from planning anybody."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, case, func, select

from capillary.ledger.conditions import has_undecided, is_open
from capillary.ledger.database import Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.schema import badge_request, badge_run, badge_spec
from capillary.ledger.status import RequestStatus


class Stand(StrEnum):
    """How far the open requests of a run are, by the first of these that one of them is."""

    WAITING = "waiting"  #: with the checker
    UNSENT = "unsent"  #: not sent
    SENDING = "sending"  #: being sent, or in doubt
    DECIDED = "decided"  #: the platform is through with all of them, and they are not settled


_TO_DO: Final = {
    Stand.WAITING: "Have the checker decide it.",
    Stand.UNSENT: "Look at its run: it has not sent everything yet.",
    Stand.SENDING: "Look at its run: it was sent, and the platform has not shown it yet.",
    Stand.DECIDED: "Its task wait settles it, or badge_upkeep does within the hour.",
}
_OPEN: Final = "is not decided yet"
_DECIDED: Final = "is decided and not settled yet"
_CANARY: Final = "the canary of"
_REQUEST: Final = "the open request of"
_ANOTHER: Final = "another DAG of this account"


@dataclass(frozen=True, slots=True)
class OpenCanary:
    """The earliest run with an open request under an unproven configuration: a canary, or one with *Canary* off.

    Attributes:
        dag_id, run_id: of Airflow.
        sent_at: when the first of its open requests was sent; None while none was.
        canary: whether that run was held small.
        stand: how far its open requests are.
    """

    dag_id: str
    run_id: str
    sent_at: datetime | None
    canary: bool = True
    stand: Stand = Stand.WAITING

    def sentence(self) -> str:
        """Return which request is not settled and when it was sent, in one clause without full stop."""
        since = f"sent {self.sent_at:%Y-%m-%d %H:%M} UTC" if self.sent_at else "not sent yet"
        return f"{self._what} {self.dag_id}, run {self.run_id}, {since}, {self.end}"

    def told_to(self, dag_ids: Collection[str] | None) -> str:
        """Return the clause as a reader of these DAGs may have it; None: of all."""
        named = dag_ids is None or self.dag_id in dag_ids
        return self.sentence() if named else f"{self._what} {_ANOTHER} {self.end}"

    @property
    def to_do(self) -> str:
        """Return the one thing to do about it, in a sentence."""
        return _TO_DO[self.stand]

    @property
    def _what(self) -> str:
        return _CANARY if self.canary else _REQUEST

    @property
    def end(self) -> str:
        """Return that it is not settled, as the end of a clause."""
        return _DECIDED if self.stand is Stand.DECIDED else _OPEN


#: Where whoever looks may not read the canary's DAG.
UNNAMED: Final = f"{_CANARY} {_ANOTHER} {_OPEN}"

#: What `OpenCanary.sentence` says, wherever it stands.
_NAMED: Final = re.compile(
    rf"(?P<what>{_CANARY}|{_REQUEST}) (?P<dag_id>.+?), run (?P<run_id>.+), "
    rf"(?:sent \d{{4}}-\d\d-\d\d \d\d:\d\d UTC|not sent yet), (?P<end>{_OPEN}|{_DECIDED})",
    re.DOTALL,
)
_UNNAMED: Final = re.compile(rf"(?:{_CANARY}|{_REQUEST}) {_ANOTHER} (?:{_OPEN}|{_DECIDED})")


def without_foreign_name(words: str, dag_ids: Collection[str]) -> str:
    """Return what was said of a run, a canary of other DAGs than these told without its name."""
    return _NAMED.sub(
        lambda found: found[0] if found["dag_id"] in dag_ids else f"{found['what']} {_ANOTHER} {found['end']}", words
    )


def named_canary(words: str) -> tuple[str, str] | None:
    """Return the DAG id and run id of the canary that a run was told to wait for; None where none is named."""
    found = _NAMED.search(words)
    return (found["dag_id"], found["run_id"]) if found else None


def speaks_of_canary(words: str) -> bool:
    """Return whether words say of another run's request that it is not settled, with its name or without."""
    return bool(_NAMED.search(words) or _UNNAMED.search(words))


def open_canary(tx: Transaction, badge_run_id: OpenPlan) -> OpenCanary | None:
    """Return which other run's request keeps this run's customers back; None where none does any more.

    Under a configuration that is proven by now none does, whatever is open.
    """
    row = tx.conn.execute(
        select(badge_run.c.spec_id, badge_run.c.occasion_id)
        .join(badge_spec, badge_spec.c.id == badge_run.c.spec_id)
        .where(badge_run.c.id == badge_run_id, badge_spec.c.proven_at.is_(None))
    ).one_or_none()
    return None if row is None else open_canary_of(tx, row.spec_id, on=row.occasion_id, but=badge_run_id)


def next_waits_for(tx: Transaction, badge_run_id: OpenPlan) -> str | None:
    """Return which request keeps a later run under this run's configuration from planning anybody, in one clause.

    None where none does. This run's own comes first, as far as it was sent: the rest is about to be given back.
    """
    if own := _earliest(tx, badge_run.c.id == badge_run_id, badge_request.c.status != RequestStatus.PLANNED):
        return f"this canary {own.end}"
    other = open_canary(tx, badge_run_id)
    return None if other is None else other.sentence()


def open_canary_of(
    tx: Transaction, spec_id: int, *, on: int | None = None, but: int | None = None
) -> OpenCanary | None:
    """Return the earliest run with an open request that a later run would meet; None where there is none.

    Args:
        tx: the transaction.
        spec_id: of the configuration.
        on: the occasion of the later run: what dead runs never sent there, it gives back before it plans.
        but: a plan of which no request is meant.
    """
    tidied = (
        (badge_request.c.status == RequestStatus.PLANNED)
        & (badge_run.c.occasion_id == on)
        & (badge_run.c.alive_until < tx.now)
    )
    others = [badge_run.c.id != but] if but is not None else []
    return _earliest(tx, badge_request.c.spec_id == spec_id, *([~tidied] if on is not None else []), *others)


def _earliest(tx: Transaction, *whose: ColumnElement[bool]) -> OpenCanary | None:
    status = badge_request.c.status
    stands = {
        Stand.WAITING: (status == RequestStatus.WAITING) & has_undecided(),
        Stand.UNSENT: status == RequestStatus.PLANNED,
        Stand.SENDING: status == RequestStatus.SENDING,
    }
    row = tx.conn.execute(
        select(
            *(badge_run.c.dag_id, badge_run.c.run_id, badge_run.c.canary),
            func.min(badge_request.c.first_sent_at).label("sent_at"),
            *(func.max(case((condition, 1), else_=0)).label(stand) for stand, condition in stands.items()),
        )
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .where(is_open(), *whose)
        .group_by(badge_run.c.id, badge_run.c.dag_id, badge_run.c.run_id, badge_run.c.canary)
        .order_by(badge_run.c.id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    stand = next((each for each in stands if getattr(row, each)), Stand.DECIDED)
    return OpenCanary(row.dag_id, row.run_id, row.sent_at, row.canary, stand)
