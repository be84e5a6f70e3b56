"""A ledger that was restored gives its numbers out again: who acts by what it read before touches no stranger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from capillary.api.errors import EverythingRefused, InDoubt, NotTaken, RequestRefused
from capillary.api.request_workflow import IssueBadgeRequest, WorkflowRequest
from capillary.engine.absence import doubt_after
from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import LedgerBehind
from capillary.engine.send import Sender, assert_account
from capillary.engine.settle import settle_by_reading
from capillary.engine.sightings import record_rows
from capillary.engine.submit import submit_run
from capillary.engine.wait import advance
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import PlanUnknown, RequestGone
from capillary.ledger.plan import Order, Plan
from capillary.ledger.plan_id import OpenPlan, PlanId, open_plan
from capillary.ledger.request_rows import (
    Claim,
    ConfirmedAbsence,
    Seen,
    claim,
    give_up,
    note_doubt,
    record_sighting,
    refuse,
    release,
    resend,
)
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run
from capillary.ledger.server import told, unread_change
from capillary.ledger.unknown_keys import UnknownKey, unknown_keys
from tests.unit.engine.scripted_client import LEASE, SETTINGS, ScriptedClient, row
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import DOUBT, ORDER, SPEC, absence, plan, request, requests_of, run, send, snapshot
from tests.unit.ledger.restore import Backup, back_up, restart_numbers

Rows = dict[str, list[tuple[object, ...]]]
#: What a sender of before may have been answered, and what it does then.
ANSWERS: Final = {
    "429": NotTaken(reason="too many"),
    "refused": RequestRefused(http_status=400, code=2008, reason="bad badge"),
    "everything refused": EverythingRefused(http_status=403, code=2001, reason="no right"),
    "no answer": InDoubt(reason="no answer"),
}


@pytest.fixture
def empty(ledger: Ledger) -> Backup:
    """The ledger before anything was planned; its numbers begin at 1."""
    restart_numbers(ledger)
    return back_up(ledger)


@pytest.fixture
def scripted(ledger: Ledger, clock: Clock) -> ScriptedClient:
    return ScriptedClient(ledger, [clock.now])


def of_the_account(order: Order) -> Order:
    return replace(order, spec=replace(SPEC, account=SETTINGS.account))


STRANGER: Final = run("stranger", campaign="another", occasion="another")


def plan_stranger(ledger: Ledger) -> Plan:
    """Plan other customers of another campaign, which get the numbers of before."""
    return plan(ledger, [91, 92, 93], of_the_account(STRANGER))


def sending_stranger(ledger: Ledger) -> Rows:
    """Let a stranger have the numbers of before, and send."""
    made = plan_stranger(ledger)
    assert [each.id for each in requests_of(ledger, made)] == [1]
    send(ledger, 1)
    return snapshot(ledger)


def before(ledger: Ledger) -> PlanId:
    """Plan customers 1, 2 and 3 in request 1."""
    made = plan(ledger, [1, 2, 3], of_the_account(ORDER))
    assert made.plan_id is not None
    assert (made.badge_run_id, [each.id for each in requests_of(ledger, made)]) == (1, [1])
    return made.plan_id


# What a sender holds ----------------------------------------------------------------------------------------

Late = Callable[[Transaction, Claim, ConfirmedAbsence], object]
LATE: Final[dict[str, Late]] = {
    "release": lambda tx, held, _: release(tx, held, reason="429"),
    "refuse": lambda tx, held, _: refuse(tx, held, code=2008, reason="refused"),
    "note a doubt": lambda tx, held, _: note_doubt(tx, held, reason="no answer"),
    "send again": lambda tx, _, absent: resend(tx, absent, sender="sender", doubt_after=DOUBT),
    "give up": lambda tx, _, absent: give_up(tx, absent),
}
#: What a sender may do to its own request that was sent again so often.
OF_ITS_OWN: Final = {
    0: [LATE[name] for name in ("release", "refuse", "note a doubt", "send again")],
    2: [LATE[name] for name in ("note a doubt", "give up")],
}
late_acts = pytest.mark.parametrize("act", LATE.values(), ids=LATE)


@late_acts
@pytest.mark.parametrize("resends", [0, 2])
def test_a_sender_of_before_changes_nothing_of_a_stranger(
    ledger: Ledger, clock: Clock, empty: Backup, act: Late, resends: int
) -> None:
    before(ledger)
    held = send(ledger, 1)
    empty.put_back()
    sending_stranger(ledger)
    clock.advance(hours=2)
    with ledger.write() as tx:
        # As like the request of before as can be, and its doubt long over.
        tx.conn.execute(badge_request.update().values(last_sent_at=held.claimed_at, resends=resends))
    now = snapshot(ledger)
    with ledger.write() as tx:
        assert not act(tx, held, ConfirmedAbsence(1, held.key, held.tries, tx.now))
    assert snapshot(ledger) == now
    own = absence(ledger, 1, clock.now)
    with ledger.write() as tx:
        assert bool(act(tx, replace(held, key=own.key), own)) is (act in OF_ITS_OWN[resends]), "the key alone differed"


@pytest.mark.parametrize("name", ["release", "refuse", "note a doubt"])
def test_a_sender_of_before_changes_nothing_of_another_claim_of_its_own_request(
    ledger: Ledger, clock: Clock, empty: Backup, name: str
) -> None:
    before(ledger)
    held = send(ledger, 1)
    empty.put_back()
    before(ledger)
    clock.advance(seconds=1)
    again = send(ledger, 1)
    assert (again.request_id, again.key, again.tries) == (held.request_id, held.key, held.tries)
    now = snapshot(ledger)
    nobody = absence(ledger, 1, clock.now)
    with ledger.write() as tx:
        assert not LATE[name](tx, held, nobody)
    assert snapshot(ledger) == now
    with ledger.write() as tx:
        assert LATE[name](tx, again, nobody)


def test_a_request_that_is_gone_takes_no_sighting_and_says_so(ledger: Ledger) -> None:
    now = snapshot(ledger)
    message = r"^request 77 \(badge_request.id\) left the ledger while a reply .* reads the platform's list again"
    with ledger.write() as tx, pytest.raises(RequestGone, match=message):
        record_sighting(tx, 77, Seen("p-1", "AdminTask", decided=False))
    assert snapshot(ledger) == now


# Senders that live through the restore ----------------------------------------------------------------------


def restored_in_mid_call(backup: Backup, then: Callable[[], object], end: object) -> Callable[..., Awaitable[Any]]:
    """Return an answer to a POST that comes when the ledger was restored and somebody else has planned."""

    async def answer(sent: IssueBadgeRequest) -> WorkflowRequest:
        backup.put_back()
        then()
        if isinstance(end, Exception):
            raise end
        return row("p-late", sent.key)

    return answer


@pytest.mark.parametrize("end", ANSWERS.values(), ids=ANSWERS)
async def test_no_late_answer_touches_the_stranger_who_has_the_number(
    scripted: ScriptedClient, empty: Backup, end: object
) -> None:
    mine, stranger = before(scripted.ledger), list[Rows]()
    scripted.answers = [restored_in_mid_call(empty, lambda: stranger.append(sending_stranger(scripted.ledger)), end)]
    kind = EverythingRefused if isinstance(end, EverythingRefused) else PlanUnknown
    with pytest.raises(kind):
        await submit_run(scripted.sender, mine, lease=LEASE)
    assert [snapshot(scripted.ledger)] == stranger
    assert len(scripted.posts) == 1


async def test_an_acceptance_of_before_is_nobodys_and_stops_submitting(scripted: ScriptedClient, empty: Backup) -> None:
    mine, stranger = before(scripted.ledger), list[Rows]()
    key = scripted.requests()[0].request_key
    scripted.answers = [restored_in_mid_call(empty, lambda: stranger.append(sending_stranger(scripted.ledger)), None)]
    with pytest.raises(PlanUnknown):
        await submit_run(scripted.sender, mine, lease=LEASE)
    after = snapshot(scripted.ledger)
    left_out: Rows = {"badge_scan": [], "badge_unknown_key": []}
    assert {**after, **left_out} == {**stranger[0], **left_out}
    with scripted.ledger.read() as tx:
        assert unknown_keys(tx, SETTINGS.account) == (UnknownKey(key, SETTINGS.sender),)
    later = plan(scripted.ledger, [71], of_the_account(run("later")))
    with pytest.raises(LedgerBehind, match=str(key)):
        await submit_run(scripted.sender, scripted.plan_id(later.badge_run_id), lease=LEASE)
    assert len(scripted.posts) == 1


@pytest.mark.parametrize("number", [1, 2])
async def test_an_acceptance_of_before_is_the_requests_that_has_its_key_now(
    scripted: ScriptedClient, empty: Backup, number: int
) -> None:
    mine = before(scripted.ledger)
    key = scripted.requests()[0].request_key

    def planned_again() -> None:
        if number == 2:
            sending_stranger(scripted.ledger)
        plan(scripted.ledger, [1, 2, 3], of_the_account(ORDER))

    scripted.answers = [restored_in_mid_call(empty, planned_again, None)]
    with pytest.raises(PlanUnknown):
        await submit_run(scripted.sender, mine, lease=LEASE)
    (seen,) = scripted.sightings()
    found = request(scripted.ledger, number)
    assert (seen.platform_request_id, seen.request_id) == ("p-late", number)
    assert (found.request_key, found.status) == (key, "waiting")


async def test_a_restore_between_two_requests_ends_the_task_with_a_sentence(
    scripted: ScriptedClient, empty: Backup
) -> None:
    made = plan(scripted.ledger, range(1, 7), of_the_account(ORDER))
    scripted.answers = [restored_in_mid_call(empty, lambda: plan_stranger(scripted.ledger), None)]
    message = r"^the ledger has no plan 1 \(badge_run.id\): .* Clear the task that plans"
    assert made.plan_id is not None
    with pytest.raises(PlanUnknown, match=message):
        await submit_run(scripted.sender, made.plan_id, lease=LEASE)
    assert (len(scripted.posts), scripted.statuses()) == (1, ["planned"])


@pytest.fixture
def in_mid_reading(scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], object]]]:
    """What happens while the platform's list is under way to its reader, once for each reading."""
    happens: list[Callable[[], object]] = []
    read = ScriptedClient.list_requests

    async def list_requests(self: ScriptedClient, **options: Any) -> object:  # noqa: ANN401 - those of `list_requests`
        page = await read(self, **options)
        if happens:
            happens.pop(0)()
        return page

    monkeypatch.setattr(ScriptedClient, "list_requests", list_requests)
    yield happens
    assert happens == []


