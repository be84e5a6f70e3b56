"""docs/runbook.md quotes what the code prints, and names every error, state, status, outcome, guard and task."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from airflow.dag_processing.dagbag import DagBag

import capillary
from capillary.__main__ import _parser, main
from capillary.api.request_workflow import RequestState
from capillary.base_operator import RUN_LEASE
from capillary.engine.submit import NOT_TAKEN_IN_A_ROW
from capillary.engine.verdict import Facts, OnFinding, Policy, judge
from capillary.errors import CapillaryError, TerminalError, TransientError
from capillary.ledger.database import BUSY_TIMEOUT_S, Ledger
from capillary.ledger.given_back import GivenBack
from capillary.ledger.guards import Guards
from capillary.ledger.status import Outcome, RequestStatus
from tests.docs.markdown import ROOT, Section, code_of, sections
from tests.funnels import funnel_of

PAGE: Final = ROOT / "docs" / "runbook.md"
SECTIONS: Final = sections(PAGE)
TEXT: Final = PAGE.read_text(encoding="utf-8")
GAP: Final = "…"
#: The sections whose tables begin with what is printed.
QUOTING: Final = ("Sentences", "Verdicts", "A restored ledger, a second installation", "A ledger that was lost")
#: These end neither a task nor a command, so nobody sees their name: the log has a warning, a count, or another error.
NEVER_SHOWN: Final = {
    "InvalidId": "a row of the query, counted",
    "RequestRefused": "a warning; its customers are not_accepted",
    "InDoubt": "a warning; the request stays in doubt",
    "ServerChanged": "a warning; submit defers",
    "QueryFailed": "QueryRefused or QueryInterrupted is raised",
    "ConnectFailed": "becomes PlatformUnavailable or NotTaken",
    "TlsFailed": "the same",
    "ProxyFailed": "the same",
    "TransportFailed": "becomes PlatformUnavailable or InDoubt",
    "TooLarge": "becomes ReplyTooLarge or InDoubt",
}
#: Commands, whose words are not printed by the product.
_COMMAND: Final = re.compile(r"(?:\.venv/bin/)?python -m|docker |ledger import ")
#: What `logging` fills in.
_FILLED: Final = re.compile(r"%-?\d*[sdf]")
#: Airflow's own, while it reads plugins/capillary/.airflowignore.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


def part(title: str) -> list[Section]:
    """Return the section of this title and those below it."""
    start = next(number for number, each in enumerate(SECTIONS) if each.title == title)
    found = [SECTIONS[start]]
    for each in SECTIONS[start + 1 :]:
        if each.level <= SECTIONS[start].level:
            break
        found.append(each)
    return found


def rows_of(title: str) -> Iterator[tuple[str, ...]]:
    for each in part(title):
        if any(line.startswith("|") for line in each.lines):
            yield from each.rows()


def errors() -> list[type[CapillaryError]]:
    """Return every error class of the product, the three roots and private ones left out."""
    for module in pkgutil.walk_packages(capillary.__path__, "capillary."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(kind: type[CapillaryError]) -> Iterator[type[CapillaryError]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    found = {each.__name__: each for each in below(CapillaryError) if each.__module__.startswith("capillary.")}
    roots = {TransientError, TerminalError}
    return [each for name, each in sorted(found.items()) if each not in roots and not name.startswith("_")]


@cache
def printed() -> tuple[str, ...]:
    """Return every text of the product's source; what is filled in is a gap."""
    found: list[str] = []
    for file in (ROOT / "plugins" / "capillary").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(each.value) if isinstance(each, ast.Constant) else GAP for each in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(_FILLED.sub(GAP, node.value))
    return tuple(found)


def quotes() -> list[str]:
    return [quote for title in QUOTING for row in rows_of(title) for quote in code_of(row[0])]


@pytest.mark.parametrize("kind", errors(), ids=lambda kind: kind.__name__)
def test_every_error_that_a_person_can_see_is_named_and_no_other(kind: type[CapillaryError]) -> None:
    assert (f"`{kind.__name__}`" in TEXT) is (kind.__name__ not in NEVER_SHOWN)


def test_whether_an_error_is_tried_again_is_the_codes() -> None:
    again = {each.__name__: "yes" if issubclass(each, TransientError) else "no" for each in errors()}
    wrong = [
        (row[1], row[2])
        for row in rows_of("Sentences")
        if len(row) == 4
        for name in code_of(row[1])
        if row[2] != again[name]
    ]
    assert wrong == []


