"""Clocks that jump, disagree, or change to summer time: nothing is sent early because of them.

Only one clock decides when absence may be judged: the ledger's. A worker's own wall clock, the platform's, and
any time zone must not matter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import URL, select

from capillary.api.request_workflow import WorkflowRequest
from capillary.api.transport import Reply
from capillary.engine.absence import doubt_after
from capillary.engine.doubt import resolve_doubt
from capillary.engine.platform_list import LOOK_BACK
from capillary.engine.runtime import Runtime
from capillary.engine.send import Sender
from capillary.engine.sightings import record_rows
from capillary.engine.watch import cluster_day, watch
from capillary.ledger import pace, scans
from capillary.ledger.database import Ledger
from capillary.ledger.history import take_as_read
from capillary.ledger.pace import START_WITHIN_S, slot_spacing_s
from capillary.ledger.request_rows import claim, resend
from capillary.ledger.schema import badge_request
from tests.unit.api.documented import decided, inner, page, row
from tests.unit.api.scripted import Platform, reply, settings
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import DOUBT, SPEC, absence, plan, request, requests_of, run, send

ACCOUNT = SPEC.account
SETTINGS = settings(base_url="https://platform.example", organisation_id="100", visibility_lag_s=900)
LAG_OF_ALL = doubt_after(SETTINGS)


class Lists(Platform):
    """Shows the page once more where it is asked for our type, right after it was asked for every type."""

    shown: Reply | None = None

    async def call(self, method: str, url: str, *, params: Mapping[str, str] | None = None, **options: Any) -> Reply:  # noqa: ANN401
        if self.shown is not None and params and "requestType" in params:
            shown, self.shown = self.shown, None
            return shown
        answer = await super().call(method, url, params=params, **options)
        self.shown = answer if params and "requestType" not in params else None
        return answer


def platform(*answers: Reply | BaseException) -> Lists:
    return Lists(list(answers))


@pytest.fixture
def planned(ledger: Ledger) -> int:
    request_id: int = requests_of(ledger, plan(ledger, [1, 2, 3]))[0].id
    return request_id


def sender(ledger: Ledger, wire: Platform) -> Sender:
    async def may_submit() -> bool:
        return True

    with ledger.write() as tx:
        take_as_read(tx, SETTINGS.account, SETTINGS.sender, since=tx.now.date())
    return Sender(ledger, wire.client(SETTINGS), Runtime(sleep=wire.sleep, monotonic=lambda: wire.clock), may_submit)


def sent(ledger: Ledger, request_id: int) -> None:
    """Claim a request as this file's settings do; its reply is lost."""
    owner = request(ledger, request_id).badge_run_id
    with ledger.write() as tx:
        assert claim(tx, request_id, badge_run_id=owner, sender=SETTINGS.sender, doubt_after=LAG_OF_ALL)


def _judged_at(ledger: Ledger, request_id: int, begun: datetime) -> bool:
    absent = absence(ledger, request_id, begun, tries=1)
    with ledger.write() as tx:
        held = resend(tx, absent, sender="s", doubt_after=DOUBT)
    return held is not None


JUMPS = [timedelta(days=-1), timedelta(hours=-1), timedelta(seconds=-61), timedelta(seconds=-1)]


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_a_ledgers_clock_set_back_only_delays_a_judgement(
    ledger: Ledger, clock: Clock, planned: int, jump: timedelta
) -> None:
    """Whatever the clock shows, at least the whole doubt passes between a claim and a second one."""
    send(ledger, planned)
    doubt_from = request(ledger, planned).doubt_from
    clock.now += jump
    passed = timedelta()
    while not _judged_at(ledger, planned, clock.now):
        passed += timedelta(minutes=7)
        clock.now += timedelta(minutes=7)
        assert passed < timedelta(days=2)
    assert passed > DOUBT
    assert clock.now > doubt_from


