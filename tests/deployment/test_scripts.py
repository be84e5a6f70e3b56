"""The scripts that docker-compose.yml carries, run as the containers run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from tests.deployment.composition import Document, made_up, rendered
from tests.deployment.running import run
from tests.postgresql import Server, ServerMissing, running_server

GOOD = "made-up-for-a-test"


@pytest.fixture(scope="module")
def compose() -> Document:
    return rendered(made_up())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """An empty PostgreSQL; the test is skipped where none can be started."""
    try:
        with running_server() as started:
            yield started
    except ServerMissing as error:
        pytest.skip(str(error))


def test_the_first_start_makes_two_databases_apart(compose: Document, server: Server, tmp_path: Path) -> None:
    script = tmp_path / "databases.sql"
    script.write_text(compose["configs"]["postgres-databases"]["content"])
    address = server.url.set(drivername="postgresql").render_as_string(hide_password=False)
    # As the image runs what lies in /docker-entrypoint-initdb.d.
    done = run(
        [
            server.psql,
            "-v",
            "ON_ERROR_STOP=1",
            "--no-password",
            "--no-psqlrc",
            "--file",
            script,
            address,
        ],
        {"AIRFLOW_DB_PASSWORD": "it's airflow's", "LEDGER_DB_PASSWORD": "it's \"the\" ledger's"},
    )
    assert done.returncode == 0, done.stderr

    ours = server.url.set(username="badge_ledger", database="badge_ledger")
    with Ledger(ours, new=True) as ledger:
        assert create(ledger.engine)[0]
    for role, database in (("badge_ledger", "airflow"), ("airflow", "badge_ledger"), ("airflow", "postgres")):
        engine = create_engine(ours.set(username=role, database=database))
        with pytest.raises(OperationalError, match="permission denied for database"):
            engine.connect()
        engine.dispose()
    engine = create_engine(ours.set(username="airflow", database="airflow"))
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE anything (id int)"))
    engine.dispose()


#: Notes what is run; only what looks at Airflow's database is really run.
PLAYED_PYTHON = """#!/bin/sh
[ "$1" = -c ] && exec "$REALLY" "$@"
case "$3" in ledger) echo "$3 $4" >> "$BOOKS" ;; esac
"""


@pytest.mark.parametrize(
    ("airflow_tables", "does"),
    [([], ["ledger create", "ledger upgrade"]), (["dag_run"], ["ledger upgrade"]), (None, [])],
    ids=["Airflow's database is new", "Airflow's database is there", "no database answers"],
)
def test_a_ledger_is_made_only_where_airflows_database_is_new(
    airflow_tables: list[str] | None, does: list[str], compose: Document, tmp_path: Path
) -> None:
    """Airflow is there and its ledger is not: it was lost, and an empty one would submit everybody again."""
    url = f"sqlite:///{tmp_path}/nowhere/airflow.db" if airflow_tables is None else f"sqlite:///{tmp_path}/airflow.db"
    engine = create_engine(url)
    for name in airflow_tables or ():
        with engine.begin() as conn:
            conn.execute(text(f"CREATE TABLE {name} (id int)"))
    engine.dispose()
    books = tmp_path / "books"
    books.touch()
    for name, played in (("python", PLAYED_PYTHON), ("airflow", "#!/bin/sh\n")):
        (tmp_path / name).write_text(played)
        (tmp_path / name).chmod(0o755)
    done = run(
        ["/bin/bash", "-c", compose["configs"]["airflow-init"]["content"]],
        {
            "PATH": f"{tmp_path}:{os.defpath}",
            "REALLY": sys.executable,
            "BOOKS": str(books),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        },
    )
    assert (done.returncode == 0) is (airflow_tables is not None), done.stderr
    assert books.read_text().splitlines() == does


def people_and_connections(compose: Document, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = folder / "people.py"
    script.write_text(compose["configs"]["airflow-init-people"]["content"])
    given = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin, looker:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW_UI_PASSWORDS": json.dumps({"admin": GOOD, "looker": GOOD, "gone": GOOD}),
        "CAPILLARY_AT_FIRST": "",
        "WAREHOUSE_AT_FIRST": "",
    }
    return run([sys.executable, script, folder / "connections.json"], given | environment)


def test_every_person_gets_the_password_given(compose: Document, tmp_path: Path) -> None:
    assert people_and_connections(compose, tmp_path).returncode == 0
    file = tmp_path / "passwords.json"
    assert json.loads(file.read_text()) == {"admin": GOOD, "looker": GOOD}
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "connections.json").read_text()) == {}


@pytest.mark.parametrize(
    "passwords",
    ["nonsense", "[1]", '{"admin": "made-up-for-a-test"}', '{"admin": "made-up-for-a-test", "looker": "short-one"}'],
)
def test_a_poor_password_is_refused_and_not_shown(passwords: str, compose: Document, tmp_path: Path) -> None:
    done = people_and_connections(compose, tmp_path, AIRFLOW_UI_PASSWORDS=passwords)
    assert done.returncode == 1
    assert "AIRFLOW_UI_PASSWORDS" in done.stderr
    assert "short-one" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "passwords.json").exists()


def test_connections_are_taken_as_json_and_as_uri(compose: Document, tmp_path: Path) -> None:
    platform = {"conn_type": "capillary", "host": "https://api.example", "password": 'with "quotes" and $'}
    uri = "postgresql://reader@warehouse.example/sales"
    done = people_and_connections(compose, tmp_path, CAPILLARY_AT_FIRST=json.dumps(platform), WAREHOUSE_AT_FIRST=uri)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "connections.json").read_text()) == {"capillary": platform, "warehouse": uri}


def test_a_connection_cut_off_is_refused_and_not_shown(compose: Document, tmp_path: Path) -> None:
    done = people_and_connections(compose, tmp_path, WAREHOUSE_AT_FIRST='{"password": "made-up')
    assert done.returncode == 1
    assert "AIRFLOW_CONN_WAREHOUSE" in done.stderr
    assert "made-up" not in done.stderr


@pytest.mark.parametrize(
    ("there", "imported", "code"),
    [("http://sandbox:8090", ["platform.json", "warehouse.json"], 0), ("https://eu.api.example", ["platform.json"], 1)],
    ids=["the sandbox gets the sample's customers", "a real platform does not"],
)
def test_the_demo(there: str, imported: list[str], code: int, compose: Document, tmp_path: Path) -> None:
    airflow = tmp_path / "airflow"
    airflow.write_text(
        '#!/bin/sh\ncase "$2" in import) echo "$3" >> "$BOOKS" ;; get) echo "[{\\"host\\": \\"$THERE\\"}]" ;; esac\n'
    )
    airflow.chmod(0o755)
    books = tmp_path / "imported"
    done = run(
        ["/bin/bash", "-c", compose["configs"]["demo-connections"]["content"]],
        {"PATH": f"{tmp_path}:{os.defpath}", "BOOKS": str(books), "THERE": there},
    )
    assert done.returncode == code
    assert [Path(line).name for line in books.read_text().splitlines()] == imported
