"""What a person does about customers who ended without the badge: by outcome and code, and which of them to retry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from capillary.api.codes import (
    ALREADY,
    BUSY_CODES,
    CALL_REFUSALS,
    CODE_MEANINGS,
    CREDENTIAL_CODES,
    EVERYTHING_CODES,
    LINE_REFUSALS,
    READ_AGAIN_CODES,
    REQUEST_CODES,
    SAYS_NOTHING,
)
from capillary.ledger.bounds import MAX_INTEGER
from capillary.ledger.reports import FailureCount
from capillary.ledger.status import RETRYABLE, Outcome


class Remedy(StrEnum):
    """What has to happen before a retry of a failure can bring the badge."""

    NOTHING = "nothing"  #: the customer holds the badge
    LOOK = "look"  #: nobody can tell what happened; a retry reads each customer's badge first
    DATE = "date"  #: another date: the badge's own period decides
    DATA = "data"  #: the customer's data; every retry of it fails until then
    CAMPAIGN = "campaign"  #: a field of the campaign
    BADGE = "badge"  #: the badge on the platform
    ACCESS = "access"  #: the connection, or what its user may do
    LATER = "later"  #: nothing: it passes
    CHECKER = "checker"  #: the checker's reason
    UNKNOWN = "unknown"  #: nobody here knows; the platform's people do


_WORDS: Final[Mapping[Remedy, str]] = MappingProxyType(
    {
        Remedy.NOTHING: "nothing to do: the customer holds the badge already",
        Remedy.LOOK: "look at some of them on the platform, or retry: a retry reads each customer's badge first and "
        "leaves out those who hold it",
        Remedy.DATE: "retry on a day inside the badge's own period, or have the period changed on the platform",
        Remedy.DATA: "correct the customer in the warehouse or on the platform first; a retry fails again until then",
        Remedy.CAMPAIGN: "correct the campaign's fields, then retry",
        Remedy.BADGE: "have the badge corrected on the platform, then retry",
        Remedy.ACCESS: "correct the connection, or the access of its user, then retry",
        Remedy.LATER: "retry: the platform had a short problem",
        Remedy.CHECKER: "read the checker's message, and retry when its reason is gone",
        Remedy.UNKNOWN: "ask the platform's support what it means, then retry",
    }
)

#: code → what has to happen; codes of a customer's line and of a whole call that may end an enrolment.
_BY_CODE: Final[Mapping[int, Remedy]] = MappingProxyType(
    {
        ALREADY: Remedy.NOTHING,
        SAYS_NOTHING: Remedy.LOOK,
        **dict.fromkeys((750, 816), Remedy.DATE),
        **dict.fromkeys((811, 812, 1026, 1028), Remedy.DATA),
        **dict.fromkeys((400, 714, 716, 717, 803, 804, 1054, 1060, 2008, 2014, 2015), Remedy.CAMPAIGN),
        **dict.fromkeys((728, 801, 810, 815, 1039), Remedy.BADGE),
        **dict.fromkeys((401, 403, 405, 415, 1061, 1062, *CREDENTIAL_CODES, *EVERYTHING_CODES), Remedy.ACCESS),
        **dict.fromkeys((500, 999_999, *READ_AGAIN_CODES, *BUSY_CODES), Remedy.LATER),
    }
)
#: After these a retry brings the same end, or there is nothing to bring: none of them is retried unless a person says.
_NOT_BY_ITSELF: Final = frozenset({Remedy.NOTHING, Remedy.DATE, Remedy.DATA})

#: The codes that the trigger form offers: those after which a customer may end without the badge.
OFFERED_CODES: Final = tuple(sorted({SAYS_NOTHING, *LINE_REFUSALS, *CALL_REFUSALS, *REQUEST_CODES}))


#: In place of a code, where the platform named none.
NO_CODE: Final = "none"


def code_word(code: int | None) -> str:
    """Return a code as the trigger form writes it."""
    return NO_CODE if code is None else str(code)


def code_of(word: str) -> int | None:
    """Return the code that the trigger form has written."""
    return None if word == NO_CODE else int(word)


def may_be_named(code: int | None) -> bool:
    """Return whether the trigger form and a plan take this code: the platform's own are positive, as far as told."""
    return code is None or 1 <= code <= MAX_INTEGER


