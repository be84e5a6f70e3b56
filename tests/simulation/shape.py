"""What a seed draws before its world begins: sizes, rates, habits. Everything else is drawn on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

from capillary.ledger.status import Outcome
from sandbox.settings import EchoedKey

HOUR: Final = 3600.0
MINUTE: Final = 60.0
DAY: Final = 24 * HOUR

#: Of ten seeds in a row.
_MODES: Final = "SSBSSSBSSR"


#: Of so many seeds two have a platform that echoes keys altered, and one approves by itself after its reply, or has a
#: ledger's clock that is set forward.
_ECHOING: Final = frozenset({5, 15})
_EVIDENT: Final = 25
#: Of so many seeds one is a restored world whose ledger is lost for long (with two tills, by lot), one a strict one
#: whose till changes, and two are strict ones in which senders freeze often, with an answer in their hands.
_OFTEN: Final = 40
_LOST: Final = 39
_NEW_TILL: Final = 13
#: And strict ones in which nothing runs for weeks, on a platform that clips long lists in silence.
_IDLE: Final = 7
#: Of so many seeds one is a restored world whose list shows neither keys nor customers.
_LEAN: Final = (120, 59)
_FREEZING: Final = frozenset({3, 23})
#: And strict ones whose replies ask for pauses and are often no answers, and whose rows are damaged.
_PAUSING: Final = 17
_DAMAGED: Final = frozenset({35, 37})
#: A strict one whose pages of the list may be larger than is read.
_HEAVY: Final = 21
#: And strict ones whose list leaves out or cuts what single reads show, where codes that refuse nothing stand beside
#: issued ids, and where the retries ask for whoever failed.
_LEAN_ROWS: Final = frozenset({27, 31})
#: A strict one in which calls end in their middle, and lines say in undocumented places that something went wrong.
_ENDING_ODDLY: Final = 33
#: One whose assumption is broken by a gateway that delivers POSTs twice at once, on one page of the list.
_DOUBLING: Final = 32


#: Outcomes after which the customers of some worlds are asked for again.
_RETRIED: Final = frozenset({Outcome.REJECTED, Outcome.FAILED, Outcome.UNCONFIRMED, Outcome.NOT_ACCEPTED})
#: And two in which so much is lost that submit leaves its worker and comes back: a strict one, and one whose ledger's
#: server fails over.
_WAITING: Final = 1
_WAITING_OVER: Final = 11


class Mode(StrEnum):
    """Which assumptions hold in a world."""

    STRICT = "strict"  #: a POST arrives within its timeout and shows in the list within the lag: no breach at all
    BROKEN = "broken"  #: that assumption is broken: twins under one key may come, and must be found and named
    #: The ledger is set back to an earlier copy: nothing more may be sent for known customers. Nobody lives through
    #: that; or its server fails over and everybody does.
    RESTORED = "restored"


class Addresses(StrEnum):
    """How the connections of a world lead to its platform; every second run uses the second one."""

    ONE = "one"  #: one address
    SCHEMES = "schemes"  #: one address in two spellings, http and https
    NAMED = "named"  #: two addresses, and the second connection's Account address names the first
    UNNAMED = "unnamed"  #: two addresses; a person fills in the Account address at the end of the disturbed part


class Campaigns(StrEnum):
    """Which campaigns there are for a badge; every second run is the second one's."""

    ONE = "one"  #: one, with an occasion of its own
    COPIES = "copies"  #: two that name no occasion, as a file and its copy
    SHARED = "shared"  #: two that share an occasion and say so


def mode_of(seed: int) -> Mode:
    """Return the mode of a seed's world."""
    return {"S": Mode.STRICT, "B": Mode.BROKEN, "R": Mode.RESTORED}[_MODES[seed % len(_MODES)]]


def campaign_of(occasion: int) -> str:
    """Return the name of an occasion's campaign."""
    return f"campaign {occasion}"


def copy_of(occasion: int) -> str:
    """Return the name of the campaign that is a copy of an occasion's first one."""
    return f"{campaign_of(occasion)}, copied"


