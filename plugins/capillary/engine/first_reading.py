"""How many calls an account's first reading takes at least, before it is begun: for whoever looks at a plan."""

from __future__ import annotations

from capillary.api.settings import PlatformSettings
from capillary.engine.history import DAYS_AT_ONCE
from capillary.engine.watch import cluster_day
from capillary.ledger.database import Transaction
from capillary.ledger.history import days_to_read


def first_reading_calls(tx: Transaction, settings: PlatformSettings) -> int:
    """Return how many calls the next run that sends makes at least for it; 0: this user has read the list."""
    today = cluster_day(tx.now, settings)
    return -(-days_to_read(tx, settings.account, settings.sender, today=today) // DAYS_AT_ONCE)
