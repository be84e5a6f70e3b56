"""When the absence of a request may be judged: what was sent may show on the platform's list until then."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from capillary.api.settings import PlatformSettings
from capillary.ledger.pace import START_WITHIN_S

#: Without a control, absence is judged by a reading begun so long after ``doubt_from``.
WITHOUT_CONTROL: Final = timedelta(hours=1)


def doubt_after(settings: PlatformSettings) -> timedelta:
    """Return how long after a claim absence may be judged: the send, its timeout, the list's lag; 965 s by default."""
    return timedelta(seconds=START_WITHIN_S + settings.post_timeout_s + settings.visibility_lag_s)
