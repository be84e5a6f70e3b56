"""Doubt ends by evidence: what is found, what is judged absent, and what proves nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from capillary.api.errors import InDoubt, NotTaken
from capillary.api.request_workflow import WorkflowRequest
from capillary.engine.absence import WITHOUT_CONTROL, doubt_after
from capillary.engine.doubt import Resolved, resolve_doubt
from capillary.engine.platform_list import LOOK_BACK
from capillary.engine.second_look import LOOK_AFTER_S
from capillary.engine.sightings import record_rows
from capillary.engine.submit import submit_run
from capillary.ledger import history, scans, stops
from capillary.ledger.pace import START_WITHIN_S
from capillary.ledger.schema import badge_request, badge_run
from capillary.ledger.stops import Scope
from tests.unit.engine.scripted_client import LEASE, NOON, SETTINGS, ScriptedClient, row

#: From a send until its absence may be judged.
DOUBT = doubt_after(SETTINGS)
#: From a send until everything that will arrive of it has arrived.
CALL = timedelta(seconds=START_WITHIN_S + SETTINGS.post_timeout_s)
JUST = timedelta(microseconds=1)


async def leave_in_doubt(scripted: ScriptedClient, count: int = 1) -> None:
    """Submit requests of which no answer comes back, at `NOON`."""
    plan = scripted.plan(range(1, count + 1), size=1)
    scripted.answers = [InDoubt(reason="no answer")] * count
    await submit_run(scripted.sender, scripted.plan_id(plan.badge_run_id), lease=LEASE, in_flight=count + 1)
    # The last one waits for the others to arrive; these tests count from one moment.
    scripted.write(update(badge_request).values(first_sent_at=NOON, last_sent_at=NOON, doubt_from=NOON + DOUBT))
    scripted.now[0] = NOON
    scripted.events.clear()
    scripted.lists.clear()
    scripted.posts.clear()
    assert scripted.statuses() == ["sending"] * count


def key(scripted: ScriptedClient, number: int = 1) -> str:
    """Return the key of a request, by its id."""
    found: str = scripted.requests()[number - 1].request_key
    return found


async def add_control(
    scripted: ScriptedClient, *, after: timedelta, run_id: str = "control", customer: int = 1_000
) -> None:
    """Have a request of another run accepted so long after `NOON`, and shown by the list from now on."""
    now, scripted.now[0] = scripted.now[0], NOON + after
    later = scripted.plan([customer], run_id)
    await submit_run(scripted.sender, scripted.plan_id(later.badge_run_id), lease=LEASE, in_flight=100)
    scripted.listed.append(row(f"p-{scripted.numbered}", scripted.requests()[-1].request_key))
    scripted.now[0] = now
    scripted.events.clear()
    scripted.posts.clear()


async def resolve(scripted: ScriptedClient, *, after: timedelta, **options: Any) -> Resolved:  # noqa: ANN401 - those of `resolve_doubt`
    scripted.now[0] = NOON + after
    return await resolve_doubt(scripted.sender, **options)


async def test_where_nothing_is_in_doubt_nothing_is_read(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    assert await resolve(scripted, after=timedelta(days=1)) == Resolved(0, 0, 0, 0, 0)
    assert scripted.events == []


async def test_a_doubt_that_is_young_is_not_looked_at(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    assert await resolve(scripted, after=DOUBT) == Resolved()
    assert scripted.events == []


async def test_what_stands_on_the_list_is_found(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted, 2)
    scripted.listed = [row("p-late", key(scripted, 1))]
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(found=1, still_in_doubt=1)
    assert scripted.statuses() == ["waiting", "sending"]
    assert [each.platform_request_id for each in scripted.sightings()] == ["p-late"]


async def test_the_whole_list_is_read_from_two_days_before_the_first_send(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted, 2)
    # Late in the evening in UTC it is the next day in the cluster's zone.
    sent_at = NOON.replace(hour=20)
    scripted.write(
        update(badge_request).where(badge_request.c.id == 2).values(first_sent_at=sent_at - timedelta(days=3))
    )
    await resolve(scripted, after=timedelta(days=1))
    first = date(2026, 11, 21) - 2 * LOOK_BACK  # what was sent `LOOK_BACK` before it is a control
    assert scripted.lists == [(first, None), (first, "ISSUE-BADGE")]


@pytest.mark.parametrize("control_after", [CALL + JUST, DOUBT])
async def test_absence_beside_a_control_sends_the_same_key_again(
    scripted: ScriptedClient, control_after: timedelta
) -> None:
    await leave_in_doubt(scripted)
    await add_control(scripted, after=control_after)
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(sent_again=1)
    assert [post.key for post in scripted.posts] == [key(scripted)]
    found = scripted.requests()[0]
    assert (found.status, found.tries, found.resends, found.sender) == ("waiting", 2, 1, SETTINGS.sender)


async def test_the_second_send_is_in_doubt_for_as_long_as_the_first(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    scripted.answers = [InDoubt(reason="none again")]
    after = DOUBT + WITHOUT_CONTROL + JUST
    assert await resolve(scripted, after=after) == Resolved(sent_again=1)
    found = scripted.requests()[0]
    assert (found.status, found.doubt_from) == ("sending", NOON + after + DOUBT)


async def test_a_control_that_was_sent_before_proves_nothing(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    await add_control(scripted, after=CALL)
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(still_in_doubt=1)
    assert scripted.posts == []


async def test_what_was_found_and_not_sent_is_no_control_whatever_the_platforms_clock_says(
    scripted: ScriptedClient,
) -> None:
    await leave_in_doubt(scripted)
    await add_control(scripted, after=CALL + JUST)
    scripted.write(update(badge_request).where(badge_request.c.id == 2).values(tries=0, sender=None))
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(still_in_doubt=1)
    assert scripted.posts == []


async def test_the_newest_of_the_controls_counts(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    await add_control(scripted, after=CALL)
    early = scripted.requests()[-1].id
    for name, sent_at in (("newest", NOON + CALL + JUST), ("never sent", None), ("older", NOON + CALL)):
        scripted.now[0] = NOON + CALL + JUST
        other = scripted.plan([2_000 + len(name)], name)
        await submit_run(scripted.sender, scripted.plan_id(other.badge_run_id), lease=LEASE, in_flight=100)
        scripted.listed.append(row(f"p-{name}", scripted.requests()[-1].request_key))
        newest_id = scripted.requests()[-1].id
        # A request that this ledger never sent, found on the list, is no control and disturbs none.
        scripted.write(update(badge_request).where(badge_request.c.id == newest_id).values(first_sent_at=sent_at))
    scripted.write(update(badge_request).where(badge_request.c.id == early).values(first_sent_at=None))
    scripted.posts.clear()
    assert (await resolve(scripted, after=DOUBT + JUST)).sent_again == 1


@pytest.mark.parametrize(("more", "sent_again"), [(timedelta(0), 0), (JUST, 1)])
async def test_without_a_control_an_hour_must_pass(scripted: ScriptedClient, more: timedelta, sent_again: int) -> None:
    await leave_in_doubt(scripted)
    assert (await resolve(scripted, after=DOUBT + WITHOUT_CONTROL + more)).sent_again == sent_again


# Another credential user ------------------------------------------------------------------------------------

BEFORE = "the till before"


async def left_by_another(
    scripted: ScriptedClient,
    *,
    control_of: str,
    control_after: timedelta,
    **control: Any,  # noqa: ANN401 - columns
) -> None:
    """Leave a request of another till in doubt, beside a control of some till."""
    await leave_in_doubt(scripted)
    await add_control(scripted, after=control_after)
    scripted.write(update(badge_request).where(badge_request.c.id == 1).values(sender=BEFORE))
    scripted.write(update(badge_request).where(badge_request.c.id == 2).values(sender=control_of, **control))


async def test_another_user_never_judges_without_a_control(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    scripted.write(update(badge_request).values(sender=BEFORE))
    assert await resolve(scripted, after=timedelta(days=30)) == Resolved(still_in_doubt=1)


async def test_another_user_judges_beside_a_control_of_the_same_sender(scripted: ScriptedClient) -> None:
    await left_by_another(scripted, control_of=BEFORE, control_after=CALL + JUST)
    assert await resolve(scripted, after=DOUBT) == Resolved(), "not before the doubt is old enough"
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(sent_again=1)
    assert scripted.requests()[0].sender == SETTINGS.sender, "the resend is this user's"
    assert [post.key for post in scripted.posts] == [key(scripted)]


@pytest.mark.parametrize(
    ("control_of", "control_after", "control"),
    [
        (SETTINGS.sender, CALL + JUST, {}),
        ("a third till", CALL + JUST, {}),
        (BEFORE, CALL, {}),
        (BEFORE, CALL + JUST, {"resends": 1, "answered_id": None}),
        (BEFORE, CALL + JUST, {"first_sent_at": None, "tries": 0}),
    ],
    ids=["mine", "a third one's", "sent before", "sent again by nobody knows whom", "never sent by this ledger"],
)
async def test_another_user_judges_beside_no_other_control(
    scripted: ScriptedClient, control_of: str, control_after: timedelta, control: dict[str, Any]
) -> None:
    await left_by_another(scripted, control_of=control_of, control_after=control_after, **control)
    assert await resolve(scripted, after=timedelta(days=30)) == Resolved(still_in_doubt=1)
    assert scripted.posts == []


@pytest.mark.parametrize("newest", [0, 1], ids=["newest first", "newest last"])
async def test_the_newest_control_of_a_sender_counts_for_its_doubts(scripted: ScriptedClient, newest: int) -> None:
    await left_by_another(scripted, control_of=BEFORE, control_after=CALL)
    await add_control(scripted, after=CALL, run_id="second", customer=1_001)
    sent_at = [NOON + CALL, NOON + CALL]
    sent_at[newest] += JUST
    for request_id, moment in zip((2, 3), sent_at, strict=True):
        sends = {"sender": BEFORE, "first_sent_at": moment, "last_sent_at": moment}
        scripted.write(update(badge_request).where(badge_request.c.id == request_id).values(**sends))
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(sent_again=1)


@pytest.mark.parametrize("lies_ahead", [2, 3])
async def test_a_control_that_lies_ahead_shows_nothing_and_hides_no_other(
    scripted: ScriptedClient, lies_ahead: int
) -> None:
    """It was sent before the ledger's clock was set back."""
    await leave_in_doubt(scripted)
    await add_control(scripted, after=CALL + JUST)
    await add_control(scripted, after=CALL + JUST, run_id="second", customer=1_001)
    ahead = {"first_sent_at": NOON + timedelta(days=1), "last_sent_at": NOON + timedelta(days=1)}
    scripted.write(update(badge_request).where(badge_request.c.id == lies_ahead).values(**ahead))
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(sent_again=1)
    assert [post.key for post in scripted.posts] == [key(scripted)]


