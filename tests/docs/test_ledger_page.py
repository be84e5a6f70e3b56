"""docs/ledger.md says what the code does: its queries run, its tables and statuses are the code's."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from sqlalchemy import inspect, update

from capillary.ledger.database import Ledger
from capillary.ledger.revision import VERSION_TABLE
from capillary.ledger.schema import metadata
from capillary.ledger.status import Outcome, RequestStatus
from tests.docs.conftest import ACCOUNT, RUN
from tests.docs.ledger_size import bytes_per_customer
from tests.docs.markdown import ROOT, code_of, sections
from tests.unit.ledger.conftest import EmptyDatabase

PAGE: Final = ROOT / "docs" / "ledger.md"
SECTIONS: Final = sections(PAGE)
TEXT: Final = PAGE.read_text(encoding="utf-8")
QUERIES: Final = {
    f"{section.title}{f' ({number})' if number > 1 else ''}": sql
    for section in SECTIONS
    for number, sql in enumerate((content for language, content in section.blocks if language == "sql"), start=1)
}
#: A connection, a DAG and two columns that begin as tables do.
NAMES_OF_OTHER_THINGS: Final = {
    *("badge_ledger", "badge_ledger_new", "badge_upkeep", "badge_id", "badge_run_id"),
    "badge_moved",  # in a file that was copied, and in no other ledger
}
#: From when on the page counts what was enrolled each day.
FIRST_DAY: Final = "2026-11-01"

#: query → columns looked at, and what the busy ledger answers, in any order
ANSWERS: Final[dict[str, tuple[str, list[tuple[object, ...]]]]] = {
    "What happened to customer 4711?": ("attempt outcome request_status", [(2, None, "waiting")]),
    "What happened to customer 4711? (2)": (
        "attempt outcome error_code status state checker_message run_id",
        [
            (1, "failed", 816, "settled", "approved", "One of them is out of date.", RUN),
            (2, None, None, "waiting", "AdminTask", None, "later"),
        ],
    ),
    "What waits, how long, for how many approvals?": (
        "account campaign approvals customers oldest_hours",
        [(ACCOUNT, "gold_tier", 3, 5, 0)],
    ),
    "What waits, how long, for how many approvals? (2)": (
        "platform_request_id customers hours run_id",
        [("p-waiting", 2, 0, RUN), ("p-twin-2", 2, 0, RUN), ("p-again", 1, 0, "later")],
    ),
    "What is decided and not settled?": ("platform_request_id state", [("p-unattended", "approved")]),
    "What is in doubt?": (
        "tries resends may_be_judged error",
        [(1, 0, "not yet", "the connection was reset")],
    ),
    "What became of a run's customers?": (
        "eligible invalid duplicates planned enrolled failed unconfirmed open discarded",
        [(15, 3, 0, 12, 1, 1, 0, 10, 0)],
    ),
    "Which failures, by code?": ("outcome error_code customers", [("failed", 816, 1)]),
    "Which specs are proven?": ("campaign requests open_requests", [("gold_tier", 7, 6)]),
    "How many requests of each campaign are open?": (
        "campaign open_requests customers planned sending waiting",
        [("gold_tier", 6, 11, 1, 1, 4)],
    ),
    "Who reads the list, and is it trusted?": (
        "account reading_now",
        [(ACCOUNT, "the trigger")],
    ),
    "Is the ledger behind the platform?": (
        "account sender key",
        [(ACCOUNT, "0123456789abcdef", "cb1.gold-tier.unknown")],
    ),
    "Which credential users have read the list?": (
        "account sender unread read_at",
        [(ACCOUNT, "0123456789abcdef", None, None)],
    ),
    "May the account be called?": ("account may_call", [(ACCOUNT, "no")]),
    "Which runs are alive?": ("run_id open_requests", [(RUN, 5), ("later", 1)]),
    "How many were enrolled each day?": (
        "campaign enrolled already_enrolled customers",
        [("gold_tier", 1, 0, 2)],
    ),
    "Which rows of a run's query were not customers?": (
        "reason shape row_count first_row",
        [("leading zeros", "9999", 3, 13)],
    ),
    "What did no human approve?": ("platform_request_id state", [("p-unattended", "approved")]),
    "What is on the platform more than once?": ("status resends sightings undecided", [("waiting", 0, 2, 1)]),
    "Do the plans add up?": ("badge_run_id", []),
}


def answer(ledger: Ledger, sql: str) -> list[dict[str, Any]]:
    """Run a query as it stands in the page, save for its first day: the machine's clock may say any year."""
    with ledger.read() as tx:
        return [dict(row) for row in tx.conn.exec_driver_sql(sql.replace(FIRST_DAY, "1970-01-01")).mappings()]