@dataclass(frozen=True, slots=True)
class RunShape:
    """One DAG run.

    Attributes:
        occasion: index of its occasion.
        starts: seconds after the beginning.
        rows: what the warehouse's query yields, in batches: ids, doubles and values that are none.
        size: customers per request.
        cap: most customers, or None.
        canary: held small while the spec is unproven.
        retry: outcomes after which customers are asked for again.
    """

    occasion: int
    starts: float
    rows: tuple[tuple[object, ...], ...]
    size: int
    cap: int | None
    canary: bool
    retry: frozenset[Outcome]


@dataclass(frozen=True, slots=True)
class StopShape:
    """One stop of a person.

    Attributes:
        begins, ends: seconds after the beginning; resumed at the end.
        occasion: index of the occasion whose campaign is stopped; None for the whole account.
    """

    begins: float
    ends: float
    occasion: int | None


@dataclass(frozen=True, slots=True)
class Shape:
    """One world. Rates are probabilities at each opportunity; times are seconds."""

    seed: int
    mode: Mode
    runs: tuple[RunShape, ...]
    horizon: float
    # processes
    crash: float
    outage: float
    slow_commit: float
    freeze: float
    zombie: float
    replan: float
    abandon: float
    retry_delay: float
    lease: float
    in_flight: int
    poll: float
    max_poll: float
    # network and platform
    fault: float
    storms: tuple[tuple[float, float, str], ...]
    late_posts: float
    post_timeout: float
    visibility_lag: float
    node_lags: tuple[float, ...]
    stale_for: float
    page_size: int
    page_base: int
    shifting_pages: bool
    hidden_rows: bool
    skew: float
    timezone: str
    calls_per_minute: int
    real_pace: bool
    oauth: bool
    wall_jumps: bool
    # people
    decision_mean: float
    reject: float
    ignore: float
    extra_node: bool
    auto_approve: bool
    fails_partly: bool
    odd_outputs: float
    unknown_customers: frozenset[int]
    holders: frozenset[int]
    short_badge: bool
    switch_offs: tuple[tuple[float, float], ...]
    # the ledger's server
    fails_over: bool
    late_refusals: bool
    # identities
    addresses: Addresses = Addresses.ONE
    campaigns: Campaigns = Campaigns.ONE
    # from here on drawn by lots of their own: a new draw leaves the worlds of before as they are
    stops: tuple[StopShape, ...] = ()
    # a ledger that is lost, so long after what it knew; and how far back the list may be asked for, or 0
    lost_for: float = 0.0
    list_reaches: float = 0.0
    # another till in the connection from then on, or 0; and whether each till is shown its own requests alone
    new_till_at: float = 0.0
    own_rows_only: bool = False
    # every second run has a connection with another till, and campaigns of its own
    two_tills: bool = False
    # nothing runs for so long, from the middle on; and of a list of more days the platform shows so many, the first
    # ones or else the last ones, and says nothing
    idle_for: float = 0.0
    list_days: int = 0
    first_days: bool = False
    # the list leaves the details of requests out; single reads show them
    lean_list: bool = False
    # every reply of a busy or failing platform may carry Retry-After; and what is asked of a badge may get no answer
    asks_for_pauses: bool = False
    no_answers: float = 0.0
    # the checker writes in bytes that are no UTF-8; and states of the list are damaged on the way
    odd_bytes: bool = False
    damaged_states: float = 0.0
    # most bytes of a page of several rows that is read to its end, or 0
    largest_page: int = 0
    # how replies show the keys of requests; and after how many seconds the platform executes one by itself, or 0
    echoed_key: EchoedKey = EchoedKey.AS_SENT
    approves_after: float = 0.0
    # when the ledger's clock is set forward, and by how much; 0 for never
    clock_set_at: float = 0.0
    clock_set_by: float = 0.0
    # rows of the list whose output is missing or cut; executed requests with codes that refuse nothing beside ids
    lean_rows: float = 0.0
    odd_codes: float = 0.0
    # executed requests that show a refusal of the whole call; lines of refused customers that show it elsewhere
    ends_in_mid_call: float = 0.0
    misplaced_errors: bool = False
    # share of the POSTs that arrive two times
    doubled_posts: float = 0.0
    # the platform says of every request that its own check of the payload failed, and lets it wait nevertheless
    fail_checks: bool = False


