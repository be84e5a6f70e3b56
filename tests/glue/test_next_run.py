"""Whatever is said of a later run is what that run plans: each circumstance is set up, read, and the run played.

The later run is played as a dry one, by the same code as a live one. Said is what `report` prints, what the run's page
adds, and what needs a person.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import select, update

from capillary.engine.attention import said_of
from capillary.engine.next_run import TAKES, canary_now
from capillary.engine.verdict import Policy
from capillary.hooks import CapillaryHook
from capillary.ledger.attention import attention
from capillary.ledger.canary import open_canary
from capillary.ledger.database import Ledger
from capillary.ledger.left_over import left_now
from capillary.ledger.matters import Kind
from capillary.ledger.migrate import create
from capillary.ledger.plan import Order, Plan
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.reports import failures, funnel
from capillary.ledger.request_rows import Seen, record_sighting
from capillary.ledger.schema import badge_request, badge_run
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome, RequestStatus
from capillary.operators import ReportBadgesOperator
from capillary.plan_reference import PlanReference
from capillary.sensors import BadgeRequestSensor
from capillary.ui.aftermath import Since, after
from tests.glue.conftest import Place, Pushed
from tests.unit.ledger.orders import customers_of, plan, requests_of, run, see, send

#: What the query returns.
EVERYBODY: Final = range(1, 61)
CANARY: Final = run("canary", canary=True, customers_per_request=10)
#: A run of another campaign under the same configuration, on an occasion of its own and with *Canary* off.
OTHER: Final = run("other", dag_id="autumn", campaign="autumn", occasion="Autumn", cap=3)
REJECTED: Final = Ending(Outcome.REJECTED)
ENROLLED: Final = Ending(Outcome.ENROLLED)
FAILED: Final = Ending(Outcome.FAILED, error_code=500)
UNCONFIRMED: Final = Ending(Outcome.UNCONFIRMED)
PASSES: Final = Policy(on_auto_approved="accept", on_rejected="accept", on_unconfirmed="accept")  # type: ignore[arg-type]
SHARED: Final = f"badge:{CANARY.spec.badge_id}"


def decide(ledger: Ledger, request_id: int, *endings: Ending, auto: bool = False, only_seen: bool = False) -> None:
    """Send a request that was not sent yet, have it decided, and settle it with these endings, the last for the rest.

    Args:
        ledger: the ledger.
        request_id: which.
        endings: of its customers in their order.
        auto: the platform approved by itself.
        only_seen: nobody settles it.
    """
    with ledger.read() as tx:
        of_request = select(badge_request.c.status).where(badge_request.c.id == request_id)
        status = tx.conn.execute(of_request).scalar_one()
    if status == RequestStatus.PLANNED:
        send(ledger, request_id)
    name = f"p-{request_id}"
    with ledger.write() as tx:
        record_sighting(tx, request_id, Seen(name, "approved", decided=True, auto_approved=auto))
        if not only_seen:
            customers = customers_of(ledger, request_id)
            ends = [*endings, *[endings[-1]] * len(customers)]
            settled = dict(zip(customers, ends, strict=False))
            assert settle(tx, request_id, sightings_read=[name], endings=settled)


def waits(ledger: Ledger, request_id: int) -> None:
    send(ledger, request_id)
    see(ledger, request_id, f"p-{request_id}", decided=False)


def first_of_two(ledger: Ledger, ids: list[int], ending: Ending) -> None:
    decide(ledger, ids[0], ending)
    waits(ledger, ids[1])


#: How a canary ends → what is done with each of its requests; of one request in one piece unless it says so.
ENDS: Final[dict[str, tuple[int, Callable[[Ledger, list[int]], object]]]] = {
    "passed": (10, lambda ledger, ids: decide(ledger, ids[0], ENROLLED)),
    "rejected": (10, lambda ledger, ids: decide(ledger, ids[0], REJECTED)),
    "failed": (10, lambda ledger, ids: decide(ledger, ids[0], FAILED)),
    "failed in part": (10, lambda ledger, ids: decide(ledger, ids[0], FAILED, ENROLLED)),
    "unconfirmed in part": (10, lambda ledger, ids: decide(ledger, ids[0], UNCONFIRMED, ENROLLED)),
    "had the badge": (10, lambda ledger, ids: decide(ledger, ids[0], Ending(Outcome.ALREADY_ENROLLED))),
    "auto-approved": (10, lambda ledger, ids: decide(ledger, ids[0], ENROLLED, auto=True)),
    "undecided": (10, lambda ledger, ids: waits(ledger, ids[0])),
    "decided, not settled": (10, lambda ledger, ids: decide(ledger, ids[0], only_seen=True)),
    "in doubt": (10, lambda ledger, ids: send(ledger, ids[0])),
    "never sent": (10, lambda _ledger, _ids: None),
    "one approved, one undecided": (5, lambda ledger, ids: first_of_two(ledger, ids, ENROLLED)),
    "one rejected, one undecided": (5, lambda ledger, ids: first_of_two(ledger, ids, REJECTED)),
    "one rejected, one never sent": (5, lambda ledger, ids: decide(ledger, ids[0], REJECTED)),
}


@dataclass(frozen=True)
class Circumstance:
    """What else is so.

    Attributes:
        changes: of the canary's settings.
        before: done before it plans.
        beside: done after it has ended.
    """

    changes: dict[str, Any]
    before: Callable[[Ledger], None] = lambda _ledger: None
    beside: Callable[[Ledger], object] = lambda _ledger: None


def _rejected_before(ledger: Ledger) -> None:
    for each in requests_of(ledger, plan(ledger, range(1, 26), run("before"))):
        decide(ledger, each.id, REJECTED)


def _other(ledger: Ledger, order: Order = OTHER) -> int:
    return int(requests_of(ledger, plan(ledger, range(101, 111), order))[0].id)


def _of_the_badge(ledger: Ledger) -> int:
    """Plan some of those that the canary left, by another campaign that shares its occasion."""
    order = replace(OTHER, occasion=SHARED)
    return int(requests_of(ledger, plan(ledger, range(31, 41), order))[0].id)


def _dies(ledger: Ledger) -> None:
    """Airflow has lost the runs: nobody sends for them any more, and housekeeping has not looked yet."""
    with ledger.write() as tx:
        tx.conn.execute(update(badge_run).values(alive_until=tx.now - timedelta(hours=1)))


def _dead(ledger: Ledger) -> None:
    _other(ledger)
    _dies(ledger)


CIRCUMSTANCES: Final = {
    "as it comes": Circumstance({}),
    "a cap above ten": Circumstance({"cap": 20}),
    "a cap below ten": Circumstance({"cap": 4}),
    "everybody fits in": Circumstance({"customers": range(1, 11)}),
    "a retry": Circumstance({"retry": frozenset({Outcome.REJECTED})}, before=_rejected_before),
    "an occasion a day": Circumstance({"occasion": "2026-11-27"}),
    "another request is undecided": Circumstance({}, beside=lambda ledger: waits(ledger, _other(ledger))),
    "another request is unsent": Circumstance({}, beside=_other),
    "another request is a dead run's": Circumstance({}, beside=_dead),
    "another request is decided": Circumstance(
        {}, beside=lambda ledger: decide(ledger, _other(ledger), only_seen=True)
    ),
    "another request has proven it": Circumstance({}, beside=lambda ledger: decide(ledger, _other(ledger), ENROLLED)),
    "another request was rejected": Circumstance({}, beside=lambda ledger: decide(ledger, _other(ledger), REJECTED)),
    "another campaign of the badge waits": Circumstance(
        {"occasion": SHARED}, beside=lambda ledger: waits(ledger, _of_the_badge(ledger))
    ),
    "another campaign of the badge has proven it": Circumstance(
        {"occasion": SHARED}, beside=lambda ledger: decide(ledger, _of_the_badge(ledger), ENROLLED)
    ),
    "Canary is off": Circumstance({"canary": False, "cap": 10}),
}


@dataclass
class Played:
    """A run that has ended somehow, and the later runs that are played."""

    ledger: Ledger
    order: Order
    customers: range
    made: Plan

    def next(self, **changes: Any) -> Plan:  # noqa: ANN401 - fields of an order
        """Return what a later run with the same occasion and settings would plan, or with these changed."""
        order = replace(self.order, run_id="next", **changes)
        return plan(self.ledger, self.customers, order, dry_run=True)

    def agrees(self, said: str) -> list[str]:
        """Return what is claimed of a later run, each compared with the run that is played."""
        said = said.replace(f"if the configuration is proven then, {TAKES}", "").replace(
            f"If the configuration is proven then, {TAKES}", ""
        )
        found = []
        assert "next run" not in said.replace("if its next run has the same occasion", ""), "which one, nobody knows"
        if TAKES in said or f"{TAKES[0].upper()}{TAKES[1:]}" in said:
            found.append("takes")
            new = self.next(cap=None, canary=False).planned
            assert self.next().planned == min(new, self.order.cap or new)
            assert self.next().planned > 0
            assert not self.next().canary
        if "plans nobody" in said:
            found.append("nobody")
            now = self.next(canary=True, cap=None)
            assert (now.planned, now.canary) == (0, True)
            assert now.waits_for_canary or not self.next(canary=False).planned
        if canary_now(None) in said:
            found.append("few")
            now = self.next(canary=True, cap=None)
            assert now.canary
            assert not now.waits_for_canary
            assert 0 <= now.planned <= 10
        if "is not a canary" in said or "The configuration is proven since" in said:
            found.append("proven")
            assert not self.next(canary=True).canary
        return found


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger's file without a row: to make one takes longer than a test."""
    path = tmp_path_factory.mktemp("empty") / "ledger.db"
    with Ledger(f"sqlite:///{path}", new=True) as made:
        create(made.engine)
    return path


