"""Whether a human decides: what keeps the account's requests back after an auto-approval, and what lets them out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from capillary.api.errors import InDoubt
from capillary.api.request_workflow import IssueBadgeRequest, WorkflowRequest
from capillary.engine.absence import doubt_after
from capillary.engine.doubt import Resolved, resolve_doubt
from capillary.engine.errors import AutoApproved
from capillary.engine.second_look import LOOK_AFTER_S
from capillary.engine.send import Sent
from capillary.engine.sightings import record_rows
from capillary.engine.submit import NOT_TAKEN_IN_A_ROW, Submitted, submit_run
from capillary.engine.upkeep import keep_account
from capillary.engine.wait import advance
from capillary.ledger import history
from capillary.ledger.plan_id import open_plan
from capillary.ledger.request_rows import claim, discard_unsent
from capillary.ledger.schema import badge_auto_approval
from tests.unit.engine.scripted_client import LEASE, NOON, SETTINGS, ScriptedClient, row
from tests.unit.engine.test_submit import refused_times

#: By which the clock is moved between two events: it runs, stands, is a day ahead, is set back.
CLOCKS = {
    "runs": timedelta(minutes=1),
    "stands": timedelta(0),
    "leaps": timedelta(days=1),
    "is set back": -timedelta(days=1),
}


async def submit(scripted: ScriptedClient, badge_run_id: int | None, **options: Any) -> Submitted:  # noqa: ANN401 - the options of `submit_run`
    return await submit_run(scripted.sender, scripted.plan_id(badge_run_id), lease=LEASE, **options)


def approved(name: str) -> WorkflowRequest:
    """What the platform shows of a request that it executed by itself."""
    return row(name, None, "approved")


class Earlier:
    """Another campaign's requests: `a`, `b` and `c`, each of one customer."""

    def __init__(self, scripted: ScriptedClient) -> None:
        self._scripted = scripted
        plan = scripted.plan([500, 501, 502], "earlier", size=1, campaign="another")
        self._run = scripted.plan_id(plan.badge_run_id)
        rows = [each for each in scripted.requests() if each.badge_run_id == plan.badge_run_id]
        self._requests = dict(zip("abc", rows, strict=True))

    def play(self, events: str, *, apart: timedelta = timedelta(minutes=1)) -> None:
        """Play events such as `send a, a by platform`, so far apart."""
        for event in events.split(", ") if events else ():
            name, _, what = event.removeprefix("send ").partition(" ")
            (self._decide if what else self._send)(name, what)
            self._scripted.now[0] += apart

    def _send(self, name: str, _: str) -> None:
        with self._scripted.ledger.write() as tx:
            opened = open_plan(tx, self._run)
            request_id = self._requests[name].id
            assert claim(tx, request_id, badge_run_id=opened, sender=SETTINGS.sender, doubt_after=doubt_after(SETTINGS))

    def _decide(self, name: str, how: str) -> None:
        key = self._requests[name].request_key
        shown = {
            "by platform": row(f"p-{name}", key, "approved"),
            "failed by platform": row(f"p-{name}", key, "failed"),
            "by human": row(f"p-{name}", key, "approved", human=True),
            "failed by human": row(f"p-{name}", key, "failed", human=True),
            "rejected": row(f"p-{name}", key, "rejected"),
            "waits": row(f"p-{name}", key),
            "somehow": row(f"p-{name}", None, "approved"),
        }[how]
        listed = [each for each in self._scripted.listed if each.platform_request_id != shown.platform_request_id]
        self._scripted.listed = [*listed, shown]
        with self._scripted.ledger.write() as tx:
            record_rows(tx, SETTINGS.account, SETTINGS.sender, [shown])


@pytest.fixture
def earlier(scripted: ScriptedClient) -> Earlier:
    return Earlier(scripted)


# What keeps a run back, and what lets it go --------------------------------------------------------------------


