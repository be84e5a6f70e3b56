"""One request, one POST: the order of the steps, and what every answer leaves in the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from capillary.api.errors import EverythingRefused, InDoubt, NotTaken, RequestRefused
from capillary.api.request_workflow import Entity, IssueBadgeRequest, WorkflowRequest
from capillary.engine.absence import doubt_after
from capillary.engine.errors import BodyChanged, SubmittingOff, WrongAccount
from capillary.engine.send import Sender, Sending, Sent, assert_account, body_of
from capillary.ledger import request_rows
from capillary.ledger.database import Transaction
from capillary.ledger.errors import PlanUnknown
from capillary.ledger.pace import START_WITHIN_S
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import Claim
from capillary.ledger.schema import badge_enrolment, badge_request
from tests.unit.engine.scripted_client import NOON, SETTINGS, ScriptedClient, row
from tests.unit.ledger.orders import SPEC, absence

REQUEST = 1


async def send(scripted: ScriptedClient, request_id: int = REQUEST, *, claim_takes_s: float = 0.0) -> Sending:
    """Send one request of the first plan."""

    def claim(tx: Transaction) -> Claim | None:
        scripted.second += claim_takes_s
        return request_rows.claim(
            tx, request_id, badge_run_id=OpenPlan(1), sender="sender", doubt_after=timedelta(seconds=135)
        )

    scripted.second = 1_000.0
    return await scripted.sender.send(request_id, claim, list_read_at=scripted.now[0])


async def send_again(scripted: ScriptedClient) -> Sending:
    """Send the first request once more after its absence was confirmed: doubtful from now on."""
    scripted.now[0] += timedelta(hours=1)
    absent = absence(scripted.ledger, REQUEST, scripted.now[0])
    return await scripted.sender.send(
        REQUEST,
        lambda tx: request_rows.resend(tx, absent, sender="sender", doubt_after=timedelta(seconds=135)),
        list_read_at=scripted.now[0],
    )


async def test_what_is_sent_is_built_from_the_ledger_alone(scripted: ScriptedClient) -> None:
    scripted.plan([30, 10, 20])
    assert await send(scripted) == Sending(Sent.ACCEPTED)
    assert scripted.posts == [
        IssueBadgeRequest(
            key=scripted.requests()[0].request_key,
            badge_id=SPEC.badge_id,
            owner_type=SPEC.owner_type,
            reference_id="7",
            entity=Entity(till_id="till-1", store_id="store-1", zone_id="zone-1", concept_id="concept-1"),
            hostname="https://inner.example",
            customers=(10, 20, 30),
        )
    ]
    (seen,) = scripted.sightings()
    assert (seen.platform_request_id, seen.request_id, seen.state, seen.auto_approved) == (
        "p-1",
        REQUEST,
        "AdminTask",
        False,
    )
    assert scripted.statuses() == ["waiting"]


async def test_pace_comes_first_then_the_switch_and_the_claim_stands_before_the_post(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    at_the_post: list[tuple[str, int]] = []

    async def look(request: IssueBadgeRequest) -> WorkflowRequest:
        (found,) = scripted.requests()
        at_the_post.append((found.status, found.tries))
        return row("p-1", request.key)

    scripted.answers = [look]
    await send(scripted)
    assert scripted.events == ["clear", "asked", f"post {scripted.requests()[0].request_key}"]
    assert at_the_post == [("sending", 1)]


async def test_the_switch_stops_before_the_claim(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    scripted.submitting = False
    with pytest.raises(SubmittingOff) as caught:
        await send(scripted)
    assert str(caught.value) == (
        "submitting is switched off in the platform's connection. Switch it on there and retry the task"
    )
    assert (scripted.posts, scripted.requests()[0].tries) == ([], 0)


async def test_a_request_that_is_gone_is_elsewhere(scripted: ScriptedClient) -> None:
    claims: list[Transaction] = []
    assert await scripted.sender.send(77, claims.append, list_read_at=scripted.now[0]) == Sending(Sent.ELSEWHERE)
    assert (scripted.posts, claims) == ([], [])


async def test_a_request_that_somebody_else_claimed_is_elsewhere(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    assert await send(scripted) == Sending(Sent.ACCEPTED)
    assert await send(scripted) == Sending(Sent.ELSEWHERE)
    assert len(scripted.posts) == 1


async def test_a_claim_that_took_as_long_as_it_may_is_sent(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    assert await send(scripted, claim_takes_s=START_WITHIN_S) == Sending(Sent.ACCEPTED)


async def test_a_sender_that_was_held_up_gives_its_claim_back(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    sending = await send(scripted, claim_takes_s=START_WITHIN_S + 0.001)
    assert (sending.sent, sending.auto_approved) == (Sent.NOT_TAKEN, False)
    assert isinstance(sending.not_taken, NotTaken)
    assert sending.not_taken.reason == "the sender was held up before it sent"
    (found,) = scripted.requests()
    assert (scripted.posts, found.status, found.error) == ([], "planned", str(sending.not_taken))


async def test_the_time_runs_from_the_slot_and_not_from_the_claim(
    scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.plan([1])
    body = Sender._body

    def slow_body(self: Sender, request_id: int) -> IssueBadgeRequest | None:
        scripted.second += START_WITHIN_S / 2 + 0.001
        return body(self, request_id)

    monkeypatch.setattr(Sender, "_body", slow_body)
    sending = await send(scripted, claim_takes_s=START_WITHIN_S / 2)
    assert (sending.sent, scripted.posts) == (Sent.NOT_TAKEN, [])


async def test_a_request_that_was_planned_anew_between_body_and_claim_is_given_back(
    scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.plan([1])
    body = Sender._body

    def of_before(self: Sender, request_id: int) -> IssueBadgeRequest | None:
        built = body(self, request_id)
        assert built is not None
        return replace(built, key="cb1.another")

    monkeypatch.setattr(Sender, "_body", of_before)
    sending = await send(scripted)
    assert sending.not_taken is not None
    assert sending.not_taken.reason == "the request has been planned again"
    assert (scripted.posts, scripted.statuses()) == ([], ["planned"])


async def test_what_was_not_taken_is_planned_again(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    error = NotTaken(reason="no room")
    scripted.answers = [error]
    assert await send(scripted) == Sending(Sent.NOT_TAKEN, not_taken=error)
    (found,) = scripted.requests()
    assert (found.status, found.error, found.doubt_from) == ("planned", str(error), None)


async def test_a_refused_request_ends_for_all_its_customers(scripted: ScriptedClient) -> None:
    scripted.plan([1, 2])
    scripted.answers = [RequestRefused(http_status=400, code=2008, reason="bad badge")]
    assert await send(scripted) == Sending(Sent.REFUSED)
    (found,) = scripted.requests()
    assert (found.status, found.error_code, found.error) == ("settled", 2008, "bad badge")
    assert scripted.outcomes() == {"not_accepted": 2}


async def test_everything_refused_is_told_and_the_request_planned_again(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    error = EverythingRefused(http_status=403, code=2001, reason="no right")
    scripted.answers = [error]
    with pytest.raises(EverythingRefused) as caught:
        await send(scripted)
    (found,) = scripted.requests()
    assert caught.value is error
    assert (found.status, found.error) == ("planned", str(error))


async def test_a_doubt_is_written_down_and_stays(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    error = InDoubt(reason="no answer")
    scripted.answers = [error]
    assert await send(scripted) == Sending(Sent.IN_DOUBT)
    (found,) = scripted.requests()
    assert (found.status, found.error) == ("sending", str(error))
    assert found.doubt_from == NOON + timedelta(seconds=135)


@pytest.mark.parametrize(
    "answer",
    [NotTaken(reason="no room"), RequestRefused(http_status=400, code=2008, reason="bad badge")],
)
async def test_no_refusal_counts_once_an_earlier_send_may_be_alive(scripted: ScriptedClient, answer: Exception) -> None:
    scripted.plan([1])
    scripted.answers = [InDoubt(reason="no answer"), answer]
    await send(scripted)
    assert await send_again(scripted) == Sending(Sent.IN_DOUBT)
    (found,) = scripted.requests()
    assert (found.status, found.error, found.resends) == ("sending", str(answer), 1)
    assert scripted.outcomes() == {None: 1}


async def test_everything_refused_leaves_a_doubtful_request_in_doubt(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    scripted.answers = [InDoubt(reason="no answer"), EverythingRefused(http_status=403, code=2001, reason="no right")]
    await send(scripted)
    with pytest.raises(EverythingRefused):
        await send_again(scripted)
    assert scripted.statuses() == ["sending"]


@pytest.mark.parametrize(
    ("state", "human", "told"),
    [
        ("approved", False, True),
        ("approved", True, True),  # no human decides while a call is under way
        ("failed", True, True),
        ("rejected", True, False),
        ("AdminTask", False, False),
    ],
)
async def test_an_answer_that_is_decided_already_was_decided_by_nobody(
    scripted: ScriptedClient, state: str, human: bool, told: bool
) -> None:
    scripted.plan([1])
    scripted.answers = [row("p-9", None, state, human=human)]
    assert await send(scripted) == Sending(Sent.ACCEPTED, auto_approved=told)
    (seen,) = scripted.sightings()
    assert (seen.platform_request_id, seen.state, seen.auto_approved) == ("p-9", state, told)


@pytest.mark.parametrize(
    ("state", "human", "told"),
    [("approved", True, False), ("failed", True, False), ("approved", False, True), ("AdminTask", False, False)],
)
async def test_an_answer_to_a_second_send_may_name_what_a_human_has_decided(
    scripted: ScriptedClient, state: str, human: bool, told: bool
) -> None:
    """A platform that knows its keys answers with the request of the first send."""
    scripted.plan([1])
    scripted.answers = [InDoubt(reason="no answer"), row("p-first", None, state, human=human)]
    await send(scripted)
    assert await send_again(scripted) == Sending(Sent.ACCEPTED, auto_approved=told)
    (seen,) = scripted.sightings()
    assert (seen.auto_approved, seen.human_decided) == (told, human)


@pytest.mark.parametrize(("state", "told"), [("approved", True), ("AdminTask", False)])
async def test_what_an_unclear_answer_names_is_read_once_and_an_automatic_approval_shows_there(
    scripted: ScriptedClient, state: str, told: bool
) -> None:
    scripted.plan([1])
    scripted.unlisted = [row("p-named", scripted.requests()[0].request_key, state)]
    scripted.answers = [InDoubt(reason="its body was cut off", platform_request_id="p-named")]
    sending = await send(scripted)
    assert sending == Sending(Sent.ACCEPTED, auto_approved=told)
    assert sending.platform_request_id == "p-named", "the second look at it needs this"
    assert scripted.statuses() == ["waiting"]


async def test_rows_that_were_tampered_with_are_not_sent(scripted: ScriptedClient) -> None:
    scripted.plan([1, 2])
    scripted.write(delete(badge_enrolment).where(badge_enrolment.c.customer_id == 2))
    with pytest.raises(BodyChanged) as caught:
        await send(scripted)
    (found,) = scripted.requests()
    assert str(caught.value) == (
        f"request {found.request_key}: the ledger's spec or enrolments were changed after it was planned; "
        "nothing was sent. Restore the rows, or ask who wrote to the ledger's tables"
    )
    assert (scripted.posts, found.tries) == ([], 0)


async def test_a_key_of_another_attempt_is_not_sent(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    scripted.write(update(badge_request).values(attempt=2))
    with pytest.raises(BodyChanged):
        await send(scripted)


def test_a_request_that_the_ledger_does_not_know_has_no_body(scripted: ScriptedClient) -> None:
    with scripted.ledger.read() as tx:
        assert body_of(tx, 77) is None


def test_doubt_may_be_judged_after_the_send_its_timeout_and_the_lists_lag() -> None:
    assert doubt_after(SETTINGS) == timedelta(seconds=5 + 30 + 100)


def test_a_run_is_sent_only_to_the_account_it_was_planned_for(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    assert_account(scripted.ledger, scripted.plan_id(1), scripted.settings.account)
    with pytest.raises(WrongAccount) as caught:
        assert_account(scripted.ledger, scripted.plan_id(1), "elsewhere.example/100")
    assert str(caught.value) == (
        "run 1 was planned for platform.example/100, and the platform's connection leads to "
        "elsewhere.example/100: give the task the connection with which it was planned. If the platform has moved, "
        "write 'platform.example' into the connection's field Account address"
    )
    with pytest.raises(PlanUnknown, match="77"):
        assert_account(scripted.ledger, scripted.plan_id(77), scripted.settings.account)
