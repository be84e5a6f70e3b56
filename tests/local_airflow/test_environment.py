"""What the processes of a local Airflow find in their environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local_airflow.environment import SAFE_MODE, Sources, build_environment
from local_airflow.home import DAGS, PLUGINS, Home, LocalSecrets

KEYS = LocalSecrets(fernet_key="f" * 44, jwt_secret="j" * 44, api_secret_key="a" * 44)


def build(user: dict[str, str], home: Path, *, sandbox_port: int | None = 8090) -> dict[str, str]:
    return build_environment(
        user,
        home=Home(home),
        secrets=KEYS,
        dags_folder=home / "campaigns",
        api_port=8081,
        sandbox_port=sandbox_port,
    )


def test_samples_take_the_place_of_what_is_not_set(tmp_path: Path) -> None:
    environment = build({}, tmp_path)
    platform = json.loads(environment["AIRFLOW_CONN_CAPILLARY"])
    assert platform["host"] == "http://127.0.0.1:8090"
    assert platform["extra"]["checker_url"] == "http://127.0.0.1:8090/"
    warehouse = json.loads(environment["AIRFLOW_CONN_WAREHOUSE"])
    assert warehouse == {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    ledger = json.loads(environment["AIRFLOW_CONN_BADGE_LEDGER"])
    assert ledger == {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}


@pytest.mark.parametrize("variable", ["CAPILLARY", "WAREHOUSE", "BADGE_LEDGER"])
def test_a_connection_of_the_user_is_left_as_it_is(variable: str, tmp_path: Path) -> None:
    own = {f"AIRFLOW_CONN_{variable}": "postgresql://somebody@db.example/own"}
    environment = build(own, tmp_path)
    assert environment[f"AIRFLOW_CONN_{variable}"] == "postgresql://somebody@db.example/own"
    others = {"CAPILLARY", "WAREHOUSE", "BADGE_LEDGER"} - {variable}
    assert all(json.loads(environment[f"AIRFLOW_CONN_{other}"])["conn_type"] for other in others)


def test_an_own_platform_needs_no_sandbox(tmp_path: Path) -> None:
    own = {"AIRFLOW_CONN_CAPILLARY": '{"conn_type": "capillary", "host": "https://eu.api.example"}'}
    assert Sources.of(own) == Sources(own_platform=True, own_warehouse=False, own_ledger=False)
    assert build(own, tmp_path, sandbox_port=None)["AIRFLOW_CONN_CAPILLARY"] == own["AIRFLOW_CONN_CAPILLARY"]
    with pytest.raises(ValueError, match="the sandbox needs a port"):
        build({}, tmp_path, sandbox_port=None)


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert not Sources.of({"AIRFLOW_CONN_WAREHOUSE": ""}).own_warehouse
    assert json.loads(build({"AIRFLOW_CONN_WAREHOUSE": ""}, tmp_path)["AIRFLOW_CONN_WAREHOUSE"])


def test_only_the_example_on_an_own_platform_is_worth_a_warning() -> None:
    platform, warehouse = {"AIRFLOW_CONN_CAPILLARY": "x"}, {"AIRFLOW_CONN_WAREHOUSE": "x"}
    assert Sources.of(platform).sample_customers_on_own_platform
    assert not Sources.of(platform | warehouse).sample_customers_on_own_platform
    assert not Sources.of(warehouse).sample_customers_on_own_platform


def test_it_is_kept_apart_from_another_airflow_of_the_user(tmp_path: Path) -> None:
    other = {
        "AIRFLOW_HOME": "/somewhere/else",
        "AIRFLOW_CONFIG": "/somewhere/else/airflow.cfg",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://db.example/production",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__FERNET_KEY": "production",
        "AIRFLOW__CORE__DAGS_FOLDER": "/somewhere/else/dags",
        "AIRFLOW__API__HOST": "0.0.0.0",  # noqa: S104 - what must not be taken over
    }
    environment = build(other, tmp_path)
    assert not [name for name, value in other.items() if environment[name] == value]
    assert environment["AIRFLOW__CORE__DAGS_FOLDER"] == str(tmp_path / "campaigns")
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8081/execution/"
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"


def test_in_its_own_folder_no_campaign_is_passed_over_and_a_folder_of_the_user_is_read_as_they_say(
    tmp_path: Path,
) -> None:
    own = build_environment(
        {SAFE_MODE: "True"}, home=Home(tmp_path), secrets=KEYS, dags_folder=DAGS, api_port=8081, sandbox_port=8090
    )
    assert own[SAFE_MODE] == "False"
    assert SAFE_MODE not in build({}, tmp_path)
    assert build({SAFE_MODE: "0"}, tmp_path)[SAFE_MODE] == "0"


def test_the_user_may_set_how_fast_it_works(tmp_path: Path) -> None:
    assert build({}, tmp_path)["AIRFLOW__CORE__PARALLELISM"] == "4"
    chosen = {"AIRFLOW__CORE__PARALLELISM": "2", "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3"}
    environment = build(chosen, tmp_path)
    assert {name: environment[name] for name in chosen} == chosen


def test_a_server_keeps_the_metadata_where_there_is_one_and_takes_more_tasks_at_once(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me@/airflow?host=/srv/.airflow/postgresql"
    environment = build_environment(
        {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://db.example/production"},
        home=Home(tmp_path),
        secrets=KEYS,
        dags_folder=DAGS,
        api_port=8081,
        sandbox_port=8090,
        metadata_url=url,
    )
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == url
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "8"
    alone = build({}, tmp_path)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert alone == f"sqlite:///{tmp_path / 'airflow.db'}"


def test_a_proxy_does_not_catch_the_calls_to_this_machine(tmp_path: Path) -> None:
    environment = build({"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "intranet"}, tmp_path)
    assert environment["NO_PROXY"] == "127.0.0.1,localhost"
    assert environment["no_proxy"] == "intranet,127.0.0.1,localhost"


def test_plugins_are_found_before_anything_else_of_the_path(tmp_path: Path) -> None:
    environment = build({"PYTHONPATH": "/own/modules"}, tmp_path)
    first, *_, last = environment["PYTHONPATH"].split(":")
    assert first == str(PLUGINS)
    assert last == "/own/modules"


def test_keys_are_not_shown() -> None:
    shown = repr(KEYS)
    assert not any(key in shown for key in (KEYS.fernet_key, KEYS.jwt_secret, KEYS.api_secret_key))
