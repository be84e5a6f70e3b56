"""What a matter that needs a person means, and the one thing to do: the words of `capillary.ledger.attention`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from capillary.counted import counted
from capillary.engine.given_back import SWITCH_OFF
from capillary.engine.next_run import TAKES, canary_now
from capillary.engine.remedies import Advice, retry_of
from capillary.ledger.matters import Kind, Matter
from capillary.ledger.reports import FailureCount
from capillary.ledger.stops import Scope

#: Outcomes with their codes that the title of failures names; the others are counted.
_KINDS_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Said:
    """One matter in words.

    Attributes:
        title: what it is, in a clause without full stop: counts, and whose.
        means: what that means, in a sentence.
        to_do: the one thing to do, in a sentence.
    """

    title: str
    means: str
    to_do: str


def said_of(matter: Matter, now: datetime, *, on_page: bool = False) -> Said:
    """Return a matter in words.

    Args:
        matter: of the ledger, or of Airflow.
        now: up to when ages are counted.
        on_page: it is read where a button does what a command does elsewhere.
    """
    said = _WORDS[matter.kind](matter, now)
    return replace(said, to_do=_BY_BUTTON.get(matter.kind, said.to_do)) if on_page else said


def age(span: timedelta) -> str:
    """Return a span in its two largest units: `3 d 4 h`, `5 h 10 min`, `7 min`."""
    minutes = max(int(span.total_seconds()), 0) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days:,} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _since(matter: Matter, now: datetime) -> str:
    """Return the age of a matter; one of less than a minute goes without."""
    if matter.since is None or now - matter.since < timedelta(minutes=1):
        return ""
    return f", {age(now - matter.since)}"


def _whose(matter: Matter) -> str:
    return matter.campaign or matter.account


def _many(matter: Matter) -> str:
    return f"{counted(matter.requests, 'request')} with {counted(matter.customers, 'customer')}"


def _unknown_key(matter: Matter, _now: datetime) -> Said:
    return Said(
        f"{_whose(matter)}: the platform holds {counted(matter.requests, 'request')} of ours that the ledger does not "
        "know",
        "The ledger was restored or replaced, or a second installation works for this account; nothing is submitted "
        "for it until that is known.",
        "Write back what the ledger has forgotten: python -m capillary ledger import --capillary-conn-id "
        f"{matter.connection or 'capillary'} --dags <folder> --since <day>.",
    )


def _auto_approved(matter: Matter, _now: datetime) -> Said:
    return Said(
        f"{_whose(matter)}: {counted(matter.requests, 'request')} executed without a human",
        "The platform has approved by itself, and no human has decided a request that was sent since.",
        f"{SWITCH_OFF}. The next run stops before it sends, unless its campaign accepts this; then clear its "
        "planning task with Downstream.",
    )


def _stopped(matter: Matter, now: datetime) -> Said:
    scope = Scope(matter.account, matter.campaign or "")
    return Said(
        f"{_whose(matter)}: sending is stopped{_since(matter, now)}, by {matter.by}: {matter.reason}",
        "Nothing is planned or sent; what waits for the checker is read and settled as usual.",
        f"When the reason is gone: python -m capillary resume {scope.options}.",
    )


def _in_doubt(matter: Matter, now: datetime) -> Said:
    return Said(
        f"{_whose(matter)}: {_many(matter)} in doubt{_since(matter, now)}",
        "They were sent without a clear answer, and no reading of the platform's list could show whether they arrived. "
        "They are not sent again until one does.",
        "Clear submit, or wait, of the run, and read in its log what the list lacks.",
    )


def _distrusted(matter: Matter, _now: datetime) -> Said:
    until = f" until {matter.until:%Y-%m-%d %H:%M} UTC" if matter.until is not None else ""
    return Said(
        f"{_whose(matter)}: the platform's list is not trusted{until}",
        "It missed a request that a single read found, so it cannot prove that a request in doubt is missing.",
        "Nothing, if it happens once; if it happens again, tell the platform's support.",
    )


def _list_unread(matter: Matter, now: datetime) -> Said:
    return Said(
        f"{_whose(matter)}: nobody has read the platform's list{_since(matter, now)}",
        f"{_many(matter)} may be decided by now, and nobody looks: neither a waiting run nor badge_upkeep.",
        "See whether the triggerer runs and badge_upkeep is on; then clear wait of the run that waits.",
    )


def _unsettled(matter: Matter, now: datetime) -> Said:
    return Said(
        f"{_whose(matter)}: {_many(matter)} decided and not settled{_since(matter, now)}",
        "The platform has decided, and its answer could not be written to the ledger.",
        "Read the log of badge_upkeep's keep_house; it names what does not fit.",
    )


def _waiting(matter: Matter, now: datetime) -> Said:
    end = ""
    if matter.until is not None:
        left = matter.until - now
        end = f", deadline in {age(left)}" if left > timedelta(0) else f", deadline passed {age(-left)} ago"
    checks = (
        f" {counted(matter.failed_checks, 'request')} did not pass the platform's own check of the maker's access or "
        "the payload."
        if matter.failed_checks
        else ""
    )
    return Said(
        f"{_whose(matter)}: {_many(matter)} waiting for the checker{_since(matter, now)}{end}",
        f"Nobody is enrolled before a human has decided on the platform.{checks}",
        "Ask the checker to decide, on the checker's page.",
    )


def _failed(matter: Matter, _now: datetime) -> Said:
    retry = retry_of(matter.failures)
    kinds = list(map(kind_of, matter.failures))
    if len(kinds) > _KINDS_NAMED:
        kinds = [*kinds[:_KINDS_NAMED], counted(len(kinds) - _KINDS_NAMED, "other kind")]
    means = f"The run has ended; a retry takes up to {counted(retry.customers, 'customer')} of them."
    if not retry.customers:
        means = "The run has ended; a retry takes none of them unless you choose them."
    if matter.occasion_shared and retry.customers:
        means += " It also takes the customers of other runs on the occasion; the retry page counts both."
    to_do = retry_to_do(matter.failures, ", on the run's page,", " there")
    if matter.holding:
        means += f" {canary_now(matter.holding)}."
        to_do = " ".join(filter(None, (matter.remedy, to_do)))
    return Said(
        f"{_whose(matter)}: {counted(matter.customers, 'customer')} without the badge: {', '.join(kinds)}",
        means,
        to_do,
    )


def retry_to_do(failures: Sequence[FailureCount], on_page: str = ",", there: str = "") -> str:
    """Return the one thing to do about customers without the badge, in a sentence.

    Args:
        failures: what is left of them.
        on_page: where the codes are; default: where the sentence stands.
        there: where the retry is; default: likewise.
    """
    retry = retry_of(failures)
    if retry.customers:
        return f"Fix the causes by their codes{on_page} then retry the failed{there}."
    return _by_remedy(retry.left_out)


def _by_remedy(left_out: Sequence[Advice]) -> str:
    """Return what has to happen, once for all kinds that need the same; where they differ, with their outcomes."""
    whose: dict[str, list[str]] = {}
    for each in left_out:
        whose.setdefault(each.to_do, []).append(kind_of(each.failure))
    if len(whose) == 1:
        (only,) = whose
        return f"{only[0].upper()}{only[1:]}."
    return " ".join(f"{', '.join(kinds)}: {to_do}." for to_do, kinds in whose.items())


def kind_of(failure: FailureCount) -> str:
    """Return customers who ended alike, with their code in brackets."""
    code = "" if failure.error_code is None else f" ({failure.error_code})"
    return f"{failure.customers:,} {failure.outcome}{code}"


def _canary_waits(matter: Matter, _now: datetime) -> Said:
    means = f"The last run planned nobody, and is green only because it waits: {matter.reason}."
    if matter.planned:
        means = f"The last run was a canary that has proven nothing. {canary_now(matter.reason)}."
    return Said(
        f"{_whose(matter)}: {counted(matter.customers, 'customer')} left, the configuration is not proven",
        means,
        f"{matter.remedy or ''} If the configuration is proven then, {TAKES}.".strip(),
    )


def _canary_passed(matter: Matter, _now: datetime) -> Said:
    return Said(
        f"{_whose(matter)}: {counted(matter.customers, 'customer')} left, and the configuration is proven",
        f"{TAKES[0].upper()}{TAKES[1:]}.",
        "Start such a run, or leave it to the schedule if its next run has the same occasion.",
    )


def _file_broken(matter: Matter, _now: datetime) -> Said:
    until = (
        "Airflow begins no run of it until the file loads; what was sent before is still read and settled."
        if matter.campaign
        else "Airflow has no DAG of this file, and begins no run of it."
    )
    named = f"{matter.campaign}: the campaign's file" if matter.campaign else matter.file or "a campaign's file"
    file, line = matter.file if matter.campaign else "", f"line {matter.line}" if matter.line else ""
    place = ", ".join(filter(None, (file, line)))
    return Said(
        f"{named} ({place}) does not load" if place else f"{named} does not load",
        f"{_sentence(matter.reason)} {until}" if matter.reason else until,
        "Correct the file. Airflow reads it again by itself.",
    )


def _run_failed(matter: Matter, now: datetime) -> Said:
    where = f" in {matter.task}" if matter.task else ""
    return Said(
        f"{_whose(matter)}: the last run failed{where}{_since(matter, now)}",
        _sentence(matter.reason) if matter.reason else "Airflow kept no reason of it; the task's log has one.",
        matter.remedy or "Correct what failed. Then clear the failed task and the tasks after it, or start a new run.",
    )


def _sentence(words: str) -> str:
    """Return an error's words with a full stop at their end."""
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _keeping_late(matter: Matter, now: datetime) -> Said:
    return Said(
        f"badge_upkeep has not ended well{_since(matter, now) or ' yet'}",
        "Housekeeping settles what no living run waits for, and gives back what was never sent.",
        "Turn the DAG badge_upkeep on, or read the log of its last run.",
    )


