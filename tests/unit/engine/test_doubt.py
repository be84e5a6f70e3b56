"""Doubt ends by evidence: what is found, what is judged absent, and what proves nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from capillary.api.errors import InDoubt, NotTaken
from capillary.api.request_workflow import WorkflowRequest
from capillary.engine.absence import SEND_WITHIN_S, WITHOUT_CONTROL, doubt_after
from capillary.engine.doubt import Resolved, resolve_doubt
from capillary.engine.platform_list import LOOK_BACK
from capillary.engine.second_look import LOOK_AFTER_S
from capillary.engine.sightings import record_rows
from capillary.engine.submit import submit_run
from capillary.ledger import history, scans, stops
from capillary.ledger.schema import badge_request, badge_run
from capillary.ledger.stops import Scope
from tests.unit.engine.desk import LEASE, NOON, SETTINGS, Desk, row

#: From a send until its absence may be judged.
DOUBT = doubt_after(SETTINGS)
#: From a send until everything that will arrive of it has arrived.
CALL = timedelta(seconds=SEND_WITHIN_S + SETTINGS.post_timeout_s)
JUST = timedelta(microseconds=1)


async def leave_in_doubt(desk: Desk, count: int = 1) -> None:
    """Submit requests of which no answer comes back, at `NOON`."""
    plan = desk.plan(range(1, count + 1), size=1)
    desk.answers = [InDoubt(reason="no answer")] * count
    await submit_run(desk.sender, desk.plan_id(plan.badge_run_id), lease=LEASE, in_flight=count + 1)
    # The last one waits for the others to arrive; these tests count from one moment.
    desk.write(update(badge_request).values(first_sent_at=NOON, last_sent_at=NOON, doubt_from=NOON + DOUBT))
    desk.now[0] = NOON
    desk.events.clear()
    desk.lists.clear()
    desk.posts.clear()
    assert desk.statuses() == ["sending"] * count


def key(desk: Desk, number: int = 1) -> str:
    """Return the key of a request, by its id."""
    found: str = desk.requests()[number - 1].request_key
    return found


async def add_control(desk: Desk, *, after: timedelta) -> None:
    """Have a request of another run accepted so long after `NOON`, and shown by the list from now on."""
    now, desk.now[0] = desk.now[0], NOON + after
    later = desk.plan([1_000], "control")
    await submit_run(desk.sender, desk.plan_id(later.badge_run_id), lease=LEASE, in_flight=100)
    desk.listed.append(row(f"p-{desk.numbered}", desk.requests()[-1].request_key))
    desk.now[0] = now
    desk.events.clear()
    desk.posts.clear()


async def resolve(desk: Desk, *, after: timedelta, **options: Any) -> Resolved:  # noqa: ANN401 - those of `resolve_doubt`
    desk.now[0] = NOON + after
    return await resolve_doubt(desk.sender, **options)


async def test_where_nothing_is_in_doubt_nothing_is_read(desk: Desk) -> None:
    desk.plan([1])
    assert await resolve(desk, after=timedelta(days=1)) == Resolved(0, 0, 0, 0, 0)
    assert desk.events == []


async def test_a_doubt_that_is_young_is_not_looked_at(desk: Desk) -> None:
    await leave_in_doubt(desk)
    assert await resolve(desk, after=DOUBT) == Resolved()
    assert desk.events == []


async def test_what_stands_on_the_list_is_found(desk: Desk) -> None:
    await leave_in_doubt(desk, 2)
    desk.listed = [row("p-late", key(desk, 1))]
    assert await resolve(desk, after=DOUBT + JUST) == Resolved(found=1, still_in_doubt=1)
    assert desk.statuses() == ["waiting", "sending"]
    assert [each.platform_request_id for each in desk.sightings()] == ["p-late"]


async def test_the_whole_list_is_read_from_two_days_before_the_first_send(desk: Desk) -> None:
    await leave_in_doubt(desk, 2)
    # Late in the evening in UTC it is the next day in the cluster's zone.
    sent_at = NOON.replace(hour=20)
    desk.write(update(badge_request).where(badge_request.c.id == 2).values(first_sent_at=sent_at - timedelta(days=3)))
    await resolve(desk, after=timedelta(days=1))
    first = date(2026, 11, 21) - 2 * LOOK_BACK  # what was sent `LOOK_BACK` before it is a control
    assert desk.lists == [(first, None), (first, "ISSUE-BADGE")]


@pytest.mark.parametrize("control_after", [CALL + JUST, DOUBT])
async def test_absence_beside_a_control_sends_the_same_key_again(desk: Desk, control_after: timedelta) -> None:
    await leave_in_doubt(desk)
    await add_control(desk, after=control_after)
    assert await resolve(desk, after=DOUBT + JUST) == Resolved(sent_again=1)
    assert [post.key for post in desk.posts] == [key(desk)]
    found = desk.requests()[0]
    assert (found.status, found.tries, found.resends, found.sender) == ("waiting", 2, 1, SETTINGS.sender)


async def test_the_second_send_is_in_doubt_for_as_long_as_the_first(desk: Desk) -> None:
    await leave_in_doubt(desk)
    desk.answers = [InDoubt(reason="none again")]
    after = DOUBT + WITHOUT_CONTROL + JUST
    assert await resolve(desk, after=after) == Resolved(sent_again=1)
    found = desk.requests()[0]
    assert (found.status, found.doubt_from) == ("sending", NOON + after + DOUBT)


async def test_a_control_that_was_sent_before_proves_nothing(desk: Desk) -> None:
    await leave_in_doubt(desk)
    await add_control(desk, after=CALL)
    assert await resolve(desk, after=DOUBT + JUST) == Resolved(still_in_doubt=1)
    assert desk.posts == []


async def test_what_was_found_and_not_sent_is_no_control_whatever_the_platforms_clock_says(desk: Desk) -> None:
    await leave_in_doubt(desk)
    await add_control(desk, after=CALL + JUST)
    desk.write(update(badge_request).where(badge_request.c.id == 2).values(tries=0, sender=None))
    assert await resolve(desk, after=DOUBT + JUST) == Resolved(still_in_doubt=1)
    assert desk.posts == []


async def test_the_newest_of_the_controls_counts(desk: Desk) -> None:
    await leave_in_doubt(desk)
    await add_control(desk, after=CALL)
    early = desk.requests()[-1].id
    for name, sent_at in (("newest", NOON + CALL + JUST), ("never sent", None), ("older", NOON + CALL)):
        desk.now[0] = NOON + CALL + JUST
        other = desk.plan([2_000 + len(name)], name)
        await submit_run(desk.sender, desk.plan_id(other.badge_run_id), lease=LEASE, in_flight=100)
        desk.listed.append(row(f"p-{name}", desk.requests()[-1].request_key))
        newest_id = desk.requests()[-1].id
        # A request that this ledger never sent, found on the list, is no control and disturbs none.
        desk.write(update(badge_request).where(badge_request.c.id == newest_id).values(first_sent_at=sent_at))
    desk.write(update(badge_request).where(badge_request.c.id == early).values(first_sent_at=None))
    desk.posts.clear()
    assert (await resolve(desk, after=DOUBT + JUST)).sent_again == 1


@pytest.mark.parametrize(("more", "sent_again"), [(timedelta(0), 0), (JUST, 1)])
async def test_without_a_control_an_hour_must_pass(desk: Desk, more: timedelta, sent_again: int) -> None:
    await leave_in_doubt(desk)
    assert (await resolve(desk, after=DOUBT + WITHOUT_CONTROL + more)).sent_again == sent_again


# Another credential user ------------------------------------------------------------------------------------

BEFORE = "the till before"


async def left_by_another(desk: Desk, *, control_of: str, control_after: timedelta, **control: Any) -> None:  # noqa: ANN401 - columns
    """Leave a request of another till in doubt, beside a control of some till."""
    await leave_in_doubt(desk)
    await add_control(desk, after=control_after)
    desk.write(update(badge_request).where(badge_request.c.id == 1).values(sender=BEFORE))
    desk.write(update(badge_request).where(badge_request.c.id == 2).values(sender=control_of, **control))


async def test_another_user_never_judges_without_a_control(desk: Desk) -> None:
    await leave_in_doubt(desk)
    desk.write(update(badge_request).values(sender=BEFORE))
    assert await resolve(desk, after=timedelta(days=30)) == Resolved(still_in_doubt=1)


async def test_another_user_judges_beside_a_control_of_the_same_sender(desk: Desk) -> None:
    await left_by_another(desk, control_of=BEFORE, control_after=CALL + JUST)
    assert await resolve(desk, after=DOUBT) == Resolved(), "not before the doubt is old enough"
    assert await resolve(desk, after=DOUBT + JUST) == Resolved(sent_again=1)
    assert desk.requests()[0].sender == SETTINGS.sender, "the resend is this user's"
    assert [post.key for post in desk.posts] == [key(desk)]


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
    desk: Desk, control_of: str, control_after: timedelta, control: dict[str, Any]
) -> None:
    await left_by_another(desk, control_of=control_of, control_after=control_after, **control)
    assert await resolve(desk, after=timedelta(days=30)) == Resolved(still_in_doubt=1)
    assert desk.posts == []


async def test_a_control_that_does_not_show_lets_nobody_judge(desk: Desk) -> None:
    """This till's list shows its own requests alone."""
    await left_by_another(desk, control_of=BEFORE, control_after=CALL + JUST)
    desk.listed.clear()
    assert await resolve(desk, after=timedelta(days=30)) == Resolved(still_in_doubt=1)


