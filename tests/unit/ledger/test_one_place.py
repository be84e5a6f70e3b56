"""Two copies of one table, or two names of one file, are two ledgers: both are refused before a row is read."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import URL

from capillary.ledger import one_place
from capillary.ledger.database import Ledger
from capillary.ledger.errors import LedgerRefused, LedgerUnavailable
from capillary.ledger.one_place import assert_one_schema
from capillary.ledger.plan_id import open_plan
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.schema import metadata
from capillary.ledger.stops import Scope, in_force, stop
from tests.unit.ledger.conftest import EmptyDatabase, migrated
from tests.unit.ledger.orders import plan, plan_id, run
from tests.unit.ledger.test_soundness import run_sql

NUMBERED: Final = ("badge_occasion", "badge_request", "badge_run", "badge_spec")


@pytest.fixture
def planned(empty_database: EmptyDatabase) -> URL:
    """A ledger in PostgreSQL with two plans, of six customers in two requests each."""
    url = migrated(empty_database("postgresql"))
    with Ledger(url) as ledger:
        plan(ledger, range(1, 7))
        plan(ledger, range(7, 13), run("second"))
    return url


def elsewhere(url: URL, table: str) -> URL:
    """Return the ledger as it is found where another schema comes first, which holds a copy of one table."""
    run_sql(url, "CREATE SCHEMA archive", f"CREATE TABLE archive.{table} (LIKE public.{table} INCLUDING ALL)")
    return url.update_query_dict({"options": "-c search_path=archive,public"})


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_a_table_that_is_found_in_another_schema_is_refused(empty_database: EmptyDatabase, table: str) -> None:
    """With enrolments that were moved out of the way, fifty customers of fifty were planned again."""
    mixed = elsewhere(migrated(empty_database("postgresql")), table)
    for reads_only in (False, True):
        with pytest.raises(LedgerRefused, match=re.escape(f"({table} in archive; the others in public)")):
            Ledger(mixed, reads_only=reads_only)


def test_a_view_of_another_schema_is_refused(planned: URL) -> None:
    run_sql(planned, "CREATE SCHEMA old", "CREATE VIEW old.badge_funnel AS SELECT * FROM public.badge_funnel")
    with pytest.raises(LedgerRefused, match=re.escape("(badge_funnel in old; the others in public)")):
        Ledger(planned.update_query_dict({"options": "-c search_path=old,public"}))


def test_a_schema_of_its_own_is_one_place(planned: URL) -> None:
    """The tables of public are not found where the ledger's own schema comes first."""
    run_sql(planned, "CREATE SCHEMA ledger")
    own = migrated(planned.update_query_dict({"options": "-c search_path=ledger,public"}))
    with Ledger(own) as ledger:
        assert plan(ledger, range(1, 7)).planned == 6


def test_a_stop_that_no_claim_would_see_is_refused(planned: URL) -> None:
    with pytest.raises(LedgerRefused, match=re.escape("(badge_stop in archive; the others in public)")):
        Ledger(elsewhere(planned, "badge_stop"), stops_only=True)


def test_a_stop_works_though_another_table_is_found_elsewhere(planned: URL) -> None:
    mixed = elsewhere(planned, "badge_enrolment")
    scope = Scope("platform.example/100")
    with Ledger(mixed, stops_only=True) as ledger:
        stop(ledger, scope, by="me", reason="wrong badge")
    with Ledger(planned) as ledger, ledger.read() as tx:
        assert [each.scope for each in in_force(tx)] == [scope]


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_a_temporary_table_in_the_session_ends_the_transaction(planned: URL, table: str) -> None:
    """A pooler gives a session on with what somebody made in it: known customers were planned once more."""
    with Ledger(planned) as ledger:
        with ledger.write():
            pass
        with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql(f"CREATE TEMP TABLE {table} (LIKE public.{table})")
            with pytest.raises(LedgerRefused, match=f"temporary tables of this session .*: {table}"):
                assert_one_schema(conn)
        for look in (ledger.write, ledger.read):
            with pytest.raises(LedgerUnavailable, match="the ledger's tables are not those"), look():
                raise AssertionError("this must not be reached")
        with pytest.raises(LedgerUnavailable, match="the ledger's tables are not those"):
            plan(ledger, range(1, 7), run("third"))
    with Ledger(planned) as ledger:
        known = plan(ledger, range(1, 7), run("third"))
        assert (known.planned, known.known_before) == (0, 6)


