"""Airflow's API server away is not a missing connection: not in a task, not in a trigger, not between two POSTs."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseHook, Connection
from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException
from airflow.sdk.execution_time import supervisor, task_runner
from airflow.secrets.metastore import MetastoreBackend
from sqlalchemy.exc import OperationalError

from capillary import wiring
from capillary.airflow_errors import airflow_failures
from capillary.connections.errors import AirflowAway, ConnectionDenied, ConnectionMissing, ConnectionsUnreadable
from capillary.connections.lookup import alook_up, look_up
from capillary.connections.warehouse import database_engine_of
from capillary.errors import CapillaryError, TransientError
from capillary.hooks import CapillaryHook, aledger_url_of, ledger_url_of
from capillary.wiring import Switch
from tests.glue.supervised import ApiServer, Say, supervised

CAPILLARY: dict[str, object] = {
    "conn_type": "capillary",
    "host": "eu.example.com",
    "login": "till",
    "password": "not-a-password",
    "extra": json.dumps({"organisation_id": "7"}),
}
AWAY: list[Say] = [
    (503, "application/json", '{"detail": "starting"}'),
    (500, "application/json", '{"detail": "database is away"}'),
    (502, "text/html", "<html>Bad gateway</html>"),
    (404, "text/html", "<html>default backend</html>"),
    (200, "text/html", "<html>We are back soon</html>"),
]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    for conn_id in ("CAPILLARY", "WAREHOUSE", "BADGE_LEDGER"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{conn_id}", raising=False)
    with supervised(monkeypatch) as server:
        yield server


async def test_a_connection_that_airflow_says_it_does_not_know_is_missing(api: ApiServer) -> None:
    with pytest.raises(ConnectionMissing, match="'capillary'"):
        look_up("capillary")
    with pytest.raises(ConnectionMissing, match="'capillary'"):
        await alook_up("capillary")
    with airflow_failures_are(AirflowFailException):
        look_up("capillary")


@pytest.mark.parametrize("said", AWAY, ids=lambda said: f"{said[0]} {said[1]}")
async def test_an_api_server_that_answers_no_connection_is_away(api: ApiServer, said: Say) -> None:
    api.connections["capillary"] = CAPILLARY
    api.trouble = lambda _: said
    with pytest.raises(AirflowNotFoundException):  # what Airflow itself makes of it
        BaseHook.get_connection("capillary")
    with pytest.raises(AirflowAway, match="Airflow's API server does not answer"):
        look_up("capillary")
    with pytest.raises(AirflowAway, match="Airflow's API server does not answer"):
        await alook_up("capillary")
    api.trouble = lambda _: None
    assert look_up("capillary").host == (await alook_up("capillary")).host == "eu.example.com"


async def test_an_api_server_that_is_gone_is_away(api: ApiServer) -> None:
    api.close()
    calls: list[tuple[str, Any]] = [
        ("capillary", lambda: CapillaryHook().get_settings()),
        ("badge_ledger", lambda: ledger_url_of("badge_ledger")),
        ("warehouse", lambda: database_engine_of("warehouse")),
    ]
    for conn_id, call in calls:
        with pytest.raises(AirflowAway, match=rf"API server does not answer \(ConnectError\).*{conn_id!r}"):
            call()
    with pytest.raises(AirflowAway, match=r"\(ConnectError\), so connection 'capillary'"):
        await CapillaryHook().aget_settings()
    with pytest.raises(AirflowAway, match=r"\(ConnectError\), so connection 'badge_ledger'"):
        await aledger_url_of("badge_ledger")
    with airflow_failures_are(AirflowException):
        CapillaryHook().get_settings()


async def test_a_supervisor_that_is_gone_is_no_missing_connection(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        def send(self, _: object) -> None:
            raise EOFError("Request socket closed before length")

        async def asend(self, _: object) -> None:
            raise EOFError("Request socket closed before length")

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Gone())
    with pytest.raises(AirflowAway, match="EOFError"):
        look_up("capillary")
    with pytest.raises(AirflowAway, match="EOFError"):
        await alook_up("capillary")


async def test_airflow_that_comes_back_between_both_questions_gives_the_connection(api: ApiServer) -> None:
    api.connections["capillary"] = CAPILLARY
    api.trouble = lambda _: AWAY[0] if len(api.asked) % 2 else None
    assert look_up("capillary").password == "not-a-password"
    assert (await alook_up("capillary")).password == "not-a-password"
    assert len(api.asked) == 4


async def test_a_trigger_of_airflow_dags_test_has_a_supervisor_that_cannot_wait(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.connections["capillary"] = CAPILLARY
    comms = task_runner.SUPERVISOR_COMMS

    class InProcess:
        def send(self, msg: object) -> object:
            return comms.send(msg)  # type: ignore[arg-type]

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", InProcess())
    assert (await alook_up("capillary")).host == "eu.example.com"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_connection_that_airflow_refuses_is_no_missing_one(api: ApiServer, status: int) -> None:
    api.trouble = lambda _: (status, "application/json", '{"detail": "no"}')
    with pytest.raises(ConnectionDenied, match="refuses connection 'capillary'"):
        look_up("capillary")
    with pytest.raises(ConnectionDenied):
        await alook_up("capillary")
    assert issubclass(ConnectionDenied, TransientError)


def test_a_warehouse_hook_that_looks_for_itself_as_airflow_goes_away(api: ApiServer, tmp_path: Path) -> None:
    file = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(file)) as made:
        made.execute("CREATE TABLE member (customer_id INTEGER)")
    api.connections["warehouse"] = {"conn_type": "sqlite", "host": str(file)}
    api.trouble = lambda _: AWAY[0] if len(api.asked) > 1 else None
    with pytest.raises(AirflowAway, match="'warehouse'"):
        database_engine_of("warehouse")
    api.asked.clear()
    api.trouble = lambda _: AWAY[0] if len(api.asked) == 2 else None
    database_engine_of("warehouse").dispose()


async def test_a_secrets_backend_that_fails_is_no_missing_connection(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = True

    class VaultBackend(BaseSecretsBackend):
        def get_connection(self, **_: object) -> Connection | None:  # type: ignore[override]
            if fails:
                raise ConnectionError("https://vault.example/v1/secret?token=guess-me")
            return None

    backends = supervisor.ensure_secrets_backend_loaded()
    monkeypatch.setattr(supervisor, "ensure_secrets_backend_loaded", lambda: [VaultBackend(), *backends])
    with pytest.raises(
        AirflowAway, match=r"^The secrets backend VaultBackend does not answer \(ConnectionError\)"
    ) as why:
        look_up("capillary")
    assert "guess-me" not in str(why.value)
    with pytest.raises(AirflowAway, match="VaultBackend"):
        await alook_up("capillary")
    api.connections["capillary"] = CAPILLARY  # found elsewhere: Airflow's own order
    assert look_up("capillary").host == "eu.example.com"
    fails = False
    del api.connections["capillary"]
    with pytest.raises(ConnectionMissing):
        look_up("capillary")


@pytest.mark.parametrize("context", ["server", None])
def test_outside_a_task_the_database_is_asked(monkeypatch: pytest.MonkeyPatch, context: str | None) -> None:
    """The API server's own process (`server`) and a command: no supervisor, though the task's module is imported."""
    assert task_runner.__name__ in sys.modules
    monkeypatch.delenv("AIRFLOW_CONN_CAPILLARY", raising=False)
    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)
    if context is None:
        monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    else:
        monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", context)
    monkeypatch.setattr(MetastoreBackend, "get_connection", lambda *_, **__: None)
    with pytest.raises(ConnectionMissing):
        look_up("capillary")

    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, Exception("away"))

    monkeypatch.setattr(MetastoreBackend, "get_connection", away)
    with pytest.raises(ConnectionsUnreadable):
        look_up("capillary")


async def test_between_posts_the_switch_keeps_its_last_word(api: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    api.connections["capillary"] = CAPILLARY
    switch = Switch(CapillaryHook(), submitting=True)
    assert await switch.is_on()
    api.trouble = lambda _: AWAY[0]
    assert await switch.is_on()
    assert "used as it was last read (on): Airflow's API server does not answer (HTTP 503)" in caplog.text
    api.trouble = lambda _: None
    api.connections["capillary"] = CAPILLARY | {"extra": json.dumps({"organisation_id": "7", "submitting": False})}
    assert not await switch.is_on()
    api.trouble = lambda _: AWAY[0]
    assert not await switch.is_on()
    api.trouble = lambda _: None
    del api.connections["capillary"]
    with pytest.raises(ConnectionMissing):
        await switch.is_on()


async def test_a_slow_answer_does_not_hold_a_post_up_and_counts_when_it_comes(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "LOOK_UP_S", 0.05)
    api.connections["capillary"] = CAPILLARY | {"extra": json.dumps({"organisation_id": "7", "submitting": False})}
    answered = threading.Event()

    def slow(_: str) -> None:
        answered.wait(10)

    api.trouble = slow
    switch = Switch(CapillaryHook(), submitting=True)
    assert [await switch.is_on(), await switch.is_on()] == [True, True]
    assert len(api.asked) == 1  # the second waits for the first one's answer
    answered.set()
    deadline = time.monotonic() + 10
    while await switch.is_on() and time.monotonic() < deadline:
        pass
    assert not await switch.is_on()


class airflow_failures_are:  # noqa: N801 - reads as a sentence
    """Assert what Airflow is told of an error: final, or to be tried again."""

    def __init__(self, kind: type[Exception]) -> None:
        self._kind = kind
        self._failures = airflow_failures()

    def __enter__(self) -> None:
        self._failures.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        assert isinstance(error, CapillaryError)
        with pytest.raises(self._kind) as told:
            self._failures.__exit__(kind, error, None)
        assert type(told.value) is self._kind
        return True
