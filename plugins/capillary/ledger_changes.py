"""A wait that meets a ledger of another version, or one that was moved: it waits on, for a day at most.

Somebody is at work there, and no retry makes that shorter. Whatever sends or plans is tried again by Airflow instead.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from airflow.sdk.exceptions import AirflowFailException

from capillary.engine.polling import MAX_POLL_INTERVAL_S, QUIET_S
from capillary.errors import CapillaryError, named
from capillary.ledger.errors import LedgerMoved, SchemaDiffers

#: What passes when the update is rolled out, the ledger is migrated, or its connection leads to the new place.
LEDGER_CHANGES: Final = (SchemaDiffers, LedgerMoved)
#: How long that may take. A wait that is an older installation's for longer needs a person.
LONGEST: Final = timedelta(days=1)
#: The next look comes after this share of the time waited so far.
_GROWTH: Final = 0.5

_LOG: Final = logging.getLogger("capillary.wait")


def look_again_at(error: CapillaryError, *, since: datetime, first_s: float) -> datetime:
    """Return when to look again, and say why; less and less often, like the polls of a trigger.

    Args:
        error: one of `LEDGER_CHANGES`.
        since: when this wait first met it.
        first_s: seconds between the first looks.

    Raises:
        AirflowFailException: it has lasted for a day.
    """
    now = datetime.now(UTC)
    waited = now - since
    if waited >= LONGEST:
        raise AirflowFailException(
            f"{named(error)}. This wait has looked again for {LONGEST.total_seconds() / 3600:.0f} h and ends. Its "
            "requests stay as they are, and badge_upkeep settles them. Once the cause is gone, clear this task: it "
            "goes on from the ledger"
        )
    longest_s = max(first_s, MAX_POLL_INTERVAL_S)
    pause_s = min(max(first_s, QUIET_S, waited.total_seconds() * _GROWTH), longest_s)
    _LOG.warning(
        "%s. Nothing was read or written. The wait goes on, next look in %.0f s; it fails if this lasts until %s",
        named(error),
        pause_s,
        f"{since + LONGEST:%Y-%m-%d %H:%M} UTC",
    )
    return now + timedelta(seconds=pause_s)
