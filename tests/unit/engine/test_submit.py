"""One run submitted: what is looked at first, how many go at once, and what stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from capillary.api.errors import InDoubt, NotTaken, PlatformUnavailable, RequestRefused, Unauthorized
from capillary.api.request_workflow import IssueBadgeRequest, WorkflowRequest
from capillary.engine.absence import SEND_WITHIN_S
from capillary.engine.before_sending import LIST_READINGS
from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import AutoApproved, HistoryOpen, LedgerBehind, ListCutShort, WrongAccount
from capillary.engine.hold import IN_TASK_S, Waits
from capillary.engine.second_look import LOOK_AFTER_S
from capillary.engine.send import Sent
from capillary.engine.sightings import record_rows
from capillary.engine.submit import IN_FLIGHT, NOT_TAKEN_IN_A_ROW, Submitted, submit_run
from capillary.ledger import history, scans, stops, unknown_keys
from capillary.ledger.errors import PlanUnknown, Stopped
from capillary.ledger.schema import badge_occasion, badge_request
from capillary.ledger.stops import Scope
from tests.unit.engine.desk import LEASE, NOON, SETTINGS, Desk, row

OTHER_KEY = "cb1.spring.00000000000000000000000000000000"


async def submit(desk: Desk, badge_run_id: int | None = 1, **options: Any) -> Submitted:  # noqa: ANN401 - the options of `submit_run`
    assert badge_run_id is not None
    return await submit_run(desk.sender, desk.plan_id(badge_run_id), lease=LEASE, **options)


def refused_times(count: int) -> list[Any]:
    return [NotTaken(reason=f"no room {number}") for number in range(1, count + 1)]


def in_doubt(desk: Desk, request_id: int, *, sent_before_s: float, error: str | None) -> None:
    """Leave a request as a sender would that was killed, or got no answer."""
    sent_at = desk.now[0] - timedelta(seconds=sent_before_s)
    desk.write(
        update(badge_request)
        .where(badge_request.c.id == request_id)
        .values(
            status="sending",
            tries=1,
            sender=SETTINGS.sender,
            first_sent_at=sent_at,
            last_sent_at=sent_at,
            doubt_from=desk.now[0] + timedelta(hours=1),
            error=error,
        )
    )


async def test_all_of_a_run_is_sent_in_order_the_first_one_alone(desk: Desk) -> None:
    plan = desk.plan(range(1, 31))
    assert await submit(desk, plan.badge_run_id) == Submitted({Sent.ACCEPTED: 10}, 0)
    assert [post.customers[0] for post in desk.posts] == list(range(1, 31, 3))
    assert desk.most_at_once == IN_FLIGHT == 8
    assert desk.statuses() == ["waiting"] * 10
    second_clear = [place for place, event in enumerate(desk.events) if event == "clear"][1]
    assert sum(event.startswith("post") for event in desk.events[:second_clear]) == 1


@pytest.mark.parametrize("in_flight", [1, 3])
async def test_no_more_than_asked_for_are_under_way_at_once(desk: Desk, in_flight: int) -> None:
    desk.plan(range(1, 31))
    await submit(desk, in_flight=in_flight)
    assert (len(desk.posts), desk.most_at_once) == (10, in_flight)


async def test_the_list_is_read_before_anything_is_sent(desk: Desk) -> None:
    desk.plan([1])
    await submit(desk)
    assert [event.split()[0] for event in desk.events] == ["list", "list", "clear", "asked", "post"]
    assert [of_type for _, of_type in desk.lists] == [None, "ISSUE-BADGE"]


async def test_where_nothing_is_planned_nothing_is_read(desk: Desk) -> None:
    desk.plan([1])
    await submit(desk)
    desk.events.clear()
    assert await submit(desk) == Submitted({}, 0)
    assert desk.events == []


async def test_the_order_is_the_plans_and_not_the_rows(desk: Desk) -> None:
    desk.plan([1, 2, 3, 4])
    desk.write(update(badge_request).values(ordinal=badge_request.c.id * -1))
    await submit(desk)
    assert [post.customers for post in desk.posts] == [(4,), (1, 2, 3)]


async def test_only_the_requests_of_the_run_are_sent(desk: Desk) -> None:
    desk.plan([1])
    second = desk.plan([2], "second")
    await submit(desk, second.badge_run_id)
    assert [post.customers for post in desk.posts] == [(2,)]
    assert desk.statuses() == ["planned", "waiting"]


async def test_the_runs_lease_is_renewed_before_each_batch(desk: Desk) -> None:
    plan = desk.plan([1, 2, 3, 4])

    async def two_hours(request: Any) -> Any:  # noqa: ANN401 - whatever is sent
        desk.now[0] += timedelta(hours=2)
        return row("p-x", request.key)

    desk.answers = [two_hours]
    await submit(desk, plan.badge_run_id)
    assert desk.alive_until(plan.badge_run_id) == NOON + timedelta(hours=2, seconds=LOOK_AFTER_S) + LEASE


async def test_another_account_or_an_unknown_run_stops_before_any_call(desk: Desk) -> None:
    desk.plan([1])
    with pytest.raises(PlanUnknown):
        await submit(desk, 77)
    desk.settings = type(SETTINGS)(
        base_url="https://elsewhere.example", organisation_id="100", login="till.one", password="password"
    )
    with pytest.raises(WrongAccount):
        await submit(desk)
    assert desk.events == []


# What was not taken -----------------------------------------------------------------------------------------


async def test_what_was_not_taken_is_sent_again_until_so_many_in_a_row_were_not(desk: Desk) -> None:
    desk.plan([1])
    desk.answers = refused_times(NOT_TAKEN_IN_A_ROW - 1)
    assert await submit(desk) == Submitted({Sent.NOT_TAKEN: 4, Sent.ACCEPTED: 1}, 0)
    assert len({post.key for post in desk.posts}) == 1


async def test_five_in_a_row_end_the_task_with_the_last_reason(desk: Desk) -> None:
    desk.plan([1, 2, 3, 4])
    desk.answers = refused_times(NOT_TAKEN_IN_A_ROW)
    with pytest.raises(NotTaken) as caught:
        await submit(desk)
    assert caught.value.reason == "no room 5"
    assert (len(desk.posts), desk.statuses()) == (5, ["planned", "planned"])
    assert desk.most_at_once == 1, "nothing was accepted yet"


async def test_one_that_is_taken_begins_the_count_anew(desk: Desk) -> None:
    desk.plan(range(1, 10))
    taken = row("p-taken", None)
    desk.answers = [*refused_times(4), taken, *refused_times(4)]
    counts = (await submit(desk, in_flight=1)).counts
    assert counts == {Sent.NOT_TAKEN: 8, Sent.ACCEPTED: 3}


async def test_a_batch_of_which_one_was_taken_begins_the_count_anew(desk: Desk) -> None:
    desk.plan(range(1, 13))  # the first one alone, then three at once
    first, other = row("p-first", None), row("p-other", None)
    none = NotTaken(reason="no room")
    desk.answers = [first, none, none, other, none, none, none, none, none]
    assert (await submit(desk, in_flight=3)).counts == {Sent.NOT_TAKEN: 7, Sent.ACCEPTED: 4}


async def test_a_batch_counts_all_of_what_was_not_taken(desk: Desk) -> None:
    desk.plan(range(1, 16))
    desk.answers = [row("p-first", None), *refused_times(9)]
    waits = (await submit(desk, in_flight=3)).waits
    assert waits is not None, "it got on before: what passes is waited for, and no retry is used"
    assert (len(desk.posts), waits.until) == (1 + 6, None)
    assert "no room 6" in waits.why


@pytest.mark.parametrize(("times", "stops"), [(1, False), (2, True)])
async def test_a_credential_that_is_refused_twice_is_the_connections(desk: Desk, times: int, stops: bool) -> None:
    desk.plan([1])
    desk.answers = [Unauthorized(reason="no login") for _ in range(times)]
    if stops:
        with pytest.raises(Unauthorized):
            await submit(desk)
    else:
        assert (await submit(desk)).counts == {Sent.NOT_TAKEN: 1, Sent.ACCEPTED: 1}


async def test_other_ends_do_not_stop_the_run(desk: Desk) -> None:
    desk.plan(range(1, 10))
    desk.answers = [RequestRefused(http_status=400, code=2008, reason="bad"), InDoubt(reason="no answer")]
    assert await submit(desk) == Submitted({Sent.REFUSED: 1, Sent.IN_DOUBT: 1, Sent.ACCEPTED: 1}, 0)
    assert desk.most_at_once == 1, "only what was accepted opens the way"


async def test_an_error_in_one_of_a_batch_cuts_none_of_the_others_off(desk: Desk) -> None:
    desk.plan(range(1, 16))
    broken = RuntimeError("the machine, not the platform")

    async def slowly(request: Any) -> Any:  # noqa: ANN401 - whatever is sent
        for _ in range(20):
            await asyncio.sleep(0)
        return row(f"p-{request.customers[0]}", None)

    desk.answers = [row("p-first", None), broken, slowly, slowly]
    with pytest.raises(RuntimeError) as caught:
        await submit(desk, in_flight=3)
    assert caught.value is broken
    assert desk.statuses() == ["waiting", "sending", "waiting", "waiting", "planned"]


# A human must have approved ---------------------------------------------------------------------------------


async def test_an_automatic_approval_stops_before_the_second_request(desk: Desk) -> None:
    desk.plan(range(1, 10))
    desk.answers = [row("p-1", None, "approved")]
    with pytest.raises(AutoApproved) as caught:
        await submit(desk)
    assert str(caught.value) == (
        "the platform executed 1 request without a human's approval, and no further one was sent. Switch "
        "auto-approval off for ISSUE-BADGE (Member Care, Settings, Request workflows), or set "
        "on_auto_approved='accept' in the campaign"
    )
    assert desk.statuses() == ["waiting", "planned", "planned"]


async def test_automatic_approvals_may_be_accepted_and_are_counted(desk: Desk) -> None:
    desk.plan(range(1, 10))
    desk.answers = [row(f"p-{number}", None, "approved") for number in (1, 2)]
    submitted = await submit(desk, stop_on_auto_approval=False)
    assert submitted == Submitted({Sent.ACCEPTED: 3}, 2)


def approved(name: str) -> WorkflowRequest:
    """A request that the platform executed without a human."""
    return row(name, None, "approved")


async def test_the_first_accepted_request_is_read_once_five_seconds_later_before_more_go_out(desk: Desk) -> None:
    desk.plan(range(1, 10))
    await submit(desk)
    reads = [place for place, event in enumerate(desk.events) if event.startswith("read")]
    assert [desk.events[place] for place in reads] == ["read p-1"]
    assert [event.split()[0] for event in desk.events[: reads[0]]].count("post") == 1
    assert (desk.second, LOOK_AFTER_S) == (5.0, 5.0)


async def taking(desk: Desk, seconds: float, count: int) -> None:
    """Have so many POSTs take so long each."""

    async def slow(request: IssueBadgeRequest) -> WorkflowRequest:
        desk.second += seconds
        desk.now[0] += timedelta(seconds=seconds)
        return row(f"p-{len(desk.posts)}", request.key)

    desk.answers = [slow] * count


async def test_the_first_accepted_request_is_read_again_in_passing_while_the_others_go_out(desk: Desk) -> None:
    desk.plan(range(1, 121))
    await taking(desk, 10.0, 40)
    await submit(desk, in_flight=1)
    reads = [event for event in desk.events if event.startswith("read")]
    assert reads == ["read p-1"] * 5, "5 s after the reply, and as 12, 20, 60 and 180 s have passed"
    assert set(desk.statuses()) == {"waiting"}


@pytest.mark.parametrize(("approved_at_s", "sent"), [(20, 2), (55, 7), (170, 19)])
async def test_an_approval_by_the_platform_some_time_later_stops_what_is_left(
    desk: Desk, approved_at_s: float, sent: int
) -> None:
    desk.plan(range(1, 121))

    async def slow(request: IssueBadgeRequest) -> WorkflowRequest:
        desk.second += 10
        desk.now[0] += timedelta(seconds=10)
        if desk.second > approved_at_s and not desk.unlisted:
            desk.taken = [each for each in desk.taken if each.platform_request_id != "p-1"]
            desk.unlisted = [approved("p-1")]
        return row(f"p-{len(desk.posts)}", request.key)

    desk.answers = [slow] * 40
    with pytest.raises(AutoApproved, match=r"executed 1 request without a human's approval"):
        await submit(desk, in_flight=1)
    assert len(desk.posts) == sent


async def test_one_that_a_human_decided_is_not_looked_at_again(desk: Desk) -> None:
    desk.plan(range(1, 121))
    desk.unlisted = [row("p-1", None, "approved", human=True)]
    await taking(desk, 10.0, 40)
    desk.taken = []
    await submit(desk, in_flight=1)
    assert [event for event in desk.events if event.startswith("read")] == ["read p-1"]


async def test_what_was_approved_by_itself_after_the_reply_stops_before_the_second_request(desk: Desk) -> None:
    desk.plan(range(1, 10))
    desk.unlisted = [approved("p-1")]
    with pytest.raises(AutoApproved, match=r"executed 1 request without a human's approval"):
        await submit(desk)
    assert (len(desk.posts), desk.statuses()) == (1, ["waiting", "planned", "planned"])
    assert [each.auto_approved for each in desk.sightings()] == [True]


async def test_a_run_that_accepts_automatic_approvals_waits_for_no_look(desk: Desk) -> None:
    desk.plan(range(1, 10))
    desk.unlisted = [approved("p-1")]
    assert await submit(desk, stop_on_auto_approval=False) == Submitted({Sent.ACCEPTED: 3}, 0)
    assert (desk.second, [event for event in desk.events if event.startswith("read")]) == (0.0, [])


async def test_the_only_request_of_a_run_is_not_waited_for(desk: Desk) -> None:
    desk.plan([1])
    await submit(desk)
    assert desk.second == 0.0


@pytest.mark.parametrize("silence", ["refused", "away", "unknown"])
async def test_while_no_look_is_answered_three_requests_go_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, silence: str
) -> None:
    desk.plan(range(1, 31))
    desk.refused_reads = {f"p-{number}" for number in range(20)} if silence == "refused" else set()

    async def read_request(_: Desk, name: str, *, attempts: int) -> None:
        desk.events.append(f"read {name} {attempts}")
        if silence == "away":
            raise PlatformUnavailable(what="one request", reason="it is away")

    if silence != "refused":
        monkeypatch.setattr(Desk, "read_request", read_request)
    assert (await submit(desk)).counts == {Sent.ACCEPTED: 10}
    looked_at = [event.split()[1] for event in desk.events if event.startswith("read")]
    assert (looked_at, desk.second, desk.most_at_once) == (["p-1", "p-2", "p-3"], 15.0, 6), "the last goes alone"


async def test_a_look_that_is_answered_at_the_second_try_stops_what_follows(desk: Desk) -> None:
    desk.plan(range(1, 13))
    desk.refused_reads = {"p-1"}
    desk.unlisted = [approved("p-2")]
    with pytest.raises(AutoApproved):
        await submit(desk)
    assert len(desk.posts) == 2


async def test_an_automatic_approval_that_anybody_has_seen_meanwhile_stops_the_next_batch(desk: Desk) -> None:
    """The trigger of another run, say, whose reading shows this run's requests."""
    desk.plan(range(1, 13))

    async def meanwhile(request: IssueBadgeRequest) -> WorkflowRequest:
        with desk.ledger.write() as tx:
            record_rows(tx, SETTINGS.account, SETTINGS.sender, [row("p-1", desk.requests()[0].request_key, "failed")])
        return row("p-2", request.key)

    desk.answers = [row("p-1", None), meanwhile]
    with pytest.raises(AutoApproved):
        await submit(desk, in_flight=1)
    assert len(desk.posts) == 2


