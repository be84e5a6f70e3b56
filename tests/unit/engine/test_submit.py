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
from capillary.engine.before_sending import LIST_READINGS
from capillary.engine.errors import AutoApproved, HistoryOpen, LedgerBehind, ListCutShort, WrongAccount
from capillary.engine.hold import IN_TASK_S, Waits
from capillary.engine.second_look import LOOK_AFTER_S
from capillary.engine.send import Sent
from capillary.engine.sightings import record_rows
from capillary.engine.submit import IN_FLIGHT, NOT_TAKEN_IN_A_ROW, Submitted, submit_run
from capillary.ledger import history, scans, stops, unknown_keys
from capillary.ledger.errors import PlanUnknown, Stopped
from capillary.ledger.pace import START_WITHIN_S
from capillary.ledger.schema import badge_occasion, badge_request
from capillary.ledger.stops import Scope
from tests.unit.engine.scripted_client import LEASE, NOON, SETTINGS, ScriptedClient, row

OTHER_KEY = "cb1.spring.00000000000000000000000000000000"


async def submit(scripted: ScriptedClient, badge_run_id: int | None = 1, **options: Any) -> Submitted:  # noqa: ANN401 - the options of `submit_run`
    assert badge_run_id is not None
    return await submit_run(scripted.sender, scripted.plan_id(badge_run_id), lease=LEASE, **options)


def refused_times(count: int) -> list[Any]:
    return [NotTaken(reason=f"no room {number}") for number in range(1, count + 1)]


def in_doubt(scripted: ScriptedClient, request_id: int, *, sent_before_s: float, error: str | None) -> None:
    """Leave a request as a sender would that was killed, or got no answer."""
    sent_at = scripted.now[0] - timedelta(seconds=sent_before_s)
    scripted.write(
        update(badge_request)
        .where(badge_request.c.id == request_id)
        .values(
            status="sending",
            tries=1,
            sender=SETTINGS.sender,
            first_sent_at=sent_at,
            last_sent_at=sent_at,
            doubt_from=scripted.now[0] + timedelta(hours=1),
            error=error,
        )
    )


async def test_all_of_a_run_is_sent_in_order_the_first_one_alone(scripted: ScriptedClient) -> None:
    plan = scripted.plan(range(1, 31))
    assert await submit(scripted, plan.badge_run_id) == Submitted({Sent.ACCEPTED: 10}, 0)
    assert [post.customers[0] for post in scripted.posts] == list(range(1, 31, 3))
    assert scripted.most_at_once == IN_FLIGHT == 8
    assert scripted.statuses() == ["waiting"] * 10
    second_clear = [place for place, event in enumerate(scripted.events) if event == "clear"][1]
    assert sum(event.startswith("post") for event in scripted.events[:second_clear]) == 1


@pytest.mark.parametrize("in_flight", [1, 3])
async def test_no_more_than_asked_for_are_under_way_at_once(scripted: ScriptedClient, in_flight: int) -> None:
    scripted.plan(range(1, 31))
    await submit(scripted, in_flight=in_flight)
    assert (len(scripted.posts), scripted.most_at_once) == (10, in_flight)


