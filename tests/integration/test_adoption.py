"""A ledger that is behind the platform: submitting stops, the import brings it up to date, the occasion goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from capillary.api.client import Client
from capillary.api.request_workflow import Page, WorkflowRequest
from capillary.engine.before_sending import Looked
from capillary.engine.doubt import Resolved
from capillary.engine.errors import LedgerBehind
from capillary.engine.import_requests import Imported, import_forgotten
from capillary.engine.submit import submit_run
from capillary.engine.watch import watch
from capillary.ledger import scans
from capillary.ledger.database import Ledger
from capillary.ledger.history import history, take_as_read
from capillary.ledger.import_requests import Candidate
from capillary.ledger.migrate import create
from capillary.ledger.plan import Plan
from capillary.ledger.reports import funnel
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox


async def submit(sandboxed: EngineOnSandbox, plan: Plan) -> None:
    assert plan.badge_run_id is not None
    async with sandboxed.sender() as sender:
        await submit_run(sender, sandboxed.plan_id(plan.badge_run_id), lease=LEASE)


async def bring_back(sandboxed: EngineOnSandbox, *candidates: Candidate, days: int = 2, word: bool = False) -> Imported:
    async with sandboxed.sender() as sender:
        return await import_forgotten(
            sender.ledger,
            sender.client,
            sender.runtime,
            since=sandboxed.clock().date() - timedelta(days=days),
            nothing_is_older=word,
            candidates=candidates,
            run_id="import__1",
            capillary_conn_id="capillary",
        )


async def settle(sandboxed: EngineOnSandbox) -> None:
    sandboxed.sandbox.approve_all()
    async with sandboxed.sender() as sender:
        await watch(sender.ledger, sender.client, sender.runtime)


def outcomes(sandboxed: EngineOnSandbox) -> dict[str | None, int]:
    with sandboxed.ledger.read() as tx:
        rows = tx.conn.execute(select(badge_enrolment.c.outcome, func.count()).group_by(badge_enrolment.c.outcome))
        return {row[0]: row[1] for row in rows}


def emptied(sandboxed: EngineOnSandbox, tmp_path: Path) -> None:
    """Give the engine a ledger that knows nothing."""
    url = f"sqlite:///{tmp_path}/emptied.db"
    with Ledger(url, new=True) as empty:
        create(empty.engine)
    sandboxed.ledger.close()
    sandboxed.ledger = Ledger(url, clock=sandboxed.clock)


async def test_an_import_reads_in_parts_where_long_ranges_are_refused(
    sandboxed: EngineOnSandbox, tmp_path: Path
) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    emptied(sandboxed, tmp_path)
    sandboxed.sandbox.switch(list_range_days=30)
    imported = await bring_back(sandboxed, gold(sandboxed), days=60)
    assert (imported.requests, imported.whole, imported.is_complete) == (2, True, True)


async def test_an_import_that_is_refused_old_days_is_not_whole(sandboxed: EngineOnSandbox, tmp_path: Path) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    emptied(sandboxed, tmp_path)
    sandboxed.sandbox.switch(list_reaches_days=40)
    imported = await bring_back(sandboxed, gold(sandboxed), days=60)
    assert (imported.requests, imported.whole, imported.is_complete) == (2, False, False)


def gold(sandboxed: EngineOnSandbox) -> Candidate:
    return Candidate("gold", "gold", sandboxed.spec())


def each_customer_stands_once(sandboxed: EngineOnSandbox, customers: range) -> bool:
    return all(len(sandboxed.requests_of(customer)) == 1 for customer in customers)


async def test_an_emptied_ledger_learns_everything_again_and_the_occasion_goes_on(
    sandboxed: EngineOnSandbox, tmp_path: Path
) -> None:
    await submit(sandboxed, sandboxed.plan(range(11, 111)))
    emptied(sandboxed, tmp_path)
    # The warehouse has grown, so that no slice of the new plan is one of the old.
    again = sandboxed.plan(range(1, 161), run="again")
    with pytest.raises(LedgerBehind):
        await submit(sandboxed, again)

    imported = await bring_back(sandboxed, gold(sandboxed))
    assert (imported.requests, imported.customers, imported.is_complete) == (2, 100, True)
    after = sandboxed.plan(range(1, 161), run="after")
    assert (after.planned, after.known_before) == (60, 100)
    await submit(sandboxed, after)
    await settle(sandboxed)
    assert outcomes(sandboxed) == {"enrolled": 160}
    assert each_customer_stands_once(sandboxed, range(1, 161))
    with sandboxed.ledger.read() as tx:
        runs = tx.conn.execute(select(badge_run.c.id)).scalars().all()
        assert all(funnel(tx, badge_run_id).balances() for badge_run_id in runs)


async def test_importing_twice_changes_nothing(sandboxed: EngineOnSandbox, tmp_path: Path) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    emptied(sandboxed, tmp_path)
    await bring_back(sandboxed, gold(sandboxed))
    again = await bring_back(sandboxed, gold(sandboxed))
    assert (again.requests, again.is_complete) == (0, True)
    assert outcomes(sandboxed) == {None: 100}


async def test_a_restored_ledger_needs_no_campaign_files(sandboxed: EngineOnSandbox) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    await submit(sandboxed, sandboxed.plan(range(101, 151), run="second"))
    with sandboxed.ledger.write() as tx:  # the backup was made before the second run
        second = select(badge_request.c.id).where(badge_request.c.ordinal == 0, badge_request.c.customers == 50)
        last = max(tx.conn.execute(second).scalars())
        for statement in (
            "DELETE FROM badge_enrolment WHERE request_id = :id",
            "DELETE FROM badge_sighting WHERE request_id = :id",
            "DELETE FROM badge_request WHERE id = :id",
        ):
            tx.conn.exec_driver_sql(statement, {"id": last})
    imported = await bring_back(sandboxed)
    assert (imported.requests, imported.customers, imported.is_complete) == (1, 50, True)
    await settle(sandboxed)
    assert outcomes(sandboxed) == {"enrolled": 150}


async def test_what_nobody_can_prove_stays_named_and_submitting_stopped(
    sandboxed: EngineOnSandbox, tmp_path: Path
) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    emptied(sandboxed, tmp_path)
    other = Candidate("gold", "another occasion", sandboxed.spec())
    imported = await bring_back(sandboxed, other)
    assert (imported.requests, len(imported.unproven), imported.is_complete) == (0, 2, False)
    assert outcomes(sandboxed) == {}
    with pytest.raises(LedgerBehind):
        await submit(sandboxed, sandboxed.plan(range(201, 251)))


async def test_customers_of_two_requests_are_left_to_a_human(sandboxed: EngineOnSandbox, tmp_path: Path) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 51)))
    emptied(sandboxed, tmp_path)
    # A second ledger that did not look first: the fault that the checks before sending prevent.
    plan = sandboxed.plan(range(26, 76))
    with sandboxed.ledger.write() as tx:
        take_as_read(tx, sandboxed.settings.account, sandboxed.settings.sender, since=sandboxed.clock().date())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capillary.engine.submit.look_first", _nothing)
        await submit(sandboxed, plan)
    imported = await bring_back(sandboxed, gold(sandboxed))
    assert (imported.requests, len(imported.clashing), imported.is_complete) == (0, 1, False)
    sandboxed.sandbox.reject(imported.clashing[0], "twice")
    after = await bring_back(sandboxed, gold(sandboxed))
    assert (after.requests, after.is_complete) == (1, True)
    await settle(sandboxed)
    assert outcomes(sandboxed) == {"enrolled": 50}


@pytest.mark.parametrize(
    ("customers", "hidden"),
    [(None, ("by-hand",)), ((), ("by-hand",)), ((999,), ())],
    ids=["nobody", "none", "somebody else"],
)
async def test_a_row_that_shows_nothing_keeps_submitting_stopped(
    sandboxed: EngineOnSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    customers: tuple[int, ...] | None,
    hidden: object,
) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    emptied(sandboxed, tmp_path)
    really = Client.list_requests

    async def with_one_more(client: Client, **options: Any) -> Page:  # noqa: ANN401 - those of `list_requests`
        page = await really(client, **options)
        another = replace(page.rows[0], platform_request_id="by-hand", request_key=None, customers=customers)
        return replace(page, rows=(*page.rows, another), total_elements=page.total_elements + 1)

    monkeypatch.setattr(Client, "list_requests", with_one_more)
    imported = await bring_back(sandboxed, gold(sandboxed))
    assert (imported.requests, imported.whole, imported.hidden) == (2, True, hidden)
    assert imported.is_complete is not bool(hidden)


# A key that is not shown ------------------------------------------------------------------------------------


def without_keys(monkeypatch: pytest.MonkeyPatch, *others: tuple[str, tuple[int, ...], str]) -> None:
    """Let the list show no keys, and show others' requests besides: id, customers, state."""
    really = Client.list_requests

    async def hiding(client: Client, **options: Any) -> Page:  # noqa: ANN401 - those of `list_requests`
        page = await really(client, **options)
        if not page.rows:
            return page
        shown = [replace(row, request_key=None) for row in page.rows]
        of_others = [
            replace(page.rows[0], platform_request_id=name, request_key=None, customers=customers, state=state)
            for name, customers, state in others
        ]
        return replace(page, rows=(*shown, *of_others), total_elements=page.total_elements + len(others))

    shown_whole = Client.read_request

    async def hiding_too(client: Client, platform_request_id: str, **options: Any) -> WorkflowRequest | None:  # noqa: ANN401
        row = await shown_whole(client, platform_request_id, **options)
        return row and replace(row, request_key=None)

    monkeypatch.setattr(Client, "list_requests", hiding)
    monkeypatch.setattr(Client, "read_request", hiding_too)