async def test_the_sender_itself_judges_beside_anybodys_control(desk: Desk) -> None:
    await left_by_another(desk, control_of="a third till", control_after=CALL + JUST)
    desk.write(update(badge_request).where(badge_request.c.id == 1).values(sender=SETTINGS.sender))
    assert await resolve(desk, after=DOUBT + JUST) == Resolved(sent_again=1)


async def test_what_another_user_left_is_found(desk: Desk) -> None:
    await leave_in_doubt(desk)
    desk.write(update(badge_request).values(sender=BEFORE))
    desk.listed = [row("p-late", key(desk))]
    assert await resolve(desk, after=DOUBT + JUST) == Resolved(found=1)


# A control that was sent again -------------------------------------------------------------------------------

MADE = NOON + timedelta(hours=2)


async def sent_again_later(
    desk: Desk, *, shown: str, made_at: datetime | None = MADE, answer: WorkflowRequest | None = None
) -> None:
    """Leave two in doubt, and a control that was sent before them and again after; the list shows `shown` of it."""
    desk.now[0] = NOON - timedelta(minutes=1)
    desk.plan([1_000], "control")
    desk.answers = [InDoubt(reason="no answer")]
    await submit_run(desk.sender, desk.plan_id(1), lease=LEASE)
    desk.now[0] = NOON
    later = desk.plan([1], "doubt")
    desk.answers = [InDoubt(reason="no answer")]
    await submit_run(desk.sender, desk.plan_id(later.badge_run_id), lease=LEASE)
    again = {"resends": 1, "tries": 2, "last_sent_at": MADE}
    named = None if answer is None else answer.platform_request_id
    desk.write(update(badge_request).where(badge_request.c.id == 1).values(answered_id=named, **again))
    desk.write(update(badge_request).where(badge_request.c.id == 2).values(last_sent_at=NOON, first_sent_at=NOON))
    desk.listed = [replace(row(shown, key(desk, 1)), created_at=made_at)]
    desk.posts.clear()


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
        "the first send",
        "no reply to the last send",
    ],
)
async def test_a_request_that_was_sent_again_is_a_control_from_the_send_that_its_reply_tells(
    desk: Desk,
    shown: str,
    made_at: datetime | None,
    answer: WorkflowRequest | None,
    ahead: timedelta | None,
    judges: bool,
) -> None:
    await sent_again_later(desk, shown=shown, made_at=made_at, answer=answer)
    desk.platform_ahead = ahead
    # An hour without a control has not passed by the time of the last doubt.
    desk.write(update(badge_request).where(badge_request.c.id == 2).values(doubt_from=NOON + timedelta(hours=2)))
    resolved = await resolve(desk, after=AFTER_ALL)
    assert (resolved.sent_again, [post.customers for post in desk.posts]) == ((1, [(1,)]) if judges else (0, []))


