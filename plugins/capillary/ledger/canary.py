"""Which canary a run that planned nobody waits for."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from capillary.ledger.conditions import is_open
from capillary.ledger.database import Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.schema import badge_request, badge_run


@dataclass(frozen=True, slots=True)
class OpenCanary:
    """The earliest other run with an open request under the same configuration.

    Attributes:
        dag_id, run_id: of Airflow.
        sent_at: when the first of its open requests was sent; None while none was.
    """

    dag_id: str
    run_id: str
    sent_at: datetime | None

    def sentence(self) -> str:
        """Return which canary is not decided and when it was sent, in one clause without full stop."""
        since = f"sent {self.sent_at:%Y-%m-%d %H:%M} UTC" if self.sent_at else "not sent yet"
        return f"the canary of {self.dag_id}, run {self.run_id}, {since}, is not decided yet"


#: Where the canary was settled between the plan and the question.
SETTLED_SINCE: Final = "the canary was not decided when this run planned; it is now, and the next run goes on"

#: Where whoever looks may not read the canary's DAG.
UNNAMED: Final = "the canary of another DAG of this account is not decided yet"

#: What `OpenCanary.sentence` says, wherever it stands.
_NAMED: Final = re.compile(
    r"the canary of (?P<dag_id>.+?), run (?P<run_id>.+), "
    r"(?:sent \d{4}-\d\d-\d\d \d\d:\d\d UTC|not sent yet), is not decided yet",
    re.DOTALL,
)


def without_foreign_name(words: str, dag_ids: Collection[str]) -> str:
    """Return what was said of a run, a canary of other DAGs than these told without its name."""
    return _NAMED.sub(lambda found: found[0] if found["dag_id"] in dag_ids else UNNAMED, words)


def named_canary(words: str) -> tuple[str, str] | None:
    """Return the DAG id and run id of the canary that a run was told to wait for; None where none is named."""
    found = _NAMED.search(words)
    return (found["dag_id"], found["run_id"]) if found else None


def open_canary(tx: Transaction, badge_run_id: OpenPlan) -> OpenCanary | None:
    """Return the canary that keeps this run's customers back; None where nothing is open any more."""
    spec_id = tx.conn.execute(select(badge_run.c.spec_id).where(badge_run.c.id == badge_run_id)).scalar_one_or_none()
    return None if spec_id is None else open_canary_of(tx, spec_id, but=badge_run_id)


def open_canary_of(tx: Transaction, spec_id: int, *, but: int | None = None) -> OpenCanary | None:
    """Return the earliest run with an open request under a configuration; None where there is none.

    Args:
        tx: the transaction.
        spec_id: of the configuration.
        but: a plan of which no request is meant.
    """
    row = tx.conn.execute(
        select(badge_run.c.dag_id, badge_run.c.run_id, func.min(badge_request.c.first_sent_at))
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .where(badge_request.c.spec_id == spec_id, is_open())
        .where(*([badge_run.c.id != but] if but is not None else []))
        .group_by(badge_run.c.id, badge_run.c.dag_id, badge_run.c.run_id)
        .order_by(badge_run.c.id)
        .limit(1)
    ).one_or_none()
    return None if row is None else OpenCanary(*row)
