"""One request, whoever may act on it, and the platform: every step that can be taken from a state.

An actor is a process: a submitting task, its cleared twin, a wait or the upkeep. Each can claim, post, handle a
reply late, read the list, judge absence, send again, settle, and die once. What changes the ledger is the
product's own: `capillary.ledger.request_rows`, `capillary.ledger.settle`, and the handlers of
`capillary.engine.send`, `capillary.engine.sightings` and `capillary.engine.settle` around them.

The timing assumption in ticks: a POST starts in the tick of its claim or not at all, arrives at most
`POST_TICKS` later, and shows in the list at most `LAG_TICKS` after that. Absence may be judged by a scan begun
after the sum.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

from capillary.api.badges import BulkItem, Execution
from capillary.api.client import Client
from capillary.api.errors import NotTaken, RequestRefused
from capillary.api.request_workflow import WorkflowRequest
from capillary.engine import send, settle, sightings
from capillary.engine.runtime import Runtime
from capillary.ledger import request_rows
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import Claim, ConfirmedAbsence
from tests.states.one_request import (
    ACCOUNT,
    CUSTOMERS,
    KEY,
    NOW,
    PLANNED,
    REQUEST,
    RUN,
    TICK,
    OneRequestLedger,
    OneTransaction,
    Rows,
    moment,
)

POST_TICKS: Final = 1
LAG_TICKS: Final = 1
DOUBT: Final = (POST_TICKS + LAG_TICKS) * TICK
#: Claims of one request in all: the first, and as many again as the ledger allows.
MAX_TRIES: Final = 1 + request_rows.MAX_RESENDS

APPROVED: Final = "approved"  #: executed, and every customer enrolled
TWICE: Final = "failed"  #: approved and executed after its twin: error 809
REJECTED: Final = "rejected"
PARKED: Final = "AdminTask"


class Idle(NamedTuple):
    """Nothing in hand."""

    kind: str = "idle"


class Claimed(NamedTuple):
    """The claim is committed; the POST has not begun. `age` in ticks, 1 or more in one."""

    tries: int
    doubtful: bool
    age: int = 0
    kind: str = "claimed"


class Posted(NamedTuple):
    """The POST is under way, as this actor sees it."""

    tries: int
    doubtful: bool
    kind: str = "posted"


class Answered(NamedTuple):
    """A reply was read and not yet written down; `twin` and `state` of the request it speaks of, if any."""

    tries: int
    doubtful: bool
    answer: str
    twin: int = -1
    state: str = ""
    kind: str = "answered"


class Scanning(NamedTuple):
    """A reading of the list was begun, so many ticks from now (0 or less)."""

    tries: int
    begun: int
    kind: str = "scanning"


class Absent(NamedTuple):
    """The reading did not show the request."""

    tries: int
    begun: int
    kind: str = "absent"


class Reading(NamedTuple):
    """Single reads of all known sightings found them decided: twin and state of each."""

    rows: tuple[tuple[int, str], ...]
    kind: str = "reading"


Actor = Idle | Claimed | Posted | Answered | Scanning | Absent | Reading
IDLE: Final = Idle()
#: All that the sender's code asks of its client while it writes an answer down.
_CLIENT: Final = cast("Client", SimpleNamespace(settings=SimpleNamespace(account=ACCOUNT, sender="till")))


class Flying(NamedTuple):
    """A POST on its way; `age` in ticks."""

    tries: int
    age: int = 0


class OnPlatform(NamedTuple):
    """One request of the key on the platform; `age` in ticks since it arrived, while the list does not show it."""

    state: str = PARKED
    shown: bool = False
    age: int = 0


class State(NamedTuple):
    """Everything, at one moment."""

    rows: Rows
    actors: tuple[Actor, ...]
    flying: tuple[Flying, ...] = ()
    platform: tuple[OnPlatform, ...] = ()
    crashes: int = 0


class Step(NamedTuple):
    """One step and where it leads."""

    label: str
    state: State


@dataclass(frozen=True, slots=True)
class RequestModel:
    """The steps of one request.

    Attributes:
        ledger: its rows, and the product that changes them.
        in_time: whether the timing assumption holds. Where it does not, a POST may start at any later time, and
            one at a time may arrive or show at any later time.
        actors: how many processes there are.
        crashes: how many of them may die.
        twins: how many requests of the key may come to stand on the platform; further POSTs do not arrive.
    """

    ledger: OneRequestLedger
    in_time: bool
    actors: int = 2
    crashes: int = 1
    twins: int = MAX_TRIES

    def first(self) -> State:
        """Return the state after the plan was committed."""
        return State(PLANNED, (IDLE,) * self.actors, crashes=self.crashes)

    def steps(self, state: State) -> Iterator[Step]:
        """Return every step that can be taken."""
        for place, actor in enumerate(state.actors):
            if place and actor == state.actors[place - 1]:
                continue  # they are sorted: the same step by another name
            for label, rows, now, flying in self._acts(state, actor):
                yield self._step(f"{actor.kind} {label}", state, place, now, rows=rows, flying=flying)
            if actor is not IDLE and actor.kind != "idle" and state.crashes:
                yield self._step(f"{actor.kind} dies", state, place, IDLE, crashes=state.crashes - 1)
        yield from self._network(state)
        yield from self._checker(state)
        if state.rows.request is not None:
            rows, freed = self.ledger.change(state.rows, "discard", _discard)
            if freed:
                yield Step("report gives back what was never sent", state._replace(rows=rows))
        if self._may_tick(state):
            yield Step("tick", _tick(state))

    # Actors ---------------------------------------------------------------------------------------------------

    def _acts(self, state: State, actor: Actor) -> Iterator[tuple[str, Rows, Actor, tuple[Flying, ...] | None]]:
        match actor:
            case Idle():
                yield from self._begin(state)
            case Claimed(tries, doubtful, age):
                if age == 0 or not self.in_time:
                    yield "posts", state.rows, Posted(tries, doubtful), (*state.flying, Flying(tries))
                    yield "cannot connect", self._not_taken(state, actor), IDLE, None
                if age:
                    yield "was held up", self._not_taken(state, actor), IDLE, None
            case Posted(tries, doubtful):
                yield "loses the reply", self._handle(state, actor, "doubt"), IDLE, None
            case Answered():
                yield f"handles {actor.answer}", self._handle(state, actor, actor.answer), IDLE, None
            case Scanning(tries, begun):
                rows, seen = self._record_shown(state)
                yield ("finds it", rows, IDLE, None) if seen else ("misses it", rows, Absent(tries, begun), None)
            case Absent(tries, begun):
                yield from self._judge(state, tries, begun)
            case Reading(read):
                yield "settles", self._settle(state, read), IDLE, None

    def _begin(self, state: State) -> Iterator[tuple[str, Rows, Actor, None]]:
        request = state.rows.request
        if request is None:
            return
        if request.tries < MAX_TRIES:
            rows, claim = self.ledger.change(state.rows, "claim", _claim)
            if (claimed := _claimed(rows, claim)) is not None:
                yield "claims", rows, claimed, None
        # The product looks only at doubts that are due; the ledger must refuse a judgement that came too early.
        if request.status == "sending":
            yield "begins to read the list", state.rows, Scanning(request.tries, 0), None
        if request.status == "waiting":
            known = [int(sighting.name) for sighting in state.rows.sightings]
            read = tuple((twin, state.platform[twin].state) for twin in known)
            if read and all(decided != PARKED for _, decided in read):
                yield "reads what it knows of", state.rows, Reading(read), None
        if any(twin.shown for twin in state.platform):
            rows, _ = self._record_shown(state)
            if rows != state.rows:
                yield "records the list", rows, IDLE, None

    def _judge(self, state: State, tries: int, begun: int) -> Iterator[tuple[str, Rows, Actor, None]]:
        absence = ConfirmedAbsence(REQUEST, KEY, tries, moment(begun))
        if state.rows.request is not None and state.rows.request.resends >= request_rows.MAX_RESENDS:
            rows, _ = self.ledger.change(
                state.rows, ("give up", tries, begun), lambda tx: request_rows.give_up(tx, absence)
            )
            yield "gives up", rows, IDLE, None
            return

        def resend(tx: Transaction) -> Claim | None:
            return request_rows.resend(tx, absence, sender="till", doubt_after=DOUBT)

        rows, claim = self.ledger.change(state.rows, ("resend", tries, begun), resend)
        yield "claims again", rows, _claimed(rows, claim) or IDLE, None

    def _record_shown(self, state: State) -> tuple[Rows, bool]:
        shown = tuple((n, twin.state) for n, twin in enumerate(state.platform) if twin.shown)
        if not shown:
            return state.rows, False

        def record(tx: Transaction) -> bool:
            recorded = sightings.record_rows(tx, ACCOUNT, "till", [row_of(*each) for each in shown])
            return REQUEST in recorded.rows

        return self.ledger.change(state.rows, ("record", shown), record)

    def _not_taken(self, state: State, actor: Claimed) -> Rows:
        return self._handle(state, Answered(actor.tries, actor.doubtful, "not taken"), "not taken")

    def _handle(self, state: State, actor: Posted | Answered, answer: str) -> Rows:
        """Let the sender's own code write an answer down."""

        def handle(tx: Transaction) -> None:
            sender = send.Sender(cast("Ledger", OneTransaction(tx)), _CLIENT, Runtime(), cast("Any", None))
            held = Claim(REQUEST, KEY, actor.tries, claimed_at=NOW)
            match answer:
                case "accepted":
                    assert isinstance(actor, Answered)
                    run(sender._accepted(held, row_of(actor.twin, actor.state)))
                case "refused":
                    no = RequestRefused(http_status=400, code=2008, reason="the payload is not valid")
                    run(sender._refused(held, no))
                case "not taken":
                    run(sender._not_taken(held, NotTaken(reason="no connection")))
                case _:
                    run(sender._doubted(held, "no whole answer"))

        rows, _ = self.ledger.change(state.rows, ("handle", answer, actor), handle)
        return rows

    def _settle(self, state: State, read: tuple[tuple[int, str], ...]) -> Rows:
        def settled(tx: Transaction) -> bool:
            return settle._settle(cast("Ledger", OneTransaction(tx)), REQUEST, [row_of(*each) for each in read])

        rows, _ = self.ledger.change(state.rows, ("settle", read), settled)
        return rows

    def _step(
        self,
        label: str,
        state: State,
        place: int,
        now: Actor,
        *,
        rows: Rows | None = None,
        flying: tuple[Flying, ...] | None = None,
        crashes: int | None = None,
    ) -> Step:
        actors = [*state.actors[:place], now, *state.actors[place + 1 :]]
        return Step(
            label,
            State(
                state.rows if rows is None else rows,
                _sorted(actors),
                _known_by(state.flying if flying is None else flying, actors),
                state.platform,
                state.crashes if crashes is None else crashes,
            ),
        )

    # The platform ---------------------------------------------------------------------------------------------

    def _network(self, state: State) -> Iterator[Step]:
        for place, post in enumerate(state.flying):
            landed = state._replace(flying=state.flying[:place] + state.flying[place + 1 :])
            yield Step("a POST is lost", landed)
            if len(state.platform) < self.twins:
                arrived = landed._replace(platform=(*state.platform, OnPlatform()))
                yield Step("a POST arrives", _answer(arrived, post.tries, "accepted", len(state.platform)))
            for word in ("refused", "not taken"):
                answered = _answer(landed, post.tries, word)
                if answered != landed:
                    yield Step(f"a POST is {word}", answered)

    def _checker(self, state: State) -> Iterator[Step]:
        executed = any(twin.state == APPROVED for twin in state.platform)
        for place, twin in enumerate(state.platform):
            if not twin.shown:
                yield Step("the list shows it", _with_twin(state, place, twin._replace(shown=True, age=0)))
            if twin.state == PARKED:
                approved = TWICE if executed else APPROVED
                yield Step("the checker approves", _with_twin(state, place, twin._replace(state=approved)))
                yield Step("the checker rejects", _with_twin(state, place, twin._replace(state=REJECTED)))

    def _may_tick(self, state: State) -> bool:
        late = sum(post.age >= POST_TICKS for post in state.flying)
        hidden = sum(not twin.shown and twin.age >= LAG_TICKS for twin in state.platform)
        return late + hidden <= (0 if self.in_time else 1)