async def test_its_user_is_told_by_the_send_that_its_reply_tells(desk: Desk) -> None:
    await sent_again_later(desk, shown="p-again", answer=AGAIN)
    desk.write(update(badge_request).values(sender=BEFORE))
    assert (await resolve(desk, after=AFTER_ALL)).sent_again == 1


async def test_a_resend_that_was_accepted_ends_the_next_doubt_without_an_hour(desk: Desk) -> None:
    """From the first loss on, by the engine alone: a resend is accepted, and judges what was in doubt beside it."""
    await leave_in_doubt(desk, 2)
    desk.answers = [row("p-again", key(desk, 1)), InDoubt(reason="no answer")]
    assert await resolve(desk, after=DOUBT + WITHOUT_CONTROL + JUST) == Resolved(sent_again=2)
    desk.listed = [row("p-again", key(desk, 1))]
    second = desk.requests()[1].last_sent_at
    desk.write(update(badge_request).where(badge_request.c.id == 1).values(last_sent_at=second + CALL + JUST))
    look = timedelta(seconds=LOOK_AFTER_S)
    assert await resolve(desk, after=2 * DOUBT + WITHOUT_CONTROL + look + 2 * JUST) == Resolved(sent_again=1)


# What proves nothing ----------------------------------------------------------------------------------------