@pytest.mark.parametrize("apart", CLOCKS.values(), ids=CLOCKS)
@pytest.mark.parametrize(
    ("events", "stops"),
    [
        ("send a, a by platform", True),
        ("send a, a failed by platform", True),
        ("send a, a by human", False),
        ("send a, a rejected", False),
        ("send a, a waits", False),
        # Sent after it was seen, and decided by a human.
        ("send a, a by platform, send b, b by human", False),
        ("send a, a by platform, send b, b failed by human", False),
        ("send a, a by platform, send b, b rejected", False),
        ("send a, a by platform, send b, b by human, send c, c waits", False),
        # Sent after it was seen, and not decided, or by the platform, or nobody knows by whom.
        ("send a, a by platform, send b, b waits", True),
        ("send a, a by platform, send b, b by platform", True),
        ("send a, a by platform, send b, b waits, b somehow", True),
        # Sent before: what a human decides of it is no sign of what the platform does by now.
        ("send a, send b, a by platform, b by human", True),
        ("send a, send b, a by platform, b rejected", True),
        ("send b, b by human, send a, a by platform", True),
        ("send b, send a, b by human, a by platform", True),
        # The newest counts.
        ("send a, a by platform, send b, b by human, send c, c by platform", True),
        ("send a, a by platform, send b, send c, b by human, c by platform", True),
        ("send a, a by platform, send b, send c, c by platform, b by human", True),
    ],
)
async def test_a_human_has_to_decide_what_was_sent_after_an_auto_approval_whatever_the_clock_does(
    scripted: ScriptedClient, earlier: Earlier, events: str, stops: bool, apart: timedelta
) -> None:
    earlier.play(events, apart=apart)
    scripted.now[0] = NOON + timedelta(days=30)  # no doubt is due, no lease is over
    run = scripted.plan([1], "now").badge_run_id
    if not stops:
        assert (await submit(scripted, run)).counts == {Sent.ACCEPTED: 1}
        return
    with pytest.raises(AutoApproved, match="the platform executed request p-"):
        await submit(scripted, run)
    assert scripted.posts == []


async def test_a_single_read_tells_that_it_was_a_human_where_the_list_did_not(
    scripted: ScriptedClient, earlier: Earlier
) -> None:
    earlier.play("send a, a by platform, send b, b waits, b somehow")
    with scripted.ledger.write() as tx:
        shown = [row("p-b", None, "approved", human=True)]
        record_rows(tx, SETTINGS.account, SETTINGS.sender, shown, singly=True)
    assert (await submit(scripted, scripted.plan([1], "now").badge_run_id)).counts == {Sent.ACCEPTED: 1}


async def test_another_accounts_approvals_are_not_ours(scripted: ScriptedClient, earlier: Earlier) -> None:
    earlier.play("send a, a by platform")
    scripted.listed = []
    scripted.settings = replace(SETTINGS, base_url="https://elsewhere.example", organisation_id="200")
    with scripted.ledger.write() as tx:
        history.take_as_read(tx, scripted.settings.account, scripted.settings.sender, since=NOON.date())
    assert (await submit(scripted, scripted.plan([1], "now").badge_run_id)).counts == {Sent.ACCEPTED: 1}


async def test_what_the_platform_gave_back_unsent_is_sent_anew_and_tells_of_that_time(
    scripted: ScriptedClient, earlier: Earlier
) -> None:
    """A first try that was certainly not taken is none: the second one was sent knowing."""
    run = scripted.plan([1], "now").badge_run_id
    earlier.play("send a, a waits")

    async def meanwhile(request: IssueBadgeRequest) -> WorkflowRequest:
        earlier.play("a by platform")
        raise refused_times(1)[0]

    scripted.answers = [meanwhile]
    with pytest.raises(AutoApproved):
        await submit(scripted, run)
    assert (await submit(scripted, run, clears=1)).counts == {Sent.ACCEPTED: 1}
    key = next(each.request_key for each in scripted.requests() if each.badge_run_id == run)
    with scripted.ledger.write() as tx:
        record_rows(tx, SETTINGS.account, SETTINGS.sender, [row("p-2", key, "approved", human=True)])
    assert (await submit(scripted, scripted.plan([2], "next").badge_run_id)).counts == {Sent.ACCEPTED: 1}


# Who was told, and has cleared the run ---------------------------------------------------------------------------