@pytest.fixture
def ledger(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger of the task `report`."""
    path = shutil.copy(empty, tmp_path)
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.setenv("AIRFLOW_CONN_BADGE_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with Ledger(f"sqlite:///{path}") as ledger:
        yield ledger


@pytest.fixture
def make(ledger: Ledger) -> Callable[[str, str], Played]:
    """Return how a canary is brought to an end in a circumstance."""

    def made(end: str, circumstance: str) -> Played:
        around = CIRCUMSTANCES[circumstance]
        changes = dict(around.changes)
        customers = changes.pop("customers", EVERYBODY)
        size, act = ENDS[end]
        size = 2 if size < 10 and changes.get("cap") == 4 else size
        around.before(ledger)
        order = replace(CANARY, customers_per_request=size, **changes)
        if changes.get("retry"):
            customers = range(1, 26)
        planned = plan(ledger, customers, order)
        act(ledger, [int(each.id) for each in requests_of(ledger, planned)])
        around.beside(ledger)
        return Played(ledger, order, customers, planned)

    return made


def reported(made: Plan, policy: Policy | None = None) -> str:
    reference = PlanReference.of(made).to_xcom()
    task = ReportBadgesOperator(task_id="report", plan=reference, policy=policy)
    ti = SimpleNamespace(dag_id="spring", run_id="canary", task_id="report", map_index=-1, xcom_push=Pushed())
    try:
        return str(task.execute(cast("Context", {"ti": ti, "params": {}}))["sentence"])
    except AirflowFailException as error:
        return str(error)


def page(ledger: Ledger, made: Plan, sentence: str) -> str:
    """Return what the page of a run adds to its report."""
    of_run = OpenPlan(made.badge_run_id or 0)
    with ledger.read() as tx:
        counts = funnel(tx, of_run)
        since = Since(
            funnel=counts,
            failures=failures(tx, of_run),
            left=None if counts.requests_open else failures(tx, of_run),
            ended=None,
            left_now=left_now(tx, [of_run]),
            canary=open_canary(tx, of_run) if counts.canary and not counts.planned else None,
        )
    return after(since, {"sentence": sentence}, frozenset({"spring", "autumn"})).sentence


def matters(ledger: Ledger) -> Iterator[tuple[Kind, str]]:
    """Yield what needs a person of the campaign, in words."""
    with ledger.read() as tx:
        for each in attention(tx):
            if each.campaign == "spring" and each.kind in {Kind.FAILED, Kind.CANARY_WAITS, Kind.CANARY_PASSED}:
                for on_page in (False, True):
                    said = said_of(each, tx.now, on_page=on_page)
                    yield each.kind, f"{said.title}. {said.means} {said.to_do}"


@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
@pytest.mark.parametrize("end", ENDS)
def test_what_is_said_of_a_later_run_is_what_it_plans(
    ledger: Ledger, make: Callable[[str, str], Played], end: str, circumstance: str
) -> None:
    played = make(end, circumstance)
    for policy in (None, PASSES):
        sentence = reported(played.made, policy)
        claims = played.agrees(sentence)
        with ledger.read() as tx:
            counts = funnel(tx, OpenPlan(played.made.badge_run_id or 0))
        assert claims or not counts.over_cap, "nobody is left behind without a word"
        played.agrees(page(ledger, played.made, sentence))
    of_failed = replace(played.order, retry=frozenset({Outcome.REJECTED, Outcome.FAILED, Outcome.UNCONFIRMED}))
    retried = replace(played, order=of_failed)
    for kind, said in matters(ledger):
        claims = (retried if kind is Kind.FAILED else played).agrees(said)
        if kind is Kind.FAILED:
            assert ("nobody" in claims) is retried.next(canary=True).waits_for_canary, said


@pytest.mark.parametrize("dead", [False, True], ids=["alive", "dead"])
@pytest.mark.parametrize("circumstance", ["as it comes", "a cap above ten", "an occasion a day"])
@pytest.mark.parametrize("end", ENDS)
def test_a_held_run_says_what_a_later_one_plans(ledger: Ledger, end: str, circumstance: str, *, dead: bool) -> None:
    """It planned nobody while the canary was open; then the canary ended somehow."""
    changes = CIRCUMSTANCES[circumstance].changes
    size, act = ENDS[end]
    order = replace(CANARY, customers_per_request=size, **changes)
    canary = plan(ledger, EVERYBODY, order)
    held = plan(ledger, EVERYBODY, replace(order, run_id="held"))
    assert held.waits_for_canary
    played = Played(ledger, order, EVERYBODY, held)
    then = reported(held)
    act(ledger, [int(each.id) for each in requests_of(ledger, canary)])
    if dead:
        _dies(ledger)
    sentence = reported(held)
    claims = played.agrees(sentence)
    is_held = played.next().waits_for_canary
    assert bool(claims) is not is_held
    assert ("is not decided yet" in sentence or "not settled yet" in sentence) is is_held
    assert ("have the checker decide it" in sentence) is (end in {"undecided", "one rejected, one undecided"})
    for said in (sentence, then):
        now = page(ledger, held, said)
        played.agrees(now)
        assert ("It is held still" in now) is is_held
    for _kind, said in matters(ledger):
        played.agrees(said)


def test_what_wait_says_of_requests_that_were_never_sent_is_so_after_report(place: Place) -> None:
    """An own request that nobody will ever decide holds no later run: report gives it back."""
    account = CapillaryHook("capillary").get_settings().account
    order = replace(CANARY, spec=replace(CANARY.spec, account=account))
    made = plan(place.ledger, EVERYBODY, order)
    reference = PlanReference.of(made).to_xcom()
    with pytest.raises(AirflowFailException, match="never sent; report gives their customers back") as failed:
        BadgeRequestSensor(task_id="wait", plan=reference).execute(place.context(task_id="wait"))
    reported(made)
    assert Played(place.ledger, order, EVERYBODY, made).agrees(str(failed.value)) == ["few"]


def test_a_page_says_once_that_another_request_holds_it_no_more(ledger: Ledger) -> None:
    """A verdict that named another run's open request is of then; so is one that named none."""
    made = plan(ledger, EVERYBODY, CANARY)
    decide(ledger, int(requests_of(ledger, made)[0].id), REJECTED)
    small = reported(made)
    played = Played(ledger, CANARY, EVERYBODY, made)
    assert page(ledger, made, small) == ""
    other = _other(ledger)
    waits(ledger, other)
    assert played.agrees(page(ledger, made, small)) == ["nobody"]
    waiting = reported(made)
    assert page(ledger, made, waiting) == ""
    decide(ledger, other, REJECTED)
    assert played.agrees(page(ledger, made, waiting)) == ["few"]
    assert page(ledger, made, small) == ""


@pytest.mark.parametrize("canary", [True, False], ids=["Canary on", "Canary off"])
@pytest.mark.parametrize("end", ENDS)
def test_what_a_later_run_has_left_is_said_as_the_one_after_it_plans(ledger: Ledger, end: str, *, canary: bool) -> None:
    """The page of the first run speaks of what the second has left; between them the second has ended somehow."""
    size, act = ENDS[end]
    order = replace(CANARY, customers_per_request=size, canary=canary, cap=10)
    first = plan(ledger, EVERYBODY, replace(order, run_id="first"))
    for each in requests_of(ledger, first):
        decide(ledger, int(each.id), REJECTED)
    sentence = reported(first)
    second = plan(ledger, EVERYBODY, replace(order, run_id="second"))
    assert (second.planned, second.over_cap) == (10, 40)
    act(ledger, [int(each.id) for each in requests_of(ledger, second)])
    reported(second)
    played = Played(ledger, order, EVERYBODY, first)
    said = page(ledger, first, sentence)
    assert "It left 50; the last run since has left" in said
    assert "nobody" in played.agrees(said) or played.next().planned
    for _kind, said in matters(ledger):
        played.agrees(said)