@pytest.mark.parametrize("resends", [0, 2])
async def test_a_doubt_of_before_is_not_judged_for_the_stranger(
    scripted: ScriptedClient, clock: Clock, empty: Backup, in_mid_reading: list[Callable[[], object]], resends: int
) -> None:
    before(scripted.ledger)
    send(scripted.ledger, 1)
    scripted.write(badge_request.update().values(sender=SETTINGS.sender, resends=resends))
    since = clock.now
    clock.advance(hours=2)
    stranger = list[Rows]()

    def restored() -> None:
        empty.put_back()
        sending_stranger(scripted.ledger)
        # As if it had been sent when the request of before was.
        doubt = {"last_sent_at": since, "doubt_from": since + DOUBT, "sender": SETTINGS.sender, "resends": resends}
        scripted.write(badge_request.update().values(first_sent_at=since, **doubt))
        stranger.append(snapshot(scripted.ledger))

    in_mid_reading.append(restored)
    await resolve_doubt(scripted.sender)
    now = snapshot(scripted.ledger)
    # On PostgreSQL who asks for a claim writes down which server answered.
    assert [{**now, "badge_server": []}] == stranger
    assert scripted.posts == []


async def test_a_stranger_is_no_control_for_a_doubt_of_before(
    scripted: ScriptedClient, clock: Clock, empty: Backup, in_mid_reading: list[Callable[[], object]]
) -> None:
    """The reading showed request 2 of before; it is the stranger's number by now, who was sent later."""
    plan(scripted.ledger, [1], of_the_account(ORDER))
    send(scripted.ledger, 1)
    scripted.write(badge_request.update().values(sender=SETTINGS.sender))
    backup = back_up(scripted.ledger)
    other = plan(scripted.ledger, [5], of_the_account(run("control")))
    scripted.listed = [row("p-2", scripted.requests()[1].request_key)]
    assert [each.id for each in requests_of(scripted.ledger, other)] == [2]
    clock.advance(minutes=10)

    def restored() -> None:
        backup.put_back()
        plan_stranger(scripted.ledger)
        send(scripted.ledger, 2)

    in_mid_reading.append(restored)
    assert (await resolve_doubt(scripted.sender)).sent_again == 0
    assert scripted.posts == []