async def test_the_list_is_read_before_anything_is_sent(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    await submit(scripted)
    assert [event.split()[0] for event in scripted.events] == ["list", "list", "clear", "asked", "post"]
    assert [of_type for _, of_type in scripted.lists] == [None, "ISSUE-BADGE"]


async def test_where_nothing_is_planned_nothing_is_read(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    await submit(scripted)
    scripted.events.clear()
    assert await submit(scripted) == Submitted({}, 0)
    assert scripted.events == []


async def test_the_order_is_the_plans_and_not_the_rows(scripted: ScriptedClient) -> None:
    scripted.plan([1, 2, 3, 4])
    scripted.write(update(badge_request).values(ordinal=badge_request.c.id * -1))
    await submit(scripted)
    assert [post.customers for post in scripted.posts] == [(4,), (1, 2, 3)]


async def test_only_the_requests_of_the_run_are_sent(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    second = scripted.plan([2], "second")
    await submit(scripted, second.badge_run_id)
    assert [post.customers for post in scripted.posts] == [(2,)]
    assert scripted.statuses() == ["planned", "waiting"]


async def test_the_runs_lease_is_renewed_before_each_batch(scripted: ScriptedClient) -> None:
    plan = scripted.plan([1, 2, 3, 4])

    async def two_hours(request: Any) -> Any:  # noqa: ANN401 - whatever is sent
        scripted.now[0] += timedelta(hours=2)
        return row("p-x", request.key)

    scripted.answers = [two_hours]
    await submit(scripted, plan.badge_run_id)
    assert scripted.alive_until(plan.badge_run_id) == NOON + timedelta(hours=2, seconds=LOOK_AFTER_S) + LEASE


async def test_another_account_or_an_unknown_run_stops_before_any_call(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    with pytest.raises(PlanUnknown):
        await submit(scripted, 77)
    scripted.settings = type(SETTINGS)(
        base_url="https://elsewhere.example", organisation_id="100", login="till.one", password="password"
    )
    with pytest.raises(WrongAccount):
        await submit(scripted)
    assert scripted.events == []


# What was not taken -----------------------------------------------------------------------------------------


async def test_what_was_not_taken_is_sent_again_until_so_many_in_a_row_were_not(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    scripted.answers = refused_times(NOT_TAKEN_IN_A_ROW - 1)
    assert await submit(scripted) == Submitted({Sent.NOT_TAKEN: 4, Sent.ACCEPTED: 1}, 0)
    assert len({post.key for post in scripted.posts}) == 1


async def test_five_in_a_row_end_the_task_with_the_last_reason(scripted: ScriptedClient) -> None:
    scripted.plan([1, 2, 3, 4])
    scripted.answers = refused_times(NOT_TAKEN_IN_A_ROW)
    with pytest.raises(NotTaken) as caught:
        await submit(scripted)
    assert caught.value.reason == "no room 5"
    assert (len(scripted.posts), scripted.statuses()) == (5, ["planned", "planned"])
    assert scripted.most_at_once == 1, "nothing was accepted yet"


async def test_one_that_is_taken_begins_the_count_anew(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 10))
    taken = row("p-taken", None)
    scripted.answers = [*refused_times(4), taken, *refused_times(4)]
    counts = (await submit(scripted, in_flight=1)).counts
    assert counts == {Sent.NOT_TAKEN: 8, Sent.ACCEPTED: 3}


async def test_a_batch_of_which_one_was_taken_begins_the_count_anew(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 13))  # the first one alone, then three at once
    first, other = row("p-first", None), row("p-other", None)
    none = NotTaken(reason="no room")
    scripted.answers = [first, none, none, other, none, none, none, none, none]
    assert (await submit(scripted, in_flight=3)).counts == {Sent.NOT_TAKEN: 7, Sent.ACCEPTED: 4}


async def test_a_batch_counts_all_of_what_was_not_taken(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 16))
    scripted.answers = [row("p-first", None), *refused_times(9)]
    waits = (await submit(scripted, in_flight=3)).waits
    assert waits is not None, "it got on before: what passes is waited for, and no retry is used"
    assert (len(scripted.posts), waits.until) == (1 + 6, None)
    assert "no room 6" in waits.why


@pytest.mark.parametrize(("times", "stops"), [(1, False), (2, True)])
async def test_a_credential_that_is_refused_twice_is_the_connections(
    scripted: ScriptedClient, times: int, stops: bool
) -> None:
    scripted.plan([1])
    scripted.answers = [Unauthorized(reason="no login") for _ in range(times)]
    if stops:
        with pytest.raises(Unauthorized):
            await submit(scripted)
    else:
        assert (await submit(scripted)).counts == {Sent.NOT_TAKEN: 1, Sent.ACCEPTED: 1}


async def test_other_ends_do_not_stop_the_run(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 10))
    scripted.answers = [RequestRefused(http_status=400, code=2008, reason="bad"), InDoubt(reason="no answer")]
    assert await submit(scripted) == Submitted({Sent.REFUSED: 1, Sent.IN_DOUBT: 1, Sent.ACCEPTED: 1}, 0)
    assert scripted.most_at_once == 1, "the last one of a run that has doubts is its control, and goes alone"


async def test_requests_go_alone_until_one_is_accepted(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 31))
    at_first = list[int]()

    async def accept(request: IssueBadgeRequest) -> WorkflowRequest:
        at_first.append(scripted.most_at_once)
        return row("p-first", request.key)

    scripted.answers = [*[RequestRefused(http_status=400, code=2008, reason="bad")] * 3, accept]
    assert (await submit(scripted)).counts == {Sent.REFUSED: 3, Sent.ACCEPTED: 7}
    assert (at_first, scripted.most_at_once) == ([1], 5), "of the last six one is kept back as a control"


