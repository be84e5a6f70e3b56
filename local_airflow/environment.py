"""How the processes of a local Airflow are configured: by their environment, and by nothing else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local_airflow.home import CHECKOUT, DAGS, PLUGINS, Home, LocalSecrets
from local_airflow.ports import LOOPBACK

PLATFORM = "AIRFLOW_CONN_CAPILLARY"
WAREHOUSE = "AIRFLOW_CONN_WAREHOUSE"
LEDGER = "AIRFLOW_CONN_BADGE_LEDGER"
#: Whether Airflow passes over files that do not hold the words airflow and dag; it does by default.
SAFE_MODE = "AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE"

SANDBOX_TILL = "sandbox-maker"
SANDBOX_ORGANISATION = "100458"


@dataclass(frozen=True, slots=True)
class Sources:
    """Which platform and databases are the user's own; the others are samples."""

    own_platform: bool
    own_warehouse: bool
    own_ledger: bool

    @classmethod
    def of(cls, user: Mapping[str, str]) -> Sources:
        """A connection is the user's own where its variable is set and not empty."""
        return cls(
            own_platform=bool(user.get(PLATFORM)),
            own_warehouse=bool(user.get(WAREHOUSE)),
            own_ledger=bool(user.get(LEDGER)),
        )

    @property
    def sample_customers_on_own_platform(self) -> bool:
        """Invented customers would be submitted to a platform that is not the sandbox."""
        return self.own_platform and not self.own_warehouse


def build_environment(
    user: Mapping[str, str],
    *,
    home: Home,
    secrets: LocalSecrets,
    dags_folder: Path,
    api_port: int,
    sandbox_port: int | None,
    schedules: bool = True,
    metadata_url: str | None = None,
) -> dict[str, str]:
    """The environment of every process: the user's, with this Airflow's settings on top.

    What keeps this Airflow apart from others (directories, database, ports, keys) always wins over the user's
    variables; how fast it works may be set by the user; connections of the user's stay untouched.

    Args:
        user: the environment that the command was called in.
        home: where everything is kept.
        secrets: the keys that the processes share.
        dags_folder: the campaigns.
        api_port: of Airflow's API server and UI.
        sandbox_port: of the sandbox; None where the platform is the user's own.
        schedules: whether unpaused DAGs run by their schedule. Without, only triggered runs start.
        metadata_url: of the database of Airflow's metadata; None for a SQLite file of the home.
    """
    api = f"http://{LOOPBACK}:{api_port}"
    kept_apart = {
        "AIRFLOW_HOME": str(home.directory),
        "AIRFLOW_CONFIG": str(home.directory / "airflow.cfg"),
        "AIRFLOW__API__BASE_URL": api,
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(api_port),
        "AIRFLOW__API__SECRET_KEY": secrets.api_secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.jwt_secret,
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{api}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": secrets.fernet_key,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        # Everybody is admin: the API listens on the loopback interface only.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata_url or f"sqlite:///{home.airflow_db}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home.task_logs),
        "PYTHONPATH": _joined(os.pathsep, str(PLUGINS), str(CHECKOUT), user.get("PYTHONPATH", "")),
        # A campaign must be unpaused to run at all; its own schedule would then start a second run beside the first.
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": str(schedules),
        "PYTHONUNBUFFERED": "1",
        # Tasks call Airflow, and may call the sandbox, on this machine: no proxy can reach them there.
        **{name: _joined(",", user.get(name, ""), LOOPBACK, "localhost") for name in ("NO_PROXY", "no_proxy")},
    }
    if dags_folder == DAGS:
        # All files there are campaigns. A folder of the user's may hold others, which nobody wants to be run.
        kept_apart[SAFE_MODE] = "False"
    speed = {
        # More than 8 tasks at once and SQLite's writers time out: "database is locked".
        "AIRFLOW__CORE__PARALLELISM": "8" if metadata_url else "4",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # Seconds until a new or changed file in the DAGs folder shows.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        # Seconds after which a task that a killed run left behind is retried; 300 by default.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    }
    if sys.platform == "darwin":
        # Without it macOS ends forked task processes that touch its frameworks.
        speed["OBJC_DISABLE_INITIALIZE_FORK_SAFETY"] = "YES"
    sources = Sources.of(user)
    samples = {}
    if not sources.own_platform:
        if sandbox_port is None:
            raise ValueError(f"{PLATFORM} is not set: the sandbox needs a port")
        samples[PLATFORM] = sandbox_connection(sandbox_port)
    if not sources.own_warehouse:
        samples[WAREHOUSE] = sqlite_connection(home.warehouse_db)
    if not sources.own_ledger:
        samples[LEDGER] = sqlite_connection(home.ledger_db)
    return {**speed, **user, **kept_apart, **samples}


def sandbox_connection(port: int) -> str:
    """Airflow's connection to the sandbox, whose till and password are public."""
    url = f"http://{LOOPBACK}:{port}"
    return json.dumps(
        {
            "conn_type": "capillary",
            "host": url,
            "login": SANDBOX_TILL,
            "password": SANDBOX_TILL,
            "extra": {
                "organisation_id": SANDBOX_ORGANISATION,
                "environment": "sandbox",
                "calls_per_minute": 6000,
                "cluster_timezone": "Asia/Kolkata",
                "visibility_lag_s": 5,
                "checker_url": f"{url}/",
            },
        }
    )


def sqlite_connection(path: Path) -> str:
    """Airflow's connection to a SQLite file."""
    return json.dumps({"conn_type": "sqlite", "host": str(path)})


def _joined(separator: str, *parts: str) -> str:
    return separator.join(part for part in parts if part)