async def test_a_list_that_is_not_whole_finds_but_proves_no_absence(desk: Desk) -> None:
    await leave_in_doubt(desk, 2)
    desk.listed = [row("p-late", key(desk, 1))]
    desk.cut_short = 1
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(found=1, still_in_doubt=1)


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
    desk: Desk, request_type: str, customers: tuple[int, ...] | None
) -> None:
    await leave_in_doubt(desk)
    desk.listed = [replace(row("p-keyless", None), request_type=request_type, customers=customers)]
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(still_in_doubt=1)


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
    desk: Desk, request_type: str, customers: tuple[int, ...] | None, ours: bool | None
) -> None:
    """Somebody made it by hand, for other customers or another call."""
    await leave_in_doubt(desk)
    keyless = replace(row("p-keyless", None), request_type=request_type, customers=customers)
    desk.listed = [replace(keyless, wraps_issue_bulk=ours)]
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(sent_again=1)


async def test_a_lean_list_shows_the_request_in_doubt_by_single_reads(desk: Desk) -> None:
    await leave_in_doubt(desk, 2)
    desk.listed = [row("p-late", key(desk, 1)), replace(row("p-other", "somebody's"), customers=(99,))]
    desk.lean = True
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(found=1, sent_again=1)
    assert [each.platform_request_id for each in desk.sightings()] == ["p-3", "p-late"]
    assert [event for event in desk.events if event.startswith("read")] == ["read p-late", "read p-other"]


async def test_a_row_that_stays_dark_behind_a_lean_list_holds_every_doubt(desk: Desk) -> None:
    await leave_in_doubt(desk)
    desk.listed = [row("p-dark", "somebody's")]
    desk.lean, desk.refused_reads = True, {"p-dark"}
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(still_in_doubt=1)


