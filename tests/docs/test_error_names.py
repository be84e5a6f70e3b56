"""What Airflow's log and a command show of an error is what docs/runbook.md lists it by."""

from __future__ import annotations

import ast
import io
import json
from functools import cache
from typing import Any

import pytest
import structlog
from airflow.sdk._shared.logging.structlog import structlog_processors
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy.exc import OperationalError

from capillary.airflow_errors import airflow_failures
from capillary.errors import CapillaryError, TransientError
from capillary.ledger.errors import LedgerUnavailable
from tests.docs.markdown import ROOT, code_of
from tests.docs.test_runbook import _FILLED, GAP, NEVER_SHOWN, TEXT, errors, rows_of


def an_error(kind: type[CapillaryError]) -> CapillaryError:
    """Return an error of this class, whatever its constructor asks for."""
    error = kind.__new__(kind)
    Exception.__init__(error, "what happened. What to do")
    return error


def task_log(error: Exception) -> list[dict[str, Any]]:
    """Return the exceptions of the line that Airflow's task runner writes when a task ends so."""
    written = io.StringIO()
    processors, rendered, _ = structlog_processors(json_output=True)
    log = structlog.wrap_logger(structlog.WriteLogger(written), processors=[*processors, rendered])
    try:
        with airflow_failures():
            raise error
    except AirflowException:
        log.exception("Task failed with exception")  # `airflow.sdk.execution_time.task_runner.run`
    return list(json.loads(written.getvalue())["exception"])  # the supervisor names it `error_detail` in the log file


@pytest.mark.parametrize(
    "kind", [each for each in errors() if each.__name__ not in NEVER_SHOWN], ids=lambda kind: kind.__name__
)
def test_airflows_log_shows_the_name_of_the_runbook(kind: type[CapillaryError]) -> None:
    (shown,) = task_log(an_error(kind))
    assert shown["exc_value"] == f"{kind.__name__}: what happened. What to do"
    again = issubclass(kind, TransientError)
    assert shown["exc_type"] == (AirflowException if again else AirflowFailException).__name__


def test_airflows_log_shows_the_name_where_the_ledgers_database_failed() -> None:
    (shown,) = task_log(OperationalError("SELECT 4711", {}, Exception("customer 4711")))
    assert shown["exc_value"].startswith(f"{LedgerUnavailable.__name__}: lost the connection to ")
    assert "4711" not in json.dumps(shown["exc_value"])


def test_the_column_of_errors_holds_names_that_are_shown_or_a_dash() -> None:
    names = {each.__name__ for each in errors()} - NEVER_SHOWN.keys()
    columns = [row[1] for row in rows_of("Sentences") if len(row) == 4]
    assert len(columns) > 70
    wrong = [cell for cell in columns if cell != "–" and not {f"`{name}`" for name in names} >= set(cell.split(", "))]
    assert wrong == []


#: A sentence that is written in one module and raised by another.
WRITTEN_ELSEWHERE = {
    "unreadable_rows.py": "ListCutShort",
    "tls.py": "PlatformUnavailable",
    "transport.py": "ReplyTooLarge PlatformUnavailable",
    "settings.py": "ConnectionInvalid",
    "request_workflow.py": "FieldsInvalid",
}


@cache
def modules() -> dict[str, tuple[str, ...]]:
    """Return the texts of each module of the product that names an error: its names and constants."""
    found: dict[str, tuple[str, ...]] = {}
    for file in (ROOT / "plugins" / "capillary").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        names = [node.id for node in nodes if isinstance(node, ast.Name)]
        names += [node.name for node in nodes if isinstance(node, ast.ClassDef)]
        names += [WRITTEN_ELSEWHERE.get(file.name, "")]
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        found[str(file)] = (" ".join(names), *(_FILLED.sub(GAP, each) for each in texts))
    return found


ROWS = [(quote, row[1]) for row in rows_of("Sentences") if len(row) == 4 and row[1] != "–" for quote in code_of(row[0])]


@pytest.mark.parametrize(("quote", "errors_of_row"), ROWS, ids=[quote[:40] for quote, _ in ROWS])
def test_the_sentence_of_a_row_is_written_where_its_error_is_raised(quote: str, errors_of_row: str) -> None:
    pieces = [piece.strip() for piece in quote.split(GAP) if len(piece.strip()) > 2]
    written = [
        names.split()
        for names, *texts in modules().values()
        if any(piece in text for piece in pieces for text in texts)
    ]
    assert any(set(code_of(errors_of_row)) & set(names) for names in written), errors_of_row


def test_the_example_of_the_page_is_what_the_log_shows() -> None:
    assert "AirflowFailException: PlanMissing: no plan was handed over (NoneType)" in TEXT
