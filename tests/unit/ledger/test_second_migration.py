"""An upgrade beside work: a second migration waits for what is open, keeps every row, and is waited for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import URL, column, create_engine, inspect, select, table

from capillary.ledger import migrate
from capillary.ledger.check import faults
from capillary.ledger.database import Ledger
from capillary.ledger.errors import LedgerRefused, SchemaDiffers
from capillary.ledger.plan_id import open_plan
from capillary.ledger.request_rows import claim
from capillary.ledger.revision import REVISIONS, current_revision
from capillary.ledger.status import Outcome
from tests.second_migration import SECOND, SecondRelease
from tests.unit.ledger.conftest import EmptyDatabase, migrated
from tests.unit.ledger.orders import DOUBT, plan, plan_id, request, requests_of, run, see, send, settle_as, snapshot

RANK = table("badge_request", column("id"), column("rank"))


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SecondRelease:
    folder = tmp_path / "second"
    folder.mkdir()
    return SecondRelease(monkeypatch, folder)


def upgraded(url: URL) -> tuple[str, str]:
    with Ledger(url, check_schema=False) as ledger:
        return migrate.upgrade(ledger.engine)


def test_a_ledger_with_rows_is_migrated_and_keeps_them(empty_url: URL, release: SecondRelease) -> None:
    with Ledger(migrated(empty_url)) as ledger:
        settled, waiting = requests_of(ledger, plan(ledger, range(1, 5), run("first")))
        settle_as(ledger, settled.id, Outcome.ENROLLED)
        send(ledger, waiting.id)
        before = snapshot(ledger)
    with release.installed():
        assert upgraded(empty_url) == (REVISIONS[-1], SECOND)
        with Ledger(empty_url) as ledger, ledger.read() as tx:
            assert snapshot(ledger) == before
            assert faults(tx) == ()
            assert dict(tx.conn.execute(select(RANK.c.id, RANK.c.rank)).tuples().all()) == {
                settled.id: 3,
                waiting.id: 1,
            }
        assert upgraded(empty_url) == (SECOND, SECOND)


def test_the_older_code_is_told_to_wait_and_the_newer_one_too(empty_url: URL, release: SecondRelease) -> None:
    migrated(empty_url)
    with release.installed():
        with pytest.raises(SchemaDiffers, match=f"at revision {REVISIONS[-1]}, the code needs {SECOND}"):
            Ledger(empty_url)
        upgraded(empty_url)
    with pytest.raises(SchemaDiffers, match=f"at revision {SECOND}, which this code does not know"):
        Ledger(empty_url)
    with pytest.raises(SchemaDiffers, match="update the installed package"):
        upgraded(empty_url)


def test_it_waits_for_a_claim_that_is_open(empty_database: EmptyDatabase, release: SecondRelease) -> None:
    """A claim is committed before its POST: a migration between the two would have it committed by nobody."""
    url = migrated(empty_database("postgresql"))
    came: list[tuple[str, str]] = []
    with Ledger(url) as ledger:
        planned = plan(ledger, [1], run("first"))
        (mine,) = requests_of(ledger, planned)
        with release.installed():
            migration = threading.Thread(target=lambda: came.append(upgraded(url)))
            with ledger.write() as tx:
                owner = open_plan(tx, plan_id(ledger, planned.badge_run_id))
                assert claim(tx, mine.id, badge_run_id=owner, sender="sender", doubt_after=DOUBT) is not None
                migration.start()
                migration.join(timeout=1)
                assert migration.is_alive()
                assert came == []
            migration.join(timeout=30)
        assert came == [(REVISIONS[-1], SECOND)]
        assert request(ledger, mine.id).status == "sending"


def test_a_task_that_was_at_work_ends_what_it_began(empty_url: URL, release: SecondRelease) -> None:
    """The older submit has sent, the ledger is migrated, the answer comes: it is written down and not lost."""
    with Ledger(migrated(empty_url)) as ledger:
        (mine,) = requests_of(ledger, plan(ledger, [1], run("first")))
        send(ledger, mine.id)
        with release.installed():
            upgraded(empty_url)
        see(ledger, mine.id, decided=False)
        assert request(ledger, mine.id).status == "waiting"


def test_a_migration_that_fails_changes_nothing(empty_url: URL, release: SecondRelease, tmp_path: Path) -> None:
    with Ledger(migrated(empty_url)) as ledger:
        plan(ledger, [1], run("first"))
        before = snapshot(ledger)
    file = tmp_path / "second" / f"{SECOND}_rank.py"
    file.write_text(file.read_text() + '    op.drop_table("badge_nowhere")\n')
    with release.installed(), pytest.raises(LedgerRefused, match=r"lacks one of the ledger's tables|one is missing"):
        upgraded(empty_url)
    with Ledger(empty_url) as ledger, ledger.read() as tx:
        assert current_revision(tx.conn) == REVISIONS[-1]
        assert snapshot(ledger) == before
    engine = create_engine(empty_url)
    with engine.connect() as conn:
        assert "rank" not in {each["name"] for each in inspect(conn).get_columns("badge_request")}
    engine.dispose()
