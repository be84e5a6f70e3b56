"""A task that fails by an error of ours keeps its sentence as an XCom, and fails all the same where that is refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy.exc import IntegrityError, OperationalError

from capillary import failure_reason
from capillary.airflow_errors import airflow_failures
from capillary.errors import TerminalError, TransientError
from capillary.failure_reason import FAILURE, kept


class Task:
    """A running task, as far as its XComs go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.kept: dict[str, str] = {}

    def xcom_push(self, *, key: str, value: str) -> None:
        if self.error:
            raise self.error
        self.kept[key] = value


def running(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> Task:
    task = Task(error)
    context: dict[str, Any] = {"ti": task}
    monkeypatch.setattr(failure_reason, "get_current_context", lambda: context)
    return task


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (TransientError("The platform is away"), AirflowException, "TransientError: The platform is away"),
        (TerminalError("Give retry_outcomes"), AirflowFailException, "TerminalError: Give retry_outcomes"),
        (
            IntegrityError("INSERT", {"customer_id": 4711}, ValueError("4711")),
            AirflowException,
            "the ledger's rows are not those that this task has read (ValueError)",
        ),
        (OperationalError("SELECT", {"customer_id": 4711}, ValueError("4711")), AirflowException, "LedgerUnavailable"),
    ],
    ids=["passes", "does not pass", "a changed row", "a database"],
)
def test_the_sentence_of_a_failure_is_kept(
    monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception], said: str
) -> None:
    task = running(monkeypatch)
    with pytest.raises(raised) as caught, airflow_failures():
        raise error
    assert task.kept == {FAILURE: str(caught.value)}
    assert task.kept[FAILURE].startswith(said)
    assert "4711" not in task.kept[FAILURE]


def test_a_fault_of_others_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    task = running(monkeypatch)
    with pytest.raises(ZeroDivisionError), airflow_failures():
        raise ZeroDivisionError("of customer 4711")
    assert task.kept == {}


def test_an_error_that_the_caller_takes_care_of_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    task = running(monkeypatch)
    with pytest.raises(TransientError), airflow_failures(but=(TransientError,)):
        raise TransientError("it is looked at again")
    assert task.kept == {}


def test_a_long_sentence_is_kept_in_part_and_raised_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    task = running(monkeypatch)
    assert kept("x" * 5_000) == "x" * 5_000
    assert task.kept[FAILURE] == "x" * 1_999 + "…"


def test_airflow_that_takes_no_xcom_hides_no_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running(monkeypatch, error=OSError("secret"))
    with caplog.at_level(logging.WARNING), pytest.raises(AirflowFailException, match="Give it"), airflow_failures():
        raise TerminalError("Give it")
    assert "could not be kept for the pages (OSError)" in caplog.text
    assert "secret" not in caplog.text


def test_outside_of_a_task_nothing_is_kept() -> None:
    assert kept("said by a command") == "said by a command"