def draw_shape(seed: int) -> Shape:
    """Return the shape of a seed's world."""
    shape = _draw_shape(seed)
    more = Random(seed * 104_729 + 3)  # noqa: S311 - drawn apart, so that the worlds of before stay as they are
    if seed % _LEAN[0] == _LEAN[1]:
        return replace(shape, lean_list=True, fails_over=False, addresses=Addresses.ONE, stops=())
    kind = _KINDS.get(seed % _OFTEN)
    return shape if kind is None else kind(shape, more)


def _lost(shape: Shape, more: Random) -> Shape:
    lost_for = more.choice((31, 45, 120, 1_000)) * DAY
    lost = replace(shape, lost_for=lost_for, list_reaches=more.choice((0.0, 0.0, 40 * DAY)), fails_over=False)
    return _with_two_tills(lost) if more.random() < 0.5 else lost


def _with_heavy_pages(shape: Shape, more: Random) -> Shape:
    largest, rows = more.choice((1, 1, 2_500, 5_000)), more.choice((4, 7, 25))
    heavy = replace(shape, largest_page=largest, page_size=rows, horizon=4 * HOUR, fault=max(shape.fault, 0.5))
    return replace(heavy, late_posts=0.0, post_timeout=5.0, visibility_lag=60.0, node_lags=(more.uniform(0.0, 50.0),))


def _with_frozen_senders(shape: Shape, more: Random) -> Shape:
    quick = replace(shape, post_timeout=5.0, visibility_lag=60.0, node_lags=(more.uniform(0.0, 50.0),))
    return replace(quick, horizon=4 * HOUR, freeze=0.1, fault=0.3, crash=0.0, zombie=0.8)


def _standing_idle(shape: Shape, more: Random) -> Shape:
    idle_for = more.choice((20, 45, 100)) * DAY
    idle = replace(shape, idle_for=idle_for, list_days=more.choice((31, 40)), first_days=more.random() < 0.5)
    return replace(idle, horizon=4 * HOUR, fault=max(shape.fault, 0.3), stops=(), switch_offs=())


def _with_new_till(shape: Shape, more: Random) -> Shape:
    return replace(
        shape,
        horizon=4 * HOUR,
        fault=max(shape.fault, 0.3),
        decision_mean=0.0,
        oauth=False,
        new_till_at=more.choice((30.0, more.uniform(1.0, 20 * MINUTE))),
        own_rows_only=more.random() < 0.7,
    )


def _with_odd_replies(shape: Shape, more: Random) -> Shape:
    if shape.seed % _OFTEN in _DAMAGED:
        retry = frozenset({Outcome.FAILED, Outcome.UNCONFIRMED})
        runs = tuple(
            replace(each, occasion=0, retry=retry, canary=False, cap=None, starts=0.4 * number * shape.horizon)
            for number, each in enumerate(shape.runs)
        )
        unclear = replace(shape, runs=runs, odd_outputs=0.8, reject=0.0, ignore=0.0, decision_mean=60.0)
        return replace(unclear, odd_bytes=True, damaged_states=more.choice((0.0, 0.2)), no_answers=0.5)
    begins = more.uniform(0.0, 300.0)
    storms = ((begins, begins + more.choice((300.0, 1200.0)), more.choice(("busy", "busy", "500"))),)
    paused = replace(shape, asks_for_pauses=True, no_answers=0.5, real_pace=True, storms=storms, fault=0.3)
    return replace(paused, addresses=Addresses.ONE, crash=0.0, freeze=0.0, calls_per_minute=60)


def _with_altered_keys(shape: Shape, _: Random) -> Shape:
    own = Random(shape.seed * 104_729 + 41)  # noqa: S311 - chance that can be repeated
    kinds = [kind for kind in EchoedKey if kind is not EchoedKey.AS_SENT]
    return replace(shape, echoed_key=own.choice(kinds), fault=max(shape.fault, 0.3), horizon=4 * HOUR)