@pytest.mark.parametrize("apart", CLOCKS.values(), ids=CLOCKS)
async def test_only_a_clear_lets_a_run_go_on_and_then_until_the_next_auto_approval(
    scripted: ScriptedClient, earlier: Earlier, apart: timedelta
) -> None:
    earlier.play("send a, a by platform")
    run = scripted.plan(range(1, 10), "now").badge_run_id
    for clears, sent_so_far in ((0, 0), (0, 0), (1, 1), (1, 1), (2, 2), (2, 2)):
        scripted.unlisted = [approved(f"p-{scripted.numbered + 1}")]
        with pytest.raises(AutoApproved):
            await submit(scripted, run, clears=clears)
        assert len(scripted.posts) == sent_so_far, f"cleared {clears} times"
        scripted.listed += [replace(each, state="approved") for each in scripted.taken]
        scripted.taken = []
        scripted.now[0] += apart
    scripted.unlisted = []
    assert (await submit(scripted, run, clears=3)).counts == {Sent.ACCEPTED: 1}
    assert scripted.statuses()[3:] == ["waiting"] * 3


async def test_a_run_that_was_deleted_and_made_again_begins_without_a_clear(
    scripted: ScriptedClient, earlier: Earlier
) -> None:
    """Airflow counts from 0 again; so does a second Airflow that has a run of the same name."""
    earlier.play("send a, a by platform")
    run = scripted.plan(range(1, 7), "now").badge_run_id
    for clears in (2, 0, 0):
        with pytest.raises(AutoApproved):
            await submit(scripted, run, clears=clears)
    assert scripted.posts == []
    assert (await submit(scripted, run, clears=1)).counts == {Sent.ACCEPTED: 2}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("clears", "sent"), [(0, 0), (1, 1)], ids=["planned by a retry", "cleared"])
async def test_who_clears_the_planning_task_has_been_told_too(
    scripted: ScriptedClient, earlier: Earlier, times: int, clears: int, sent: int
) -> None:
    """What was not sent is given back at a run's end: only planning it again brings anything to send."""
    earlier.play("send a, a by platform")
    run = scripted.plan(range(1, 7), "now").badge_run_id
    with pytest.raises(AutoApproved):
        await submit(scripted, run)
    for _ in range(times):
        with scripted.ledger.write() as tx:
            discard_unsent(tx, badge_run_ids=[open_plan(tx, scripted.plan_id(run))])
        scripted.now[0] += timedelta(minutes=1)
        run = scripted.plan(range(1, 7), "now").badge_run_id
    scripted.unlisted = [approved("p-1")]
    with pytest.raises(AutoApproved):
        await submit(scripted, run, clears=clears)
    assert len(scripted.posts) == sent


async def test_the_word_on_one_run_is_no_word_on_another(scripted: ScriptedClient, earlier: Earlier) -> None:
    earlier.play("send a, a by platform")
    run, other = scripted.plan([1], "now").badge_run_id, scripted.plan([2], "other").badge_run_id
    for each in (run, other):
        with pytest.raises(AutoApproved):
            await submit(scripted, each, clears=1)
    assert scripted.posts == []


@pytest.mark.parametrize("apart", CLOCKS.values(), ids=CLOCKS)
@pytest.mark.parametrize(
    ("before", "after", "lets_out"),
    [
        ("send a, send b, a by platform", "b by platform", True),
        ("send a, send b, send c, a by platform", "b by platform, c by platform", True),
        ("send a, a by platform, send b", "b by platform", False),
        ("send a, a by platform", "send b, b by platform", False),
        ("send a, send b, a by platform", "send c, c by platform, b by platform", False),
    ],
)
async def test_a_cleared_run_passes_what_was_sent_before_and_is_seen_late(
    scripted: ScriptedClient, earlier: Earlier, before: str, after: str, lets_out: bool, apart: timedelta
) -> None:
    """Once the flag is off, what it had let through may show one after the other; that is nothing new."""
    earlier.play(before, apart=apart)
    scripted.now[0] = NOON + timedelta(days=30)
    run = scripted.plan([1], "now").badge_run_id
    with pytest.raises(AutoApproved):
        await submit(scripted, run)
    scripted.posts.clear()
    earlier.play(after)
    if not lets_out:
        with pytest.raises(AutoApproved):
            await submit(scripted, run, clears=1)
        assert scripted.posts == []
        return
    assert (await submit(scripted, run, clears=1)).counts == {Sent.ACCEPTED: 1}


