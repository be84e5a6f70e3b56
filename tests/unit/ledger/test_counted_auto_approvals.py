"""A ledger of before auto-approvals had numbers, migrated: who may send sends, and nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from sqlalchemy import URL, MetaData, Table, select

from capillary.ledger.auto_approval import note_auto_approval, standing_auto_approval, told
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import alembic_config, alone, upgrade
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import Seen, record_sighting
from capillary.ledger.revision import REVISIONS
from capillary.ledger.schema import badge_auto_approval, badge_sighting

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MINE, OTHER = "platform.example/100", "platform.example/200"

#: Requests as (account, minute in which it was seen decided or None, auto-approved).
History = list[tuple[str, int | None, bool]]


def fill(url: URL, requests: History, *, sent: Sequence[int] = ()) -> None:
    """Make a ledger of the revision before, with these requests, each of a run that was told of an auto-approval.

    `sent` are the minutes in which they were first sent, where that matters.
    """
    with Ledger(url, new=True) as ledger, alone(ledger.engine) as conn:
        config = alembic_config()
        config.attributes["connection"] = conn
        command.upgrade(config, "0002")
        old = MetaData()
        old.reflect(conn)
        tables: dict[str, Table] = old.tables

        def add(name: str, **values: object) -> None:
            conn.execute(tables[name].insert().values(**values))

        at = {"created_at": NOON}
        for account in (MINE, OTHER):
            add("badge_occasion", account=account, occasion="spring", badge_id="b" * 24, **at)
            add("badge_spec", account=account, fingerprint="f", config="{}", **at)
        counts = dict.fromkeys(("eligible", "invalid", "duplicates", "known_before", "over_cap", "planned"), 1)
        for number, (account, minute, auto) in enumerate(requests, start=1):
            of = {"occasion_id": 1 + (account == OTHER), "spec_id": 1 + (account == OTHER)}
            name = f"{number}"
            run = {"campaign": "spring", "token": name, "dag_id": "d", "run_id": name, "task_id": "t", "canary": False}
            seen_at = None if minute is None else NOON + timedelta(minutes=minute)
            add(
                "badge_run",
                account=account,
                capillary_conn_id="capillary",
                planned_at=NOON,
                alive_until=NOON,
                auto_approval_told_at=NOON,
                **counts | run | of,
            )
            request: dict[str, object] = {"ordinal": 0, "attempt": 1, "customers": 1, "status": "waiting", "tries": 1}
            if sent:
                request["first_sent_at"] = NOON + timedelta(minutes=sent[number - 1])
            add("badge_request", request_key=name, badge_run_id=number, **request | of)
            state = "AdminTask" if minute is None else "approved"
            sighting = {"platform_request_id": f"p-{name}", "state": state, "auto_approved": auto, "seen_at": NOON}
            add("badge_sighting", request_id=number, terminal_seen_at=seen_at, **sighting)


@pytest.mark.parametrize(
    ("requests", "standing"),
    [
        ([], None),
        ([(MINE, None, False)], None),
        ([(MINE, 1, False)], None),
        ([(MINE, 1, True)], "p-1"),
        ([(MINE, 1, True), (MINE, 2, True)], "p-2"),
        ([(MINE, 2, True), (MINE, 1, True)], "p-1"),
        ([(MINE, 1, True), (MINE, 2, False)], None),
        ([(MINE, 2, True), (MINE, 1, False)], "p-1"),
        ([(MINE, 1, True), (MINE, 1, False)], "p-1"),
        ([(MINE, 1, True), (MINE, None, False)], "p-1"),
        ([(MINE, 1, True), (MINE, 2, False), (MINE, 3, True)], "p-3"),
        ([(OTHER, 1, True)], None),
        ([(MINE, 1, True), (OTHER, 2, False)], "p-1"),
        ([(MINE, 1, True), (MINE, 2, False), (OTHER, 3, True)], None),
        ([(OTHER, 1, True), (MINE, 2, True), (OTHER, 3, True)], "p-2"),
    ],
)
def test_an_account_may_send_after_the_migration_where_it_might_before(
    empty_url: URL, requests: History, standing: str | None
) -> None:
    fill(empty_url, requests)
    with Ledger(empty_url, new=True) as ledger:
        assert upgrade(ledger.engine) == ("0002", REVISIONS[-1])
    with Ledger(empty_url) as ledger, ledger.write() as tx:
        found = standing_auto_approval(tx, MINE)
        assert (found.platform_request_id if found else None) == standing
        humans = [minute is not None and not auto for _, minute, auto in requests]
        columns = badge_sighting.c
        assert list(tx.conn.execute(select(columns.human_decided).order_by(columns.request_id)).scalars()) == humans
        for number in range(1, len(requests) + 1):
            assert told(tx, OpenPlan(number), clears=1) == 0, "who was told is told once more"


@pytest.mark.parametrize(("sent", "standing"), [(4, True), (5, True), (6, False)], ids=["before", "then", "after"])
def test_a_human_who_decides_after_the_migration_what_was_sent_before_it_counts_by_when_that_was(
    empty_url: URL, sent: int, standing: bool
) -> None:
    fill(empty_url, [(MINE, 5, True), (MINE, None, False)], sent=(0, sent))
    with Ledger(empty_url, new=True) as ledger:
        upgrade(ledger.engine)
    with Ledger(empty_url) as ledger, ledger.write() as tx:
        record_sighting(tx, 2, Seen("p-2", "approved", decided=True, human_decided=True))
        assert (standing_auto_approval(tx, MINE) is not None) == standing


def test_what_is_seen_after_the_migration_is_numbered_after_what_was_seen_before(empty_url: URL) -> None:
    fill(empty_url, [(MINE, 1, True), (MINE, 2, False), (MINE, None, False)], sent=(0, 0, 3))
    with Ledger(empty_url, new=True) as ledger:
        upgrade(ledger.engine)
    with Ledger(empty_url) as ledger, ledger.write() as tx:
        note_auto_approval(tx, 3, "p-3")
        found = standing_auto_approval(tx, MINE)
        assert found is not None
        assert found.platform_request_id == "p-3"
        ids = tx.conn.execute(select(badge_auto_approval.c.id).order_by(badge_auto_approval.c.id)).scalars()
        assert list(ids)[-1] == found.number > 1
