"""docs/glossary.md: each word once, with what carries it in the code; every status and outcome has its row."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Final

import pytest
from sqlalchemy import inspect

from capillary.ledger.database import Ledger
from capillary.ledger.reports import Funnel
from capillary.ledger.status import Outcome, RequestStatus
from tests.docs.markdown import ROOT, code_of, links, sections
from tests.docs.names import leads_somewhere

PAGE: Final = ROOT / "docs" / "glossary.md"
SECTIONS: Final = [section for section in sections(PAGE) if section.level == 2]
ROWS: Final = {row[0]: row for section in SECTIONS for row in section.rows()}
CARRIERS: Final = sorted({name for row in ROWS.values() for name in code_of(row[2])})


def test_each_word_is_defined_once() -> None:
    words = [row[0] for section in SECTIONS for row in section.rows()]
    assert words
    assert sorted(words) == sorted(set(words))


def test_each_row_says_something_short() -> None:
    for word, (_, meaning, _, _) in ROWS.items():
        assert 0 < len(re.findall(r"[.:?](?: |$)", meaning + ".")) <= 4, word


@pytest.mark.parametrize("name", [name for name in CARRIERS if name.startswith("capillary.")])
def test_what_carries_a_word_is_in_the_code(name: str) -> None:
    assert leads_somewhere(name)


@pytest.mark.parametrize("name", ["capillary.engine.nothing", "capillary.ledger.plan.Plan.nothing", "nothing.at.all"])
def test_what_is_not_in_the_code_is_seen(name: str) -> None:
    assert not leads_somewhere(name)


def test_what_carries_a_word_is_in_the_ledger(empty_ledger: Ledger) -> None:
    with empty_ledger.read() as tx:
        found = inspect(tx.conn)
        tables = {*found.get_table_names(), *found.get_view_names()}
        columns = {f"{table}.{column['name']}" for table in tables for column in found.get_columns(table)}
    named = {name for name in CARRIERS if re.fullmatch(r"badge_\w+(\.\w+)?", name)} - {"badge_ledger"}
    assert named - tables - columns == set()


@pytest.mark.parametrize("name", [name for name in CARRIERS if "/" in name])
def test_a_file_that_carries_a_word_exists(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("status", RequestStatus)
def test_every_status_has_a_row(status: str) -> None:
    (rows,) = (section.rows() for section in SECTIONS if section.title == "Statuses")
    assert status in [row[0] for row in rows]


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_a_row(outcome: str) -> None:
    (rows,) = (section.rows() for section in SECTIONS if section.title == "Outcomes")
    assert outcome.replace("_", " ") in [row[0] for row in rows]


@pytest.mark.parametrize("count", ["eligible", "invalid", "duplicates", "known_before", "over_cap", "planned", "open"])
def test_every_count_of_a_funnel_has_a_row(count: str) -> None:
    assert count in {field.name for field in fields(Funnel)}
    assert {count.replace("_", " "), count.replace("over_cap", "over the cap")} & ROWS.keys()


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        *(f"docs/{name}.md" for name in ("api", "campaigns", "design", "ledger", "runbook")),
    ],
)
def test_the_pages_lead_to_the_glossary(page: str) -> None:
    assert "glossary.md" in {target.split("/")[-1].split("#")[0] for target in links(ROOT / page)}
