"""Every stop that there is or was: whether it is in force now, and who released it last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_stop
from capillary.ledger.stops import Scope, Stop


@dataclass(frozen=True, slots=True)
class StopEnd:
    """What became of the stops of one scope.

    Attributes:
        in_force: the one that is in force; None while none is.
        resumed_at, resumed_by: when the last one before was released, and who did that; None where nobody did.
    """

    in_force: Stop | None
    resumed_at: datetime | None
    resumed_by: str | None


def stop_ends(tx: Transaction) -> Mapping[Scope, StopEnd]:
    """Return what became of every stop, by what it was about: a row for each account and campaign that has sent."""
    found = {}
    for row in tx.conn.execute(select(badge_stop)):
        scope = Scope(row.account, row.campaign)
        stop = None if row.stopped_at is None else Stop(scope, row.stopped_at, row.stopped_by, row.reason)
        found[scope] = StopEnd(stop, row.resumed_at, row.resumed_by)
    return found