async def test_a_row_that_shows_nobody_holds_whatever_comes_after_it(desk: Desk) -> None:
    await leave_in_doubt(desk)
    desk.listed = [row("p-nobody", None), replace(row("p-others", None), customers=(99,))]
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(still_in_doubt=1)


async def test_a_row_without_a_key_holds_only_the_requests_that_it_may_be(desk: Desk) -> None:
    await leave_in_doubt(desk, 3)
    desk.listed = [replace(row(f"p-{customer}", None), customers=(customer, 99)) for customer in (1, 3)]
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(sent_again=1, still_in_doubt=2)
    assert [post.key for post in desk.posts] == [key(desk, 2)]


async def test_a_list_that_hides_what_is_known_proves_no_absence(desk: Desk) -> None:
    """What was accepted beside the doubt has long been decided, and this list shows what waits alone."""
    await leave_in_doubt(desk)
    await add_control(desk, after=timedelta(minutes=1))
    desk.unlisted, desk.listed = desk.listed, []
    assert await resolve(desk, after=timedelta(days=3)) == Resolved(still_in_doubt=1)
    desk.listed, desk.unlisted = desk.unlisted, []
    assert await resolve(desk, after=timedelta(days=3)) == Resolved(sent_again=1)


async def test_a_list_that_hides_what_was_accepted_before_the_doubt_proves_no_absence(desk: Desk) -> None:
    """The last request of a run is in doubt, and the list shows everything but its newest rows."""
    await leave_in_doubt(desk)
    await add_control(desk, after=timedelta(minutes=-1))
    desk.unlisted, desk.listed = desk.listed, []
    assert await resolve(desk, after=timedelta(days=3)) == Resolved(still_in_doubt=1)
    desk.listed, desk.unlisted = desk.unlisted, []
    assert await resolve(desk, after=timedelta(days=3)) == Resolved(sent_again=1)


async def test_a_list_that_shows_both_of_two_twins_on_one_page_hides_neither(desk: Desk) -> None:
    """A gateway that delivers a POST twice makes twins; no doubt of the account would end while both stand there."""
    await leave_in_doubt(desk)
    await add_control(desk, after=timedelta(minutes=1))
    desk.listed.append(replace(desk.listed[0], platform_request_id="p-twin"))
    with desk.ledger.write() as tx:
        record_rows(tx, SETTINGS.account, SETTINGS.sender, desk.listed)
    assert [each.platform_request_id for each in desk.sightings()] == ["p-2", "p-twin"]
    assert await resolve(desk, after=timedelta(days=3)) == Resolved(sent_again=1)
    assert [event for event in desk.events if event.startswith("read")] == []


@pytest.mark.parametrize("first", ["p-again", "p-twin"])
async def test_of_twins_on_one_page_the_one_that_the_reply_named_is_a_control(desk: Desk, first: str) -> None:
    await sent_again_later(desk, shown=first, answer=AGAIN)
    other = "p-twin" if first == "p-again" else "p-again"
    desk.listed.append(replace(desk.listed[0], platform_request_id=other))
    desk.platform_ahead = timedelta()
    desk.write(update(badge_request).where(badge_request.c.id == 2).values(doubt_from=NOON + timedelta(hours=2)))
    assert (await resolve(desk, after=AFTER_ALL)).sent_again == 1


async def test_a_list_that_is_distrusted_proves_no_absence_for_a_day(desk: Desk) -> None:
    await leave_in_doubt(desk)
    with desk.ledger.write() as tx:
        scans.distrust(tx, SETTINGS.account)
    assert await resolve(desk, after=scans.DISTRUST - JUST) == Resolved(still_in_doubt=1)
    assert await resolve(desk, after=scans.DISTRUST) == Resolved(sent_again=1)


async def test_a_key_that_is_not_known_proves_that_the_ledger_is_behind(desk: Desk) -> None:
    await leave_in_doubt(desk)
    desk.listed = [row("p-0", "cb1.spring.00000000000000000000000000000000")]
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(still_in_doubt=1)