def test_a_clock_set_back_between_claim_and_reading_keeps_the_first_doubt(
    ledger: Ledger, clock: Clock, planned: int
) -> None:
    send(ledger, planned)
    before = request(ledger, planned)
    clock.advance(days=-1)
    after = request(ledger, planned)
    assert (after.first_sent_at, after.doubt_from, after.tries) == (before.first_sent_at, before.doubt_from, 1)


def test_the_senders_clock_does_not_matter(ledger: Ledger, clock: Clock, planned: int) -> None:
    """A claim takes its times from the transaction: the sender has none to give."""
    sent(ledger, planned)
    row = request(ledger, planned)
    assert row.first_sent_at == clock.now
    assert row.doubt_from == clock.now + timedelta(seconds=START_WITHIN_S + 60 + 900)


ZONES = ["UTC", "Asia/Kolkata", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati"]
#: Around every change of the clocks in 2026 in one of the zones, and the turn of the year.
MOMENTS = [
    datetime(2026, 3, 8, 7, 0, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
    datetime(2026, 4, 4, 15, 0, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 1, 0, tzinfo=UTC),
    datetime(2026, 11, 1, 6, 0, tzinfo=UTC),
    datetime(2027, 1, 1, 0, 0, tzinfo=UTC),
]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("skew_h", [-24, -1, 0, 1, 24])
def test_the_list_begins_before_the_platforms_day_of_the_send(zone: str, skew_h: int) -> None:
    """The platform dates a request by its own clock, in the cluster's zone: that day must be in the reading."""
    of_zone = settings(cluster_timezone=zone)
    for change in MOMENTS:
        for minutes in range(-180, 181, 15):
            sent_at = change + timedelta(minutes=minutes)
            begins = cluster_day(sent_at - LOOK_BACK, of_zone)
            dated = (sent_at + timedelta(hours=skew_h)).astimezone(ZoneInfo(zone)).date()
            assert begins < dated, "a day's room, should startDate be exclusive"


CHANGES = {
    "Europe/London": datetime(2026, 10, 25, 0, 59, 30, tzinfo=UTC),
    "America/New_York": datetime(2026, 11, 1, 5, 59, 30, tzinfo=UTC),
}


@pytest.mark.parametrize("zone", CHANGES)
def test_the_hour_that_comes_twice_is_no_hour_of_the_ledger(
    ledger_url: URL, clock: Clock, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """Machine and database session live in the zone; a claim is made 30 s before its clocks go back."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    if ledger_url.get_backend_name() == "postgresql":
        ledger_url = ledger_url.update_query_dict({"options": f"-c timezone={zone}"})
    try:
        with Ledger(ledger_url) as of_the_machine, of_the_machine.read() as tx:
            assert (tx.now.tzinfo, abs(tx.now - datetime.now(UTC)) < timedelta(minutes=1)) == (UTC, True)
        clock.now = CHANGES[zone]
        with Ledger(ledger_url, clock=clock) as ledger:
            request_id = requests_of(ledger, plan(ledger, [1]))[0].id
            send(ledger, request_id)
            clock.advance(seconds=60)
            assert request(ledger, request_id).doubt_from == clock.now
            assert not _judged_at(ledger, request_id, clock.now), "the doubt ends now"
            clock.advance(seconds=1)
            assert _judged_at(ledger, request_id, clock.now)
    finally:
        monkeypatch.undo()
        time.tzset()


def listed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return page(*rows)


def on_the_list(ledger: Ledger, request_id: int, *, started: datetime) -> dict[str, Any]:
    """The request as the platform lists it, dated by the platform's clock."""
    key = request(ledger, request_id).request_key
    of_request: dict[str, Any] = row() | {"startTime": started.replace(tzinfo=None).isoformat()}
    of_request["requestId"] = f"4355e800-e71c-11f1-8f3e-{request_id:012d}"
    of_request["details"]["IntouchAPITask-Payload"] = inner(customers=(1, 2, 3), key=key)
    return of_request


SKEWS = [timedelta(days=-1), timedelta(minutes=-10), timedelta(), timedelta(minutes=10), timedelta(days=1)]


@pytest.mark.parametrize("skew", SKEWS, ids=str)
async def test_the_platforms_clock_decides_nothing(ledger: Ledger, clock: Clock, planned: int, skew: timedelta) -> None:
    """A control is newer by the ledger's times, whatever the platform dates it."""
    control = requests_of(ledger, plan(ledger, [11, 12, 13], run("second")))[0].id
    sent(ledger, planned)
    clock.now += timedelta(seconds=70)
    sent(ledger, control)
    rows = [on_the_list(ledger, control, started=clock.now + skew)]
    wire = platform(reply(200, listed(rows)))
    clock.now += LAG_OF_ALL - timedelta(seconds=70)
    assert (await resolve_doubt(sender(ledger, wire))).sent_again == 0, "the doubt is not over, and nothing is read"
    assert wire.calls == []
    clock.now += timedelta(seconds=1)
    accepted = reply(200, {"data": on_the_list(ledger, planned, started=clock.now + skew)})
    wire.answers.append(accepted)
    assert (await resolve_doubt(sender(ledger, wire))).sent_again == 1
    assert date.fromisoformat(wire.calls[0].params["startDate"]) == (clock.now - LAG_OF_ALL - 2 * LOOK_BACK).date()


async def test_without_a_control_an_hour_more_passes(ledger: Ledger, clock: Clock, planned: int) -> None:
    sent(ledger, planned)
    for waited, again in ((timedelta(seconds=1), 0), (timedelta(hours=1), 0), (timedelta(hours=1, seconds=1), 1)):
        clock.now = request(ledger, planned).doubt_from + waited
        accepted = reply(200, {"data": on_the_list(ledger, planned, started=clock.now)})
        wire = platform(reply(200, listed([])), *([accepted] if again else []))
        assert (await resolve_doubt(sender(ledger, wire))).sent_again == again


async def test_a_control_of_the_same_moment_is_none(ledger: Ledger, clock: Clock, planned: int) -> None:
    """A clock set back makes a later send look older; it then proves nothing."""
    control = requests_of(ledger, plan(ledger, [11, 12, 13], run("second")))[0].id
    sent(ledger, planned)
    clock.advance(hours=-1)
    sent(ledger, control)
    clock.now = request(ledger, planned).doubt_from + timedelta(seconds=1)
    wire = platform(reply(200, listed([on_the_list(ledger, control, started=clock.now)])))
    resolved = await resolve_doubt(sender(ledger, wire))
    assert (resolved.sent_again, resolved.still_in_doubt) == (0, 1)


#: The platform's clock, which no jump of the ledger's moves.
PLATFORM_NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def dated(moment: datetime, rows: list[dict[str, Any]] | None = None, **headers: str) -> Reply:
    """The list, empty unless rows are given, with the platform's `Date`."""
    return reply(200, listed(rows or []), Date=format_datetime(moment, usegmt=True), **headers)


async def read_before(ledger: Ledger, answer: Reply) -> None:
    """Read the list as a submitting task does before it sends."""
    wire = platform(answer)
    of_task = sender(ledger, wire)
    await watch(ledger, of_task.client, of_task.runtime)


async def sent_again(ledger: Ledger, answer: Reply, planned: int) -> int:
    accepted = reply(200, {"data": on_the_list(ledger, planned, started=PLATFORM_NOW)})
    return (await resolve_doubt(sender(ledger, platform(answer, accepted)))).sent_again


FORWARD = [timedelta(minutes=20), timedelta(hours=3), timedelta(days=1)]


@pytest.mark.parametrize("jump", FORWARD, ids=str)
async def test_a_ledgers_clock_set_forward_does_not_shorten_a_doubt(
    ledger: Ledger, clock: Clock, planned: int, jump: timedelta
) -> None:
    await read_before(ledger, dated(PLATFORM_NOW))
    sent(ledger, planned)
    clock.now += jump
    assert await sent_again(ledger, dated(PLATFORM_NOW + timedelta(seconds=5)), planned) == 0
    found_at = clock.now
    clock.now = found_at + LAG_OF_ALL + timedelta(hours=1)
    passed = LAG_OF_ALL + timedelta(hours=1)
    assert await sent_again(ledger, dated(PLATFORM_NOW + passed), planned) == 0, "one lag, and an hour without control"
    clock.advance(seconds=1)
    assert await sent_again(ledger, dated(PLATFORM_NOW + passed), planned) == 1


async def test_a_jump_that_another_reading_found_counts_for_all(ledger: Ledger, clock: Clock, planned: int) -> None:
    await read_before(ledger, dated(PLATFORM_NOW))
    sent(ledger, planned)
    clock.advance(days=1)
    await read_before(ledger, dated(PLATFORM_NOW))
    assert await sent_again(ledger, dated(PLATFORM_NOW), planned) == 0


async def test_a_control_of_before_the_jump_was_found_is_none(ledger: Ledger, clock: Clock, planned: int) -> None:
    """Sent seconds after the one in doubt, and a day later by a clock that was set between."""
    control = requests_of(ledger, plan(ledger, [11, 12, 13], run("second")))[0].id
    await read_before(ledger, dated(PLATFORM_NOW))
    sent(ledger, planned)
    clock.advance(days=1)
    sent(ledger, control)
    rows = [on_the_list(ledger, control, started=PLATFORM_NOW)]
    clock.advance(seconds=1)
    await read_before(ledger, dated(PLATFORM_NOW, rows))
    clock.now += LAG_OF_ALL + timedelta(seconds=1)
    assert await sent_again(ledger, dated(PLATFORM_NOW + LAG_OF_ALL, rows), planned) == 0


async def test_a_control_that_lies_ahead_is_from_before_the_clock_was_set_back(
    ledger: Ledger, clock: Clock, planned: int
) -> None:
    control = requests_of(ledger, plan(ledger, [11, 12, 13], run("second")))[0].id
    clock.advance(days=1)
    sent(ledger, control)
    clock.advance(days=-1)
    sent(ledger, planned)
    clock.now = request(ledger, planned).doubt_from + timedelta(seconds=1)
    assert (
        await sent_again(ledger, dated(PLATFORM_NOW, [on_the_list(ledger, control, started=clock.now)]), planned) == 0
    )


CLOCKS = {
    # the platform's clock at the reading before and at the judging one, less the ledger's; and is absence judged?
    "both go on": (timedelta(), timedelta(), True),
    "a day apart all the time": (timedelta(days=-1), timedelta(days=-1), True),
    "nodes some seconds apart": (timedelta(seconds=-4), timedelta(seconds=9), True),
    "a minute": (timedelta(), timedelta(seconds=60), True),
    "more than a minute": (timedelta(), timedelta(seconds=-61), False),
    "the platform's set forward": (timedelta(), timedelta(hours=1), False),
    "the platform's set back": (timedelta(), timedelta(days=-1), False),
    "no Date any more": (timedelta(), None, False),
    "no Date ever": (None, None, True),
    "a Date for the first time": (None, timedelta(hours=-3), True),
}


@pytest.mark.parametrize(("before", "after", "judged"), CLOCKS.values(), ids=CLOCKS.keys())
async def test_absence_is_judged_while_both_clocks_go_on_together(
    ledger: Ledger, clock: Clock, planned: int, before: timedelta | None, after: timedelta | None, judged: bool
) -> None:
    def answer(ahead: timedelta | None) -> Reply:
        return reply(200, listed([])) if ahead is None else dated(clock.now.replace(microsecond=0) + ahead)

    await read_before(ledger, answer(before))
    sent(ledger, planned)
    clock.now = request(ledger, planned).doubt_from + timedelta(hours=1, seconds=1)
    assert await sent_again(ledger, answer(after), planned) == judged


async def test_a_date_that_comes_and_goes_holds_each_time(ledger: Ledger, clock: Clock) -> None:
    found = []
    for moment in (PLATFORM_NOW, None, None, PLATFORM_NOW, PLATFORM_NOW):
        with ledger.write() as tx:
            found.append(scans.note_clocks(tx, ACCOUNT, moment))
    assert found == [False, True, False, True, False]


def test_slow_drift_is_no_jump_until_it_comes_to_a_minute(ledger: Ledger, clock: Clock) -> None:
    found = []
    for drift in range(0, 150, 30):
        with ledger.write() as tx:
            found.append(scans.note_clocks(tx, ACCOUNT, clock.now + timedelta(seconds=drift)))
    assert found == [False, False, False, True, False]


@pytest.mark.parametrize("year", [1, 1970, 9999])
def test_any_date_that_a_reply_gives_is_kept(ledger: Ledger, year: int) -> None:
    with ledger.write() as tx:
        assert not scans.note_clocks(tx, ACCOUNT, datetime(year, 1, 1, tzinfo=UTC))


async def test_a_cached_answer_is_as_old_as_it_says(ledger: Ledger, clock: Clock, planned: int) -> None:
    await read_before(ledger, dated(clock.now))
    sent(ledger, planned)
    clock.now = request(ledger, planned).doubt_from + timedelta(hours=1, seconds=1)
    assert await sent_again(ledger, dated(clock.now - timedelta(minutes=5), Age="300"), planned) == 1


def test_twins_of_a_clock_set_forward_are_both_found(ledger: Ledger, clock: Clock, planned: int) -> None:
    """What that costs: the first send shows later, under the same key, and opens the request again."""
    account, key = SPEC.account, request(ledger, planned).request_key
    send(ledger, planned)
    clock.advance(days=1)
    assert _judged_at(ledger, planned, clock.now)
    rows = [
        WorkflowRequest(name, "ISSUE-BADGE", "AdminTask", key, (1, 2, 3), None, False, None, None, None)
        for name in ("first", "second")
    ]
    with ledger.write() as tx:
        assert record_rows(tx, account, "sender", rows).new == 2
    assert request(ledger, planned).status == "waiting"


def test_a_decided_row_keeps_when_it_was_first_seen_so(ledger: Ledger, clock: Clock) -> None:
    """`seen_at` and its like are the ledger's; the platform's zone-less times are nowhere stored."""
    assert decided("approved", None)["startTime"].endswith("14:30:00")
    request_id = requests_of(ledger, plan(ledger, [1]))[0].id
    send(ledger, request_id)
    with ledger.read() as tx:
        stored = tx.conn.execute(select(badge_request.c.first_sent_at)).scalar_one()
    assert (stored, stored.utcoffset()) == (clock.now, timedelta())


MENDED_WITHIN = timedelta(hours=1)


def test_after_a_clock_was_set_back_the_account_calls_again_within_the_hour(ledger: Ledger, clock: Clock) -> None:
    with ledger.write() as tx:
        pace.take_slot(tx, ACCOUNT, calls_per_minute=100)
        pace.block(tx, ACCOUNT, seconds=30)
    clock.advance(days=-1)
    with ledger.write() as tx:
        assert pace.take_slot(tx, ACCOUNT, calls_per_minute=100) <= MENDED_WITHIN.total_seconds()


def test_after_a_clock_was_set_back_the_list_is_read_within_the_hour(ledger: Ledger, clock: Clock) -> None:
    with ledger.write() as tx:
        assert scans.lease(tx, ACCOUNT, by="reader", older_than=timedelta())
        scans.finish(tx, ACCOUNT, by="reader")
    clock.advance(days=-1)
    clock.now += MENDED_WITHIN
    with ledger.write() as tx:
        assert scans.lease(tx, ACCOUNT, by="another", older_than=timedelta(minutes=15))


def test_a_clock_set_forward_frees_slots_and_turns(ledger: Ledger, clock: Clock) -> None:
    with ledger.write() as tx:
        pace.take_slot(tx, ACCOUNT, calls_per_minute=1)
        assert scans.lease(tx, ACCOUNT, by="reader", older_than=timedelta())
    clock.advance(days=1)
    with ledger.write() as tx:
        assert pace.take_slot(tx, ACCOUNT, calls_per_minute=1) == 0
        assert scans.lease(tx, ACCOUNT, by="another", older_than=timedelta(minutes=15))
    assert slot_spacing_s(1) > 60