@pytest.mark.parametrize("quote", quotes())
def test_a_quoted_sentence_is_one_that_is_printed(quote: str) -> None:
    pieces = [piece.strip() for piece in quote.split(GAP) if len(piece.strip()) > 2]
    assert [piece for piece in pieces if not any(piece in text for text in printed())] == []


def quotes_anywhere() -> list[str]:
    """Return every text of the page in backticks that holds a gap and is a sentence, not a command or a name."""
    spans = sorted(set(re.findall(rf"`([^`\n]*{GAP}[^`\n]*)`", TEXT)))
    return [span for span in spans if " " in span and not _COMMAND.match(span)]


@pytest.mark.parametrize("quote", quotes_anywhere())
def test_a_sentence_that_the_prose_quotes_is_one_that_is_printed(quote: str) -> None:
    said = re.sub(r"^Airflow\w+: (?:\d+ of \d+ customers )?", "", quote)
    pieces = [piece.strip() for piece in said.split(GAP) if len(piece.strip()) > 2]
    assert [piece for piece in pieces if not any(piece in text for text in printed())] == []


#: what the verdict is asked → every sentence it can answer with
VERDICTS: Final = {
    "nobody found": Facts(funnel_of()),
    "nobody new": Facts(funnel_of(eligible=5)),
    "canary open": Facts(funnel_of(eligible=5), waiting_reason="the canary is open"),
    "left over": Facts(funnel_of(eligible=5, over_cap=5)),
    "ended well": Facts(funnel_of(eligible=5, planned=5, enrolled=5)),
    "canary passed": Facts(funnel_of(eligible=9, planned=5, enrolled=5, canary=True, over_cap=4), proven=True),
    "canary proven": Facts(funnel_of(eligible=9, planned=5, rejected=5, canary=True, over_cap=4), proven=True),
    "canary decided": Facts(
        funnel_of(eligible=9, planned=5, open=5, requests_open=1, canary=True, over_cap=4),
        next_waits_for="this canary is decided and not settled yet",
    ),
    "canary undecided": Facts(
        funnel_of(eligible=9, planned=5, open=5, requests_open=1, canary=True, over_cap=4),
        next_waits_for="this canary is not decided yet",
    ),
    "canary not proven": Facts(funnel_of(eligible=9, planned=5, already_enrolled=5, canary=True, over_cap=4)),
    "over the cap": Facts(funnel_of(eligible=9, planned=5, enrolled=5, over_cap=4)),
    "late": Facts(funnel_of(eligible=5, planned=5, open=5, requests_open=1), deadline_passed=True),
    "open": Facts(funnel_of(eligible=5, planned=5, open=5, requests_open=1)),
    "given back": Facts(funnel_of(eligible=5, planned=5, discarded=5)),
    "given back, a part open": Facts(funnel_of(eligible=5, planned=5, discarded=4, open=1, requests_open=1)),
    "given back and refused": Facts(
        funnel_of(eligible=5, planned=5, discarded=5), given_back=GivenBack(5, True, ("extract",), True)
    ),
    "auto-approved": Facts(funnel_of(eligible=5, planned=5, enrolled=5, requests_auto_approved=1)),
    "unconfirmed": Facts(funnel_of(eligible=5, planned=5, unconfirmed=5)),
    "failed": Facts(funnel_of(eligible=5, planned=5, failed=5)),
    "rejected": Facts(funnel_of(eligible=5, planned=5, rejected=5)),
    "does not add up": Facts(funnel_of(eligible=5, planned=5)),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_its_row(name: str) -> None:
    patterns = [
        re.compile(".*".join(map(re.escape, quote.split(GAP))))
        for row in rows_of("Verdicts")
        for quote in code_of(row[0])
    ]
    strict, warned = judge(VERDICTS[name], Policy()), judge(VERDICTS[name], Policy(tolerated_failures=5))
    for verdict in (strict, warned):
        assert [pattern.pattern for pattern in patterns if pattern.match(verdict.sentence)], verdict.sentence
    later = {name for name in VERDICTS if name.startswith("canary ")} - {"canary open"} | {"over the cap"}
    if name in later:
        assert len([pattern for pattern in patterns if pattern.search(strict.sentence)]) > 1


def test_the_words_of_a_policy_are_those_that_the_page_recommends() -> None:
    assert f"on_auto_approved=OnFinding.{OnFinding.ACCEPT.name}" in TEXT


@pytest.mark.parametrize("word", [*RequestState, *RequestStatus, *Outcome])
def test_every_state_status_and_outcome_has_its_row(word: str) -> None:
    listed = [row[0].strip("`") for row in rows_of("States, statuses, outcomes")]
    assert listed.count(word) == [*RequestState, *RequestStatus, *Outcome].count(word)


@pytest.mark.parametrize("guard", [each.name for each in fields(Guards)])
def test_every_guard_is_named(guard: str) -> None:
    assert any(guard in row[0] or f"({guard}=" in row[1] for row in rows_of("Sentences") if len(row) == 2)


def test_every_task_can_be_looked_up() -> None:
    bag = DagBag(ROOT / "dags")
    assert bag.import_errors == {}
    tasks = {task_id for dag in bag.dags.values() for task_id in dag.task_ids}
    cleared = {word for row in rows_of("Clearing a task") for word in code_of(row[0])}
    assert cleared == tasks
    assert {name for name in bag.dags if f"`{name}`" in TEXT} == {"badge_upkeep"}


def test_the_numbers_are_the_codes() -> None:
    assert NOT_TAKEN_IN_A_ROW == 5
    words = " ".join(TEXT.split())
    assert "five in a row" in words
    assert f"{RUN_LEASE.total_seconds() / 3600:.0f} hours without a sign of life" in words
    assert f"waits {BUSY_TIMEOUT_S} seconds for" in words


SQL: Final = [content for each in SECTIONS for language, content in each.blocks if language == "sql"]
#: question → the command that the page names, the columns looked at, and the answer of the busy ledger
ANSWERS: Final[dict[str, tuple[str, str, list[tuple[object, ...]]]]] = {
    "1. What happened": ("customer 4711", "outcome status", [("failed", "settled"), (None, "waiting")]),
    "2. What waits": (
        "waiting",
        "status states customers",
        [
            ("planned", "", 2),
            ("sending", "", 2),
            ("waiting", "AdminTask", 1),
            ("waiting", "AdminTask", 2),
            ("waiting", "AdminTask; approved", 2),
            ("waiting", "approved", 2),
        ],
    ),
}


@pytest.mark.parametrize("title", ANSWERS)
def test_the_first_questions_are_answered_by_the_commands_of_the_page(
    busy_ledger: Ledger, title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, columns, expected = ANSWERS[title]
    (paragraph,) = [each for each in TEXT.split("\n\n") if each.startswith(f"**{title}")]
    assert f"`python -m capillary {command}`" in paragraph
    url = busy_ledger.engine.url.render_as_string(hide_password=False)
    assert main([*command.split(), "--json", "--url", url]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted((tuple(row[column] for column in columns.split()) for row in rows), key=repr) == sorted(
        expected, key=repr
    )


def test_what_is_in_doubt_is_counted(busy_ledger: Ledger) -> None:
    with busy_ledger.read() as tx:
        row = tx.conn.exec_driver_sql(SQL[0]).one()
    assert (row.in_doubt, row.may_be_judged) == (1, 0)


def test_the_keys_that_the_ledger_holds_are_listed(busy_ledger: Ledger) -> None:
    (keys,) = SQL[1:]
    with busy_ledger.read() as tx:
        assert len(tx.conn.exec_driver_sql(keys.replace("2026-11-20", "1970-01-01")).all()) == 6


def test_the_commands_are_the_packages() -> None:
    commands = re.findall(r"python -m capillary (ledger [^`\n]*)", TEXT)
    assert {command.split()[1] for command in commands} == {"create", "upgrade", "import", "check"}
    for command in commands:
        _parser().parse_args(command.split())


@pytest.mark.parametrize("page", ["README.md", "docs/runbook.md", "docs/campaigns.md"])
def test_every_command_that_looks_is_one_that_the_package_takes(page: str) -> None:
    found = re.findall(
        r"python -m capillary ((?:check|attention|failed|waiting|customer|runs)\b[^`\n#]*)", (ROOT / page).read_text()
    )
    assert "check" in {command.split()[0] for command in found}
    for command in found:
        _parser().parse_args(shlex.split(command))


def test_the_file_of_the_page_is_linked_from_the_campaigns() -> None:
    assert "(runbook.md" in Path(ROOT / "docs" / "campaigns.md").read_text(encoding="utf-8")