@dataclass(frozen=True, slots=True)
class Advice:
    """What is said of one kind of failure.

    Attributes:
        failure: the customers, by outcome and code.
        meaning: of the code, in a short phrase.
        remedy: what has to happen first.
        to_do: the same, in a clause without full stop.
        is_preselected: whether a retry takes them where nobody says otherwise.
    """

    failure: FailureCount
    meaning: str
    remedy: Remedy
    to_do: str
    is_preselected: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """What to put into the trigger form to retry a run's failures.

    Attributes:
        outcomes: for *Retry outcomes*; empty: nobody is worth a retry as things are.
        codes: for *Retry codes*; empty: every code of these outcomes.
        customers: how many that are, as of now.
        left_out: failures that a retry would not end, each with what has to happen first.
    """

    outcomes: tuple[Outcome, ...]
    codes: tuple[str, ...]
    customers: int
    left_out: tuple[Advice, ...]

    @property
    def may_help(self) -> bool:
        """Whether it takes anybody: a retry is what a person is told to do, and not only what they may do."""
        return self.customers > 0


def meaning_of(code: int | None) -> str:
    """Return what a code means, in a short phrase."""
    if code is None:
        return "the platform gave no code"
    return CODE_MEANINGS.get(code, "a code that the public docs do not name")


def remedy_of(outcome: Outcome, code: int | None) -> Remedy:
    """Return what has to happen before a retry can bring the badge."""
    if outcome is Outcome.REJECTED:
        return Remedy.CHECKER
    known = None if code is None else _BY_CODE.get(code)
    if outcome is Outcome.UNCONFIRMED:
        # Whatever the code says: nobody knows whether the customer was enrolled.
        return Remedy.NOTHING if known is Remedy.NOTHING else Remedy.LOOK
    return known or Remedy.UNKNOWN


def advice(failure: FailureCount) -> Advice:
    """Return what is said of one kind of failure."""
    remedy = remedy_of(failure.outcome, failure.error_code)
    return Advice(
        failure,
        meaning_of(failure.error_code),
        remedy,
        _WORDS[remedy],
        # What a checker has refused, a person asks for again, and not a button's default. Nor does one send a code
        # that the form refuses.
        is_preselected=remedy not in _NOT_BY_ITSELF
        and remedy is not Remedy.CHECKER
        and may_be_named(failure.error_code),
    )


def retry_of(failures: Iterable[FailureCount]) -> Retry:
    """Return what a retry of a run's failures takes where nobody says otherwise."""
    every = [advice(each) for each in failures]
    wanted = {each.failure.outcome for each in every if each.is_preselected}
    unwanted = {
        code_word(each.failure.error_code)
        for each in every
        if each.failure.outcome in wanted and not each.is_preselected
    }
    # Codes only where they are needed to leave somebody out: a code that comes until then is taken, too.
    codes = {code_word(each.failure.error_code) for each in every if each.is_preselected and unwanted} - unwanted
    taken = [
        each
        for each in every
        if each.failure.outcome in wanted and (not unwanted or code_word(each.failure.error_code) in codes)
    ]
    return Retry(
        outcomes=tuple(outcome for outcome in RETRYABLE if taken and outcome in wanted),
        codes=tuple(sorted(codes)),
        customers=sum(each.failure.customers for each in taken),
        left_out=tuple(each for each in every if each not in taken),
    )


def offered() -> dict[str, str]:
    """Return what the trigger form offers, each with its meaning and what has to happen first."""
    return {
        NO_CODE: "none: the platform gave no code",
        **{str(code): f"{code}: {meaning_of(code)}" for code in OFFERED_CODES},
    }