async def restored_to_its_plan(sandboxed: EngineOnSandbox, customers: range) -> Plan:
    """Submit a plan, and give the engine a ledger of before: everything of it is planned and nothing was sent."""
    plan = sandboxed.plan(customers)
    await submit(sandboxed, plan)
    with sandboxed.ledger.write() as tx:
        tx.conn.execute(delete(badge_sighting))
        values = {"status": "planned", "tries": 0, "sender": None, "first_sent_at": None, "last_sent_at": None}
        tx.conn.execute(update(badge_request).values(**values, doubt_from=None))
    return plan


async def test_what_shows_no_key_and_gives_the_hash_of_a_request_of_ours_is_that_request(
    sandboxed: EngineOnSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = await restored_to_its_plan(sandboxed, range(1, 101))
    without_keys(monkeypatch)
    imported = await bring_back(sandboxed)
    assert (imported.requests, imported.found, imported.keyless, imported.is_complete) == (0, 2, (), True)
    monkeypatch.undo()
    await submit(sandboxed, plan)
    await settle(sandboxed)
    assert outcomes(sandboxed) == {"enrolled": 100}
    assert each_customer_stands_once(sandboxed, range(1, 101))
    with sandboxed.ledger.read() as tx:
        assert None not in tx.conn.execute(select(badge_request.c.first_sent_at)).scalars().all()


@pytest.mark.parametrize(
    ("customers", "state", "held"),
    [
        (tuple(range(1, 51)), "AdminTask", True),
        (tuple(range(1, 52)), "AdminTask", True),
        ((7,), "approved", True),
        ((7, 999), "failed", True),
        ((999,), "AdminTask", False),
        ((7,), "rejected", False),
    ],
    ids=["a twin", "one more", "one of them", "one of them and another", "another", "rejected"],
)
async def test_what_shows_no_key_and_customers_of_ours_is_held_until_a_person_has_looked(
    sandboxed: EngineOnSandbox, monkeypatch: pytest.MonkeyPatch, customers: tuple[int, ...], state: str, held: bool
) -> None:
    await restored_to_its_plan(sandboxed, range(1, 101))
    without_keys(monkeypatch, ("z-by-hand", customers, state))
    imported = await bring_back(sandboxed)
    assert (imported.found, imported.keyless) == (2, ("z-by-hand",) if held else ())
    assert imported.is_complete is not held
    if held:
        with pytest.raises(LedgerBehind, match="--not-ours z-by-hand"):
            await submit(sandboxed, sandboxed.plan(range(101, 111), run="more"))
        with sandboxed.ledger.write() as tx:
            scans.note_not_ours(tx, sandboxed.settings.account, "z-by-hand", by="anna")
        assert (await bring_back(sandboxed)).is_complete


async def test_a_strangers_request_for_whoever_has_the_badge_holds_nothing(
    sandboxed: EngineOnSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    await settle(sandboxed)
    assert outcomes(sandboxed) == {"enrolled": 100}
    without_keys(monkeypatch, ("z-by-hand", (7, 8), "AdminTask"))
    imported = await bring_back(sandboxed)
    assert (imported.found, imported.keyless, imported.is_complete) == (0, (), True)


# What a person says, and what was rejected ------------------------------------------------------------------


def is_read(sandboxed: EngineOnSandbox) -> bool:
    with sandboxed.ledger.read() as tx:
        return history(tx, sandboxed.settings.account, sandboxed.settings.sender).read_at is not None


@pytest.mark.parametrize("word", [True, False], ids=["a person's word", "no word"])
async def test_a_complete_import_ends_the_first_reading_by_a_persons_word_alone(
    sandboxed: EngineOnSandbox, tmp_path: Path, word: bool
) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    emptied(sandboxed, tmp_path)
    assert (await bring_back(sandboxed, gold(sandboxed), word=word)).is_complete
    assert is_read(sandboxed) is word


async def test_an_incomplete_import_ends_nothing(sandboxed: EngineOnSandbox, tmp_path: Path) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    emptied(sandboxed, tmp_path)
    assert not (await bring_back(sandboxed, word=True)).is_complete
    assert not is_read(sandboxed)


async def test_an_import_of_some_days_does_not_hide_what_is_older(sandboxed: EngineOnSandbox, tmp_path: Path) -> None:
    """The key that stops the account is of yesterday; another one, of sixty days ago, must not be forgotten with it."""
    await submit(sandboxed, sandboxed.plan(range(1, 51)))
    sandboxed.clock.shift = timedelta(days=60)
    emptied(sandboxed, tmp_path)
    with pytest.raises(LedgerBehind):
        await submit(sandboxed, sandboxed.plan(range(51, 101)))
    assert (await bring_back(sandboxed, days=2)).is_complete, "nothing of ours is as young as that"
    with pytest.raises(LedgerBehind):
        await submit(sandboxed, sandboxed.plan(range(51, 101)))
    assert each_customer_stands_once(sandboxed, range(1, 51))


async def test_a_forgotten_request_that_was_rejected_stops_nothing_and_may_be_imported(
    sandboxed: EngineOnSandbox, tmp_path: Path
) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 51)))
    (request,) = sandboxed.sandbox.platform.requests()
    sandboxed.sandbox.reject(request.request_key or "", "no")
    emptied(sandboxed, tmp_path)
    assert (await bring_back(sandboxed)).is_complete, "unproven, and it never enrols anybody"
    imported = await bring_back(sandboxed, gold(sandboxed))
    assert (imported.requests, imported.is_complete) == (1, True)
    await settle(sandboxed)
    assert outcomes(sandboxed) == {"rejected": 50}