async def test_a_control_that_does_not_show_lets_nobody_judge(scripted: ScriptedClient) -> None:
    """This till's list shows its own requests alone."""
    await left_by_another(scripted, control_of=BEFORE, control_after=CALL + JUST)
    scripted.listed.clear()
    assert await resolve(scripted, after=timedelta(days=30)) == Resolved(still_in_doubt=1)


async def test_the_sender_itself_judges_beside_anybodys_control(scripted: ScriptedClient) -> None:
    await left_by_another(scripted, control_of="a third till", control_after=CALL + JUST)
    scripted.write(update(badge_request).where(badge_request.c.id == 1).values(sender=SETTINGS.sender))
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(sent_again=1)


async def test_what_another_user_left_is_found(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    scripted.write(update(badge_request).values(sender=BEFORE))
    scripted.listed = [row("p-late", key(scripted))]
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(found=1)


# A control that was sent again -------------------------------------------------------------------------------

MADE = NOON + timedelta(hours=2)


async def sent_again_later(
    scripted: ScriptedClient, *, shown: str, made_at: datetime | None = MADE, answer: WorkflowRequest | None = None
) -> None:
    """Leave two in doubt, and a control that was sent before them and again after; the list shows `shown` of it."""
    scripted.now[0] = NOON - timedelta(minutes=1)
    scripted.plan([1_000], "control")
    scripted.answers = [InDoubt(reason="no answer")]
    await submit_run(scripted.sender, scripted.plan_id(1), lease=LEASE)
    scripted.now[0] = NOON
    later = scripted.plan([1], "doubt")
    scripted.answers = [InDoubt(reason="no answer")]
    await submit_run(scripted.sender, scripted.plan_id(later.badge_run_id), lease=LEASE)
    again = {"resends": 1, "tries": 2, "last_sent_at": MADE}
    named = None if answer is None else answer.platform_request_id
    scripted.write(update(badge_request).where(badge_request.c.id == 1).values(answered_id=named, **again))
    scripted.write(update(badge_request).where(badge_request.c.id == 2).values(last_sent_at=NOON, first_sent_at=NOON))
    scripted.listed = [replace(row(shown, key(scripted, 1)), created_at=made_at)]
    scripted.posts.clear()


AFTER_ALL = timedelta(hours=2, minutes=1)
AGAIN = row("p-again", None)


@pytest.mark.parametrize(
    ("shown", "made_at", "answer", "ahead", "judges"),
    [
        ("p-again", MADE, AGAIN, timedelta(), True),
        ("p-again", MADE + timedelta(days=1), AGAIN, timedelta(days=1), True),
        ("p-again", MADE - timedelta(seconds=2), AGAIN, timedelta(), True),
        ("p-again", None, AGAIN, timedelta(), True),
        ("p-again", NOON, AGAIN, None, True),
        ("p-again", NOON - timedelta(minutes=1), AGAIN, timedelta(), False),
        ("p-again", NOON - timedelta(minutes=1) + timedelta(days=1), AGAIN, timedelta(days=1), False),
        ("p-first", MADE, AGAIN, timedelta(), False),
        ("p-again", MADE, None, timedelta(), False),
    ],
    ids=[
        "the send that its reply named",
        "by a platform's clock a day ahead",
        "by another node's clock",
        "made nobody knows when",
        "made by nobody knows whose clock",
        "named again, and made by the first send",
        "the same by a platform's clock a day ahead",
        "the first send",
        "no reply to the last send",
    ],
)
async def test_a_request_that_was_sent_again_is_a_control_from_the_send_that_its_reply_tells(
    scripted: ScriptedClient,
    shown: str,
    made_at: datetime | None,
    answer: WorkflowRequest | None,
    ahead: timedelta | None,
    judges: bool,
) -> None:
    await sent_again_later(scripted, shown=shown, made_at=made_at, answer=answer)
    scripted.platform_ahead = ahead
    # An hour without a control has not passed by the time of the last doubt.
    scripted.write(update(badge_request).where(badge_request.c.id == 2).values(doubt_from=NOON + timedelta(hours=2)))
    resolved = await resolve(scripted, after=AFTER_ALL)
    assert (resolved.sent_again, [post.customers for post in scripted.posts]) == ((1, [(1,)]) if judges else (0, []))


async def test_its_user_is_told_by_the_send_that_its_reply_tells(scripted: ScriptedClient) -> None:
    await sent_again_later(scripted, shown="p-again", answer=AGAIN)
    scripted.write(update(badge_request).values(sender=BEFORE))
    assert (await resolve(scripted, after=AFTER_ALL)).sent_again == 1


async def test_a_resend_that_was_accepted_ends_the_next_doubt_without_an_hour(scripted: ScriptedClient) -> None:
    """From the first loss on, by the engine alone: a resend is accepted, and judges what was in doubt beside it."""
    await leave_in_doubt(scripted, 2)
    scripted.answers = [row("p-again", key(scripted, 1)), InDoubt(reason="no answer")]
    assert await resolve(scripted, after=DOUBT + WITHOUT_CONTROL + JUST) == Resolved(sent_again=2)
    scripted.listed = [row("p-again", key(scripted, 1))]
    second = scripted.requests()[1].last_sent_at
    scripted.write(update(badge_request).where(badge_request.c.id == 1).values(last_sent_at=second + CALL + JUST))
    look = timedelta(seconds=LOOK_AFTER_S)
    assert await resolve(scripted, after=2 * DOUBT + WITHOUT_CONTROL + look + 2 * JUST) == Resolved(sent_again=1)


# What proves nothing ----------------------------------------------------------------------------------------


async def test_a_list_that_is_not_whole_finds_but_proves_no_absence(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted, 2)
    scripted.listed = [row("p-late", key(scripted, 1))]
    scripted.cut_short = 1
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(found=1, still_in_doubt=1)


@pytest.mark.parametrize(
    ("request_type", "customers"),
    [
        ("ISSUE-BADGE", None),
        ("ISSUE-BADGE", ()),
        ("", None),
        ("ISSUE-BADGE", (1,)),
        ("", (2, 1)),
        ("CUSTOMER-STATUS-CHANGE", None),  # as the response table of every public page has it
        ("EARN-BADGE", (1,)),
    ],
    ids=["nobody", "an empty list", "no type", "its customer", "another, too", "another type", "and its customer"],
)
async def test_a_row_without_a_key_that_may_be_the_request_proves_no_absence(
    scripted: ScriptedClient, request_type: str, customers: tuple[int, ...] | None
) -> None:
    await leave_in_doubt(scripted)
    scripted.listed = [replace(row("p-keyless", None), request_type=request_type, customers=customers)]
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(still_in_doubt=1)


@pytest.mark.parametrize(
    ("request_type", "customers", "ours"),
    [
        ("ISSUE-BADGE", (2,), None),
        ("", (2, 3), True),
        ("CUSTOMER-STATUS-CHANGE", (2,), None),
        ("EARN-BADGE", None, False),
        ("EARN-BADGE", (1,), False),
        ("ISSUE-BADGE", (1,), False),
    ],
)
async def test_a_row_without_a_key_that_cannot_be_the_request_is_left_alone(
    scripted: ScriptedClient, request_type: str, customers: tuple[int, ...] | None, ours: bool | None
) -> None:
    """Somebody made it by hand, for other customers or another call."""
    await leave_in_doubt(scripted)
    keyless = replace(row("p-keyless", None), request_type=request_type, customers=customers)
    scripted.listed = [replace(keyless, wraps_issue_bulk=ours)]
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(sent_again=1)


async def test_a_lean_list_shows_the_request_in_doubt_by_single_reads(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted, 2)
    scripted.listed = [row("p-late", key(scripted, 1)), replace(row("p-other", "somebody's"), customers=(99,))]
    scripted.lean = True
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(found=1, sent_again=1)
    assert [each.platform_request_id for each in scripted.sightings()] == ["p-3", "p-late"]
    assert [event for event in scripted.events if event.startswith("read")] == ["read p-late", "read p-other"]


async def test_a_row_that_stays_dark_behind_a_lean_list_holds_every_doubt(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    scripted.listed = [row("p-dark", "somebody's")]
    scripted.lean, scripted.refused_reads = True, {"p-dark"}
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(still_in_doubt=1)


async def test_a_row_that_shows_nobody_holds_whatever_comes_after_it(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    scripted.listed = [row("p-nobody", None), replace(row("p-others", None), customers=(99,))]
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(still_in_doubt=1)


async def test_a_row_without_a_key_holds_only_the_requests_that_it_may_be(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted, 3)
    scripted.listed = [replace(row(f"p-{customer}", None), customers=(customer, 99)) for customer in (1, 3)]
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(sent_again=1, still_in_doubt=2)
    assert [post.key for post in scripted.posts] == [key(scripted, 2)]


async def test_a_list_that_hides_what_is_known_proves_no_absence(scripted: ScriptedClient) -> None:
    """What was accepted beside the doubt has long been decided, and this list shows what waits alone."""
    await leave_in_doubt(scripted)
    await add_control(scripted, after=timedelta(minutes=1))
    scripted.unlisted, scripted.listed = scripted.listed, []
    assert await resolve(scripted, after=timedelta(days=3)) == Resolved(still_in_doubt=1)
    scripted.listed, scripted.unlisted = scripted.unlisted, []
    assert await resolve(scripted, after=timedelta(days=3)) == Resolved(sent_again=1)


async def test_a_list_that_hides_what_was_accepted_before_the_doubt_proves_no_absence(scripted: ScriptedClient) -> None:
    """The last request of a run is in doubt, and the list shows everything but its newest rows."""
    await leave_in_doubt(scripted)
    await add_control(scripted, after=timedelta(minutes=-1))
    scripted.unlisted, scripted.listed = scripted.listed, []
    assert await resolve(scripted, after=timedelta(days=3)) == Resolved(still_in_doubt=1)
    scripted.listed, scripted.unlisted = scripted.unlisted, []
    assert await resolve(scripted, after=timedelta(days=3)) == Resolved(sent_again=1)


async def test_a_list_that_shows_both_of_two_twins_on_one_page_hides_neither(scripted: ScriptedClient) -> None:
    """A gateway that delivers a POST twice makes twins; no doubt of the account would end while both stand there."""
    await leave_in_doubt(scripted)
    await add_control(scripted, after=timedelta(minutes=1))
    scripted.listed.append(replace(scripted.listed[0], platform_request_id="p-twin"))
    with scripted.ledger.write() as tx:
        record_rows(tx, SETTINGS.account, SETTINGS.sender, scripted.listed)
    assert [each.platform_request_id for each in scripted.sightings()] == ["p-2", "p-twin"]
    assert await resolve(scripted, after=timedelta(days=3)) == Resolved(sent_again=1)
    assert [event for event in scripted.events if event.startswith("read")] == []


@pytest.mark.parametrize("first", ["p-again", "p-twin"])
async def test_of_twins_on_one_page_the_one_that_the_reply_named_is_a_control(
    scripted: ScriptedClient, first: str
) -> None:
    await sent_again_later(scripted, shown=first, answer=AGAIN)
    other = "p-twin" if first == "p-again" else "p-again"
    scripted.listed.append(replace(scripted.listed[0], platform_request_id=other))
    scripted.platform_ahead = timedelta()
    scripted.write(update(badge_request).where(badge_request.c.id == 2).values(doubt_from=NOON + timedelta(hours=2)))
    assert (await resolve(scripted, after=AFTER_ALL)).sent_again == 1


async def test_a_list_that_is_distrusted_proves_no_absence_for_a_day(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    with scripted.ledger.write() as tx:
        scans.distrust(tx, SETTINGS.account)
    assert await resolve(scripted, after=scans.DISTRUST - JUST) == Resolved(still_in_doubt=1)
    assert await resolve(scripted, after=scans.DISTRUST) == Resolved(sent_again=1)


async def test_a_key_that_is_not_known_proves_that_the_ledger_is_behind(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    scripted.listed = [row("p-0", "cb1.spring.00000000000000000000000000000000")]
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(still_in_doubt=1)


async def test_nothing_is_judged_absent_before_the_accounts_list_was_read(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    with scripted.ledger.write() as tx:
        history.read_again(tx, SETTINGS.account, SETTINGS.sender)
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(still_in_doubt=1)
    with scripted.ledger.write() as tx:
        history.take_as_read(tx, SETTINGS.account, SETTINGS.sender, since=NOON.date())
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(sent_again=1)


async def test_what_was_sent_three_times_is_given_up(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    for hours, ending in ((2, Resolved(sent_again=1)), (4, Resolved(sent_again=1)), (6, Resolved(given_up=1))):
        scripted.answers = [InDoubt(reason="no answer")]
        assert await resolve(scripted, after=timedelta(hours=hours)) == ending
    assert (len(scripted.posts), scripted.statuses(), scripted.outcomes()) == (2, ["settled"], {"unconfirmed": 1})


async def test_each_that_was_sent_three_times_is_given_up_and_the_others_go_on(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted, 3)
    scripted.write(update(badge_request).where(badge_request.c.id != 3).values(resends=2))
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(given_up=2, sent_again=1)
    assert scripted.statuses() == ["settled", "settled", "waiting"]
    scripted.events.clear()
    assert await resolve(scripted, after=timedelta(hours=6)) == Resolved()
    assert scripted.events == [], "what is settled is in doubt no more"


async def test_one_that_somebody_else_sent_again_meanwhile_is_left_to_him(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted, 2)

    async def meanwhile(request: Any) -> Any:  # noqa: ANN401 - whatever is sent
        scripted.write(update(badge_request).where(badge_request.c.id == 2).values(tries=7))
        return row("p-again", request.key)

    scripted.answers = [meanwhile]
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(sent_again=1, still_in_doubt=1)
    assert [post.key for post in scripted.posts] == [key(scripted, 1)]


async def test_every_end_of_a_second_send_counts_as_sent(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted, 2)
    scripted.answers = [NotTaken(reason="no room")]
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved(sent_again=2)
    assert scripted.statuses() == ["sending", "waiting"]


@pytest.mark.parametrize(
    ("stop", "accepted", "sent", "kept_back"),
    [(True, False, 1, 0), (True, True, 1, 0), (False, True, 3, 0), (False, False, 1, 2)],
)
async def test_the_first_automatic_approval_stops_sending_again(
    scripted: ScriptedClient, stop: bool, accepted: bool, sent: int, kept_back: int
) -> None:
    await leave_in_doubt(scripted, 3)
    scripted.write(update(badge_run).values(accepts_auto_approval=accepted))
    scripted.answers = [row(f"p-{number}", None, "approved") for number in range(3)]
    options = {} if stop else {"stop_on_auto_approval": False}  # to stop is the default
    resolved = await resolve(scripted, after=timedelta(hours=3), **options)
    assert resolved == Resolved(sent_again=sent, still_in_doubt=3 - sent, auto_approved=sent, kept_back=kept_back)


async def test_the_doubts_of_another_account_are_not_ours(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    scripted.settings = type(SETTINGS)(
        base_url="https://elsewhere.example", organisation_id="100", login="till.one", password="password"
    )
    assert await resolve(scripted, after=timedelta(hours=3)) == Resolved()
    assert scripted.events == []


@pytest.mark.parametrize("campaign", ["", "spring"])
async def test_under_a_stop_nothing_is_sent_again_and_the_doubt_stays_until_it_is_resumed(
    scripted: ScriptedClient, campaign: str
) -> None:
    await leave_in_doubt(scripted, 2)
    await add_control(scripted, after=CALL + JUST)
    scope = Scope(SETTINGS.account, campaign)
    stops.stop(scripted.ledger, scope, by="ann", reason="wrong tier")
    scripted.listed.append(row("p-late", key(scripted, 2)))
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(found=1, still_in_doubt=1)
    assert (scripted.posts, scripted.statuses()) == ([], ["sending", "waiting", "waiting"])
    stops.resume(scripted.ledger, scope, by="ann")
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(sent_again=1)


async def test_what_is_not_stopped_is_sent_again_beside_what_is(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted, 2)
    await add_control(scripted, after=CALL + JUST)
    other = scripted.plan([77], "autumn run")
    with scripted.ledger.write() as tx:
        moved = {"badge_run_id": other.badge_run_id, "ordinal": 1}
        tx.conn.execute(update(badge_request).where(badge_request.c.id == 1).values(**moved))
        tx.conn.execute(update(badge_run).where(badge_run.c.id == other.badge_run_id).values(campaign="autumn"))
    stops.stop(scripted.ledger, Scope(SETTINGS.account, "autumn"), by="ann", reason="wrong tier")
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(sent_again=1, still_in_doubt=1)
    assert [post.key for post in scripted.posts] == [key(scripted, 2)]


async def test_what_was_sent_three_times_is_given_up_under_a_stop_too(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    scripted.write(update(badge_request).values(resends=2, tries=3))
    stops.stop(scripted.ledger, Scope(SETTINGS.account), by="ann", reason="wrong tier")
    assert await resolve(scripted, after=DOUBT + WITHOUT_CONTROL + JUST) == Resolved(given_up=1)
    assert scripted.outcomes() == {"unconfirmed": 1}


async def test_what_is_known_to_be_another_ones_keeps_no_later_one_from_being_read(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted, 2)
    for request_id in (1, 2):
        named = update(badge_request).where(badge_request.c.id == request_id).values(answered_id=f"p-{request_id}")
        scripted.write(named)
    with scripted.ledger.write() as tx:
        scans.note_not_ours(tx, SETTINGS.account, "p-1", by="ann")
    scripted.unlisted = [row("p-2", key(scripted, 2))]
    assert await resolve(scripted, after=DOUBT + JUST) == Resolved(found=1, still_in_doubt=1)
    assert scripted.statuses() == ["sending", "waiting"]
    assert "read p-1" not in scripted.events


# Days that the platform refuses to list ----------------------------------------------------------------------


def refuse(scripted: ScriptedClient, *, today: date, most: int = 10_000, reaches: int = 10_000) -> None:
    """Have the platform refuse ranges of more days, both ends counted, and first days that lie farther back."""
    scripted.refuses = lambda first, last: ((last or today) - first).days >= most or (today - first).days > reaches


async def test_an_old_doubt_is_judged_from_all_the_parts_of_the_list(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    refuse(scripted, today=date(2027, 1, 2), most=30)  # 40 days later
    assert await resolve(scripted, after=timedelta(days=40)) == Resolved(still_in_doubt=1), (
        "the parts may hide what waits"
    )
    scripted.listed = [replace(row("p-other", None), wraps_issue_bulk=False)]
    assert await resolve(scripted, after=timedelta(days=40)) == Resolved(sent_again=1), "they show what waits"
    assert min(since for since, _ in scripted.lists) == NOON.date() - 2 * LOOK_BACK


async def test_a_doubt_of_which_a_part_shows_the_key_is_found(scripted: ScriptedClient) -> None:
    await leave_in_doubt(scripted)
    scripted.listed = [row("p-late", key(scripted))]
    refuse(scripted, today=date(2027, 1, 2), most=30)
    assert await resolve(scripted, after=timedelta(days=40)) == Resolved(found=1)


@pytest.mark.parametrize(("reaches", "judged"), [(20, 0), (41, 1), (42, 2), (44, 2)])
async def test_only_a_doubt_whose_days_are_all_listed_is_judged(
    scripted: ScriptedClient, reaches: int, judged: int
) -> None:
    await leave_in_doubt(scripted, 2)
    younger = NOON + timedelta(days=10)
    scripted.write(update(badge_request).where(badge_request.c.id == 2).values(first_sent_at=younger))
    refuse(scripted, today=date(2027, 1, 2), reaches=reaches)
    resolved = await resolve(scripted, after=timedelta(days=40))
    assert resolved == Resolved(sent_again=judged, still_in_doubt=2 - judged)
    assert [post.key for post in scripted.posts] == [key(scripted, number) for number in range(3 - judged, 3)]
