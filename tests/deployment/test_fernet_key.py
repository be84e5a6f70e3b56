"""docs/deployment.md rotates Airflow's Fernet key while a run waits: its steps, on the installed Airflow."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.task_runner import _defer_task
from cryptography.fernet import Fernet

from capillary.triggers import BadgeRequestTrigger, SubmitTrigger
from tests.deployment.composition import CHECKOUT
from tests.deployment.running import run

MANUAL = (CHECKOUT / "docs" / "deployment.md").read_text()
#: Step 2: what stands between the two words PYTHON.
[STEP_2] = re.findall(r"<<'PYTHON'\n(.*?)^PYTHON$", MANUAL, re.MULTILINE | re.DOTALL)
#: Step 3, inside the container.
[STEP_3] = re.findall(r"env AIRFLOW__CORE__FERNET_KEY=new (airflow [^>]+?) >", MANUAL)
[WITHOUT_THE_OLD_KEY] = re.findall(r'--command "(DELETE FROM connection[^"]*)"', MANUAL)

PLAN = {"badge_run_id": 7, "token": "f" * 32, "capillary_conn_id": "capillary", "ledger_conn_id": "badge_ledger"}
DEFERRED: list[BadgeRequestTrigger | SubmitTrigger] = [
    BadgeRequestTrigger(
        **PLAN,  # type: ignore[arg-type] # a number and texts
        deadline="2026-12-03T15:49:04+00:00",
        poll_interval_s=60,
        settle_every_s=900.0,
        ended=0,
        doubt_due=0,
    ),
    SubmitTrigger(**PLAN, until="", may_end_early=True, in_flight=8),  # type: ignore[arg-type] # same
]


@dataclass
class Installation:
    """Airflow's database, and its commands under one key or several."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "airflow.db"

    def python(self, keys: str, *arguments: str, given: str = "") -> CompletedProcess[str]:
        return run(
            [sys.executable, *arguments],
            {
                "PATH": "/usr/bin:/bin",
                "HOME": str(self.folder),
                "AIRFLOW_HOME": str(self.folder),
                "AIRFLOW__CORE__FERNET_KEY": keys,
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
            },
            given=given,
        )

    def airflow(self, keys: str, command: str, *more: str) -> CompletedProcess[str]:
        return self.python(keys, "-m", "airflow", *command.split(), *more)

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as database, database:
            return database.execute(sql).fetchall()

    def password(self) -> str:
        [(password,)] = self.rows("SELECT password FROM connection WHERE conn_id = 'capillary'")
        return str(password)


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    """The new key and the old one."""
    return Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory, keys: tuple[str, str]) -> bytes:
    """A database with a connection and a variable under the old key, and two of our tasks deferred."""
    made = Installation(tmp_path_factory.mktemp("airflow"))
    done = made.airflow(keys[1], "db migrate")
    assert done.returncode == 0, done.stderr
    connection = json.dumps({"conn_type": "capillary", "login": "till", "password": "of the till", "extra": {"a": 1}})
    assert made.airflow(keys[1], "connections add capillary --conn-json", connection).returncode == 0
    assert made.airflow(keys[1], "variables set colour", "a secret one").returncode == 0
    with closing(sqlite3.connect(made.database)) as database, database:
        for trigger in DEFERRED:
            database.execute(
                "INSERT INTO trigger (classpath, kwargs, created_date) VALUES (?, ?, CURRENT_TIMESTAMP)",
                (trigger.serialize()[0], as_airflow_keeps_it(trigger)),
            )
    return made.database.read_bytes()


@pytest.fixture
def installation(tmp_path: Path, migrated: bytes) -> Installation:
    made = Installation(tmp_path)
    made.database.write_bytes(migrated)
    return made


def as_airflow_keeps_it(trigger: BadgeRequestTrigger | SubmitTrigger) -> str:
    """What the task runner sends of a deferral, as the execution API writes it (`ti_update_state`)."""
    deferred = TaskDeferred(trigger=trigger, method_name="execute_complete")
    ti = cast("Any", SimpleNamespace(dag_id="vip", task_id="wait", run_id="run"))
    message, _ = _defer_task(deferred, ti, structlog.get_logger())
    return json.dumps(cast("Any", message).trigger_kwargs)


def test_airflows_own_command_fails_while_a_run_waits_and_changes_nothing(
    installation: Installation, keys: tuple[str, str]
) -> None:
    before = installation.password()
    done = installation.airflow(",".join(keys), "rotate-fernet-key")
    assert done.returncode != 0
    assert "InvalidToken" in done.stderr
    assert installation.password() == before


def test_the_steps_of_the_manual_rotate_the_key_while_runs_wait(
    installation: Installation, keys: tuple[str, str]
) -> None:
    new, old = keys
    plain = installation.rows("SELECT classpath, kwargs FROM trigger ORDER BY id")
    held = Fernet(old).encrypt(b'{"moment": "now"}').decode()
    installation.rows(
        f"INSERT INTO trigger (classpath, kwargs, created_date) VALUES ('of.an.asset', '{held}', CURRENT_TIMESTAMP)"  # noqa: S608 - a Fernet token
    )
    done = installation.python(f"{new},{old}", "-", given=STEP_2)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "written with the first key"), done.stderr
    assert installation.airflow(new, STEP_3.removeprefix("airflow ")).returncode == 0
    assert Fernet(new).decrypt(installation.password()) == b"of the till"
    [(extra,)] = installation.rows("SELECT extra FROM connection")
    assert json.loads(Fernet(new).decrypt(extra)) == {"a": 1}
    [(colour,)] = installation.rows("SELECT val FROM variable")
    assert Fernet(new).decrypt(colour) == b"a secret one"
    *kept, (_, of_an_asset) = installation.rows("SELECT classpath, kwargs FROM trigger ORDER BY id")
    assert Fernet(new).decrypt(of_an_asset) == b'{"moment": "now"}'
    assert kept == plain
    for trigger, (classpath, kwargs) in zip(DEFERRED, plain, strict=True):
        assert (classpath, json.loads(kwargs)) == trigger.serialize()


def test_a_value_that_neither_key_reads_changes_nothing(installation: Installation, keys: tuple[str, str]) -> None:
    before = installation.password()
    lost = Fernet(Fernet.generate_key()).encrypt(b"x").decode()
    installation.rows(f"UPDATE variable SET val = '{lost}'")  # noqa: S608 - a Fernet token
    done = installation.python(",".join(keys), "-", given=STEP_2)
    assert done.returncode != 0
    assert "written with" not in done.stdout
    assert installation.password() == before


def test_the_way_out_once_the_new_key_stands_alone(installation: Installation, keys: tuple[str, str]) -> None:
    """Put the old key back, and go on: nothing was lost. Without it the rows go, and Airflow takes new ones."""
    new, old = keys
    assert installation.airflow(new, STEP_3.removeprefix("airflow ")).returncode != 0
    assert installation.airflow(f"{new},{old}", STEP_3.removeprefix("airflow ")).returncode == 0
    assert installation.airflow(new, "connections delete capillary").returncode != 0
    for statement in WITHOUT_THE_OLD_KEY.split(";"):
        installation.rows(statement)
    assert installation.rows("SELECT conn_id FROM connection") == []
    added = installation.airflow(new, "connections add capillary --conn-json", '{"conn_type": "capillary"}')
    assert added.returncode == 0, added.stderr
    assert len(installation.rows("SELECT id FROM trigger")) == len(DEFERRED)