@pytest.mark.parametrize("stranger", [True, False])
async def test_what_was_read_for_a_request_of_before_settles_nobody(
    scripted: ScriptedClient, empty: Backup, monkeypatch: pytest.MonkeyPatch, stranger: bool
) -> None:
    before(scripted.ledger)
    send(scripted.ledger, 1)
    decided = row("p-1", scripted.requests()[0].request_key, "rejected", human=True)
    with scripted.ledger.write() as tx:
        record_rows(tx, SETTINGS.account, SETTINGS.sender, [decided])
    then = list[Rows]()

    async def read_request(_: ScriptedClient, __: str) -> WorkflowRequest:
        empty.put_back()
        if stranger:
            plan_stranger(scripted.ledger)
            send(scripted.ledger, 1)
            key = scripted.requests()[0].request_key
            with scripted.ledger.write() as tx:
                record_rows(tx, SETTINGS.account, SETTINGS.sender, [row("p-2", key, "approved", human=True)])
        then.append(snapshot(scripted.ledger))
        return decided

    monkeypatch.setattr(ScriptedClient, "read_request", read_request)
    sender = scripted.sender
    assert await settle_by_reading(scripted.ledger, sender.client, sender.runtime, [1]) == 0
    assert [snapshot(scripted.ledger)] == then


