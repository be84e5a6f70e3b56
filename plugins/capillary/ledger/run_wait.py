"""What a run still waits for: the question of its sensor and its trigger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, case, func, select

from capillary.counted import counted
from capillary.ledger.conditions import has_undecided, is_decided
from capillary.ledger.database import Transaction
from capillary.ledger.errors import PlanUnknown
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.schema import badge_request, badge_run, badge_sighting
from capillary.ledger.status import RequestStatus


@dataclass(frozen=True, slots=True)
class RunWait:
    """Requests of one plan by what they wait for: `requests` is the sum of the next five.

    Attributes:
        unsent: planned and not sent.
        in_doubt: being sent, or without a trustworthy answer.
        undecided: on the platform, and a human has not decided.
        decided: decided on the platform, not settled in the ledger.
        settled: every customer has an outcome.
        doubt_due: those in doubt whose absence may be judged by now.
        first_sent_at: when the first of them was sent; None while none was.
        planned_at: when the run planned.
        failed_checks: of the undecided, those of which the platform says that the maker's access or the payload did
            not pass its own check.
        undecided_customers: of the undecided requests.
        undecided_since: when the first of them was sent; None while none is undecided.
        unsent_customers: of those not sent.
    """

    requests: int
    unsent: int
    in_doubt: int
    undecided: int
    decided: int
    settled: int
    doubt_due: int
    first_sent_at: datetime | None
    planned_at: datetime
    failed_checks: int
    undecided_customers: int
    undecided_since: datetime | None
    unsent_customers: int

    @property
    def is_over(self) -> bool:
        """Whether every request is settled."""
        return self.settled == self.requests

    @property
    def work(self) -> int:
        """Requests that a worker could bring forward now."""
        return self.decided + self.doubt_due

    @property
    def needs_no_human(self) -> bool:
        """Whether nothing is left for the checker: a worker can bring everything open forward."""
        return self.undecided == 0 and self.in_doubt == self.doubt_due

    def sentence(self) -> str:
        """Return how many requests wait for the checker since when, and where the others are; in one clause."""
        parts = [
            f"{self.undecided:,} with {counted(self.undecided_customers, 'customer')} "
            f"waiting for the checker since {self.undecided_since:%Y-%m-%d %H:%M} UTC"
            if self.undecided and self.undecided_since
            else f"{self.undecided:,} waiting for the checker",
            f"{self.unsent:,} not sent" if self.unsent else "",
            f"{self.in_doubt:,} in doubt",
            f"{self.decided:,} decided",
            f"{self.settled:,} settled",
        ]
        return f"{counted(self.requests, 'request')}: {', '.join(filter(None, parts))}"

    @property
    def said_of_checks(self) -> str | None:
        """What a person should know of requests that failed the platform's checks, in one clause; None: there is none.

        They were found on the platform, so they are neither sent again nor settled: nobody says that none was executed.
        """
        if not self.failed_checks:
            return None
        return (
            f"the platform says that {counted(self.failed_checks, 'request')} did not pass its own check of the "
            "maker's access or the payload; they stay open until a checker decides them (failed_checks of `python -m "
            "capillary waiting`)"
        )


def _count_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))


def _question() -> Select[Any]:
    undecided = has_undecided()
    failing = undecided.where(badge_sighting.c.failed_checks != "")
    status = badge_request.c.status
    sending, waiting = status == RequestStatus.SENDING, status == RequestStatus.WAITING
    return (
        select(
            func.count(badge_request.c.id).label("requests"),
            _count_if(status == RequestStatus.PLANNED).label("unsent"),
            _count_if(sending).label("in_doubt"),
            _count_if(waiting & undecided).label("undecided"),
            _count_if(is_decided()).label("decided"),
            _count_if(status == RequestStatus.SETTLED).label("settled"),
            _count_if(sending & (badge_request.c.doubt_from < bindparam("now"))).label("doubt_due"),
            func.min(badge_request.c.first_sent_at).label("first_sent_at"),
            badge_run.c.planned_at,
            _count_if(waiting & failing).label("failed_checks"),
            func.coalesce(func.sum(case((waiting & undecided, badge_request.c.customers))), 0),
            func.min(case((waiting & undecided, badge_request.c.first_sent_at))),
            func.coalesce(func.sum(case((status == RequestStatus.PLANNED, badge_request.c.customers))), 0),
        )
        .select_from(badge_run.outerjoin(badge_request, badge_request.c.badge_run_id == badge_run.c.id))
        .where(badge_run.c.id == bindparam("badge_run_id"))
        .group_by(badge_run.c.id, badge_run.c.planned_at)
    )


#: Built once: every trigger asks it at every poll.
_QUESTION: Final = _question()


def run_wait(tx: Transaction, badge_run_id: OpenPlan) -> RunWait:
    """Return what a plan's requests wait for.

    Raises:
        PlanUnknown: the ledger has no such plan.
    """
    row = tx.conn.execute(_QUESTION, {"badge_run_id": badge_run_id, "now": tx.now}).one_or_none()
    if row is None:
        raise PlanUnknown(badge_run_id)
    return RunWait(*row)