def _with_late_approval_or_clock(shape: Shape, _: Random) -> Shape:
    own = Random(shape.seed * 104_729 + 43)  # noqa: S311 - chance that can be repeated
    if own.random() < 0.5:
        runs = tuple(replace(each, size=1) for each in shape.runs)
        calm = replace(shape, fault=0.0, storms=(), stale_for=0.0, auto_approve=False)  # what is read is answered
        return replace(calm, approves_after=own.choice((0.5, 2.0, 20.0)), runs=runs)
    quick = replace(shape, real_pace=False, fault=max(shape.fault, 0.3), horizon=4 * HOUR)
    by = own.choice((5 * MINUTE, 30 * MINUTE, 2 * HOUR, DAY))
    return replace(quick, clock_set_at=own.choice((2.0, 20.0, own.uniform(0, HOUR))), clock_set_by=by)


def _with_lean_rows(shape: Shape, more: Random) -> Shape:
    retried = tuple(replace(each, retry=_RETRIED) for each in shape.runs)
    lean = replace(shape, runs=retried, lean_rows=more.choice((0.4, 1.0)), odd_codes=more.choice((0.0, 0.5, 1.0)))
    quick = replace(lean, horizon=4 * HOUR, decision_mean=min(shape.decision_mean, 5 * MINUTE), auto_approve=False)
    return replace(quick, fail_checks=more.random() < 0.5)


def _ending_oddly(shape: Shape, more: Random) -> Shape:
    retried = tuple(replace(each, retry=_RETRIED) for each in shape.runs)
    values = {value for each in retried for batch in each.rows for value in batch if isinstance(value, int)}
    ids = sorted(value for value in values if value > 0)
    quick = replace(shape, runs=retried, horizon=4 * HOUR, decision_mean=min(shape.decision_mean, 5 * MINUTE))
    return replace(
        quick,
        auto_approve=False,
        odd_outputs=0.0,
        unknown_customers=frozenset(more.sample(ids, min(len(ids), 3))),
        reject=0.0,
        ends_in_mid_call=more.choice((0.0, 0.5)),
        misplaced_errors=True,
    )


def _with_doubled_posts(shape: Shape, more: Random) -> Shape:
    runs = tuple(replace(each, size=1, cap=None, canary=False, starts=min(each.starts, 300.0)) for each in shape.runs)
    quick = replace(
        shape, runs=runs, horizon=4 * HOUR, fault=0.4, late_posts=0.0, post_timeout=5.0, visibility_lag=60.0
    )
    plain = replace(quick, hidden_rows=False, auto_approve=False, shifting_pages=False, page_size=100)
    return replace(plain, node_lags=(more.uniform(0.0, 50.0),), doubled_posts=more.choice((0.2, 0.5)))


def _with_much_lost(shape: Shape, more: Random, *, fails_over: bool = False) -> Shape:
    """Return a world of many requests of which half are lost: doubt keeps the rest back for longer than a minute."""
    lost = replace(
        shape,
        runs=tuple(
            replace(each, size=1, cap=None, canary=False, starts=min(each.starts, 300.0)) for each in shape.runs
        ),
        horizon=4 * HOUR,
        fault=0.5,
        crash=0.0,
        storms=(),
        late_posts=0.0,
        in_flight=more.choice((2, 2, 3)),
        post_timeout=30.0,
        visibility_lag=60.0,
        node_lags=(more.uniform(0.0, 50.0),),
        hidden_rows=False,
        auto_approve=False,
        real_pace=False,
        addresses=Addresses.ONE,
        switch_offs=(),
    )
    if not fails_over:
        return lost
    # What the lost commits had sent shows late, and shortly before it is taken to show.
    late = replace(lost, fault=0.1, freeze=0.0, post_timeout=5.0, node_lags=(more.uniform(45.0, 58.0),), stale_for=0.0)
    return replace(late, mode=Mode.RESTORED, fails_over=True, late_refusals=False)


def _with_two_tills(shape: Shape) -> Shape:
    """Return a world of two tills that are shown their own requests alone; the first one sends after the loss only."""
    runs = tuple(
        replace(each, occasion=number % 2, starts=0.0 if number % 2 else 0.6 * shape.horizon)
        for number, each in enumerate(shape.runs)
    )
    return replace(shape, runs=runs, two_tills=True, own_rows_only=True, oauth=False, addresses=Addresses.ONE, stops=())