async def test_an_error_in_one_of_a_batch_cuts_none_of_the_others_off(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 16))
    broken = RuntimeError("the machine, not the platform")

    async def slowly(request: Any) -> Any:  # noqa: ANN401 - whatever is sent
        for _ in range(20):
            await asyncio.sleep(0)
        return row(f"p-{request.customers[0]}", None)

    scripted.answers = [row("p-first", None), broken, slowly, slowly]
    with pytest.raises(RuntimeError) as caught:
        await submit(scripted, in_flight=3)
    assert caught.value is broken
    assert scripted.statuses() == ["waiting", "sending", "waiting", "waiting", "planned"]


# A human must have approved ---------------------------------------------------------------------------------


async def test_an_automatic_approval_stops_before_the_second_request(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 10))
    scripted.answers = [row("p-1", None, "approved")]
    with pytest.raises(AutoApproved) as caught:
        await submit(scripted)
    assert str(caught.value) == (
        "the platform executed 1 request without a human's approval, and no further one was sent. Switch "
        "auto-approval of ISSUE-BADGE off in Member Care > Settings > Request workflows, then start a new run for "
        "those left; if it stops, too, clear its planning task with Downstream. If auto-approval is intended, set "
        "policy=Policy(on_auto_approved=OnFinding.ACCEPT) and canary=False in the campaign's file"
    )
    assert scripted.statuses() == ["waiting", "planned", "planned"]


async def test_automatic_approvals_may_be_accepted_and_are_counted(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 10))
    scripted.answers = [row(f"p-{number}", None, "approved") for number in (1, 2)]
    submitted = await submit(scripted, stop_on_auto_approval=False)
    assert submitted == Submitted({Sent.ACCEPTED: 3}, 2)


def approved(name: str) -> WorkflowRequest:
    """A request that the platform executed without a human."""
    return row(name, None, "approved")


async def test_the_first_accepted_request_is_read_once_five_seconds_later_before_more_go_out(
    scripted: ScriptedClient,
) -> None:
    scripted.plan(range(1, 10))
    await submit(scripted)
    reads = [place for place, event in enumerate(scripted.events) if event.startswith("read")]
    assert [scripted.events[place] for place in reads] == ["read p-1"]
    assert [event.split()[0] for event in scripted.events[: reads[0]]].count("post") == 1
    assert (scripted.second, LOOK_AFTER_S) == (5.0, 5.0)


async def taking(scripted: ScriptedClient, seconds: float, count: int) -> None:
    """Have so many POSTs take so long each."""

    async def slow(request: IssueBadgeRequest) -> WorkflowRequest:
        scripted.second += seconds
        scripted.now[0] += timedelta(seconds=seconds)
        return row(f"p-{len(scripted.posts)}", request.key)

    scripted.answers = [slow] * count