def decided(desk: Desk, *states: tuple[str, bool], minutes_apart: int = 1) -> None:
    """Have requests of another run decided one after the other, each by a human or not."""
    plan = desk.plan(range(500, 500 + len(states)), "earlier", size=1, campaign="another")
    keys = [each.request_key for each in desk.requests() if each.badge_run_id == plan.badge_run_id]
    for number, (state, human) in enumerate(states):
        with desk.ledger.write() as tx:
            name = f"p-earlier-{number}"
            rows = [row(name, keys[number], state, human=human)]
            record_rows(tx, SETTINGS.account, SETTINGS.sender, rows)
        desk.now[0] += timedelta(minutes=minutes_apart)


@pytest.mark.parametrize(
    ("states", "stops"),
    [
        ([("approved", False)], True),
        ([("approved", True), ("approved", False)], True),
        ([("approved", False), ("approved", True)], False),
        ([("approved", False), ("rejected", False)], False),
        ([("approved", False), ("AdminTask", False)], True),
        ([("approved", True)], False),
        ([("AdminTask", False)], False),
    ],
)
async def test_the_accounts_latest_decided_request_tells_whether_a_human_decides(
    desk: Desk, states: list[tuple[str, bool]], stops: bool
) -> None:
    decided(desk, *states)
    run = desk.plan([1], "now").badge_run_id
    if not stops:
        assert (await submit(desk, run)).counts == {Sent.ACCEPTED: 1}
        return
    with pytest.raises(AutoApproved) as caught:
        await submit(desk, run)
    assert str(caught.value).startswith("the platform executed the latest decided request of platform.example/100 (p-")
    assert desk.posts == []