def test_every_query_of_the_page_has_an_answer_here() -> None:
    assert sorted(QUERIES) == sorted(ANSWERS)


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_answers_its_question(busy_ledger: Ledger, title: str) -> None:
    columns, expected = ANSWERS[title]
    found = [tuple(row[column] for column in columns.split()) for row in answer(busy_ledger, QUERIES[title])]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_the_queries_run_on_a_ledger_without_rows(empty_ledger: Ledger) -> None:
    assert {title: answer(empty_ledger, sql) for title, sql in QUERIES.items()} == {title: [] for title in QUERIES}


def test_the_funnel_is_shown_with_every_column(busy_ledger: Ledger) -> None:
    (row,) = answer(busy_ledger, QUERIES["What became of a run's customers?"])
    assert set(row) == _columns_of(_relation("badge_funnel"))


def test_a_plan_that_does_not_add_up_is_seen(busy_ledger: Ledger) -> None:
    run = metadata.tables["badge_run"]
    with busy_ledger.read() as tx:  # rolls back what it writes
        tx.conn.execute(update(run).where(run.c.run_id == RUN).values(planned=run.c.planned + 1))
        found = tx.conn.exec_driver_sql(QUERIES["Do the plans add up?"]).mappings().all()
    assert [row["run_id"] for row in found] == [RUN]


def test_every_table_and_view_has_its_section_and_no_other(empty_ledger: Ledger) -> None:
    named = {section.title for section in SECTIONS if section.title.startswith("badge_")}
    with empty_ledger.read() as tx:
        found = inspect(tx.conn)
        there = {*found.get_table_names(), *found.get_view_names()}
        columns = {name: {column["name"] for column in found.get_columns(name)} for name in there}
    assert set(metadata.tables) <= there
    assert named == there - {VERSION_TABLE}
    assert f"`{VERSION_TABLE}`" in TEXT
    wrong = {name: _columns_of(_relation(name)) - columns[name] for name in named}
    assert {name: unknown for name, unknown in wrong.items() if unknown} == {}


def test_every_table_and_column_that_the_text_names_is_there(empty_ledger: Ledger) -> None:
    with empty_ledger.read() as tx:
        found = inspect(tx.conn)
        there = {*found.get_table_names(), *found.get_view_names()}
        columns = {f"{name}.{column['name']}" for name in there for column in found.get_columns(name)}
    named = {word for word in code_of(_without_blocks()) if re.fullmatch(r"badge_[a-z_]+(\.[a-z_]+)?", word)}
    assert named - there - columns - NAMES_OF_OTHER_THINGS == set()


@pytest.mark.parametrize("word", [*RequestStatus, *Outcome])
def test_every_status_and_outcome_is_explained_in_a_table(word: str) -> None:
    words = next(section for section in SECTIONS if section.title == "Words")
    assert [row[0] for row in words.rows()].count(f"`{word}`") == 1


def test_the_size_of_a_customer_is_what_the_page_says(empty_database: EmptyDatabase) -> None:
    size = next(section for section in SECTIONS if section.title == "Size")
    said = {row[0].split()[0].lower(): int(row[1]) for row in size.rows()}
    measured = bytes_per_customer(empty_database("sqlite").render_as_string(), 5_000)
    assert said["sqlite"] == pytest.approx(measured, rel=0.3)


def _relation(name: str) -> list[tuple[str, ...]]:
    return next(section for section in SECTIONS if section.title == name).rows()


def _columns_of(rows: list[tuple[str, ...]]) -> set[str]:
    return {column for row in rows for column in code_of(row[0])}


def _without_blocks() -> str:
    return "\n".join(section.prose for section in SECTIONS)
