"""Where a request stands in the ledger, and how an enrolment ended: the words in its columns."""

from __future__ import annotations

from enum import StrEnum


class RequestStatus(StrEnum):
    """Where a request stands in the ledger. The platform's word for a request is its *state*."""

    PLANNED = "planned"  #: in the ledger only; nothing was sent, or what was sent was certainly not taken
    SENDING = "sending"  #: a POST was claimed; until an answer is recorded, the request is in doubt
    WAITING = "waiting"  #: seen on the platform; a human decides
    SETTLED = "settled"  #: every customer of it has an outcome


class Outcome(StrEnum):
    """How an enrolment ended, strongest first. None (NULL) while it is open."""

    ENROLLED = "enrolled"  #: the platform listed the customer with an issued id and without an error
    ALREADY_ENROLLED = "already_enrolled"  #: error 1040: the platform had it already
    UNCONFIRMED = "unconfirmed"  #: nobody can tell from what the platform answered
    FAILED = "failed"  #: the platform named an error for the customer or for the whole call
    REJECTED = "rejected"  #: the checker said no
    NOT_ACCEPTED = "not_accepted"  #: the platform refused the request when it was submitted


#: Outcomes after which a customer has the badge's enrolment; such customers are never sent again.
HAS_BADGE = frozenset({Outcome.ENROLLED, Outcome.ALREADY_ENROLLED})

#: Outcomes after which a customer may be asked for again, as the trigger form lists them: all others.
RETRYABLE = (Outcome.REJECTED, Outcome.FAILED, Outcome.NOT_ACCEPTED, Outcome.UNCONFIRMED)
