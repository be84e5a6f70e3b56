"""A platform may echo our key altered: nothing is sent again, nothing a stranger made is taken for ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from capillary.api.errors import InDoubt, PlatformUnavailable
from capillary.api.request_workflow import WorkflowRequest
from capillary.engine.absence import WITHOUT_CONTROL, doubt_after
from capillary.engine.doubt import Resolved, resolve_doubt
from capillary.engine.errors import LedgerBehind
from capillary.engine.platform_list import LOOK_BACK
from capillary.engine.send import Sent
from capillary.engine.sightings import record_rows
from capillary.engine.submit import Submitted, submit_run
from capillary.ledger import scans
from capillary.ledger.schema import badge_request
from tests.unit.engine.scripted_client import LEASE, NOON, SETTINGS, ScriptedClient, row
from tests.unit.ledger.orders import SPEC

LATER = doubt_after(SETTINGS) + WITHOUT_CONTROL + timedelta(seconds=1)
BADGE = SPEC.badge_id
OTHER_BADGE = "f" * 24

ALTERED: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "behind a prefix": lambda key: f"req-{key}",
    "other punctuation": lambda key: key.replace(".", "_"),
    "cut": lambda key: key[:-16],
    "without its beginning": lambda key: key[-16:],
    "between blanks": lambda key: f" {key} ",
}
altered = pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED.keys())


def shown(key: str | None, *customers: int, badge_id: str | None = BADGE, name: str = "p-x") -> WorkflowRequest:
    """A request as the platform shows it, under whatever key."""
    return replace(row(name, key), customers=customers or None, badge_id=badge_id)


def unclear(answer: WorkflowRequest | None, *, named: str | None = "p-x") -> InDoubt:
    """A reply that could not be used: it speaks of another request, or lacks its state."""
    return InDoubt(reason="the answer is about another request", platform_request_id=named, answered=answer)


async def submit(scripted: ScriptedClient, badge_run_id: int = 1) -> Submitted:
    return await submit_run(scripted.sender, scripted.plan_id(badge_run_id), lease=LEASE)


async def in_doubt(scripted: ScriptedClient, *answers: InDoubt) -> str:
    """Submit customers 1 and 2 in one request, to which no usable reply comes; return its key."""
    scripted.plan([1, 2])
    scripted.answers = list(answers) or [InDoubt(reason="no answer")]
    await submit(scripted)
    scripted.events.clear()
    scripted.posts.clear()
    key: str = scripted.requests()[0].request_key
    return key


async def resolve(scripted: ScriptedClient, *, after: timedelta = LATER) -> Resolved:
    scripted.now[0] = NOON + after
    return await resolve_doubt(scripted.sender)


# The reply to the POST --------------------------------------------------------------------------------------


@altered
async def test_a_reply_under_a_key_that_was_made_from_ours_is_an_acceptance(
    scripted: ScriptedClient, alter: Callable[[str], str]
) -> None:
    scripted.plan([1, 2])
    scripted.answers = [unclear(shown(alter(scripted.requests()[0].request_key)))]
    assert await submit(scripted) == Submitted({Sent.ACCEPTED: 1}, 0)
    assert ([each.platform_request_id for each in scripted.sightings()], scripted.statuses()) == (["p-x"], ["waiting"])


@pytest.mark.parametrize("badge_id", [BADGE, BADGE.upper()])
async def test_a_reply_under_any_key_with_what_was_sent_is_an_acceptance(
    scripted: ScriptedClient, badge_id: str
) -> None:
    scripted.plan([1, 2])
    scripted.answers = [unclear(shown("REF-77", 2, 1, badge_id=badge_id))]
    assert await submit(scripted) == Submitted({Sent.ACCEPTED: 1}, 0)
    assert scripted.requests()[0].answered_id == "p-x"


@pytest.mark.parametrize(
    "answer",
    [
        shown("REF-77", 1),
        shown("REF-77", 1, 2, 3),
        shown("REF-77", 1, 2, badge_id=OTHER_BADGE),
        shown("REF-77", 1, 2, badge_id=None),
        shown("REF-77"),
        replace(shown("REF-77", 1, 2), request_type="EARN-BADGE", wraps_issue_bulk=False),
    ],
    ids=["one of them", "others besides", "another badge", "no badge", "nobody", "another type"],
)
async def test_a_reply_of_other_content_leaves_a_doubt_and_its_id(
    scripted: ScriptedClient, answer: WorkflowRequest
) -> None:
    scripted.listed = [answer]
    await in_doubt(scripted, unclear(answer))
    request = scripted.requests()[0]
    assert (request.status, request.answered_id, scripted.sightings()) == ("sending", "p-x", [])


async def test_a_reply_that_names_a_request_seen_before_is_not_the_one_just_sent(scripted: ScriptedClient) -> None:
    """An answer from a cache, say, to an earlier attempt with the same customers."""
    scripted.plan([1, 2])
    scripted.plan([3], "other")
    with scripted.ledger.write() as tx:
        record_rows(tx, SETTINGS.account, SETTINGS.sender, [row("p-x", scripted.requests()[1].request_key)])
    scripted.answers = [unclear(shown("REF-77", 1, 2))]
    await submit(scripted)
    assert scripted.statuses() == ["sending", "waiting"]


# What the reply named is read once ---------------------------------------------------------------------------


@pytest.mark.parametrize("found", ["our key", "an altered one", "our customers"])
async def test_a_single_read_of_what_a_reply_named_ends_the_doubt_at_once(scripted: ScriptedClient, found: str) -> None:
    scripted.plan([1, 2])
    key = scripted.requests()[0].request_key
    rows = {"our key": shown(key), "an altered one": shown(key.upper()), "our customers": shown("REF-77", 1, 2)}
    scripted.unlisted = [rows[found]]
    scripted.answers = [unclear(None)]  # an id and no state
    assert await submit(scripted) == Submitted({Sent.ACCEPTED: 1}, 0)
    assert (scripted.events[-1], scripted.statuses()) == ("read p-x", ["waiting"])


async def test_a_read_that_finds_it_later_ends_the_doubt(scripted: ScriptedClient) -> None:
    key = await in_doubt(scripted, unclear(None))
    scripted.unlisted = [shown(key.upper(), 1, 2)]
    assert await resolve(scripted) == Resolved(found=1)
    assert (scripted.posts, scripted.statuses()) == ([], ["waiting"])


async def test_what_a_reply_named_and_cannot_be_read_holds_the_doubt_and_is_named(
    scripted: ScriptedClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await in_doubt(scripted, unclear(None))

    async def away(*_: object, **__: object) -> None:
        raise PlatformUnavailable(what="one request", reason="it is away")

    monkeypatch.setattr(ScriptedClient, "read_request", away)
    assert await resolve(scripted) == Resolved(still_in_doubt=1)
    assert f"request {key} stays in doubt: request p-x on the platform" in caplog.text
    assert "--not-ours p-x" in scripted.requests()[0].error


@pytest.mark.parametrize("found", [None, shown("cb1.other.00000000000000000000000000000000", 8, 9)])
async def test_a_reply_that_named_somebody_elses_or_nothing_holds_no_doubt(
    scripted: ScriptedClient, found: WorkflowRequest | None
) -> None:
    scripted.unlisted = [] if found is None else [found]
    key = await in_doubt(scripted, unclear(None))
    assert await resolve(scripted) == Resolved(sent_again=1)
    assert [post.key for post in scripted.posts] == [key]
    assert scripted.requests()[0].answered_id == "p-2", "of the last send"


# Rows of the list -------------------------------------------------------------------------------------------


@altered
async def test_a_row_under_a_key_that_was_made_from_ours_ends_the_doubt(
    scripted: ScriptedClient, alter: Callable[[str], str]
) -> None:
    key = await in_doubt(scripted)
    scripted.listed = [shown(alter(key), badge_id=None)]
    assert await resolve(scripted) == Resolved(found=1)
    assert (scripted.posts, scripted.statuses()) == ([], ["waiting"])


@altered
async def test_a_twin_under_an_altered_key_is_found_whatever_its_request_is(
    scripted: ScriptedClient, alter: Callable[[str], str]
) -> None:
    scripted.plan([1, 2])
    await submit(scripted)
    twin = shown(alter(scripted.requests()[0].request_key), 1, 2, name="p-twin")
    with scripted.ledger.write() as tx:
        recorded = record_rows(tx, SETTINGS.account, SETTINGS.sender, [twin])
    assert (recorded.new, recorded.unknown_key, recorded.others) == (1, None, ())
    assert [each.platform_request_id for each in scripted.sightings()] == ["p-1", "p-twin"]


async def test_a_request_that_was_seen_is_known_by_its_id_under_any_key(scripted: ScriptedClient) -> None:
    scripted.plan([1, 2])
    await submit(scripted)
    with scripted.ledger.write() as tx:
        recorded = record_rows(tx, SETTINGS.account, SETTINGS.sender, [shown("CB1-77", name="p-1")])
    assert (sorted(recorded.rows), recorded.unknown_key) == ([1], None)


@pytest.mark.parametrize(
    "stranger",
    [
        shown("REF-77", 1, 2),
        shown("REF-77", 2),
        shown("REF-77", 2, 99),
        shown("REF-77"),
        shown("REF-77", 1, badge_id=None),
        shown(None, 1),
        replace(shown("REF-77", 1), created_at=NOON + timedelta(minutes=1)),
        replace(shown("REF-77", 1), created_at=NOON - LOOK_BACK),
        replace(shown("REF-77", 1), state="rejected"),
    ],
    ids=["all", "one", "one and a stranger", "nobody", "no badge", "no key", "after", "a clock away", "rejected"],
)
async def test_a_row_of_the_badge_and_a_customer_holds_the_doubt_whatever_its_key(
    scripted: ScriptedClient, caplog: pytest.LogCaptureFixture, stranger: WorkflowRequest
) -> None:
    """A person may have made it in Member Care, and it may be ours: it is taken for neither."""
    key = await in_doubt(scripted)
    scripted.listed = [stranger]
    assert await resolve(scripted, after=timedelta(days=9)) == Resolved(still_in_doubt=1)
    assert (scripted.posts, scripted.sightings(), scripted.statuses()) == ([], [], ["sending"])
    assert f"request {key} stays in doubt: request p-x on the platform" in caplog.text
    assert "--not-ours p-x" in scripted.requests()[0].error


@pytest.mark.parametrize(
    "stranger",
    [
        shown("REF-77", 98, 99),
        shown("REF-77", 1, 2, badge_id=OTHER_BADGE),
        shown("REF-77", badge_id=OTHER_BADGE),
        shown("REF-77", badge_id=None),
        replace(shown("REF-77", 1), request_type="EARN-BADGE", wraps_issue_bulk=False),
        replace(shown("REF-77", 1), created_at=NOON - LOOK_BACK - timedelta(seconds=1)),
    ],
    ids=["others", "another badge", "another badge, nobody", "neither", "another type", "long before"],
)
async def test_a_row_that_cannot_be_it_holds_nothing(scripted: ScriptedClient, stranger: WorkflowRequest) -> None:
    await in_doubt(scripted)
    scripted.listed = [stranger]
    assert await resolve(scripted) == Resolved(sent_again=1)


async def test_a_known_request_of_the_same_customers_holds_nothing(scripted: ScriptedClient) -> None:
    await in_doubt(scripted)
    other = scripted.plan([1, 2], "other", campaign="another")
    await submit(scripted, other.badge_run_id or 0)
    scripted.posts.clear()
    scripted.listed = [shown(scripted.requests()[1].request_key, 1, 2, name="p-2")]
    assert await resolve(scripted) == Resolved(sent_again=1)


@pytest.mark.parametrize("said", ["p-x", "REF-77"])
async def test_a_persons_word_that_it_is_not_ours_lets_the_doubt_go_on(scripted: ScriptedClient, said: str) -> None:
    await in_doubt(scripted)
    scripted.listed = [shown("REF-77", 1, 2)]
    assert await resolve(scripted) == Resolved(still_in_doubt=1)
    with scripted.ledger.write() as tx:
        scans.note_not_ours(tx, SETTINGS.account, said, by="ann")
    assert await resolve(scripted) == Resolved(sent_again=1)


async def test_a_persons_word_counts_for_what_a_reply_named_as_well(
    scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await in_doubt(scripted, unclear(None))
    monkeypatch.setattr(ScriptedClient, "read_request", None)  # it is not even read
    with scripted.ledger.write() as tx:
        scans.note_not_ours(tx, SETTINGS.account, "p-x", by="ann")
    assert await resolve(scripted) == Resolved(sent_again=1)


async def test_neither_a_retry_nor_a_later_plan_sends_the_customers_of_a_held_doubt(scripted: ScriptedClient) -> None:
    await in_doubt(scripted)
    scripted.listed = [shown("REF-77", 1, 2)]
    scripted.now[0] = NOON + LATER
    await submit(scripted)
    later = scripted.plan([1, 2], "later")
    assert (later.planned, scripted.posts) == (0, [])


async def test_one_that_was_sent_three_times_is_not_given_up_while_a_row_may_be_it(scripted: ScriptedClient) -> None:
    await in_doubt(scripted)
    scripted.write(update(badge_request).values(resends=2, tries=3))
    scripted.listed = [shown("REF-77", 1, 2)]
    assert await resolve(scripted) == Resolved(still_in_doubt=1)
    assert scripted.outcomes() == {None: 2}


# A ledger that forgot ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "CB1.SPRING.0123456789ABCDEF0123456789ABCDEF",
        "req-cb1.spring.0123456789abcdef0123456789abcdef",
        "cb1_spring_0123456789abcdef0123456789abcdef",
        "cb1spring0123456789abcdef0123456789abcdef",
        "cb1-spring",
    ],
)
async def test_an_altered_key_of_ours_that_the_ledger_does_not_know_stops_submitting(
    scripted: ScriptedClient, key: str
) -> None:
    scripted.plan([1])
    scripted.listed = [shown(key, 8)]
    with pytest.raises(LedgerBehind) as caught:
        await submit(scripted)
    assert f"the platform holds request {key}, which this ledger does not know" in str(caught.value)
    assert scripted.posts == []