async def test_a_request_that_was_sent_again_counts_as_sent_last(scripted: ScriptedClient, earlier: Earlier) -> None:
    """By its first send it would be old news, and the flag is on."""
    earlier.play("send a, a waits")
    run = scripted.plan(range(1, 10), "now").badge_run_id
    scripted.answers = [InDoubt(reason="no answer")]
    await submit(scripted, run, in_flight=1)
    earlier.play("a by platform")
    scripted.now[0] += timedelta(hours=2)
    with pytest.raises(AutoApproved):
        await submit(scripted, run)
    sent = len(scripted.posts)
    scripted.unlisted = [approved(f"p-{scripted.numbered + 1}")]
    with pytest.raises(AutoApproved):
        await submit(scripted, run, clears=1)
    assert len(scripted.posts) == sent + 1, "it goes alone, and is looked at though it is the last of its kind"
    with pytest.raises(AutoApproved):
        await submit(scripted, run, clears=1)
    assert len(scripted.posts) == sent + 1


async def test_an_approval_that_an_older_version_recorded_gets_its_number(
    scripted: ScriptedClient, earlier: Earlier
) -> None:
    """A worker that was not yet restarted writes the sighting and knows of no numbers."""
    earlier.play("send a, a by platform")
    scripted.write(delete(badge_auto_approval))
    with pytest.raises(AutoApproved):
        await submit(scripted, scripted.plan([1], "now").badge_run_id)
    assert scripted.posts == []


# What is sent again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [True, False])
async def test_what_was_sent_again_is_looked_at_before_the_next_is_sent_again(
    scripted: ScriptedClient, stop: bool
) -> None:
    run = scripted.plan(range(1, 10)).badge_run_id
    scripted.answers = [InDoubt(reason="no answer")] * 3
    await submit(scripted, run)
    scripted.now[0] += timedelta(hours=2)
    scripted.unlisted = [approved("p-4")]
    resolved = await resolve_doubt(scripted.sender, stop_on_auto_approval=stop)
    assert (resolved.sent_again, resolved.auto_approved) == ((1, 1) if stop else (3, 0))


@pytest.mark.parametrize("stop", [True, False])
async def test_what_was_sent_again_and_executed_by_itself_counts_too(scripted: ScriptedClient, stop: bool) -> None:
    run = scripted.plan(range(1, 7)).badge_run_id
    scripted.answers = [InDoubt(reason="no answer")] * 2
    await submit(scripted, run)
    scripted.now[0] += timedelta(hours=2)
    later = scripted.plan([100], "later")
    scripted.answers = [row(f"p-again-{number}", None, "approved") for number in (1, 2)]
    if stop:
        with pytest.raises(AutoApproved, match=r"executed 1 request"):
            await submit(scripted, later.badge_run_id)
        assert scripted.statuses() == ["waiting", "sending", "planned"]
    else:
        submitted = await submit(scripted, later.badge_run_id, stop_on_auto_approval=False)
        assert submitted == Submitted({Sent.ACCEPTED: 1}, 2)
        assert scripted.statuses() == ["waiting", "sending", "waiting"], "whose run does not accept it waits"


@pytest.mark.parametrize(
    ("before", "after", "options", "sent_again"),
    [
        ("send a, a waits", "", {}, 1),
        ("send a, a waits", "a by human", {}, 1),
        ("send a, a waits", "a by platform", {}, 0),
        ("send a, a waits", "a by platform", {"stop_on_auto_approval": False}, 0),
        ("send a, a waits", "a by platform", {"told": 1}, 1),
        ("send a, a waits", "a by platform, send b, b by human", {}, 1),
        ("send a, a waits, send b, b waits", "a by platform, b by human", {}, 0),
        ("send a, a waits, send b, b waits", "a by platform, b by platform", {"told": 1}, 1),
        ("send a, a waits", "a by platform, send b, b by platform", {"told": 1}, 0),
    ],
)
async def test_what_was_first_sent_before_an_auto_approval_is_not_sent_again_after_it(
    scripted: ScriptedClient, earlier: Earlier, before: str, after: str, options: dict[str, Any], sent_again: int
) -> None:
    earlier.play(before)
    run = scripted.plan([1], "doubted").badge_run_id
    scripted.answers = [InDoubt(reason="no answer")]
    await submit(scripted, run)
    earlier.play(after)
    scripted.now[0] += timedelta(hours=2)
    resolved = await resolve_doubt(scripted.sender, **options)
    assert (resolved.sent_again, resolved.still_in_doubt) == (sent_again, 1 - sent_again)
    assert len(scripted.posts) == 1 + sent_again