async def test_nothing_is_judged_absent_before_the_accounts_list_was_read(desk: Desk) -> None:
    await leave_in_doubt(desk)
    with desk.ledger.write() as tx:
        history.read_again(tx, SETTINGS.account, SETTINGS.sender)
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(still_in_doubt=1)
    with desk.ledger.write() as tx:
        history.take_as_read(tx, SETTINGS.account, SETTINGS.sender, since=NOON.date())
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(sent_again=1)


async def test_what_was_sent_three_times_is_given_up(desk: Desk) -> None:
    await leave_in_doubt(desk)
    for hours, ending in ((2, Resolved(sent_again=1)), (4, Resolved(sent_again=1)), (6, Resolved(given_up=1))):
        desk.answers = [InDoubt(reason="no answer")]
        assert await resolve(desk, after=timedelta(hours=hours)) == ending
    assert (len(desk.posts), desk.statuses(), desk.outcomes()) == (2, ["settled"], {"unconfirmed": 1})


async def test_each_that_was_sent_three_times_is_given_up_and_the_others_go_on(desk: Desk) -> None:
    await leave_in_doubt(desk, 3)
    desk.write(update(badge_request).where(badge_request.c.id != 3).values(resends=2))
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(given_up=2, sent_again=1)
    assert desk.statuses() == ["settled", "settled", "waiting"]
    desk.events.clear()
    assert await resolve(desk, after=timedelta(hours=6)) == Resolved()
    assert desk.events == [], "what is settled is in doubt no more"


async def test_one_that_somebody_else_sent_again_meanwhile_is_left_to_him(desk: Desk) -> None:
    await leave_in_doubt(desk, 2)

    async def meanwhile(request: Any) -> Any:  # noqa: ANN401 - whatever is sent
        desk.write(update(badge_request).where(badge_request.c.id == 2).values(tries=7))
        return row("p-again", request.key)

    desk.answers = [meanwhile]
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(sent_again=1, still_in_doubt=1)
    assert [post.key for post in desk.posts] == [key(desk, 1)]


async def test_every_end_of_a_second_send_counts_as_sent(desk: Desk) -> None:
    await leave_in_doubt(desk, 2)
    desk.answers = [NotTaken(reason="no room")]
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved(sent_again=2)
    assert desk.statuses() == ["sending", "waiting"]


@pytest.mark.parametrize(("stop", "sent"), [(True, 1), (False, 3)])
async def test_the_first_automatic_approval_stops_sending_again(desk: Desk, stop: bool, sent: int) -> None:
    await leave_in_doubt(desk, 3)
    desk.answers = [row(f"p-{number}", None, "approved") for number in range(3)]
    options = {} if stop else {"stop_on_auto_approval": False}  # to stop is the default
    resolved = await resolve(desk, after=timedelta(hours=3), **options)
    assert resolved == Resolved(sent_again=sent, still_in_doubt=3 - sent, auto_approved=sent)


async def test_the_doubts_of_another_account_are_not_ours(desk: Desk) -> None:
    await leave_in_doubt(desk)
    desk.settings = type(SETTINGS)(
        base_url="https://elsewhere.example", organisation_id="100", login="till.one", password="password"
    )
    assert await resolve(desk, after=timedelta(hours=3)) == Resolved()
    assert desk.events == []


@pytest.mark.parametrize("campaign", ["", "spring"])
async def test_under_a_stop_nothing_is_sent_again_and_the_doubt_stays_until_it_is_resumed(
    desk: Desk, campaign: str
) -> None:
    await leave_in_doubt(desk, 2)
    await add_control(desk, after=CALL + JUST)
    scope = Scope(SETTINGS.account, campaign)
    stops.stop(desk.ledger, scope, by="ann", reason="wrong tier")
    desk.listed.append(row("p-late", key(desk, 2)))
    assert await resolve(desk, after=DOUBT + JUST) == Resolved(found=1, still_in_doubt=1)
    assert (desk.posts, desk.statuses()) == ([], ["sending", "waiting", "waiting"])
    stops.resume(desk.ledger, scope, by="ann")
    assert await resolve(desk, after=DOUBT + JUST) == Resolved(sent_again=1)


