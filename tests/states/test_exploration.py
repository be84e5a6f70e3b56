"""Every state that one request can be in, with every interleaving of those who may act on it.

`STATES=all` in the environment visits the larger models as well: three processes in time, and two out of time.
They take minutes.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from tests.laboratory.planting import planted
from tests.laboratory.transition_bugs import TRANSITION_BUGS
from tests.states.explore import TWINS, explore
from tests.states.one_request import OneRequestLedger
from tests.states.request_model import RequestModel


@pytest.fixture
def ledger() -> Iterator[OneRequestLedger]:
    # What the senders log at each step is formatted ten thousand times.
    logging.disable(logging.CRITICAL)
    ledger = OneRequestLedger()
    yield ledger
    ledger.close()
    logging.disable(logging.NOTSET)


def test_in_time_there_is_no_breach_and_always_an_end(ledger: OneRequestLedger) -> None:
    found = explore(RequestModel(ledger, in_time=True))
    print(f"\nin time: {found}")  # noqa: T201 - what was visited is the result
    assert found.breaches == {}
    assert found.stuck == 0
    assert found.states > 50_000
    assert found.found_twins == 0


def test_out_of_time_twins_are_the_only_breach_and_are_found(ledger: OneRequestLedger) -> None:
    found = explore(RequestModel(ledger, in_time=False, actors=1, twins=2))
    print(f"\nout of time: {found}")  # noqa: T201 - same
    assert set(found.breaches) == {TWINS}, "the model must reach them, and nothing worse"
    assert found.stuck == 0, "wherever twins stand, both are found, read and settled in the end"
    assert found.found_twins > 0


@pytest.mark.skipif(os.environ.get("STATES") != "all", reason="minutes; STATES=all runs it")
@pytest.mark.parametrize(
    ("in_time", "actors", "crashes", "twins"),
    [pytest.param(True, 3, 1, 3, id="three in time"), pytest.param(False, 1, 1, 3, id="three twins")],
)
def test_larger_models(ledger: OneRequestLedger, in_time: bool, actors: int, crashes: int, twins: int) -> None:
    found = explore(RequestModel(ledger, in_time=in_time, actors=actors, crashes=crashes, twins=twins))
    print(f"\n{found}")  # noqa: T201 - same
    assert set(found.breaches) == (set() if in_time else {TWINS})
    assert found.stuck == 0


#: Bug → whether it shows in time, and the breach by which it is caught.
SHOWN: list[tuple[str, bool, str]] = [
    ("claim-whatever-the-status", True, "I1 twins"),
    ("doubt-from-the-claim-on", True, "I1 twins"),
    ("absence-judged-at-once", True, "I1 twins"),
    ("doubt-may-be-judged-at-its-very-end", True, "I1 twins"),
    ("absence-outlives-a-sighting", True, "I1 twins"),
    ("a-lost-reply-releases", True, "I4 free|I1 twins"),
    ("release-from-any-status", True, "I4 free|I1 twins"),
    ("release-although-doubtful", False, "I4 free"),
    ("refuse-although-doubtful", False, "I4 free"),
    ("a-sighting-opens-nothing-that-is-settled", False, "settled"),
    ("a-sighting-leaves-it-sending", True, "I8 stuck|I1 twins"),
    ("a-decided-state-is-taken-back", True, "settled with a sighting that is undecided"),
    ("settle-with-an-unread-sighting", False, "settled"),
    ("discard-whatever-the-status", True, "I4 free"),
    ("approved-is-taken-for-enrolled", True, "I3"),
    ("send-without-end", True, "I4 sent more"),
]


@pytest.mark.parametrize(("bug", "in_time", "caught_by"), SHOWN, ids=[each[0] for each in SHOWN])
def test_a_bug_in_a_transition_is_caught(ledger: OneRequestLedger, bug: str, in_time: bool, caught_by: str) -> None:
    alone = not in_time or bug == "send-without-end"  # one process suffices, and is found sooner
    model = RequestModel(ledger, in_time=in_time, actors=1 if alone else 2, twins=2)
    with planted(TRANSITION_BUGS[bug]):
        found = explore(model, stop=lambda kind: in_time or kind != TWINS)
    kinds = [kind for kind in found.breaches if in_time or kind != TWINS]
    print(f"\n{bug}: {found}")  # noqa: T201 - same
    assert any(word in kind for kind in kinds for word in caught_by.split("|")), found.breaches


def test_every_transition_bug_is_planted() -> None:
    assert {each[0] for each in SHOWN} == TRANSITION_BUGS.keys()