def _draw_shape(seed: int) -> Shape:
    rng = Random(seed * 7919 + 17)  # noqa: S311 - chance that can be repeated
    mode = mode_of(seed)
    pool = rng.sample(range(100_001, 100_041), rng.randint(4, 9))
    occasions = rng.choice((1, 1, 1, 2))
    retries = rng.choice((0, 0, 1)) and mode is Mode.STRICT
    horizon = rng.choice((0.6, 1.2, 1.2, 2.3)) * HOUR + (2 * HOUR if mode is not Mode.STRICT else 0)
    runs = tuple(
        _draw_run(rng, pool, occasion=rng.randrange(occasions), first=number == 0, retries=bool(retries))
        for number in range(rng.choice((2, 2, 3)))
    )
    post_timeout = rng.choice((5.0, 30.0, 60.0))
    lag = rng.choice((60.0, 60.0, 300.0, 900.0))
    slow = rng.random() < 0.15
    calm = rng.random() < 0.1
    chaos = 0.0 if calm else 1.0
    lags = tuple(rng.choice((0.0, 0.0, rng.uniform(0, 0.9 * lag))) for _ in range(rng.choice((1, 1, 2))))
    hidden = False
    late = 0.0
    if mode is Mode.BROKEN:
        late = rng.choice((0.0, 0.3, 0.6))
        lags = tuple(rng.choice((each, rng.uniform(lag, lag + 5 * HOUR))) for each in lags)
        hidden = rng.random() < 0.25
    # Drawn apart, so that every other draw of a seed stays what it was.
    server = Random(seed * 104_729 + 29)  # noqa: S311 - chance that can be repeated
    fails_over = mode is Mode.RESTORED and server.random() < 0.6
    if mode is Mode.RESTORED:
        lags, slow = (server.uniform(0, 0.9 * lag) if fails_over else 0.0,), False
    # A generator of its own: what is drawn above stays as it was.
    names = Random(seed * 104_729 + 5)  # noqa: S311 - chance that can be repeated
    addresses = names.choice((*[Addresses.ONE] * 5, *list(Addresses)[1:]))
    campaigns = names.choice((*[Campaigns.ONE] * 3, Campaigns.COPIES, Campaigns.COPIES, Campaigns.SHARED))
    drawn = Shape(
        seed=seed,
        mode=mode,
        runs=runs,
        horizon=horizon,
        crash=chaos * rng.choice((0.0, 0.0, 0.004, 0.02)),
        outage=chaos * rng.choice((0.0, 0.0, 0.005)),
        slow_commit=chaos * (0.02 if slow else 0.0),
        freeze=chaos * rng.choice((0.0, 0.0, 0.02, 0.06)),
        zombie=chaos * rng.choice((0.0, 0.5, 0.8)),
        replan=chaos * rng.choice((0.0, 0.2)),
        abandon=chaos * rng.choice((0.0, 0.3, 0.7)),
        retry_delay=rng.choice((1.0, 5.0)) * MINUTE,
        lease=rng.choice((0.5, 1, 6)) * HOUR,
        in_flight=rng.choice((1, 2, 4, 8)),
        poll=900.0,
        max_poll=1800.0,
        fault=chaos * rng.choice((0.05, 0.12, 0.3, 0.3)),
        storms=_draw_storms(rng, horizon) if chaos else (),
        late_posts=late,
        post_timeout=post_timeout,
        visibility_lag=lag,
        node_lags=lags,
        stale_for=chaos * rng.choice((0.0, 0.0, 120.0, 1200.0)),
        page_size=rng.choice((2, 2, 3, 100)),
        page_base=rng.choice((0, 0, 1)),
        shifting_pages=bool(chaos) and rng.random() < 0.1,
        hidden_rows=hidden,
        skew=rng.choice((0.0, 0.0, 90.0, -90.0, 24 * HOUR, -24 * HOUR)),
        timezone=rng.choice(("UTC", "Asia/Kolkata", "America/New_York")),
        calls_per_minute=rng.choice((6, 20, 60)),
        real_pace=rng.random() < 0.25,
        oauth=rng.random() < 0.25,
        wall_jumps=bool(chaos) and rng.random() < 0.3,
        decision_mean=rng.choice((0.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR)),
        reject=rng.choice((0.0, 0.0, 0.3)),
        ignore=rng.choice((0.0, 0.0, 0.3)),
        extra_node=rng.random() < 0.1,
        auto_approve=rng.random() < 0.05,
        fails_partly=rng.random() < 0.3,
        odd_outputs=rng.choice((0.0, 0.2, 0.5)),
        unknown_customers=frozenset(rng.sample(pool, 1)) if rng.random() < 0.2 else frozenset(),
        holders=frozenset(rng.sample(pool, 1)) if rng.random() < 0.2 else frozenset(),
        short_badge=rng.random() < 0.4,
        switch_offs=_draw_switch(rng, horizon) if chaos else (),
        fails_over=fails_over,
        stops=_draw_stops(seed, horizon, occasions) if chaos else (),
        addresses=addresses,
        campaigns=campaigns,
        late_refusals=fails_over and server.random() < 0.5,
    )
    if drawn.real_pace and addresses is Addresses.UNNAMED:
        return replace(drawn, addresses=Addresses.NAMED)  # two accounts have two budgets: no fault of the pace
    return drawn


