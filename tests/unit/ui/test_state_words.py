"""Where a request stands, in words: the ledger's status first, and the platform's word where it is settled."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from capillary.ledger.run_page import RequestLine, Sighting
from capillary.ledger.status import RequestStatus
from capillary.ui.state_words import of_request

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def sighting(state: str, *, decided: bool) -> Sighting:
    return Sighting(
        platform_request_id="p",
        state=state,
        auto_approved=False,
        checker_message=None,
        failed_checks="",
        seen_at=NOON,
        decided_at=NOON if decided else None,
    )


WAITS, APPROVED = sighting("AdminTask", decided=False), sighting("approved", decided=True)
REJECTED, STRANGE = sighting("rejected", decided=True), sighting("withdrawn", decided=True)


def line(status: RequestStatus, *sightings: Sighting, error: str | None = None) -> RequestLine:
    return RequestLine(
        request_id=1,
        badge_run_id=1,
        request_key="k",
        task_id="t",
        connection="c",
        ordinal=0,
        attempt=1,
        customers=1,
        status=status,
        tries=1,
        resends=0,
        age_s=None,
        first_sent_at=None,
        doubt_from=None,
        settled_at=None,
        error_code=None,
        error=error,
        sightings=sightings,
    )


@pytest.mark.parametrize(
    ("shown", "tone", "word"),
    [
        (line(RequestStatus.PLANNED), "calm", "not sent yet"),
        (line(RequestStatus.SENDING), "warn", "being sent, or in doubt"),
        (line(RequestStatus.WAITING, WAITS), "wait", "waits for the checker"),
        (line(RequestStatus.WAITING, APPROVED, WAITS), "wait", "waits for the checker"),
        (line(RequestStatus.WAITING, APPROVED), "calm", "decided, not settled yet"),
        (line(RequestStatus.SETTLED, APPROVED), "good", "approved"),
        (line(RequestStatus.SETTLED, REJECTED), "bad", "rejected"),
        (line(RequestStatus.SETTLED, STRANGE), "warn", "withdrawn"),
        (line(RequestStatus.SETTLED, error="refused"), "bad", "not accepted"),
        (line(RequestStatus.SETTLED), "calm", "settled"),
    ],
    ids=[
        *("planned", "sending", "waits", "a twin waits", "decided", "approved", "rejected", "a new word"),
        *("not accepted", "settled unseen"),
    ],
)
def test_a_request_stands_where_it_stands(shown: RequestLine, tone: str, word: str) -> None:
    tag = of_request(shown)
    assert (tag.tone, tag.word) == (tone, word)