# Plans ------------------------------------------------------------------------------------------------------


async def _submit(sender: Sender, mine: PlanId) -> None:
    await submit_run(sender, mine, lease=LEASE)


async def _wait(sender: Sender, mine: PlanId) -> None:
    await advance(sender, mine, reader="task", lease=LEASE)


async def _trigger(sender: Sender, mine: PlanId) -> None:
    assert_account(sender.ledger, mine, SETTINGS.account)


async def _open(sender: Sender, mine: PlanId) -> None:
    with sender.ledger.write() as tx:
        open_plan(tx, mine)


@pytest.mark.parametrize("act", [_submit, _wait, _trigger, _open])
@pytest.mark.parametrize("lost", ["everything", "the token"])
async def test_a_plan_is_opened_by_nobody_who_has_the_number_alone(
    scripted: ScriptedClient, empty: Backup, act: Callable[[Sender, PlanId], Awaitable[None]], lost: str
) -> None:
    mine = before(scripted.ledger)
    if lost == "everything":
        empty.put_back()
        plan_stranger(scripted.ledger)
    else:
        mine = PlanId(mine.badge_run_id, "0" * 32)
    now = snapshot(scripted.ledger)
    with pytest.raises(PlanUnknown, match="no plan 1 "):
        await act(scripted.sender, mine)
    assert snapshot(scripted.ledger) == now
    assert scripted.events == []