def _paused(matter: Matter, _now: datetime) -> Said:
    then = f" {_sentence(matter.reason)}" if matter.reason else ""
    return Said(
        f"{_whose(matter)}: live, and its DAG is paused",
        f"No run of it begins; what was sent before is still read and settled.{then}",
        "Turn the DAG on, or set live=False in its file.",
    )


#: What to do where a page has a button for it.
_BY_BUTTON: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.STOPPED: "Resume when the reason is gone. That takes the right to edit the platform's connection.",
        Kind.CANARY_PASSED: "Take the rest now, or leave it to the schedule if its next run has the same occasion.",
    }
)
_WORDS: Final[Mapping[Kind, Callable[[Matter, datetime], Said]]] = MappingProxyType(
    {
        Kind.UNKNOWN_KEY: _unknown_key,
        Kind.AUTO_APPROVED: _auto_approved,
        Kind.STOPPED: _stopped,
        Kind.FILE_BROKEN: _file_broken,
        Kind.RUN_FAILED: _run_failed,
        Kind.IN_DOUBT: _in_doubt,
        Kind.DISTRUSTED: _distrusted,
        Kind.KEEPING_LATE: _keeping_late,
        Kind.LIST_UNREAD: _list_unread,
        Kind.UNSETTLED: _unsettled,
        Kind.WAITING: _waiting,
        Kind.FAILED: _failed,
        Kind.CANARY_WAITS: _canary_waits,
        Kind.CANARY_PASSED: _canary_passed,
        Kind.PAUSED: _paused,
    }
)