async def test_of_several_that_were_seen_decided_at_once_the_one_without_a_human_counts(desk: Desk) -> None:
    decided(desk, ("approved", False), ("approved", True), minutes_apart=0)
    with pytest.raises(AutoApproved):
        await submit(desk, desk.plan([1], "now").badge_run_id)


async def test_who_clears_the_task_has_been_told_and_the_run_goes_on_until_the_next_one(desk: Desk) -> None:
    decided(desk, ("approved", False))
    run = desk.plan(range(1, 7), "now").badge_run_id
    with pytest.raises(AutoApproved):
        await submit(desk, run)
    desk.unlisted = [approved("p-1")]
    desk.now[0] += timedelta(minutes=1)
    with pytest.raises(AutoApproved, match=r"1 request"):
        await submit(desk, run)
    desk.now[0] += timedelta(minutes=1)
    assert (await submit(desk, run)).counts == {Sent.ACCEPTED: 1}
    assert len(desk.posts) == 2


async def test_the_word_on_one_run_is_no_word_on_another(desk: Desk) -> None:
    decided(desk, ("approved", False))
    run, other = desk.plan([1], "now").badge_run_id, desk.plan([2], "other").badge_run_id
    for each in (run, other):
        with pytest.raises(AutoApproved):
            await submit(desk, each)


