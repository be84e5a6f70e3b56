"""Why a task failed, as of now: a stop that has ended since is told as one of then, and what to do is of this moment.

The sentence that the task has kept is of the moment at which it failed, and was made for its log. What is to be done
about it the ledger knows better: once a run has given back what it had not sent, its failed task has nothing to send.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from capillary.counted import counted
from capillary.engine.given_back import SWITCH_OFF, to_do
from capillary.engine.verdict import GIVEN_BACK
from capillary.ledger.given_back import GivenBack
from capillary.ledger.stop_ends import StopEnd
from capillary.ledger.stops import WHOLE_ACCOUNT, Scope
from capillary.ui.failed_tasks import FailedTask
from capillary.ui.page_words import for_a_page

#: What `capillary.ledger.errors.Stopped` says; a long one was cut off at its end.
_STOPPED: Final = re.compile(
    r"(?:Stopped: )?sending is stopped: (?P<stops>.+?)(?:\. To allow sending again, run (?P<resume>.*?)"
    r"(?:; then trigger a new run.*)?)?",
    re.DOTALL,
)
_CORRECT: Final = "Correct what failed."
#: What `capillary.engine.may_send` says of auto-approval: what happened, and then what to do.
_AUTO_APPROVED: Final = re.compile(r"(?P<what>AutoApproved: .+?)\. Switch auto-approval .*", re.DOTALL)


def as_of_now(
    failed: FailedTask,
    dag_id: str,
    stops: Mapping[Scope, StopEnd],
    *,
    given_back: GivenBack | None = None,
    made_good: bool = False,
) -> FailedTask:
    """Return why a task failed, and what has become of that since.

    Args:
        failed: the task, with the sentence of then.
        dag_id: of its run, which is the campaign's name.
        stops: what became of every stop.
        given_back: what its run has given back unsent, and no later run has taken; None where nothing.
        made_good: a later run of the campaign has passed.
    """
    found = _STOPPED.fullmatch(failed.said)
    passed = "A later run has passed since: nothing is left to do for this one."
    if found is None:
        said = for_a_page(failed.said)
        if made_good:
            return replace(failed, said=_happened(said), now=passed)
        if given_back is None:
            return replace(failed, said=said)
        return replace(failed, said=_happened(said), now=_to_do(failed, given_back))
    scopes = tuple(_scopes(found["resume"] or ""))
    said = f"Sending was stopped: {found['stops'].removesuffix('.')}."
    if made_good:
        return replace(failed, said=said, now=passed)
    takes = ""
    if given_back is not None:
        unsent = f"the {counted(given_back.customers, 'customer')} given back unsent"
        takes = f"; with the same occasion and settings it takes {unsent}"
    if holding := [str(stop) for stop in _in_force(scopes, dag_id, stops)]:
        still = f"Stopped now: {'; '.join(holding)}. Resume on the page Badges"
        still += f". {to_do(given_back)}" if given_back and given_back.refused else f", then trigger a new run{takes}."
        return replace(failed, said="Sending was stopped.", now=still)
    then = to_do(given_back) if given_back and given_back.refused else f"Trigger a new run{takes}."
    ended = f"{_ended(scopes, stops)} {then}" if scopes else ""
    return replace(failed, said=said, now=ended)


def beside_report(failed: FailedTask | None, report: Mapping[str, Any] | None) -> FailedTask | None:
    """Return a failed task for the sentence that has the run's verdict before it: nothing is said there twice.

    Args:
        failed: as of now.
        report: what the run's task `report` has returned; None where nothing.
    """
    verdict = str(report.get("sentence", "")) if report else ""
    if failed is None or not verdict:
        return failed
    if SWITCH_OFF in verdict:
        now = "" if SWITCH_OFF in failed.now else failed.now
        return replace(failed, said=_happened(failed.said), now=now)
    return replace(failed, now="") if failed.now.startswith(_CORRECT) and GIVEN_BACK in verdict else failed


def _happened(said: str) -> str:
    """Return what happened, of a sentence that goes on with what to do about auto-approval."""
    found = _AUTO_APPROVED.fullmatch(said)
    return f"{found['what']}." if found else said


def _to_do(failed: FailedTask, given_back: GivenBack) -> str:
    if given_back.refused:
        return to_do(given_back)
    if failed.said.startswith("AutoApproved: "):
        return f"No auto-approval stands in the way any more. {to_do(given_back)}"
    return f"{_CORRECT} {to_do(given_back)}"


def _scopes(commands: str) -> Iterator[Scope]:
    """Yield what the commands to resume name (`Scope.options`); nothing where they were cut off."""
    try:
        words = shlex.split(commands)
    except ValueError:
        return
    for at, word in enumerate(words[:-1]):
        if word == "--account":
            has_campaign = words[at + 2 : at + 3] == ["--campaign"] and len(words) > at + 3
            yield Scope(words[at + 1], words[at + 3] if has_campaign else WHOLE_ACCOUNT)


def _in_force(scopes: Iterable[Scope], dag_id: str, stops: Mapping[Scope, StopEnd]) -> Iterator[object]:
    """Yield the stops that a new run of the campaign would meet now, were they in force then or not."""
    accounts = {each.account for each in scopes}
    campaigns = {WHOLE_ACCOUNT, dag_id, *(each.campaign for each in scopes)}
    for scope, end in sorted(stops.items()):
        if end.in_force is not None and scope.account in accounts and scope.campaign in campaigns:
            yield end.in_force


def _ended(scopes: Iterable[Scope], stops: Mapping[Scope, StopEnd]) -> str:
    ends = [stops[each] for each in scopes if each in stops]
    released = [(end.resumed_at, end.resumed_by) for end in ends if end.resumed_at is not None]
    if not released:
        return "It is not stopped any more."
    at, by = max(released)
    return f"{by or 'Somebody'} resumed it at {at:%Y-%m-%d %H:%M} UTC."