async def test_the_first_accepted_request_is_read_again_in_passing_while_the_others_go_out(
    scripted: ScriptedClient,
) -> None:
    scripted.plan(range(1, 121))
    await taking(scripted, 10.0, 40)
    await submit(scripted, in_flight=1)
    reads = [event for event in scripted.events if event.startswith("read")]
    assert reads == ["read p-1"] * 5, "5 s after the reply, and as 12, 20, 60 and 180 s have passed"
    assert set(scripted.statuses()) == {"waiting"}


@pytest.mark.parametrize(("approved_at_s", "sent"), [(20, 2), (55, 7), (170, 19)])
async def test_an_approval_by_the_platform_some_time_later_stops_what_is_left(
    scripted: ScriptedClient, approved_at_s: float, sent: int
) -> None:
    scripted.plan(range(1, 121))

    async def slow(request: IssueBadgeRequest) -> WorkflowRequest:
        scripted.second += 10
        scripted.now[0] += timedelta(seconds=10)
        if scripted.second > approved_at_s and not scripted.unlisted:
            scripted.taken = [each for each in scripted.taken if each.platform_request_id != "p-1"]
            scripted.unlisted = [approved("p-1")]
        return row(f"p-{len(scripted.posts)}", request.key)

    scripted.answers = [slow] * 40
    with pytest.raises(AutoApproved, match=r"executed 1 request without a human's approval"):
        await submit(scripted, in_flight=1)
    assert len(scripted.posts) == sent


async def test_one_that_a_human_decided_is_not_looked_at_again(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 121))
    scripted.unlisted = [row("p-1", None, "approved", human=True)]
    await taking(scripted, 10.0, 40)
    scripted.taken = []
    await submit(scripted, in_flight=1)
    assert [event for event in scripted.events if event.startswith("read")] == ["read p-1"]


async def test_what_was_approved_by_itself_after_the_reply_stops_before_the_second_request(
    scripted: ScriptedClient,
) -> None:
    scripted.plan(range(1, 10))
    scripted.unlisted = [approved("p-1")]
    with pytest.raises(AutoApproved, match=r"executed 1 request without a human's approval"):
        await submit(scripted)
    assert (len(scripted.posts), scripted.statuses()) == (1, ["waiting", "planned", "planned"])
    assert [each.auto_approved for each in scripted.sightings()] == [True]


async def test_a_run_that_accepts_automatic_approvals_waits_for_no_look(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 10))
    scripted.unlisted = [approved("p-1")]
    assert await submit(scripted, stop_on_auto_approval=False) == Submitted({Sent.ACCEPTED: 3}, 0)
    assert (scripted.second, [event for event in scripted.events if event.startswith("read")]) == (0.0, [])


@pytest.mark.parametrize("silence", ["refused", "away", "unknown"])
async def test_while_no_look_is_answered_three_requests_go_alone(
    scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch, silence: str
) -> None:
    scripted.plan(range(1, 31))
    scripted.refused_reads = {f"p-{number}" for number in range(20)} if silence == "refused" else set()

    async def read_request(_: ScriptedClient, name: str, *, attempts: int) -> None:
        scripted.events.append(f"read {name} {attempts}")
        if silence == "away":
            raise PlatformUnavailable(what="one request", reason="it is away")

    if silence != "refused":
        monkeypatch.setattr(ScriptedClient, "read_request", read_request)
    assert (await submit(scripted)).counts == {Sent.ACCEPTED: 10}
    looked_at = [event.split()[1] for event in scripted.events if event.startswith("read")]
    assert (looked_at, scripted.second, scripted.most_at_once) == (["p-1", "p-2", "p-3"], 15.0, 6), (
        "the last goes alone"
    )


