"""The first campaign of the README fits the example warehouse, and the sandbox's page says what is in it."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Engine, create_engine, text

from local_airflow.startup import SandboxOptions
from sandbox.warehouse import DEFAULT_CUSTOMERS, seed
from sandbox.warehouse_schema import EXAMPLE_WAREHOUSE, METADATA
from tests.docs.markdown import ROOT, Section, code_of, sections

README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    url = f"sqlite:///{tmp_path_factory.mktemp('warehouse') / 'warehouse.db'}"
    seed(url, customers=DEFAULT_CUSTOMERS)
    return create_engine(url)


@pytest.fixture(scope="module")
def section() -> Section:
    (found,) = (each for each in sections(ROOT / "sandbox" / "README.md") if each.title == "The example warehouse")
    return found


def test_every_table_and_column_is_named(section: Section) -> None:
    named = {code_of(table)[0]: code_of(columns) for table, columns in section.rows()}
    there = {table.name: table.columns.keys() for table in METADATA.tables.values() if table is not EXAMPLE_WAREHOUSE}
    assert named == there


def test_every_tier_is_named(section: Section, warehouse: Engine) -> None:
    with warehouse.connect() as connection:
        tiers = set(connection.scalars(text("SELECT DISTINCT slab_name FROM users")))
    tier = re.search(r"A tier \((.*?)\)\s+is (.*)\.", section.prose)
    assert tier is not None
    assert code_of(tier[1]) == ["slab_name"]
    assert set(code_of(tier[2])) == tiers


def test_the_customer_whom_the_readme_asks_for_is_in_the_canary_and_known_to_the_sandbox(warehouse: Engine) -> None:
    (query,) = re.findall(r"```sql\n(.*?)```", README, flags=re.DOTALL)
    (asked,) = re.findall(r"-m capillary customer (\d{5,})", README)
    with warehouse.connect() as connection:
        customers = list(connection.scalars(text(query)))
    assert int(asked) in customers[:10]
    unknown_every = SandboxOptions(None).unknown_every
    assert f"every customer whose id is not divisible by {unknown_every}" in README
    assert all(customer % unknown_every for customer in customers[:10]), "the canary would tolerate no failure"
    unknown = [customer for customer in customers if customer % unknown_every == 0]
    assert unknown, "the README says that the second run fails for them"
    tolerated = float(re.findall(r"tolerated_failure_share=([0-9.]+)", README)[0])
    assert len(unknown) < tolerated * (len(customers) - 10)
