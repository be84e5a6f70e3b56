"""Where a request or an attempt stands, in the words of the pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from capillary.api.request_workflow import RequestState
from capillary.engine.remedies import meaning_of
from capillary.ledger.answers import CustomerAttempt
from capillary.ledger.run_page import RequestLine
from capillary.ledger.status import Outcome, RequestStatus
from capillary.ui.headline import Tone


@dataclass(frozen=True, slots=True)
class Tag:
    """A word and its tone."""

    tone: Tone
    word: str


@dataclass(frozen=True, slots=True)
class AttemptShown:
    """One attempt at a customer.

    Attributes:
        attempt: what the ledger knows.
        occasion_of_campaign: under which heading it stands.
        tag: how it ended, or where it is.
        meaning: of its code; empty without one.
    """

    attempt: CustomerAttempt
    occasion_of_campaign: str
    tag: Tag
    meaning: str


_ENDED: Final[Mapping[str, Tag]] = {
    RequestState.APPROVED: Tag(Tone.GOOD, "approved"),
    RequestState.REJECTED: Tag(Tone.BAD, "rejected"),
    RequestState.FAILED: Tag(Tone.BAD, "failed"),
}
_OUTCOMES: Final[Mapping[Outcome, Tone]] = {
    Outcome.ENROLLED: Tone.GOOD,
    Outcome.ALREADY_ENROLLED: Tone.GOOD,
    Outcome.UNCONFIRMED: Tone.WARN,
    Outcome.FAILED: Tone.BAD,
    Outcome.REJECTED: Tone.BAD,
    Outcome.NOT_ACCEPTED: Tone.BAD,
}
_OPEN: Final[Mapping[RequestStatus, Tag]] = {
    RequestStatus.PLANNED: Tag(Tone.CALM, "not sent yet"),
    RequestStatus.SENDING: Tag(Tone.WARN, "being sent, or in doubt"),
    RequestStatus.WAITING: Tag(Tone.WAIT, "waits for the checker"),
    RequestStatus.SETTLED: Tag(Tone.CALM, "settled"),
}


def of_request(line: RequestLine) -> Tag:
    """Return where a request stands."""
    if line.status is RequestStatus.WAITING and not line.waits_for_checker:
        return Tag(Tone.CALM, "decided, not settled yet")
    if line.status is not RequestStatus.SETTLED:
        return _OPEN[line.status]
    if not line.sightings:
        return Tag(Tone.BAD, "not accepted") if line.error or line.error_code else Tag(Tone.CALM, "settled")
    state = line.sightings[0].state
    return _ENDED.get(state, Tag(Tone.WARN, state))


def of_attempt(attempt: CustomerAttempt) -> AttemptShown:
    """Return an attempt as it is shown."""
    if attempt.outcome is None:
        tag = _OPEN[attempt.status]
    else:
        tag = Tag(_OUTCOMES[attempt.outcome], str(attempt.outcome).replace("_", " "))
    return AttemptShown(
        attempt,
        f"{attempt.campaign}, occasion {attempt.occasion}",
        tag,
        "" if attempt.code is None else meaning_of(attempt.code),
    )