async def test_another_accounts_approvals_are_not_ours(desk: Desk) -> None:
    decided(desk, ("approved", False))
    desk.settings = replace(SETTINGS, base_url="https://elsewhere.example", organisation_id="200")
    with desk.ledger.write() as tx:
        history.take_as_read(tx, desk.settings.account, desk.settings.sender, since=NOON.date())
    assert (await submit(desk, desk.plan([1], "now").badge_run_id)).counts == {Sent.ACCEPTED: 1}


@pytest.mark.parametrize("stop", [True, False])
async def test_what_was_sent_again_is_looked_at_before_the_next_is_sent_again(desk: Desk, stop: bool) -> None:
    desk.plan(range(1, 10))
    desk.answers = [InDoubt(reason="no answer")] * 3
    await submit(desk)
    desk.now[0] += timedelta(hours=2)
    desk.unlisted = [approved("p-4")]
    resolved = await resolve_doubt(desk.sender, stop_on_auto_approval=stop)
    assert (resolved.sent_again, resolved.auto_approved) == ((1, 1) if stop else (3, 0))


@pytest.mark.parametrize("stop", [True, False])
async def test_what_was_sent_again_and_executed_by_itself_counts_too(desk: Desk, stop: bool) -> None:
    desk.plan(range(1, 7))
    desk.answers = [InDoubt(reason="no answer")] * 2
    await submit(desk)
    desk.now[0] += timedelta(hours=2)
    later = desk.plan([100], "later")
    desk.answers = [row(f"p-again-{number}", None, "approved") for number in (1, 2)]
    if stop:
        with pytest.raises(AutoApproved, match=r"executed 1 request"):
            await submit(desk, later.badge_run_id)
        assert desk.statuses() == ["waiting", "sending", "planned"]
    else:
        submitted = await submit(desk, later.badge_run_id, stop_on_auto_approval=False)
        assert submitted == Submitted({Sent.ACCEPTED: 1}, 2)
        assert desk.statuses() == ["waiting"] * 3