def _draw_run(rng: Random, pool: list[int], *, occasion: int, first: bool, retries: bool) -> RunShape:
    customers: list[object] = list(rng.sample(pool, rng.randint(max(2, len(pool) // 2), len(pool))))
    if rng.random() < 0.2:
        customers.append(customers[0])
    if rng.random() < 0.2:
        customers.insert(rng.randrange(len(customers)), rng.choice((None, "", "abc", 0, -5, 1.5)))
    cut = rng.randint(0, len(customers))
    return RunShape(
        occasion=occasion,
        starts=0.0 if first else rng.choice((0.0, rng.uniform(0, 20 * MINUTE), rng.uniform(0, 3 * HOUR))),
        rows=tuple(tuple(part) for part in (customers[:cut], customers[cut:]) if part),
        size=rng.choice((1, 2, 2, 3)),
        cap=rng.choice((None, None, None, 3)),
        canary=rng.random() < 0.2,
        retry=_RETRIED if retries else frozenset(),
    )


def _draw_storms(rng: Random, horizon: float) -> tuple[tuple[float, float, str], ...]:
    if rng.random() < 0.75:
        return ()
    start = rng.uniform(0, horizon / 2)
    return ((start, start + rng.choice((60.0, 600.0, 3600.0)), rng.choice(("429", "busy", "down", "500"))),)


def _draw_switch(rng: Random, horizon: float) -> tuple[tuple[float, float], ...]:
    if rng.random() < 0.8:
        return ()
    start = rng.uniform(0, horizon / 2)
    return ((start, start + rng.choice((120.0, 3600.0))),)


def _draw_stops(seed: int, horizon: float, occasions: int) -> tuple[StopShape, ...]:
    rng = Random(seed * 104_729 + 5)  # noqa: S311 - chance that can be repeated
    if rng.random() < 0.7:
        return ()
    begins, stops = 0.0, []
    for _ in range(rng.choice((1, 1, 2))):
        begins += rng.choice((rng.uniform(0, 60.0), rng.uniform(0, horizon / 2)))
        ends = begins + rng.choice((20.0, 600.0, HOUR))
        stops.append(StopShape(begins, ends, rng.choice((None, rng.randrange(occasions)))))
        begins = ends
    return tuple(stops)


def _over_with_much_lost(shape: Shape, more: Random) -> Shape:
    return _with_much_lost(shape, more, fails_over=True)


#: What makes the worlds of some seeds, by their rest.
_KINDS: Final[Mapping[int, Callable[[Shape, Random], Shape]]] = {
    _LOST: _lost,
    _NEW_TILL: _with_new_till,
    _IDLE: _standing_idle,
    _PAUSING: _with_odd_replies,
    _HEAVY: _with_heavy_pages,
    _WAITING: _with_much_lost,
    _WAITING_OVER: _over_with_much_lost,
    _EVIDENT: _with_late_approval_or_clock,
    _ENDING_ODDLY: _ending_oddly,
    _DOUBLING: _with_doubled_posts,
    **dict.fromkeys(_DAMAGED, _with_odd_replies),
    **dict.fromkeys(_FREEZING, _with_frozen_senders),
    **dict.fromkeys(_ECHOING, _with_altered_keys),
    **dict.fromkeys(_LEAN_ROWS, _with_lean_rows),
}
