"""The manual's "Into an Airflow that already runs", run by its letter where nothing of this project is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import URL

from sandbox.warehouse import main as make_warehouse
from tests.postgresql import Server, ServerMissing, running_server

ROOT: Final = Path(__file__).parents[2]
SECTION: Final = (ROOT / "docs" / "deployment.md").read_text().partition("## Into an Airflow that already runs\n")[2]
UNINSTALL: Final = (ROOT / "docs" / "deployment.md").read_text().partition("## Uninstall\n")[2].partition("\n## ")[0]
[COMMANDS] = re.findall(r"```sh\n(.*?)```", SECTION, flags=re.DOTALL)
UV: Final = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    try:
        with running_server() as server:
            yield server
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an install needs: it writes into the checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    for name in ("plugins", "dags"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    return folder


def postgresql(address: URL) -> dict[str, object]:
    """Airflow's connection to a database of the test's server."""
    host = address.host or address.query["host"]
    return {"conn_type": "postgres", "host": host, "login": address.username, "schema": address.database}


@pytest.fixture(scope="module")
def environment(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An Airflow of somebody's: its Python, its home, three connections."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    python = home / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, python], check=True)  # noqa: S603 - our own
    ledger, warehouse = server.url, server.url.set(database="warehouse")
    superuser = ledger.set(drivername="postgresql").render_as_string(hide_password=False)
    subprocess.run([server.psql, superuser, "--quiet", "-c", "CREATE DATABASE warehouse"], check=True)  # noqa: S603 - same
    make_warehouse(["--url", warehouse.render_as_string(hide_password=False), "--customers", "50"])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    connections = {
        "capillary": {
            "conn_type": "capillary",
            "host": "http://127.0.0.1:9",
            "login": "till",
            "password": "till-password",
            "extra": {"organisation_id": "100458"},
        },
        "warehouse": postgresql(warehouse),
        "badge_ledger": postgresql(ledger),
    }
    return {
        **kept,
        "PATH": f"{python / 'bin'}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(python),
        "UV_DEFAULT_INDEX": os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or "",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()},
    }


def run(command: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    # uv takes 3 s where pip takes 42.
    shell = f'pip() {{ {UV} pip "$@"; }}\n{command}'
    return subprocess.run(  # noqa: S603 - the manual's own commands
        ["/bin/bash", "-ec", shell],
        env=environment,
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def installed(environment: dict[str, str], checkout: Path) -> dict[str, str]:
    """The environment of an Airflow with the package."""
    install, *_ = COMMANDS.strip().splitlines()
    done = run(install, environment, checkout)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(checkout / "plugins")  # what runs now is what was installed
    return environment


def test_the_section_is_run_by_its_letter(installed: dict[str, str], checkout: Path) -> None:
    environment = installed
    _, ledger, pool, copy, check = COMMANDS.strip().splitlines()
    done = run(ledger, environment, checkout)
    assert (done.returncode, "created at" in done.stdout) == (0, True), done.stdout + done.stderr
    done = run(f"airflow db migrate\n{pool}", environment, checkout)
    assert done.returncode == 0, done.stderr
    assert run(copy, environment, checkout).returncode == 0
    folder = Path(environment["AIRFLOW_HOME"]) / "dags"
    assert {path.name for path in folder.iterdir()} == {"badge_upkeep.py", "gold_tier.py", "gold_tier.sql"}
    done = run(f"{check} --files-only", environment, checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    # The platform of these connections answers nobody: that is all there is to complain of.
    done = run(check, environment, checkout)
    [wrong] = [line for line in done.stdout.splitlines() if line.startswith("fails: ")]
    assert wrong.startswith("fails: connection 'capillary'"), done.stdout
    assert "no connection to 127.0.0.1:9" in wrong
    assert "ok: connection 'badge_ledger'" in done.stdout
    assert "ok: connection 'warehouse'" in done.stdout


def tables_of(server: Server) -> list[str]:
    """The ledger's tables and views in the server's first database."""
    address = server.url.set(drivername="postgresql").render_as_string(hide_password=False)
    asked = "SELECT relname FROM pg_class WHERE relname LIKE 'badge%' AND relkind IN ('r', 'v', 'S')"
    done = subprocess.run(  # noqa: S603 - our own
        [server.psql, address, "--tuples-only", "--no-align", "--command", asked],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


def test_the_section_on_uninstalling_is_run_by_its_letter(
    installed: dict[str, str], checkout: Path, server: Server
) -> None:
    """After what the manual installed: the campaign, its connections and its ledger go, and Airflow goes on."""
    [commands] = re.findall(r"```sh\n(.*?)```", UNINSTALL, flags=re.DOTALL)
    _, ledger, pool, copy, _ = COMMANDS.strip().splitlines()
    address = server.url.set(drivername="postgresql").render_as_string(hide_password=False)
    own = {name: value for name, value in installed.items() if not name.startswith("AIRFLOW_CONN_")}
    own |= {"LEDGER": address, "PATH": f"{server.psql.parent}:{own['PATH']}"}
    adding = [
        f"airflow connections add {name} --conn-json '{installed[f'AIRFLOW_CONN_{name.upper()}']}'"
        for name in ("capillary", "warehouse", "badge_ledger")
    ]
    before = ["airflow db migrate", *adding, ledger, pool, copy, "airflow dags reserialize"]
    done = run("\n".join(before), own, checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(tables_of(server)) > 20
    stop, waiting, *dags, connection, unpooled, uninstall, drop = commands.strip().splitlines()
    done = run(stop, own, checkout)
    assert (done.returncode, "stopped" in done.stdout) == (0, True), done.stdout + done.stderr
    done = run(waiting, own, checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(Path(own["AIRFLOW_HOME"]) / "dags")
    (Path(own["AIRFLOW_HOME"]) / "dags").mkdir()
    assert len(dags) == 2
    for command in (*dags, connection, unpooled, uninstall, drop):
        done = run(command, own, checkout)
        assert done.returncode == 0, command + done.stdout + done.stderr
    assert tables_of(server) == []
    left = run("airflow dags list; airflow connections list; airflow pools list; airflow providers list", own, checkout)
    assert left.returncode == 0, left.stderr
    assert "default_pool" in left.stdout
    for name in ("gold_tier", "badge_upkeep", "airflow-provider-capillary", "Tasks that call"):
        assert name not in left.stdout
    assert run("python -c 'import capillary'", own, checkout).returncode == 1


def test_without_the_extra_the_ledger_says_what_to_install(environment: dict[str, str], checkout: Path) -> None:
    block = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0].startswith('psycopg'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    for arguments in (["ledger", "create"], ["runs"], ["waiting", "--url", "postgresql://u@127.0.0.1/x"]):
        code = f"{block}from capillary.__main__ import main\nsys.exit(main({arguments}))"
        done = subprocess.run(  # noqa: S603 - our own
            [sys.executable, "-c", code],
            env={**environment, "PYTHONPATH": str(ROOT / "plugins")},
            cwd=checkout,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "pip install 'airflow-provider-capillary[postgres]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_readmes_section_says_the_same() -> None:
    section = (
        (ROOT / "README.md").read_text().partition("## Into an Airflow that already runs\n")[2].partition("\n## ")[0]
    )
    told = set(re.findall(r"`((?:pip|python|airflow) [^`]*)`", section))
    assert told <= set(COMMANDS.strip().splitlines()), told
    assert "badge_upkeep.py" in section
