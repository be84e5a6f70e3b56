"""Two credential users of one account, each shown its own requests alone: what one sees says nothing for the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import pytest
from sqlalchemy import update

from capillary.api.request_workflow import Page, WorkflowRequest
from capillary.engine.doubt import Resolved, resolve_doubt
from capillary.engine.errors import LedgerBehind
from capillary.engine.import_requests import Imported, import_forgotten
from capillary.engine.send import Sent
from capillary.engine.submit import Submitted, submit_run
from capillary.engine.upkeep import keep_account
from capillary.ledger import history, request_rows, scans, unknown_keys
from capillary.ledger.schema import badge_request
from tests.unit.engine.scripted_client import LEASE, NOON, SETTINGS, ScriptedClient, row

KEY = "cb1.forgotten.0123456789abcdef0123456789abcdef"
ONE, TWO = SETTINGS, replace(SETTINGS, login="till.two")
TODAY = NOON.date()
LONG_AGO = timedelta(days=90)


@dataclass
class OwnRowsClient(ScriptedClient):
    """A client whose platform shows each till its own requests alone, from the day that is asked for."""

    shown: dict[str, list[WorkflowRequest]] = field(default_factory=dict)

    def show(self, login: str, made: WorkflowRequest, *, ago: timedelta = LONG_AGO) -> None:
        """From now on this till alone is shown this request."""
        self.shown.setdefault(login, []).append(replace(made, created_at=NOON - ago))

    def take(self, user: object) -> None:
        """Work with another till's connection."""
        self.settings = user  # type: ignore[assignment]

    async def list_requests(
        self,
        *,
        page: int,
        start_date: date,
        end_date: date | None = None,
        request_type: str | None = None,
        **_: object,
    ) -> Page:
        """Return this till's requests of these days."""
        assert (page, request_type) in ((0, "ISSUE-BADGE"), (0, None))
        self.events.append("list")
        last = end_date or date.max
        rows = [
            each
            for each in self.shown.get(self.settings.login, [])
            if each.created_at and start_date <= each.created_at.date() <= last
        ]
        return Page(tuple(rows), 0, page, total_pages=1, total_elements=len(rows))


@pytest.fixture
def two(scripted: ScriptedClient) -> OwnRowsClient:
    """An account of two tills that this ledger has never seen; each has a run to submit."""
    with scripted.ledger.write() as tx:
        tx.conn.exec_driver_sql("DELETE FROM badge_history")
    two = OwnRowsClient(scripted.ledger, scripted.now)
    two.plan([1], "one")
    two.plan([2], "two")
    return two


async def submit(two: OwnRowsClient, user: object) -> Submitted:
    """Submit a till's run with its connection."""
    two.take(user)
    return await submit_run(two.sender, two.plan_id(1 if user is ONE else 2), lease=LEASE)


async def stop_by_two(two: OwnRowsClient) -> None:
    """The second till is shown a key that the ledger does not know, and is refused."""
    two.show("till.two", row("p-0", KEY))
    with pytest.raises(LedgerBehind, match=f"^the platform holds request {KEY}, which this ledger does not know: "):
        await submit(two, TWO)


def stopped_by(two: OwnRowsClient) -> list[tuple[str, str]]:
    with two.ledger.read() as tx:
        return [(each.key, each.sender) for each in unknown_keys.unknown_keys(tx, SETTINGS.account)]


async def test_the_first_reading_of_one_user_is_none_of_another(two: OwnRowsClient) -> None:
    assert (await submit(two, ONE)).counts == {Sent.ACCEPTED: 1}
    await stop_by_two(two)
    assert [post.customers for post in two.posts] == [(1,)]


async def test_another_user_is_stopped_too_and_told_whose_connection_helps(two: OwnRowsClient) -> None:
    await stop_by_two(two)
    with pytest.raises(LedgerBehind) as caught:
        await submit(two, ONE)
    assert str(caught.value) == (
        f"the platform holds request {KEY}, which this ledger does not know. It was shown to another credential user "
        f"(sender {TWO.sender}) of {SETTINGS.account}; this one is sender {ONE.sender}, and may not be shown it. "
        "Nothing is sent by either before the ledger has learned it. With the connection of that user run its submit "
        "again, or import: python -m capillary ledger import --dags <folder> --since <day> --capillary-conn-id <its "
        "connection>. If it is somebody else's, or was rejected and that user is gone, say so: python -m capillary "
        f"ledger import --not-ours {KEY}"
    )
    assert two.posts == []


async def test_the_readings_of_one_user_take_no_key_away_that_another_was_shown(two: OwnRowsClient) -> None:
    await stop_by_two(two)
    for _ in range(2):
        for user in (ONE, TWO):
            with pytest.raises(LedgerBehind):
                await submit(two, user)
    assert stopped_by(two) == [(KEY, TWO.sender)]
    assert two.posts == []