def test_every_plan_has_a_token_of_its_own_and_keeps_it(ledger: Ledger) -> None:
    first, second = plan(ledger, [1]), plan(ledger, [2], run("second"))
    assert first.token is not None
    assert second.token is not None
    assert first.token != second.token
    assert len(bytes.fromhex(first.token)) == 16
    send(ledger, requests_of(ledger, first)[0].id)
    kept = plan(ledger, [1])
    assert (kept.kept, kept.plan_id) == (True, first.plan_id)


def test_a_plan_made_anew_is_another_one(ledger: Ledger) -> None:
    first = plan(ledger, [1])
    anew = plan(ledger, [1])
    assert first.plan_id != anew.plan_id
    assert first.plan_id is not None
    with ledger.read() as tx, pytest.raises(PlanUnknown):
        open_plan(tx, first.plan_id)


def test_a_dry_run_has_no_plan_to_hand_on(ledger: Ledger) -> None:
    assert plan(ledger, [1], dry_run=True).plan_id is None


ELSEWHERE: Final = replace(ORDER, spec=replace(SPEC, account="https://platform.example/200"))


def test_two_airflows_on_one_ledger_keep_their_plans_of_one_name(ledger: Ledger) -> None:
    ours, theirs = plan(ledger, [1, 2], ORDER), plan(ledger, [1, 2], ELSEWHERE)
    assert (ours.planned, theirs.planned, theirs.kept) == (2, 2, False)
    now = snapshot(ledger)
    assert len(now["badge_run"]) == len(now["badge_request"]) == 2
    for made in (ours, theirs):
        assert made.plan_id is not None
        with ledger.read() as tx:
            assert open_plan(tx, made.plan_id) == made.badge_run_id
    anew = plan(ledger, [1, 2], ELSEWHERE)
    with ledger.read() as tx:
        assert ours.plan_id is not None
        assert open_plan(tx, ours.plan_id)
        runs = tx.conn.execute(badge_run.select().order_by(badge_run.c.id)).all()
    assert [each.id for each in runs] == [ours.badge_run_id, anew.badge_run_id]


def test_what_was_sent_for_another_account_keeps_no_plan_of_ours(ledger: Ledger) -> None:
    theirs = plan(ledger, [1, 2], ELSEWHERE)
    send(ledger, requests_of(ledger, theirs)[0].id)
    ours = plan(ledger, [3], ORDER)
    assert (ours.kept, ours.planned) == (False, 1)
    assert plan(ledger, [1, 2], ELSEWHERE).plan_id == theirs.plan_id


def test_only_the_plan_that_is_opened_claims(ledger: Ledger, empty: Backup) -> None:
    mine = before(ledger)
    empty.put_back()
    plan_stranger(ledger)
    now = snapshot(ledger)
    with pytest.raises(PlanUnknown), ledger.write() as tx:
        claim(tx, 1, badge_run_id=open_plan(tx, mine), sender="s", doubt_after=doubt_after(SETTINGS))
    assert snapshot(ledger) == now
    with ledger.write() as tx:
        assert claim(tx, 1, badge_run_id=OpenPlan(1), sender="s", doubt_after=timedelta(minutes=1))


def test_customers_of_a_stranger_are_still_the_strangers(ledger: Ledger, empty: Backup) -> None:
    """The scene itself: numbers do come back."""
    before(ledger)
    empty.put_back()
    sending_stranger(ledger)
    with ledger.read() as tx:
        customers = tx.conn.execute(badge_enrolment.select().where(badge_enrolment.c.request_id == 1)).all()
    assert sorted(each.customer_id for each in customers) == [91, 92, 93]


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_file_has_no_server_and_is_not_held(ledger: Ledger, clock: Clock) -> None:
    with ledger.write() as tx:
        assert told(tx) is None
        assert unread_change(tx, list_read_at=clock.now, doubt_after=DOUBT) is None
    assert snapshot(ledger)["badge_server"] == []