@pytest.mark.parametrize("table", NUMBERED)
def test_a_sequence_behind_its_rows_is_refused_and_its_remedy_mends_it(planned: URL, table: str) -> None:
    """Logical replication copies no sequences: every plan failed as if the connection had been lost."""
    run_sql(planned, *(f"INSERT INTO {each} {_COPIED[each]}" for each in ("badge_occasion", "badge_spec")))
    run_sql(planned, f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 1, false)")
    with pytest.raises(LedgerRefused, match=f"the next row of {table} would get a number that is taken") as caught:
        Ledger(planned)
    run_sql(planned, str(caught.value).rpartition("owner: ")[2])
    with Ledger(planned) as ledger:
        assert plan(ledger, range(21, 27), run("third")).planned == 6


#: A second row of tables that have one.
_COPIED: Final = {
    "badge_occasion": "(account, occasion, badge_id, created_at) "
    "SELECT account, 'other', badge_id, created_at FROM badge_occasion",
    "badge_spec": "(account, fingerprint, config, created_at) "
    "SELECT account, 'other', config, created_at FROM badge_spec",
}


def test_every_table_behind_is_named_with_its_remedy(planned: URL) -> None:
    for table in ("badge_run", "badge_request"):
        run_sql(planned, f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 1)")
    with pytest.raises(LedgerRefused, match="the next row of badge_request, badge_run would get") as caught:
        Ledger(planned)
    run_sql(planned, *str(caught.value).rpartition("owner: ")[2].split("; "))
    Ledger(planned).close()


@pytest.mark.parametrize(
    "set_to",
    [
        "SELECT setval('badge_run_id_seq', 2)",  # the last number that was given
        "SELECT setval('badge_run_id_seq', 3, false)",  # the next number to give
        "ALTER SEQUENCE badge_run_id_seq RESTART WITH 3",
        "SELECT setval('badge_run_id_seq', 1000)",
    ],
)
def test_a_sequence_that_is_ahead_in_whatever_way_is_taken(planned: URL, set_to: str) -> None:
    run_sql(planned, set_to)
    with Ledger(planned) as ledger:
        assert plan(ledger, range(21, 27), run("third")).planned == 6


def test_a_table_without_its_sequence_is_refused(planned: URL) -> None:
    run_sql(planned, "ALTER SEQUENCE badge_request_id_seq OWNED BY NONE")
    with pytest.raises(LedgerRefused, match="the next row of badge_request would get a number that is taken, or none"):
        Ledger(planned)


