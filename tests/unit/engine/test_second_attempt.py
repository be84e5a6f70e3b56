"""Which enrolments speak against asking for a customer again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from capillary.api.badges import Issual
from capillary.engine.second_attempt import SLACK, has_badge

SENT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def issual(status: str | None, issued_at: datetime | None) -> Issual:
    return Issual("i-1", status, None, None, issued_at)


@pytest.mark.parametrize("status", ["EXPIRED", "REVOKED"])
@pytest.mark.parametrize(
    ("issued_at", "counts"),
    [
        (SENT + 30 * MINUTE, True),
        (SENT, True),
        (SENT - SLACK, True),
        (SENT - SLACK - MINUTE, False),
        (SENT - timedelta(days=1), False),
        (None, True),
    ],
    ids=["after", "at once", "within the slack", "before it", "yesterday's of a daily badge", "undated"],
)
def test_an_enrolment_that_ended_counts_where_it_may_come_from_the_attempt(
    status: str, issued_at: datetime | None, *, counts: bool
) -> None:
    assert has_badge([issual(status, issued_at)], sent_at=SENT) is counts


@pytest.mark.parametrize("status", ["ACTIVE", "LIVE", None])
def test_a_live_one_counts_whenever_it_was_issued(status: str | None) -> None:
    assert has_badge([issual(status, SENT - timedelta(days=400))], sent_at=SENT)


def test_where_the_first_send_is_not_known_any_enrolment_counts() -> None:
    assert has_badge([issual("EXPIRED", SENT - timedelta(days=400))], sent_at=None)


def test_none_and_older_ones_leave_the_customer_free() -> None:
    assert not has_badge([], sent_at=SENT)
    assert not has_badge([], sent_at=None)
    older = [issual("EXPIRED", SENT - timedelta(days=days)) for days in (30, 60)]
    assert not has_badge(older, sent_at=SENT)
    assert has_badge([*older, issual("EXPIRED", SENT)], sent_at=SENT)