# The platform's list ----------------------------------------------------------------------------------------


async def test_a_list_that_came_to_its_end_at_the_last_reading_will_do(desk: Desk) -> None:
    desk.plan([1])
    desk.cut_short = LIST_READINGS - 1
    assert await submit(desk) == Submitted({Sent.ACCEPTED: 1}, 0)
    assert [of_type for _, of_type in desk.lists].count(None) == LIST_READINGS == 3


async def test_a_list_that_never_comes_to_its_end_holds_everything_back(desk: Desk) -> None:
    desk.plan([1])
    desk.cut_short = LIST_READINGS
    with pytest.raises(ListCutShort) as caught:
        await submit(desk)
    assert str(caught.value) == (
        "the platform's list of requests was read 3 times and never to its end (last time 1 page, 0 rows), so nothing "
        "is sent: the part that was not shown may hold requests that this ledger does not know. Retry later; if this "
        "happens again, check page_base and page_size of the platform's connection. If it shows rows twice at "
        "every reading, "
        "python -m capillary ledger import --dags <folder> --since <day> learns what it holds of ours"
    )
    assert desk.posts == []


async def test_a_key_that_the_ledger_does_not_know_stops_everything(desk: Desk) -> None:
    desk.plan([1])
    desk.listed = [row("p-0", OTHER_KEY)]
    with pytest.raises(LedgerBehind) as caught:
        await submit(desk)
    assert str(caught.value) == (
        f"the platform holds request {OTHER_KEY}, which this ledger does not know: the ledger was restored or emptied, "
        "or a second installation submits for the same organisation. Nothing is sent before the ledger has learned "
        "it: python -m capillary ledger import --dags <folder> --since <day>. If it is somebody else's, have it "
        f"rejected, or say so: python -m capillary ledger import --not-ours {OTHER_KEY}"
    )
    assert desk.posts == []