def row_of(twin: int, state: str) -> WorkflowRequest:
    """Return one request as the platform shows it."""
    execution = None
    if state == APPROVED:
        items = tuple(BulkItem(customer, f"issue-{customer}", "ACTIVE", None, failed=False) for customer in CUSTOMERS)
        execution = Execution(200, items, ())
    elif state == TWICE:
        execution = Execution(400, None, (809,))
    return WorkflowRequest(
        platform_request_id=str(twin),
        request_type="ISSUE-BADGE",
        state=state,
        request_key=KEY,
        customers=CUSTOMERS,
        badge_id="b" * 24,
        human_decided=state != PARKED,
        checker_message=None,
        created_at=None,
        execution=execution,
    )


def run(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run what waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited for something")


def _claim(tx: Transaction) -> Claim | None:
    return request_rows.claim(tx, REQUEST, badge_run_id=OpenPlan(RUN), sender="till", doubt_after=DOUBT)


def _claimed(rows: Rows, claim: Claim | None) -> Claimed | None:
    """Return what a sender holds; no refusal counts of what was sent before."""
    if claim is None or rows.request is None:
        return None
    return Claimed(claim.tries, rows.request.resends > 0)


def _discard(tx: Transaction) -> int:
    return request_rows.discard_unsent(tx, badge_run_ids=[OpenPlan(RUN)])


def _answer(state: State, tries: int, word: str, twin: int = -1) -> State:
    """Give an answer to whoever waits for it; nobody may."""
    for place, actor in enumerate(state.actors):
        if isinstance(actor, Posted) and actor.tries == tries:
            shown = PARKED if word == "accepted" else ""
            answered = Answered(tries, actor.doubtful, word, twin, shown)
            return state._replace(actors=_sorted([*state.actors[:place], answered, *state.actors[place + 1 :]]))
    return state


def _known_by(flying: tuple[Flying, ...], actors: list[Actor]) -> tuple[Flying, ...]:
    """Forget whose a POST was when nobody waits for its reply."""
    if not flying:
        return flying
    waited_for = {actor.tries for actor in actors if isinstance(actor, Posted)}
    return tuple(sorted(Flying(post.tries if post.tries in waited_for else 0, post.age) for post in flying))


def _with_twin(state: State, place: int, twin: OnPlatform) -> State:
    return state._replace(platform=(*state.platform[:place], twin, *state.platform[place + 1 :]))


def _sorted(actors: list[Actor]) -> tuple[Actor, ...]:
    return tuple(sorted(actors, key=lambda actor: (actor.kind, repr(actor))))


def _tick(state: State) -> State:
    """Let a tick pass. Of moments gone by only their order counts."""
    request = state.rows.request
    moments = [actor.begun - 1 for actor in state.actors if isinstance(actor, Scanning | Absent)]
    if request is not None and request.doubt_from is not None:
        moments.append(request.doubt_from - 1)
    gone = {value: -place for place, value in enumerate(sorted({m for m in moments if m < 0}, reverse=True), start=1)}

    def later(ticks: int) -> int:
        return gone.get(ticks - 1, ticks - 1)

    if request is not None and request.doubt_from is not None:
        request = request._replace(doubt_from=later(request.doubt_from))
    actors: list[Actor] = []
    for actor in state.actors:
        match actor:
            case Scanning() | Absent():
                actors.append(actor._replace(begun=later(actor.begun)))
            case Claimed():
                actors.append(actor._replace(age=1))
            case _:
                actors.append(actor)
    return State(
        state.rows._replace(request=request),
        _sorted(actors),
        tuple(Flying(post.tries, min(post.age + 1, POST_TICKS)) for post in state.flying),
        tuple(twin if twin.shown else twin._replace(age=min(twin.age + 1, LAG_TICKS)) for twin in state.platform),
        state.crashes,
    )