def test_rows_that_were_given_back_leave_numbers_ahead(ledger: Ledger) -> None:
    of_run = plan_id(ledger, plan(ledger, range(1, 7)).badge_run_id)
    with ledger.write() as tx:
        assert discard_unsent(tx, badge_run_ids=[open_plan(tx, of_run)]) == 6
    with Ledger(ledger.url) as again:
        assert plan(again, range(1, 7), run("second")).planned == 6


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A ledger in SQLite with six customers in two requests."""
    path = tmp_path / "ledger" / "ledger.db"
    path.parent.mkdir()
    with Ledger(migrated(URL.create("sqlite", database=str(path)))) as ledger:
        plan(ledger, range(1, 7))
    return path


@pytest.mark.parametrize("table", ["badge_request", "badge_run"])
@pytest.mark.parametrize("lost", ["DELETE FROM sqlite_sequence", "UPDATE sqlite_sequence SET seq = 0"])
def test_sqlites_own_numbers_behind_are_refused_and_the_remedy_mends_them(file: Path, table: str, lost: str) -> None:
    with sqlite3.connect(file) as conn:
        conn.execute(f"{lost} WHERE name = '{table}'")
    conn.close()
    with pytest.raises(LedgerRefused, match=f"the next row of {table} would get a number that is taken") as caught:
        Ledger(f"sqlite:///{file}")
    with sqlite3.connect(file) as conn:
        conn.executescript(str(caught.value).rpartition("owner: ")[2])
    conn.close()
    with Ledger(f"sqlite:///{file}") as ledger:
        assert plan(ledger, range(21, 27), run("second")).planned == 6


@pytest.mark.parametrize("mode", ["tasks", "stops_only", "reads_only"])
def test_a_file_with_two_names_is_refused_under_both(file: Path, mode: str) -> None:
    """Each name has a write-ahead log of its own: two processes planned the same customers."""
    other = file.parent.parent / "ledger.db"
    os.link(file, other)
    options: dict[str, Any] = {} if mode == "tasks" else {mode: True}
    for name in (file, other):
        with pytest.raises(LedgerRefused, match="has 2 names"):
            Ledger(f"sqlite:///{name}", **options)
    other.unlink()
    Ledger(f"sqlite:///{file}", **options).close()


def test_a_symbolic_link_is_no_second_name(file: Path) -> None:
    link = file.parent.parent / "link.db"
    link.symlink_to(file)
    with Ledger(f"sqlite:///{link}") as ledger, Ledger(f"sqlite:///{file}") as same:
        assert plan(ledger, range(7, 13), run("second")).planned == 6
        assert plan(same, range(7, 13), run("third")).planned == 0


def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *places: tuple[str, str]) -> None:
    """Have the system tell of these mounts, in this order, each with its kind."""
    lines = [
        f"{36 + n} 35 98:0 /src {place} rw,noatime shared:1 - {kind} /dev/x rw"
        for n, (place, kind) in enumerate(places)
    ]
    told = tmp_path / "mountinfo"
    told.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(one_place, "_MOUNTS", told)


def test_a_file_that_is_mounted_by_itself_is_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `docker run --volume /srv/ledger.db:/data/ledger.db` does: two containers planned fifty customers twice."""
    mounts(tmp_path, monkeypatch, ("/", "overlay"), (str(file), "ext4"))
    with pytest.raises(LedgerRefused, match=r"is mounted alone.*Mount the folder instead"):
        Ledger(f"sqlite:///{file}")


def test_a_link_to_a_file_that_is_mounted_by_itself_is_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link.db").symlink_to(file)
    mounts(tmp_path, monkeypatch, ("/", "overlay"), (str(file), "ext4"))
    with pytest.raises(LedgerRefused, match="is mounted alone"):
        Ledger(f"sqlite:///{tmp_path / 'link.db'}")


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "fuse.sshfs", "fuse.glusterfs"])
def test_a_filesystem_of_several_machines_is_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mounts(tmp_path, monkeypatch, ("/", "ext4"), (str(file.parent), kind))
    with pytest.raises(LedgerRefused, match=rf"that several machines may mount \({re.escape(kind)}\)"):
        Ledger(f"sqlite:///{file}")


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "9p", "virtiofs", "fuse.fuse-overlayfs"]
)
def test_a_filesystem_of_one_machine_is_taken(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mounts(tmp_path, monkeypatch, ("/", "nfs4"), (str(file.parent), kind), (f"{file.parent}/ledger.d", "nfs"))
    Ledger(f"sqlite:///{file}").close()


def test_of_two_mounts_on_one_place_the_later_one_counts(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts(tmp_path, monkeypatch, ("/", "ext4"), (str(file.parent), "nfs4"), (str(file.parent), "ext4"))
    Ledger(f"sqlite:///{file}").close()
    mounts(tmp_path, monkeypatch, ("/", "ext4"), (str(file.parent), "ext4"), (str(file.parent), "nfs4"))
    with pytest.raises(LedgerRefused, match="several machines"):
        Ledger(f"sqlite:///{file}")


def test_a_place_with_a_blank_is_found_among_the_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "the ledger"
    folder.mkdir()
    url = migrated(URL.create("sqlite", database=str(folder / "ledger.db")))
    mounts(tmp_path, monkeypatch, ("/", "ext4"), (str(folder).replace(" ", "\\040"), "nfs4"))
    with pytest.raises(LedgerRefused, match="several machines"):
        Ledger(url)


def test_where_the_system_tells_of_no_mounts_the_file_is_taken(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_place, "_MOUNTS", tmp_path / "none")
    Ledger(f"sqlite:///{file}").close()