async def test_the_command_for_a_strangers_key_runs_nothing_and_stays_on_one_line(desk: Desk) -> None:
    desk.plan([1])
    desk.listed = [row("p-0", "cb1.$(touch x)\nthe ledger is whole")]
    with pytest.raises(LedgerBehind) as caught:
        await submit(desk)
    said = str(caught.value)
    assert said.isprintable()
    assert said.startswith(
        r"the platform holds request cb1.$(touch x)\nthe ledger is whole, which this ledger does not"
    )
    assert said.endswith(r"ledger import --not-ours $'cb1.$(touch x)\U0000000athe ledger is whole'")
    with desk.ledger.write() as tx:
        unknown_keys.note(tx, desk.settings.account, desk.settings.sender, ["cb1.$(touch x)"])
    desk.listed = [row("p-0", "cb1.$(touch x)")]
    with pytest.raises(LedgerBehind, match=r"ledger import --not-ours 'cb1\.\$\(touch x\)'$"):
        await submit(desk)


async def test_words_of_the_platform_forge_no_line_of_the_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.plan([1])

    async def strange(request: Any) -> Any:  # noqa: ANN401 - whatever is sent
        return row("p-1\nERROR", request.key, "Zone\x1b[2JTask")

    desk.answers = [strange]
    caplog.set_level("INFO")
    await submit(desk)
    assert r"accepted as p-1\nERROR, state Zone\x1b[2JTask" in caplog.text
    assert all(record.getMessage().isprintable() for record in caplog.records)


async def test_a_key_that_shows_while_sending_stops_the_next_batch(desk: Desk) -> None:
    desk.plan(range(1, 10))

    async def meanwhile(request: Any) -> Any:  # noqa: ANN401 - whatever is sent
        with desk.ledger.write() as tx:
            unknown_keys.note(tx, desk.settings.account, desk.settings.sender, [OTHER_KEY])
        return row("p-1", request.key)

    desk.answers = [meanwhile]
    with pytest.raises(LedgerBehind):
        await submit(desk)
    assert desk.statuses() == ["waiting", "planned", "planned"]