async def test_the_user_that_was_shown_it_sees_that_it_was_rejected(two: OwnRowsClient) -> None:
    await stop_by_two(two)
    two.shown.clear()
    two.show("till.two", row("p-0", KEY, "rejected"))
    with pytest.raises(LedgerBehind):
        await submit(two, ONE)
    assert (await submit(two, TWO)).counts == {Sent.ACCEPTED: 1}
    assert (await submit(two, ONE)).counts == {Sent.ACCEPTED: 1}


async def test_while_its_user_reads_again_the_key_stops_the_others(two: OwnRowsClient) -> None:
    await stop_by_two(two)
    with two.ledger.write() as tx:
        history.read_again(tx, SETTINGS.account, TWO.sender)
    with pytest.raises(LedgerBehind):
        await submit(two, ONE)
    assert two.posts == []


@pytest.mark.parametrize("known", [True, False], ids=["imported", "not ours"])
async def test_whoever_submits_sees_that_the_ledger_knows_the_key_by_now(two: OwnRowsClient, known: bool) -> None:
    planned = two.plan([3], "three", campaign="other").badge_run_id
    forgotten = next(each for each in two.requests() if each.badge_run_id == planned)
    with two.ledger.write() as tx:
        unknown_keys.note(tx, SETTINGS.account, TWO.sender, [forgotten.request_key if known else KEY])
    with pytest.raises(LedgerBehind):
        await submit(two, ONE)
    with two.ledger.write() as tx:
        if known:
            request_rows.record_sighting(tx, forgotten.id, request_rows.Seen("p-0", "AdminTask", decided=False))
        else:
            scans.note_not_ours(tx, SETTINGS.account, KEY, by="anna")
    assert (await submit(two, ONE)).counts == {Sent.ACCEPTED: 1}
    assert stopped_by(two) == []


async def imported(two: OwnRowsClient, user: object, *, since: date) -> Imported:
    two.take(user)
    return await import_forgotten(
        two.ledger,
        two.sender.client,
        two.sender.runtime,
        since=since,
        nothing_is_older=True,
        candidates=(),
        run_id="import",
        capillary_conn_id="capillary",
    )


async def test_an_import_is_a_word_for_the_user_of_its_connection(two: OwnRowsClient) -> None:
    with two.ledger.write() as tx:
        unknown_keys.note(tx, SETTINGS.account, TWO.sender, [KEY])
    done = await imported(two, ONE, since=TODAY)
    assert (done.is_complete, [each.sender for each in done.of_other_users]) == (True, [TWO.sender])
    assert stopped_by(two) == [(KEY, TWO.sender)]
    with two.ledger.read() as tx:
        assert history.history(tx, SETTINGS.account, ONE.sender).read_at == NOON
        assert history.history(tx, SETTINGS.account, TWO.sender).read_at is None
    of_two = await imported(two, TWO, since=TODAY)
    assert (of_two.of_other_users, of_two.not_shown, of_two.is_complete) == ((), (KEY,), False)
    assert stopped_by(two) == [(KEY, TWO.sender)], "it stands on record, whatever a person says of older days"


async def left_in_doubt(two: OwnRowsClient) -> None:
    sent_at = NOON - timedelta(hours=5)
    two.write(
        update(badge_request)
        .where(badge_request.c.id == 2)
        .values(
            status="sending",
            tries=1,
            sender=TWO.sender,
            first_sent_at=sent_at,
            last_sent_at=sent_at,
            doubt_from=sent_at + timedelta(minutes=2),
            error="no answer",
        )
    )
    with two.ledger.write() as tx:
        history.take_as_read(tx, SETTINGS.account, ONE.sender, since=TODAY)


async def test_nothing_is_sent_again_by_a_user_that_has_not_read_the_list(two: OwnRowsClient) -> None:
    await left_in_doubt(two)
    two.take(TWO)
    assert await resolve_doubt(two.sender) == Resolved(still_in_doubt=1)
    with two.ledger.write() as tx:
        history.take_as_read(tx, SETTINGS.account, TWO.sender, since=TODAY)
    assert await resolve_doubt(two.sender) == Resolved(sent_again=1)


async def test_upkeep_reads_the_list_with_each_users_connection(two: OwnRowsClient) -> None:
    await left_in_doubt(two)
    two.show("till.two", row("p-0", KEY))
    two.take(TWO)
    assert (await keep_account(two.sender, reader="upkeep")).still_in_doubt == 1
    assert stopped_by(two) == [(KEY, TWO.sender)]
    assert two.posts == []
