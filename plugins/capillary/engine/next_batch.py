"""How many requests may go out while others are in doubt, and until when none may.

As many may be in doubt as may be in flight. The last of these places, and the last request of a run, are kept for a
*control*: a request that goes out alone, after whatever is in doubt must have arrived. Once it shows in the list, the
absence of the others can be judged; without it that takes an hour more (`capillary.engine.doubt`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from capillary.api.settings import PlatformSettings
from capillary.engine.absence import WITHOUT_CONTROL, doubt_after
from capillary.ledger.database import Transaction
from capillary.ledger.doubts import own_doubts
from capillary.ledger.pace import START_WITHIN_S
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.runs import planned_requests
from capillary.ledger.sightings import last_seen_at

#: Without an acceptance, waiting counts as failing after so many times the longest that judging takes.
JUDGINGS: Final = 2
_MORE_THAN_A_CONTROL: Final = 2


@dataclass(frozen=True, slots=True)
class NextBatch:
    """What may go out now. Times are the ledger's.

    Attributes:
        batch: requests that may go out together, in order.
        wanted: how many would go out together were nothing in doubt; 0: all of the run's were sent.
        in_doubt: this credential user's requests in doubt, in the whole account.
        due: those of them whose absence a reading that begins now may judge.
        until: when more may go out, or more can be judged, though nothing is found before; None: never by itself.
        now: when this was asked.
    """

    batch: tuple[int, ...]
    wanted: int
    in_doubt: int
    due: int
    until: datetime | None
    now: datetime

    @property
    def is_narrow(self) -> bool:
        """Whether doubt keeps requests back that could go out otherwise."""
        return self.in_doubt > 0 and len(self.batch) < min(_MORE_THAN_A_CONTROL, self.wanted)


def next_batch(
    tx: Transaction, badge_run_id: OpenPlan, settings: PlatformSettings, *, in_flight: int, width: int
) -> NextBatch:
    """Return what may go out now.

    Args:
        tx: the transaction.
        badge_run_id: the run that sends.
        settings: of its account and credential user. Another user's doubts are ended by that user, or by what shows
            of them; nothing waits for them.
        in_flight: most requests under way at once, and most in doubt.
        width: most requests under way at once as long as nothing was accepted.
    """
    planned = planned_requests(tx, badge_run_id, in_flight + 1)
    # Calls of other runs that are merely under way are in no doubt.
    under_way_since = tx.now - _arrives_within(settings)
    doubts = own_doubts(tx, settings.account, settings.sender, under_way_since=under_way_since)
    places = in_flight - len(doubts)
    arrived_at = max((each.last_sent_at + _arrives_within(settings) for each in doubts), default=tx.now)
    may_control = bool(planned) and places >= 1 and arrived_at <= tx.now
    count = min(width, places - 1 if doubts else places, len(planned) - 1)
    batch = planned[: max(count, 1 if may_control else 0)]
    moments = [each.doubt_from for each in doubts] + [each.doubt_from + WITHOUT_CONTROL for each in doubts]
    if places >= 1:
        moments.append(arrived_at)
    return NextBatch(
        batch=tuple(batch),
        wanted=min(width, len(planned)),
        in_doubt=len(doubts),
        due=sum(each.doubt_from < tx.now for each in doubts),
        until=min((moment for moment in moments if moment > tx.now), default=None),
        now=tx.now,
    )


def has_waited_too_long(
    tx: Transaction, badge_run_id: OpenPlan, settings: PlatformSettings, *, since: datetime
) -> bool:
    """Return whether nothing of the run was accepted for so long that waiting for it will not help.

    Args:
        tx: the transaction.
        badge_run_id: the run that waits.
        settings: of its account.
        since: when the task began to wait, by the ledger's clock.
    """
    accepted_at = last_seen_at(tx, badge_run_id)
    return tx.now - max(since, accepted_at or since) > JUDGINGS * (doubt_after(settings) + WITHOUT_CONTROL)


def _arrives_within(settings: PlatformSettings) -> timedelta:
    return timedelta(seconds=START_WITHIN_S + settings.post_timeout_s)
