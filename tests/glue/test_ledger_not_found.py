"""A command whose ledger no connection names says how else to name it."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.secrets.metastore import MetastoreBackend
from sqlalchemy.exc import OperationalError

from capillary.__main__ import main

ASKING = [
    ["customer", "4711"],
    ["failed"],
    ["waiting"],
    ["runs"],
    ["stopped"],
    ["stop", "--all", "--reason", "night"],
    ["ledger", "check"],
    ["ledger", "create"],
]


def nothing(*_: object, **__: object) -> None:
    return None


def away(*_: object, **__: object) -> None:
    raise OperationalError("SELECT", {}, Exception("no such table: connection"))


@pytest.mark.parametrize("command", ASKING, ids=" ".join)
@pytest.mark.parametrize(
    ("database", "said"), [(nothing, "There is no Airflow connection"), (away, "Airflow's database does not give")]
)
def test_a_ledger_that_no_connection_names_can_be_named_by_its_url(
    command: list[str], database: object, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    monkeypatch.delenv("AIRFLOW_CONN_BADGE_LEDGER", raising=False)
    monkeypatch.setattr(MetastoreBackend, "get_connection", database)
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"{command[0]}: {said}")
    assert "'badge_ledger'" in error
    assert "Or name the ledger itself by --url" in error


def test_the_url_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    assert main(["ledger", "create", "--url", url]) == 0
    assert main(["runs", "--url", url]) == 0
    assert "connection" not in capsys.readouterr().err