async def test_a_look_that_is_answered_at_the_second_try_stops_what_follows(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 13))
    scripted.refused_reads = {"p-1"}
    scripted.unlisted = [approved("p-2")]
    with pytest.raises(AutoApproved):
        await submit(scripted)
    assert len(scripted.posts) == 2


async def test_an_automatic_approval_that_anybody_has_seen_meanwhile_stops_the_next_batch(
    scripted: ScriptedClient,
) -> None:
    """The trigger of another run, say, whose reading shows this run's requests."""
    scripted.plan(range(1, 13))

    async def meanwhile(request: IssueBadgeRequest) -> WorkflowRequest:
        with scripted.ledger.write() as tx:
            record_rows(
                tx, SETTINGS.account, SETTINGS.sender, [row("p-1", scripted.requests()[0].request_key, "failed")]
            )
        return row("p-2", request.key)

    scripted.answers = [row("p-1", None), meanwhile]
    with pytest.raises(AutoApproved):
        await submit(scripted, in_flight=1)
    assert len(scripted.posts) == 2


# The platform's list ----------------------------------------------------------------------------------------


async def test_a_list_that_came_to_its_end_at_the_last_reading_will_do(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    scripted.cut_short = LIST_READINGS - 1
    assert await submit(scripted) == Submitted({Sent.ACCEPTED: 1}, 0)
    assert [of_type for _, of_type in scripted.lists].count(None) == LIST_READINGS == 3


async def test_a_list_that_never_comes_to_its_end_holds_everything_back(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    scripted.cut_short = LIST_READINGS
    with pytest.raises(ListCutShort) as caught:
        await submit(scripted)
    assert str(caught.value) == (
        "the platform's list of requests was read 3 times and never to its end (last time 1 page, 0 rows), so nothing "
        "is sent: the part that was not shown may hold requests that this ledger does not know. Retry later; if this "
        "happens again, check page_base and page_size of the platform's connection. If it shows rows twice at "
        "every reading, "
        "python -m capillary ledger import --dags <folder> --since <day> learns what it holds of ours"
    )
    assert scripted.posts == []


async def test_a_key_that_the_ledger_does_not_know_stops_everything(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    scripted.listed = [row("p-0", OTHER_KEY)]
    with pytest.raises(LedgerBehind) as caught:
        await submit(scripted)
    assert str(caught.value) == (
        f"the platform holds request {OTHER_KEY}, which this ledger does not know: the ledger was restored or emptied, "
        "or a second installation submits for the same organisation. Nothing is sent before the ledger has learned "
        "it: python -m capillary ledger import --dags <folder> --since <day>. If it is somebody else's, have it "
        f"rejected, or say so: python -m capillary ledger import --not-ours {OTHER_KEY}"
    )
    assert scripted.posts == []


async def test_the_command_for_a_strangers_key_runs_nothing_and_stays_on_one_line(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    scripted.listed = [row("p-0", "cb1.$(touch x)\nthe ledger is whole")]
    with pytest.raises(LedgerBehind) as caught:
        await submit(scripted)
    said = str(caught.value)
    assert said.isprintable()
    assert said.startswith(
        r"the platform holds request cb1.$(touch x)\nthe ledger is whole, which this ledger does not"
    )
    assert said.endswith(r"ledger import --not-ours $'cb1.$(touch x)\U0000000athe ledger is whole'")
    with scripted.ledger.write() as tx:
        unknown_keys.note(tx, scripted.settings.account, scripted.settings.sender, ["cb1.$(touch x)"])
    scripted.listed = [row("p-0", "cb1.$(touch x)")]
    with pytest.raises(LedgerBehind, match=r"ledger import --not-ours 'cb1\.\$\(touch x\)'$"):
        await submit(scripted)


async def test_words_of_the_platform_forge_no_line_of_the_log(
    scripted: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.plan([1])

    async def strange(request: Any) -> Any:  # noqa: ANN401 - whatever is sent
        return row("p-1\nERROR", request.key, "Zone\x1b[2JTask")

    scripted.answers = [strange]
    caplog.set_level("INFO")
    await submit(scripted)
    assert r"accepted as p-1\nERROR, state Zone\x1b[2JTask" in caplog.text
    assert all(record.getMessage().isprintable() for record in caplog.records)


async def test_a_key_that_shows_while_sending_stops_the_next_batch(scripted: ScriptedClient) -> None:
    scripted.plan(range(1, 10))

    async def meanwhile(request: Any) -> Any:  # noqa: ANN401 - whatever is sent
        with scripted.ledger.write() as tx:
            unknown_keys.note(tx, scripted.settings.account, scripted.settings.sender, [OTHER_KEY])
        return row("p-1", request.key)

    scripted.answers = [meanwhile]
    with pytest.raises(LedgerBehind):
        await submit(scripted)
    assert scripted.statuses() == ["waiting", "planned", "planned"]


async def test_nothing_is_sent_before_the_accounts_list_was_read(
    scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second lock: whatever was looked at before, the transaction before the claims asks once more."""
    scripted.plan([1])
    with scripted.ledger.write() as tx:
        history.read_again(tx, scripted.settings.account, scripted.settings.sender)

    async def not_read(*_: object, **__: object) -> None: ...

    monkeypatch.setattr("capillary.engine.before_sending.read_history", not_read)
    with pytest.raises(HistoryOpen, match="must be read again from its beginning"):
        await submit(scripted)
    assert scripted.posts == []


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
    scripted: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    begun_ago_s: int | None,
    by: str,
    fresh_s: int | None,
    *,
    tells: bool,
    reads: int,
) -> None:
    scripted.plan([1])
    settings = scripted.settings
    with scripted.ledger.write() as tx:
        history.take_as_read(tx, settings.account, settings.sender, since=NOON.date())
        if begun_ago_s is not None:
            sender = settings.sender if by == "this user" else "another till"
            begun_at = tx.now - timedelta(seconds=begun_ago_s)
            scans.note_whole(tx, settings.account, sender=sender, begun_at=begun_at, pages=1)
    monkeypatch.setattr("capillary.ledger.server.tells", lambda _: tells)
    await submit(scripted, fresh=None if fresh_s is None else timedelta(seconds=fresh_s))
    assert (scripted.events.count("list") > 0, scripted.statuses()) == (bool(reads), ["waiting"])


async def test_the_account_is_read_before_the_first_send(scripted: ScriptedClient) -> None:
    plan = scripted.plan([1])
    with scripted.ledger.write() as tx:
        history.read_again(tx, scripted.settings.account, scripted.settings.sender)
        before = history.history(tx, scripted.settings.account, scripted.settings.sender)
    assert before.read_at is None
    await submit(scripted, plan.badge_run_id)
    assert [event.split()[0] for event in scripted.events] == [*["list"] * 5, "clear", "asked", "post"]
    with scripted.ledger.read() as tx:
        assert history.history(tx, scripted.settings.account, scripted.settings.sender).read_at == NOON


@pytest.mark.parametrize("state", ["rejected", "AdminTask"])
async def test_where_a_key_stops_the_account_the_whole_list_is_read_again(scripted: ScriptedClient, state: str) -> None:
    scripted.plan([1])
    with scripted.ledger.write() as tx:
        unknown_keys.note(tx, scripted.settings.account, scripted.settings.sender, [OTHER_KEY])
    scripted.listed = [row("p-0", OTHER_KEY, state)]
    if state == "rejected":
        assert (await submit(scripted)).counts == {Sent.ACCEPTED: 1}
    else:
        with pytest.raises(LedgerBehind):
            await submit(scripted)
    assert scripted.events.count("list") >= 3


async def test_what_an_earlier_try_left_in_doubt_is_found_first(scripted: ScriptedClient) -> None:
    scripted.plan([1, 2, 3, 4])
    scripted.answers = [InDoubt(reason="no answer")]
    await submit(scripted)
    scripted.plan([5], "later")
    (doubtful, *_) = scripted.requests()
    scripted.listed = [row("p-late", doubtful.request_key)]
    await submit(scripted, 2)
    assert scripted.statuses() == ["waiting", "waiting", "waiting"]
    assert "p-late" in {each.platform_request_id for each in scripted.sightings()}


@pytest.mark.parametrize("progress", ["none", "sent again", "given up"])
async def test_a_doubt_that_was_resolved_is_a_step_forward_and_what_passes_then_is_waited_for(
    scripted: ScriptedClient, progress: str
) -> None:
    scripted.plan([1])
    scripted.answers = [InDoubt(reason="no answer")]
    await submit(scripted)
    if progress == "given up":
        scripted.write(update(badge_request).values(resends=2, tries=3))
    if progress != "none":
        scripted.now[0] += timedelta(hours=2)
    later = scripted.plan([2], "later")
    scripted.answers = [row("p-again", None)] if progress == "sent again" else []
    scripted.answers += refused_times(NOT_TAKEN_IN_A_ROW)
    if progress == "none":
        with pytest.raises(NotTaken):
            await submit(scripted, later.badge_run_id)
        return
    waits = (await submit(scripted, later.badge_run_id)).waits
    assert waits is not None
    assert waits.until is None
    assert "no room 5" in waits.why


# Too much doubt ---------------------------------------------------------------------------------------------

CALL_S = START_WITHIN_S + SETTINGS.post_timeout_s


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
    scripted: ScriptedClient, left: list[Mapping[str, Any]], stops: bool
) -> None:
    scripted.plan(range(1, 7))
    for request_id, how in enumerate(left, start=1):
        in_doubt(scripted, request_id, **how)
    own = scripted.plan([100], "own")
    if not stops:
        assert (await submit(scripted, own.badge_run_id, in_flight=2)).counts == {Sent.ACCEPTED: 1}
        return
    waits = (await submit(scripted, own.badge_run_id, in_flight=2)).waits
    assert waits == Waits(
        "2 requests are in doubt; submit continues when the platform's list shows what became of them, or when their "
        "absence can be judged (2026-11-23 13:00:00 UTC)",
        NOON + timedelta(hours=1),
        may_end_early=True,
    )
    assert scripted.posts == []
    assert IN_TASK_S <= scripted.second < IN_TASK_S + 15, "it reads the list for a minute, and then goes away"
    assert 5 <= scripted.events.count("list") <= 8


async def test_only_ones_own_doubts_count(scripted: ScriptedClient) -> None:
    """Eight doubts of the till before this one would stop the account forever: nobody ends them in its place."""
    scripted.plan(range(1, 25))
    for request_id in range(1, 9):
        in_doubt(scripted, request_id, sent_before_s=CALL_S + 1, error="no answer")
    scripted.write(update(badge_request).where(badge_request.c.id > 1).values(sender="the till before"))
    own = scripted.plan([100, 101], "own")
    assert (await submit(scripted, own.badge_run_id, in_flight=2)).counts == {Sent.ACCEPTED: 1}
    scripted.write(update(badge_request).where(badge_request.c.id == 2).values(sender=SETTINGS.sender))
    more = scripted.plan([102], "more")
    assert (await submit(scripted, more.badge_run_id, in_flight=2)).waits is not None
    assert len(scripted.posts) == 1


async def test_doubts_of_another_account_and_what_is_known_to_stand_there_count_nothing(
    scripted: ScriptedClient,
) -> None:
    scripted.plan([1])
    in_doubt(scripted, 1, sent_before_s=1, error="no answer")
    scripted.write(update(badge_occasion).values(account="elsewhere.example/200", occasion="elsewhere"))
    scripted.plan([2], "waiting")
    await submit(scripted, 2)
    scripted.write(update(badge_request).where(badge_request.c.id == 2).values(error="an old word"))
    own = scripted.plan([3], "own")
    assert (await submit(scripted, own.badge_run_id, in_flight=1)).counts == {Sent.ACCEPTED: 1}


def stop(scripted: ScriptedClient, campaign: str = "") -> None:
    stops.stop(scripted.ledger, Scope(SETTINGS.account, campaign), by="ann", reason="wrong tier")


@pytest.mark.parametrize("campaign", ["", "spring"])
async def test_a_stopped_run_asks_the_platform_nothing_and_gives_its_customers_back(
    scripted: ScriptedClient, campaign: str
) -> None:
    plan = scripted.plan(range(1, 7))
    other = scripted.plan([7], "second")
    stop(scripted, campaign)
    with pytest.raises(Stopped):
        await submit(scripted, plan.badge_run_id)
    assert scripted.events == []
    assert scripted.outcomes() == {None: 1}, "of its own run alone"
    assert [each.badge_run_id for each in scripted.requests()] == [other.badge_run_id]


async def test_a_stop_while_a_batch_is_under_way_lets_it_end_and_gives_the_rest_back(scripted: ScriptedClient) -> None:
    plan = scripted.plan(range(1, 31))

    async def stopping(request: IssueBadgeRequest) -> WorkflowRequest:
        stop(scripted)
        return row("p-second", request.key)

    scripted.answers = [lambda request: accepted("p-first", request), stopping]
    with pytest.raises(Stopped):
        await submit(scripted, plan.badge_run_id, in_flight=1)
    assert [post.customers[0] for post in scripted.posts] == [1, 4]
    assert scripted.statuses() == ["waiting", "waiting"]
    assert scripted.outcomes() == {None: 6}


async def test_a_stop_counts_more_than_what_else_went_wrong_in_its_batch(scripted: ScriptedClient) -> None:
    """Any other error might have Airflow try the run again."""
    plan = scripted.plan(range(1, 13), size=3)
    claims = 0

    async def off_then_stopped() -> bool:
        nonlocal claims
        claims += 1
        if claims == 3:
            stop(scripted)
        return claims != 2

    sender = replace(scripted.sender, may_submit=off_then_stopped)
    with pytest.raises(Stopped):
        await submit_run(sender, scripted.plan_id(plan.badge_run_id), lease=LEASE, in_flight=3)
    assert (len(scripted.posts), scripted.outcomes()) == (1, {None: 3})


async def test_a_run_of_which_all_was_sent_ends_well_under_a_stop(scripted: ScriptedClient) -> None:
    plan = scripted.plan(range(1, 7))
    await submit(scripted, plan.badge_run_id)
    stop(scripted)
    assert await submit(scripted, plan.badge_run_id) == Submitted({}, 0)
    assert scripted.statuses() == ["waiting", "waiting"]


async def test_another_campaigns_stop_leaves_the_run_alone(scripted: ScriptedClient) -> None:
    plan = scripted.plan(range(1, 7))
    stop(scripted, "autumn")
    assert await submit(scripted, plan.badge_run_id) == Submitted({Sent.ACCEPTED: 2}, 0)


async def test_what_another_stopped_campaign_has_in_doubt_does_not_end_the_run(scripted: ScriptedClient) -> None:
    scripted.plan([1], campaign="autumn")
    in_doubt(scripted, 1, sent_before_s=7_200, error="timeout")
    scripted.write(update(badge_request).values(doubt_from=scripted.now[0] - timedelta(hours=2)))
    stop(scripted, "autumn")
    plan = scripted.plan([2], "second")
    assert await submit(scripted, plan.badge_run_id) == Submitted({Sent.ACCEPTED: 1}, 0)
    assert [post.customers for post in scripted.posts] == [(2,)]
    assert scripted.statuses() == ["sending", "waiting"]


async def accepted(name: str, request: IssueBadgeRequest) -> WorkflowRequest:
    return row(name, request.key)
