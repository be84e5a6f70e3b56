"""Whether a customer may be asked for again: what the platform's enrolments say of an attempt that stayed unclear."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from capillary.api.badges import Issual

#: How much earlier than the first send an enrolment may be dated and still come from it: a clock that is off, or a
#: local time that was read in another zone. Less than a day, so that yesterday's enrolment is not today's.
SLACK: Final = timedelta(hours=12)


def has_badge(issuals: Iterable[Issual], *, sent_at: datetime | None) -> bool:
    """Return whether any enrolment is live, or may have come from an attempt that was sent since a moment.

    One that has expired, or was revoked, is an enrolment all the same: to ask again would be the second time on the
    occasion. One without a readable date may be of any time.

    Args:
        issuals: the customer's enrolments for the badge, all of them.
        sent_at: when an attempt on the occasion was first sent; None: it is not known, and any enrolment counts.
    """
    return any(
        issual.is_active or sent_at is None or issual.issued_at is None or issual.issued_at >= sent_at - SLACK
        for issual in issuals
    )