async def test_a_wait_sends_again_what_it_kept_back_once_it_was_cleared(
    scripted: ScriptedClient, earlier: Earlier, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing else might ever send in this account: its runs have sent all that they planned."""
    earlier.play("send a, a waits")
    plan = scripted.plan_id(scripted.plan([1], "doubted").badge_run_id)
    scripted.answers = [InDoubt(reason="no answer")]
    await submit(scripted, plan.badge_run_id)
    earlier.play("a by platform")
    scripted.now[0] += timedelta(hours=2)
    posts = []
    for clears in (0, 0, 1):
        await advance(scripted.sender, plan, reader="a worker", lease=LEASE, clears=clears)
        posts.append(len(scripted.posts))
    assert posts == [1, 1, 2]
    assert "1 request in doubt is not sent again, because the platform approves without a human" in caplog.text
    assert "then clear this task" in caplog.text


@pytest.mark.parametrize("by", ["resolve", "accepting", "wait", "upkeep"])
@pytest.mark.parametrize(("accepts", "sent_again"), [(True, 1), (False, 0)])
async def test_the_policy_of_a_requests_own_run_counts_whoever_sends_it_again(
    scripted: ScriptedClient, earlier: Earlier, by: str, accepts: bool, sent_again: int
) -> None:
    earlier.play("send a, a waits")
    plan = scripted.plan_id(scripted.plan([1], "doubted").badge_run_id)
    scripted.answers = [InDoubt(reason="no answer")]
    await submit(scripted, plan.badge_run_id, stop_on_auto_approval=not accepts)
    earlier.play("a by platform")
    scripted.now[0] += timedelta(hours=2)
    if by == "resolve":
        await resolve_doubt(scripted.sender)
    elif by == "accepting":
        await resolve_doubt(scripted.sender, stop_on_auto_approval=False)
    elif by == "wait":
        await advance(scripted.sender, plan, reader="a worker", lease=LEASE)
    else:
        await keep_account(scripted.sender, reader="upkeep")
    assert len(scripted.posts) == 1 + sent_again


async def test_what_was_first_sent_knowing_of_it_is_sent_again(scripted: ScriptedClient, earlier: Earlier) -> None:
    """By a person's clear, or by a campaign that accepts auto-approvals: `wait` and `badge_upkeep` know of neither."""
    earlier.play("send a, a by platform")
    run = scripted.plan([1], "now").badge_run_id
    with pytest.raises(AutoApproved):
        await submit(scripted, run)
    scripted.answers = [InDoubt(reason="no answer")]
    await submit(scripted, run, clears=1)
    scripted.now[0] += timedelta(hours=2)
    assert await resolve_doubt(scripted.sender) == Resolved(sent_again=1)
    # The second send does not count as one that knows more than the first.
    earlier.play("send b, b by platform")
    assert len(scripted.posts) == 2


# Who looks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("called_back", [False, True], ids=["a retry", "called back"])
async def test_every_task_looks_at_the_first_request_that_it_has_accepted(
    scripted: ScriptedClient, called_back: bool
) -> None:
    run = scripted.plan(range(1, 16)).badge_run_id

    async def accept(request: IssueBadgeRequest) -> WorkflowRequest:
        return row("p-1", request.key)

    scripted.answers = [accept, *refused_times(NOT_TAKEN_IN_A_ROW)]
    begun = scripted.now[0]
    assert (await submit(scripted, run, in_flight=1)).waits is not None
    scripted.posts.clear()
    scripted.unlisted = [approved(f"p-{scripted.numbered + 1}")]
    with pytest.raises(AutoApproved, match="executed 1 request"):
        await submit(scripted, run, waiting_since=begun if called_back else None)
    assert len(scripted.posts) == 1


async def test_the_only_request_of_a_run_is_not_waited_for(scripted: ScriptedClient) -> None:
    await submit(scripted, scripted.plan([1]).badge_run_id)
    assert scripted.second == 0.0


async def test_the_last_request_of_a_run_is_looked_at_as_long_as_another_run_has_something_to_send(
    scripted: ScriptedClient,
) -> None:
    """A mapped task sends one request; the next one must know whether a human decides."""
    runs = [scripted.plan([customer], f"part {customer}").badge_run_id for customer in (1, 2, 3)]
    scripted.unlisted = [approved("p-1")]
    assert (await submit(scripted, runs[0])).counts == {Sent.ACCEPTED: 1}
    assert scripted.second == LOOK_AFTER_S
    for run in runs[1:]:
        with pytest.raises(AutoApproved):
            await submit(scripted, run)
    assert len(scripted.posts) == 1