async def test_nothing_is_sent_before_the_accounts_list_was_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second lock: whatever was looked at before, the transaction before the claims asks once more."""
    desk.plan([1])
    with desk.ledger.write() as tx:
        history.read_again(tx, desk.settings.account, desk.settings.sender)

    async def not_read(*_: object, **__: object) -> None: ...

    monkeypatch.setattr("capillary.engine.before_sending.read_history", not_read)
    with pytest.raises(HistoryOpen, match="must be read again from its beginning"):
        await submit(desk)
    assert desk.posts == []


@pytest.mark.parametrize(
    ("begun_ago_s", "by", "fresh_s", "tells", "reads"),
    [
        (30, "this user", 60, True, 0),
        (60, "this user", 60, True, 0),
        (61, "this user", 60, True, 1),
        (-1, "this user", 60, True, 1),  # the clock was set back
        (30, "another user", 60, True, 1),
        (30, "this user", None, True, 1),
        (30, "this user", 60, False, 1),  # a restore would not show
        (None, "this user", 60, True, 1),
    ],
)
async def test_a_reading_of_another_serves_where_it_proves_as_much_as_ones_own(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    begun_ago_s: int | None,
    by: str,
    fresh_s: int | None,
    *,
    tells: bool,
    reads: int,
) -> None:
    desk.plan([1])
    settings = desk.settings
    with desk.ledger.write() as tx:
        history.take_as_read(tx, settings.account, settings.sender, since=NOON.date())
        if begun_ago_s is not None:
            sender = settings.sender if by == "this user" else "another till"
            begun_at = tx.now - timedelta(seconds=begun_ago_s)
            scans.note_whole(tx, settings.account, sender=sender, begun_at=begun_at, pages=1)
    monkeypatch.setattr("capillary.ledger.server.tells", lambda _: tells)
    await submit(desk, fresh=None if fresh_s is None else timedelta(seconds=fresh_s))
    assert (desk.events.count("list") > 0, desk.statuses()) == (bool(reads), ["waiting"])


async def test_the_account_is_read_before_the_first_send(desk: Desk) -> None:
    plan = desk.plan([1])
    with desk.ledger.write() as tx:
        history.read_again(tx, desk.settings.account, desk.settings.sender)
        before = history.history(tx, desk.settings.account, desk.settings.sender)
    assert before.read_at is None
    await submit(desk, plan.badge_run_id)
    assert [event.split()[0] for event in desk.events] == [*["list"] * 5, "clear", "asked", "post"]
    with desk.ledger.read() as tx:
        assert history.history(tx, desk.settings.account, desk.settings.sender).read_at == NOON


@pytest.mark.parametrize("state", ["rejected", "AdminTask"])
async def test_where_a_key_stops_the_account_the_whole_list_is_read_again(desk: Desk, state: str) -> None:
    desk.plan([1])
    with desk.ledger.write() as tx:
        unknown_keys.note(tx, desk.settings.account, desk.settings.sender, [OTHER_KEY])
    desk.listed = [row("p-0", OTHER_KEY, state)]
    if state == "rejected":
        assert (await submit(desk)).counts == {Sent.ACCEPTED: 1}
    else:
        with pytest.raises(LedgerBehind):
            await submit(desk)
    assert desk.events.count("list") >= 3


async def test_what_an_earlier_try_left_in_doubt_is_found_first(desk: Desk) -> None:
    desk.plan([1, 2, 3, 4])
    desk.answers = [InDoubt(reason="no answer")]
    await submit(desk)
    desk.plan([5], "later")
    (doubtful, *_) = desk.requests()
    desk.listed = [row("p-late", doubtful.request_key)]
    await submit(desk, 2)
    assert desk.statuses() == ["waiting", "waiting", "waiting"]
    assert "p-late" in {each.platform_request_id for each in desk.sightings()}


# Too much doubt ---------------------------------------------------------------------------------------------

CALL_S = SEND_WITHIN_S + SETTINGS.post_timeout_s


@pytest.mark.parametrize(
    ("left", "stops"),
    [
        ([{"sent_before_s": 1, "error": "no answer"}] * 2, True),
        ([{"sent_before_s": 1, "error": "no answer"}], False),
        ([{"sent_before_s": 1, "error": None}] * 2, False),  # merely under way
        ([{"sent_before_s": CALL_S, "error": None}] * 2, False),
        ([{"sent_before_s": CALL_S + 1, "error": None}] * 2, True),  # their sender is dead
        ([{"sent_before_s": CALL_S + 1, "error": None}, {"sent_before_s": 1, "error": "no answer"}], True),
    ],
)
async def test_as_many_doubts_as_may_be_in_flight_stop_sending(
    desk: Desk, left: list[Mapping[str, Any]], stops: bool
) -> None:
    desk.plan(range(1, 7))
    for request_id, how in enumerate(left, start=1):
        in_doubt(desk, request_id, **how)
    own = desk.plan([100], "own")
    if not stops:
        assert (await submit(desk, own.badge_run_id, in_flight=2)).counts == {Sent.ACCEPTED: 1}
        return
    waits = (await submit(desk, own.badge_run_id, in_flight=2)).waits
    assert waits == Waits(
        "2 requests are in doubt; submit continues when the platform's list shows what became of them, or when their "
        "absence can be judged (2026-11-23 13:00:00 UTC)",
        NOON + timedelta(hours=1),
        may_end_early=True,
    )
    assert desk.posts == []
    assert IN_TASK_S <= desk.second < IN_TASK_S + 15, "it reads the list for a minute, and then goes away"
    assert 5 <= desk.events.count("list") <= 8


async def test_only_ones_own_doubts_count(desk: Desk) -> None:
    """Eight doubts of the till before this one would stop the account forever: nobody ends them in its place."""
    desk.plan(range(1, 25))
    for request_id in range(1, 9):
        in_doubt(desk, request_id, sent_before_s=CALL_S + 1, error="no answer")
    desk.write(update(badge_request).where(badge_request.c.id > 1).values(sender="the till before"))
    own = desk.plan([100, 101], "own")
    assert (await submit(desk, own.badge_run_id, in_flight=2)).counts == {Sent.ACCEPTED: 1}
    desk.write(update(badge_request).where(badge_request.c.id == 2).values(sender=SETTINGS.sender))
    more = desk.plan([102], "more")
    assert (await submit(desk, more.badge_run_id, in_flight=2)).waits is not None
    assert len(desk.posts) == 1


async def test_doubts_of_another_account_and_what_is_known_to_stand_there_count_nothing(desk: Desk) -> None:
    desk.plan([1])
    in_doubt(desk, 1, sent_before_s=1, error="no answer")
    desk.write(update(badge_occasion).values(account="elsewhere.example/200", occasion="elsewhere"))
    desk.plan([2], "waiting")
    await submit(desk, 2)
    desk.write(update(badge_request).where(badge_request.c.id == 2).values(error="an old word"))
    own = desk.plan([3], "own")
    assert (await submit(desk, own.badge_run_id, in_flight=1)).counts == {Sent.ACCEPTED: 1}


def stop(desk: Desk, campaign: str = "") -> None:
    stops.stop(desk.ledger, Scope(SETTINGS.account, campaign), by="ann", reason="wrong tier")


@pytest.mark.parametrize("campaign", ["", "spring"])
async def test_a_stopped_run_asks_the_platform_nothing_and_gives_its_customers_back(desk: Desk, campaign: str) -> None:
    plan = desk.plan(range(1, 7))
    other = desk.plan([7], "second")
    stop(desk, campaign)
    with pytest.raises(Stopped):
        await submit(desk, plan.badge_run_id)
    assert desk.events == []
    assert desk.outcomes() == {None: 1}, "of its own run alone"
    assert [each.badge_run_id for each in desk.requests()] == [other.badge_run_id]


async def test_a_stop_while_a_batch_is_under_way_lets_it_end_and_gives_the_rest_back(desk: Desk) -> None:
    plan = desk.plan(range(1, 31))

    async def stopping(request: IssueBadgeRequest) -> WorkflowRequest:
        stop(desk)
        return row("p-second", request.key)

    desk.answers = [lambda request: accepted("p-first", request), stopping]
    with pytest.raises(Stopped):
        await submit(desk, plan.badge_run_id, in_flight=1)
    assert [post.customers[0] for post in desk.posts] == [1, 4]
    assert desk.statuses() == ["waiting", "waiting"]
    assert desk.outcomes() == {None: 6}


async def test_a_stop_counts_more_than_what_else_went_wrong_in_its_batch(desk: Desk) -> None:
    """Any other error might have Airflow try the run again."""
    plan = desk.plan(range(1, 13), size=3)
    claims = 0

    async def off_then_stopped() -> bool:
        nonlocal claims
        claims += 1
        if claims == 3:
            stop(desk)
        return claims != 2

    sender = replace(desk.sender, may_submit=off_then_stopped)
    with pytest.raises(Stopped):
        await submit_run(sender, desk.plan_id(plan.badge_run_id), lease=LEASE, in_flight=3)
    assert (len(desk.posts), desk.outcomes()) == (1, {None: 3})


async def test_a_run_of_which_all_was_sent_ends_well_under_a_stop(desk: Desk) -> None:
    plan = desk.plan(range(1, 7))
    await submit(desk, plan.badge_run_id)
    stop(desk)
    assert await submit(desk, plan.badge_run_id) == Submitted({}, 0)
    assert desk.statuses() == ["waiting", "waiting"]


async def test_another_campaigns_stop_leaves_the_run_alone(desk: Desk) -> None:
    plan = desk.plan(range(1, 7))
    stop(desk, "autumn")
    assert await submit(desk, plan.badge_run_id) == Submitted({Sent.ACCEPTED: 2}, 0)


async def test_what_another_stopped_campaign_has_in_doubt_does_not_end_the_run(desk: Desk) -> None:
    desk.plan([1], campaign="autumn")
    in_doubt(desk, 1, sent_before_s=7_200, error="timeout")
    desk.write(update(badge_request).values(doubt_from=desk.now[0] - timedelta(hours=2)))
    stop(desk, "autumn")
    plan = desk.plan([2], "second")
    assert await submit(desk, plan.badge_run_id) == Submitted({Sent.ACCEPTED: 1}, 0)
    assert [post.customers for post in desk.posts] == [(2,)]
    assert desk.statuses() == ["sending", "waiting"]


async def accepted(name: str, request: IssueBadgeRequest) -> WorkflowRequest:
    return row(name, request.key)