async def test_what_is_not_stopped_is_sent_again_beside_what_is(desk: Desk) -> None:
    await leave_in_doubt(desk, 2)
    await add_control(desk, after=CALL + JUST)
    other = desk.plan([77], "autumn run")
    with desk.ledger.write() as tx:
        moved = {"badge_run_id": other.badge_run_id, "ordinal": 1}
        tx.conn.execute(update(badge_request).where(badge_request.c.id == 1).values(**moved))
        tx.conn.execute(update(badge_run).where(badge_run.c.id == other.badge_run_id).values(campaign="autumn"))
    stops.stop(desk.ledger, Scope(SETTINGS.account, "autumn"), by="ann", reason="wrong tier")
    assert await resolve(desk, after=DOUBT + JUST) == Resolved(sent_again=1, still_in_doubt=1)
    assert [post.key for post in desk.posts] == [key(desk, 2)]


async def test_what_was_sent_three_times_is_given_up_under_a_stop_too(desk: Desk) -> None:
    await leave_in_doubt(desk)
    desk.write(update(badge_request).values(resends=2, tries=3))
    stops.stop(desk.ledger, Scope(SETTINGS.account), by="ann", reason="wrong tier")
    assert await resolve(desk, after=DOUBT + WITHOUT_CONTROL + JUST) == Resolved(given_up=1)
    assert desk.outcomes() == {"unconfirmed": 1}


# Days that the platform refuses to list ----------------------------------------------------------------------


def refuse(desk: Desk, *, today: date, most: int = 10_000, reaches: int = 10_000) -> None:
    """Have the platform refuse ranges of more days, both ends counted, and first days that lie farther back."""
    desk.refuses = lambda first, last: ((last or today) - first).days >= most or (today - first).days > reaches


async def test_an_old_doubt_is_judged_from_all_the_parts_of_the_list(desk: Desk) -> None:
    await leave_in_doubt(desk)
    refuse(desk, today=date(2027, 1, 2), most=30)  # 40 days later
    assert await resolve(desk, after=timedelta(days=40)) == Resolved(still_in_doubt=1), "the parts may hide what waits"
    desk.listed = [replace(row("p-other", None), wraps_issue_bulk=False)]
    assert await resolve(desk, after=timedelta(days=40)) == Resolved(sent_again=1), "they show what waits"
    assert min(since for since, _ in desk.lists) == NOON.date() - 2 * LOOK_BACK


async def test_a_doubt_of_which_a_part_shows_the_key_is_found(desk: Desk) -> None:
    await leave_in_doubt(desk)
    desk.listed = [row("p-late", key(desk))]
    refuse(desk, today=date(2027, 1, 2), most=30)
    assert await resolve(desk, after=timedelta(days=40)) == Resolved(found=1)


@pytest.mark.parametrize("reaches", [41, 42, 44])
async def test_only_a_doubt_whose_days_are_all_listed_is_judged(desk: Desk, reaches: int) -> None:
    await leave_in_doubt(desk, 2)
    younger = NOON + timedelta(days=10)
    desk.write(update(badge_request).where(badge_request.c.id == 2).values(first_sent_at=younger))
    refuse(desk, today=date(2027, 1, 2), reaches=reaches)
    judged = 2 if reaches >= 42 else 1
    resolved = await resolve(desk, after=timedelta(days=40))
    assert resolved == Resolved(sent_again=judged, still_in_doubt=2 - judged)
    assert [post.key for post in desk.posts] == [key(desk, number) for number in range(3 - judged, 3)]
