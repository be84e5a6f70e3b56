"""Why a task failed, as of now: a stop that has ended since is told as one of then, and what to do is of this moment.

The sentence that the task has kept is of the moment at which it failed, and was made for its log.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from capillary.counted import counted
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


def as_of_now(
    failed: FailedTask, dag_id: str, stops: Mapping[Scope, StopEnd], *, given_back: int = 0, made_good: bool = False
) -> FailedTask:
    """Return why a task failed, and what has become of that since.

    Args:
        failed: the task, with the sentence of then.
        dag_id: of its run, which is the campaign's name.
        stops: what became of every stop.
        given_back: customers of its run that were given back unsent, and that no later run has taken.
        made_good: a later run of the campaign has passed.
    """
    found = _STOPPED.fullmatch(failed.said)
    passed = "A later run has passed since: nothing is left to do for this one."
    if found is None:
        return replace(failed, said=for_a_page(failed.said), now=passed if made_good else "")
    scopes = tuple(_scopes(found["resume"] or ""))
    said = f"Sending was stopped: {found['stops'].removesuffix('.')}."
    if made_good:
        return replace(failed, said=said, now=passed)
    unsent = f"the {counted(given_back, 'customer')} given back unsent"
    takes = f"; with the same occasion and settings it takes {unsent}" if given_back else ""
    if holding := [str(stop) for stop in _in_force(scopes, dag_id, stops)]:
        still = f"Stopped now: {'; '.join(holding)}. Resume on the page Badges, then trigger a new run{takes}."
        return replace(failed, said="Sending was stopped.", now=still)
    ended = f"{_ended(scopes, stops)} Trigger a new run{takes}." if scopes else ""
    return replace(failed, said=said, now=ended)


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
