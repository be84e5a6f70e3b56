"""One request, one POST: the order of the steps, and what every answer leaves in the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from capillary.api.errors import EverythingRefused, InDoubt, NotTaken, RequestRefused
from capillary.api.request_workflow import Entity, IssueBadgeRequest, WorkflowRequest
from capillary.engine.absence import SEND_WITHIN_S, doubt_after
from capillary.engine.errors import BodyChanged, SubmittingOff, WrongAccount
from capillary.engine.send import Sender, Sending, Sent, assert_account, body_of
from capillary.ledger import request_rows
from capillary.ledger.database import Transaction
from capillary.ledger.errors import PlanUnknown
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import Claim
from capillary.ledger.schema import badge_enrolment, badge_request
from tests.unit.engine.desk import NOON, SETTINGS, Desk, row
from tests.unit.ledger.orders import SPEC, absence

REQUEST = 1


async def send(desk: Desk, request_id: int = REQUEST, *, claim_takes_s: float = 0.0) -> Sending:
    """Send one request of the first plan."""

    def claim(tx: Transaction) -> Claim | None:
        desk.second += claim_takes_s
        return request_rows.claim(
            tx, request_id, badge_run_id=OpenPlan(1), sender="sender", doubt_after=timedelta(seconds=135)
        )

    desk.second = 1_000.0
    return await desk.sender.send(request_id, claim, list_read_at=desk.now[0])


async def send_again(desk: Desk) -> Sending:
    """Send the first request once more after its absence was confirmed: doubtful from now on."""
    desk.now[0] += timedelta(hours=1)
    absent = absence(desk.ledger, REQUEST, desk.now[0])
    return await desk.sender.send(
        REQUEST,
        lambda tx: request_rows.resend(tx, absent, sender="sender", doubt_after=timedelta(seconds=135)),
        list_read_at=desk.now[0],
    )


async def test_what_is_sent_is_built_from_the_ledger_alone(desk: Desk) -> None:
    desk.plan([30, 10, 20])
    assert await send(desk) == Sending(Sent.ACCEPTED)
    assert desk.posts == [
        IssueBadgeRequest(
            key=desk.requests()[0].request_key,
            badge_id=SPEC.badge_id,
            owner_type=SPEC.owner_type,
            reference_id="7",
            entity=Entity(till_id="till-1", store_id="store-1", zone_id="zone-1", concept_id="concept-1"),
            hostname="https://inner.example",
            customers=(10, 20, 30),
        )
    ]
    (seen,) = desk.sightings()
    assert (seen.platform_request_id, seen.request_id, seen.state, seen.auto_approved) == (
        "p-1",
        REQUEST,
        "AdminTask",
        False,
    )
    assert desk.statuses() == ["waiting"]


async def test_pace_comes_first_then_the_switch_and_the_claim_stands_before_the_post(desk: Desk) -> None:
    desk.plan([1])
    at_the_post: list[tuple[str, int]] = []

    async def look(request: IssueBadgeRequest) -> WorkflowRequest:
        (found,) = desk.requests()
        at_the_post.append((found.status, found.tries))
        return row("p-1", request.key)

    desk.answers = [look]
    await send(desk)
    assert desk.events == ["clear", "asked", f"post {desk.requests()[0].request_key}"]
    assert at_the_post == [("sending", 1)]


async def test_the_switch_stops_before_the_claim(desk: Desk) -> None:
    desk.plan([1])
    desk.submitting = False
    with pytest.raises(SubmittingOff) as caught:
        await send(desk)
    assert str(caught.value) == (
        "submitting is switched off in the platform's connection. Switch it on there and retry the task"
    )
    assert (desk.posts, desk.requests()[0].tries) == ([], 0)


async def test_a_request_that_is_gone_is_elsewhere(desk: Desk) -> None:
    claims: list[Transaction] = []
    assert await desk.sender.send(77, claims.append, list_read_at=desk.now[0]) == Sending(Sent.ELSEWHERE)
    assert (desk.posts, claims) == ([], [])


async def test_a_request_that_somebody_else_claimed_is_elsewhere(desk: Desk) -> None:
    desk.plan([1])
    assert await send(desk) == Sending(Sent.ACCEPTED)
    assert await send(desk) == Sending(Sent.ELSEWHERE)
    assert len(desk.posts) == 1


async def test_a_claim_that_took_as_long_as_it_may_is_sent(desk: Desk) -> None:
    desk.plan([1])
    assert await send(desk, claim_takes_s=SEND_WITHIN_S) == Sending(Sent.ACCEPTED)


async def test_a_sender_that_was_held_up_gives_its_claim_back(desk: Desk) -> None:
    desk.plan([1])
    sending = await send(desk, claim_takes_s=SEND_WITHIN_S + 0.001)
    assert (sending.sent, sending.auto_approved) == (Sent.NOT_TAKEN, False)
    assert isinstance(sending.not_taken, NotTaken)
    assert sending.not_taken.reason == "the sender was held up before it sent"
    (found,) = desk.requests()
    assert (desk.posts, found.status, found.error) == ([], "planned", str(sending.not_taken))


async def test_the_time_runs_from_the_slot_and_not_from_the_claim(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.plan([1])
    body = Sender._body

    def slow_body(self: Sender, request_id: int) -> IssueBadgeRequest | None:
        desk.second += SEND_WITHIN_S / 2 + 0.001
        return body(self, request_id)

    monkeypatch.setattr(Sender, "_body", slow_body)
    sending = await send(desk, claim_takes_s=SEND_WITHIN_S / 2)
    assert (sending.sent, desk.posts) == (Sent.NOT_TAKEN, [])


async def test_a_request_that_was_planned_anew_between_body_and_claim_is_given_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.plan([1])
    body = Sender._body

    def of_before(self: Sender, request_id: int) -> IssueBadgeRequest | None:
        built = body(self, request_id)
        assert built is not None
        return replace(built, key="cb1.another")

    monkeypatch.setattr(Sender, "_body", of_before)
    sending = await send(desk)
    assert sending.not_taken is not None
    assert sending.not_taken.reason == "the request has been planned again"
    assert (desk.posts, desk.statuses()) == ([], ["planned"])


async def test_what_was_not_taken_is_planned_again(desk: Desk) -> None:
    desk.plan([1])
    error = NotTaken(reason="no room")
    desk.answers = [error]
    assert await send(desk) == Sending(Sent.NOT_TAKEN, not_taken=error)
    (found,) = desk.requests()
    assert (found.status, found.error, found.doubt_from) == ("planned", str(error), None)


async def test_a_refused_request_ends_for_all_its_customers(desk: Desk) -> None:
    desk.plan([1, 2])
    desk.answers = [RequestRefused(http_status=400, code=2008, reason="bad badge")]
    assert await send(desk) == Sending(Sent.REFUSED)
    (found,) = desk.requests()
    assert (found.status, found.error_code, found.error) == ("settled", 2008, "bad badge")
    assert desk.outcomes() == {"not_accepted": 2}


async def test_everything_refused_is_told_and_the_request_planned_again(desk: Desk) -> None:
    desk.plan([1])
    error = EverythingRefused(http_status=403, code=2001, reason="no right")
    desk.answers = [error]
    with pytest.raises(EverythingRefused) as caught:
        await send(desk)
    (found,) = desk.requests()
    assert caught.value is error
    assert (found.status, found.error) == ("planned", str(error))


async def test_a_doubt_is_written_down_and_stays(desk: Desk) -> None:
    desk.plan([1])
    error = InDoubt(reason="no answer")
    desk.answers = [error]
    assert await send(desk) == Sending(Sent.IN_DOUBT)
    (found,) = desk.requests()
    assert (found.status, found.error) == ("sending", str(error))
    assert found.doubt_from == NOON + timedelta(seconds=135)


@pytest.mark.parametrize(
    "answer",
    [NotTaken(reason="no room"), RequestRefused(http_status=400, code=2008, reason="bad badge")],
)
async def test_no_refusal_counts_once_an_earlier_send_may_be_alive(desk: Desk, answer: Exception) -> None:
    desk.plan([1])
    desk.answers = [InDoubt(reason="no answer"), answer]
    await send(desk)
    assert await send_again(desk) == Sending(Sent.IN_DOUBT)
    (found,) = desk.requests()
    assert (found.status, found.error, found.resends) == ("sending", str(answer), 1)
    assert desk.outcomes() == {None: 1}


async def test_everything_refused_leaves_a_doubtful_request_in_doubt(desk: Desk) -> None:
    desk.plan([1])
    desk.answers = [InDoubt(reason="no answer"), EverythingRefused(http_status=403, code=2001, reason="no right")]
    await send(desk)
    with pytest.raises(EverythingRefused):
        await send_again(desk)
    assert desk.statuses() == ["sending"]


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
    desk: Desk, state: str, human: bool, told: bool
) -> None:
    desk.plan([1])
    desk.answers = [row("p-9", None, state, human=human)]
    assert await send(desk) == Sending(Sent.ACCEPTED, auto_approved=told)
    (seen,) = desk.sightings()
    assert (seen.platform_request_id, seen.state, seen.auto_approved) == ("p-9", state, told)


async def test_rows_that_were_tampered_with_are_not_sent(desk: Desk) -> None:
    desk.plan([1, 2])
    desk.write(delete(badge_enrolment).where(badge_enrolment.c.customer_id == 2))
    with pytest.raises(BodyChanged) as caught:
        await send(desk)
    (found,) = desk.requests()
    assert str(caught.value) == (
        f"request {found.request_key}: the ledger's spec or enrolments were changed after it was planned; "
        "nothing was sent. Restore the rows, or ask who wrote to the ledger's tables"
    )
    assert (desk.posts, found.tries) == ([], 0)


async def test_a_key_of_another_attempt_is_not_sent(desk: Desk) -> None:
    desk.plan([1])
    desk.write(update(badge_request).values(attempt=2))
    with pytest.raises(BodyChanged):
        await send(desk)


def test_a_request_that_the_ledger_does_not_know_has_no_body(desk: Desk) -> None:
    with desk.ledger.read() as tx:
        assert body_of(tx, 77) is None


def test_doubt_may_be_judged_after_the_send_its_timeout_and_the_lists_lag() -> None:
    assert doubt_after(SETTINGS) == timedelta(seconds=5 + 30 + 100)


def test_a_run_is_sent_only_to_the_account_it_was_planned_for(desk: Desk) -> None:
    desk.plan([1])
    assert_account(desk.ledger, desk.plan_id(1), desk.settings.account)
    with pytest.raises(WrongAccount) as caught:
        assert_account(desk.ledger, desk.plan_id(1), "elsewhere.example/100")
    assert str(caught.value) == (
        "run 1 was planned for platform.example/100, and the platform's connection leads to "
        "elsewhere.example/100: give the task the connection with which it was planned. If the platform has moved, "
        "write 'platform.example' into the connection's field Account address"
    )
    with pytest.raises(PlanUnknown, match="77"):
        assert_account(desk.ledger, desk.plan_id(77), desk.settings.account)
