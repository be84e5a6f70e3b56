"""A time as the platform shows it, with its offset where that is known: mostly it is written without one."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

_BY: Final = "by the platform’s clock"


def by_platforms_clock(shown: str, zone: str) -> str:
    """Return it as it is shown, with the offset that it has.

    Args:
        shown: an ISO time, with an offset of its own or without one.
        zone: IANA name of the cluster's time zone; empty where nobody here knows it.
    """
    written = shown.replace("T", " ")
    moment = datetime.fromisoformat(shown)
    if moment.tzinfo is not None:
        return f"{written} {_BY}"
    # An hour that a zone has twice, as summer time ends, is of two offsets.
    offsets = {moment.replace(tzinfo=ZoneInfo(zone), fold=fold).isoformat()[-6:] for fold in (0, 1)} if zone else set()
    if len(offsets) == 1:
        return f"{written} {offsets.pop()} {_BY}"
    return f"{written} {_BY}, in the cluster’s time zone"
