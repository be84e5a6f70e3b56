"""Every state that one request can be in, with every interleaving of those who may act on it.

`STATES=all` in the environment visits the larger models as well: three processes in time, and two out of time.
They take minutes.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator

import pytest

from tests.states import mutants
from tests.states.explore import TWINS, explore
from tests.states.one_request import OneRequestLedger
from tests.states.request_model import RequestModel

Mutant = Callable[[pytest.MonkeyPatch], None]


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


#: Mutant → whether it shows in time, and the breach by which it is caught.
MUTANTS: list[tuple[Mutant, bool, str]] = [
    (mutants.claim_whatever_the_status, True, "I1 twins"),
    (mutants.doubt_from_the_claim_on, True, "I1 twins"),
    (mutants.absence_judged_at_once, True, "I1 twins"),
    (mutants.doubt_may_be_judged_at_its_very_end, True, "I1 twins"),
    (mutants.absence_outlives_a_sighting, True, "I1 twins"),
    (mutants.a_lost_reply_releases, True, "I4 free|I1 twins"),
    (mutants.release_from_any_status, True, "I4 free|I1 twins"),
    (mutants.release_although_doubtful, False, "I4 free"),
    (mutants.refuse_although_doubtful, False, "I4 free"),
    (mutants.a_sighting_opens_nothing_that_is_settled, False, "settled"),
    (mutants.a_sighting_leaves_it_sending, True, "I8 stuck|I1 twins"),
    (mutants.a_decided_state_is_taken_back, True, "settled with a sighting that is undecided"),
    (mutants.settle_with_an_unread_sighting, False, "settled"),
    (mutants.discard_whatever_the_status, True, "I4 free"),
    (mutants.approved_is_taken_for_enrolled, True, "I3"),
    (mutants.send_without_end, True, "I4 sent more"),
]


@pytest.mark.parametrize(("mutant", "in_time", "caught_by"), MUTANTS, ids=[each[0].__name__ for each in MUTANTS])
def test_a_mutated_transition_is_caught(
    ledger: OneRequestLedger, monkeypatch: pytest.MonkeyPatch, mutant: Mutant, in_time: bool, caught_by: str
) -> None:
    mutant(monkeypatch)
    alone = not in_time or mutant is mutants.send_without_end  # one process suffices, and is found sooner
    model = RequestModel(ledger, in_time=in_time, actors=1 if alone else 2, twins=2)
    found = explore(model, stop=lambda kind: in_time or kind != TWINS)
    kinds = [kind for kind in found.breaches if in_time or kind != TWINS]
    print(f"\n{mutant.__name__}: {found}")  # noqa: T201 - same
    assert any(word in kind for kind in kinds for word in caught_by.split("|")), found.breaches
