"""Every example of docs/connections.md is a connection that Airflow and this project read, in both forms alike."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from capillary.connections.lookup import look_up
from capillary.connections.platform_connection import settings_of
from capillary.connections.warehouse import database_engine_of
from capillary.hooks import ledger_url_of
from tests.docs.conftest import ORDER

PAGE = (Path(__file__).parents[2] / "docs" / "connections.md").read_text()
PARTS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
SIDE_BY_SIDE = PARTS.pop("Test and production side by side")
#: What each example means, by one field after another.
MEANT: dict[str, dict[str, object]] = {
    "The platform, with a till": {
        "base_url": "https://eu.api.capillarytech.com",
        "organisation_id": "100458",
        "environment": "production",
        "cluster_timezone": "UTC",
        "oauth_key": "",
        "account": "eu.api.capillarytech.com/100458",
    },
    "The platform, with an OAuth client": {"oauth_key": "client-key", "login": "badge.maker"},
    "The platform, behind a company's CA and proxy": {
        "verify": "/etc/ssl/company-ca.pem",
        "proxy": "http://proxy.example:3128",
    },
    "The ledger on PostgreSQL": {
        "drivername": "postgresql+psycopg",
        "host": "db.example",
        "database": "badge_ledger",
        "query": {"sslmode": "verify-full", "sslrootcert": "/etc/ssl/db.crt"},
    },
    "The ledger on one machine": {"drivername": "sqlite", "database": "/var/lib/badges/ledger.db"},
    "The warehouse on PostgreSQL": {"drivername": "postgresql+psycopg", "host": "warehouse.example", "port": 5432},
}


def example(title: str, form: str) -> str:
    [block] = re.findall(rf"```{form}\n(.*?)```", PARTS[title], flags=re.DOTALL)
    return str(block).strip()


def read(title: str, form: str, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - settings, or an address
    [name] = re.findall(r"^`(\w+)`", PARTS[title].lstrip())
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", example(title, form))
    if name == "capillary":
        return settings_of(look_up(name))
    if name == "badge_ledger":
        return ledger_url_of(name)
    assert name == "warehouse"
    engine = database_engine_of(name)
    engine.dispose()
    return engine.url


def test_every_part_has_its_meaning_here() -> None:
    assert set(PARTS) == set(MEANT)


@pytest.mark.parametrize("title", MEANT)
def test_both_forms_are_read_alike_and_as_meant(title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_json, by_uri = (read(title, form, monkeypatch) for form in ("json", "uri"))
    assert by_json == by_uri
    if isinstance(by_json, str):
        from sqlalchemy import make_url  # noqa: PLC0415 - the ledger's is text

        by_json = make_url(by_json)
    assert {name: getattr(by_json, name) for name in MEANT[title]} == MEANT[title]


@pytest.mark.parametrize("title", MEANT)
def test_the_json_is_a_connection_of_airflows_command(title: str) -> None:
    assert json.loads(example(title, "json"))["conn_type"] in {"capillary", "postgres", "sqlite"}


def test_test_and_production_are_two_dags_with_connections_of_their_own(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", SIDE_BY_SIDE, flags=re.DOTALL)
    (tmp_path / "vips.py").write_text(code)
    (tmp_path / "vips.sql").write_text("SELECT user_id AS customer_id FROM users ORDER BY user_id")
    bag = DagBag(str(tmp_path))
    assert bag.import_errors == {}
    assert set(bag.dags) == {"vips", "vips_test"}
    connections = {
        name: {getattr(task, "ledger_conn_id", None) for task in dag.tasks} for name, dag in bag.dags.items()
    }
    assert connections == {"vips": {"badge_ledger"}, "vips_test": {"badge_ledger_test"}}
    plans = {name: dag.get_task("extract_eligible_customers") for name, dag in bag.dags.items()}
    named = {
        name: tuple(getattr(plan, f"{what}_conn_id") for what in ("capillary", "warehouse"))
        for name, plan in plans.items()
    }
    assert named == {"vips": ("capillary", "warehouse"), "vips_test": ("capillary_test", "warehouse_test")}


def test_a_proof_belongs_to_one_account() -> None:
    """The page says that production is a canary again; the fingerprint of what is proven holds the account."""
    test_system = replace(ORDER.spec, account="test.example/100")
    assert test_system.fingerprint() != ORDER.spec.fingerprint()
