"""Breadth first through every state that can be reached, with the invariants checked in each.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from capillary.ledger.errors import LedgerBroken
from capillary.ledger.request_rows import MAX_RESENDS
from tests.states.one_request import CUSTOMERS
from tests.states.request_model import APPROVED, PARKED, REJECTED, TWICE, Idle, RequestModel, State

#: The only breach that a broken timing assumption may lead to.
TWINS: Final = "I1 twins: the request was sent while an earlier send of it lives"


@dataclass
class Explored:
    """What was found.

    Attributes:
        states, transitions: how many were visited.
        breaches: each kind of breach with the shortest way to it.
        calls: calls of the product; what it was asked before was looked up.
        seconds: how long it took.
        ended: states in which nothing is left to do.
        found_twins: ended states in which the platform holds twins and the ledger has read them all.
        stuck: states from which no end can be reached.
    """

    states: int = 0
    transitions: int = 0
    breaches: dict[str, list[str]] = field(default_factory=dict)
    calls: int = 0
    seconds: float = 0.0
    ended: int = 0
    found_twins: int = 0
    stuck: int = 0

    def __str__(self) -> str:
        said = (
            f"{self.states:,} states, {self.transitions:,} transitions, {self.calls:,} calls of the product, "
            f"{self.ended:,} ends ({self.found_twins:,} of them with twins found) in {self.seconds:.1f} s"
        )
        return said + "".join(f"\n  {kind}: {' → '.join(way)}" for kind, way in self.breaches.items())


def explore(
    model: RequestModel, *, stop: Callable[[str], bool] = lambda _: False, most_states: int = 3_000_000
) -> Explored:
    """Visit every state, or end at the first breach that `stop` says is enough.

    A state with a breach other than twins is not followed any further.
    """
    begun = time.monotonic()
    search = _Search(model)
    while search.queue and not any(map(stop, search.found.breaches)):
        search.visit(search.queue.popleft())
        if len(search.came_from) > most_states:
            raise AssertionError(f"more than {most_states:,} states: the model has lost its bounds")
    found = search.found
    found.states, found.ended = len(search.came_from), len(search.ended)
    if not search.queue and not set(found.breaches) - {TWINS}:
        stuck = _not_leading_to(search.ended, search.before)
        found.stuck = len(stuck)
        if stuck:
            search.breach("I8 stuck: nothing leads to an end from here", min(stuck), "…")
    found.calls = model.ledger.calls
    found.seconds = time.monotonic() - begun
    return found


class _Search:
    """The states seen so far by number, and how each was reached."""

    def __init__(self, model: RequestModel) -> None:
        first = model.first()
        self._model = model
        self._numbers = {first: 0}
        self.queue = deque([first])
        self.came_from: list[tuple[int, str]] = [(-1, "")]
        self.before: list[list[int]] = [[]]
        self.ended: list[int] = []
        self.found = Explored()

    def visit(self, state: State) -> None:
        """Take every step from a state."""
        number = self._numbers[state]
        if _is_ended(state):
            self.ended.append(number)
            self.found.found_twins += len(state.platform) > 1
        try:
            steps = list(self._model.steps(state))
        except LedgerBroken as error:
            self.breach(f"the ledger broke: {error}", number, "?")
            return
        self.found.transitions += len(steps)
        for label, after in steps:
            known = self._numbers.get(after)
            if known is None:
                self._enter(number, label, after, [*_wrong_step(state, after), *_wrong(after)])
            else:
                self.before[known].append(number)

    def breach(self, kind: str, number: int, label: str) -> None:
        """Note a kind of breach once, with the way to it."""
        if kind not in self.found.breaches:
            self.found.breaches[kind] = [*_way(self.came_from, number), label]

    def _enter(self, number: int, label: str, after: State, wrong: list[str]) -> None:
        for kind in wrong:
            self.breach(kind, number, label)
        self._numbers[after] = len(self.came_from)
        self.came_from.append((number, label))
        self.before.append([number])
        if not set(wrong) - {TWINS}:
            self.queue.append(after)


def _wrong_step(state: State, after: State) -> Iterator[str]:
    """I4: a POST starts only when no earlier one of the key is alive."""
    if len(after.flying) > len(state.flying) and (state.flying or state.platform):
        yield TWINS


def _wrong(state: State) -> Iterator[str]:
    rows, request = state.rows, state.rows.request
    live = [twin for twin in state.platform if twin.state in (PARKED, APPROVED)]
    if len(live) > 1:
        yield TWINS
    if sum(twin.state == APPROVED for twin in state.platform) > 1:
        yield "I1 executed twice"
    # I2: planned = outcomes + open, and who was given back is counted.
    if len(rows.outcomes) + rows.discarded != len(CUSTOMERS):
        yield "I2 a customer is lost"
    closed = [outcome for outcome in rows.outcomes if outcome is not None]
    if request is not None and (request.status == "settled") and len(closed) != len(CUSTOMERS):
        yield "I2 settled with open customers"
    if request is not None and request.status in ("planned", "sending") and closed:
        yield "I2 an outcome before the end"
    if "enrolled" in closed and not any(twin.state == APPROVED for twin in state.platform):
        yield "I3 enrolled without the platform's word"
    if request is not None and request.resends > MAX_RESENDS:
        yield "I4 sent more than three times"
    yield from _wrongly_ended(state)
    for sighting in rows.sightings:
        if sighting.decided != (sighting.state != PARKED):
            yield "a decided state was taken back"


def _wrongly_ended(state: State) -> Iterator[str]:
    """What the ledger says at the end must be what the platform's books say."""
    rows, request = state.rows, state.rows.request
    alive = bool(state.platform or state.flying)
    if (request is None or "not_accepted" in rows.outcomes) and alive:
        yield "I4 free for a new key while the old one may live"
    if request is None or request.status != "settled" or not rows.sightings:
        return
    if not all(sighting.decided for sighting in rows.sightings):
        yield "settled with a sighting that is undecided"
        return
    states = {state.platform[int(sighting.name)].state for sighting in rows.sightings}
    expected = next(word for decided, word in _STRONGEST_FIRST if decided in states)
    if set(rows.outcomes) != {expected}:
        yield f"I3 settled as {rows.outcomes}, and the sightings say {expected}"


_STRONGEST_FIRST: Final = ((APPROVED, "enrolled"), (REJECTED, "rejected"), (TWICE, "unconfirmed"))


def _is_ended(state: State) -> bool:
    """Whether nothing is left to do: all read, all settled, or all given back."""
    if state.flying or not all(isinstance(actor, Idle) for actor in state.actors):
        return False
    request = state.rows.request
    if request is None:
        return not state.platform
    seen = {int(sighting.name) for sighting in state.rows.sightings}
    return request.status == "settled" and seen == set(range(len(state.platform)))


def _not_leading_to(ended: list[int], before: list[list[int]]) -> set[int]:
    leading = set(ended)
    left = list(ended)
    while left:
        for number in before[left.pop()]:
            if number not in leading:
                leading.add(number)
                left.append(number)
    return set(range(len(before))) - leading


def _way(came_from: list[tuple[int, str]], number: int) -> list[str]:
    way: list[str] = []
    while number > 0:
        number, label = came_from[number]
        way.append(label)
    return way[::-1]