async def test_a_key_that_is_not_ours_is_not_imported_and_does_not_keep_an_import_from_being_complete(
    sandboxed: EngineOnSandbox, tmp_path: Path
) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 51)))
    (request,) = sandboxed.sandbox.platform.requests()
    emptied(sandboxed, tmp_path)
    assert not (await bring_back(sandboxed)).is_complete
    with sandboxed.ledger.write() as tx:
        scans.note_not_ours(tx, sandboxed.settings.account, request.request_key or "", by="anna")
    imported = await bring_back(sandboxed, gold(sandboxed))
    assert (imported.requests, imported.is_complete) == (0, True)


async def _nothing(*_: object, **__: object) -> Looked:
    return Looked(Resolved(), datetime.now(UTC))


async def test_what_an_import_found_from_before_a_persons_word_is_looked_for_from_then_on(
    sandboxed: EngineOnSandbox, tmp_path: Path
) -> None:
    """A first import said too late a day; the second one finds what is older, and cannot tell what it is."""
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    emptied(sandboxed, tmp_path)
    account, sender = sandboxed.settings.account, sandboxed.settings.sender
    with sandboxed.ledger.write() as tx:
        take_as_read(tx, account, sender, since=sandboxed.clock().date() + timedelta(days=3))
    assert not (await bring_back(sandboxed)).is_complete
    with sandboxed.ledger.read() as tx:
        assert history(tx, account, sender).first_day == sandboxed.clock().date() - timedelta(days=2)
