"""A mistyped path of a SQLite warehouse: a run and `check` say the same, and nothing is made."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, text

from capillary.check.connections import warehouse_says
from capillary.connections.errors import ConnectionUnusable
from capillary.connections.warehouse import database_engine_of
from capillary.engine.warehouse import read_rows
from capillary.operators import PlanBadgesOperator
from tests.glue.conftest import BADGE, Place

SQL = "SELECT customer_id FROM member"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a warehouse `wh.db` of customer 7, and with what is none."""
    engine = create_engine(URL.create("sqlite", database=str(tmp_path / "wh.db")))
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE member AS SELECT 7 AS customer_id"))
    engine.dispose()
    (tmp_path / "empty.db").touch()
    (tmp_path / "members.csv").write_text("customer_id\n7\n", encoding="utf-8")
    (tmp_path / "short.db").write_bytes(b"SQLite")
    (tmp_path / "mart").mkdir()
    os.mkfifo(tmp_path / "pipe.db")
    return tmp_path


def connect(monkeypatch: pytest.MonkeyPatch, host: str, **extra: object) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": host, "extra": extra}))


@pytest.mark.parametrize("extra", [{}, {"mode": "ro"}, {"mode": "rwc"}, {"mode": "rw"}], ids=str)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing.db", "there is no SQLite file {}"),
        ("WH.db", "there is no SQLite file {}"),
        ("wh.db ", "there is no SQLite file {}"),
        ("nowhere/wh.db", "there is no SQLite file {}"),
        ("wh.db/wh.db", "there is no SQLite file {}"),
        ("pipe.db", "there is no SQLite file {}"),
        ("mart", "{} is a folder, and no SQLite file"),
        ("empty.db", "the SQLite file {} is empty, and has no table"),
        ("members.csv", "{} is not a SQLite database"),
        ("short.db", "{} is not a SQLite database"),
    ],
)
def test_what_is_no_warehouse_is_refused_and_nothing_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str, extra: dict[str, Any]
) -> None:
    before = {each: each.stat().st_size for each in folder.rglob("*")}
    connect(monkeypatch, f"{folder}/{name}", **extra)
    words = []
    for look in (database_engine_of, warehouse_says):
        with pytest.raises(ConnectionUnusable) as caught:
            look("warehouse")
        words.append(str(caught.value))
    sentence = f"{said.format(f'{folder}/{name}')}: correct the host of connection 'warehouse', or load the file"
    assert words == [sentence, sentence]
    assert {each: each.stat().st_size for each in folder.rglob("*")} == before


@pytest.mark.parametrize("uri", ["sqlite:///nowhere/wh.db", "sqlite://%2Fnowhere%2Fwh.db", "sqlite:////nowhere/wh.db"])
def test_an_address_in_place_of_fields_is_refused_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nowhere").mkdir()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", uri)
    with pytest.raises(ConnectionUnusable, match=r"there is no SQLite file /*nowhere/wh\.db: correct the host"):
        database_engine_of("warehouse")
    assert list(tmp_path.rglob("*.db")) == []


@pytest.mark.parametrize(
    ("host", "extra"),
    [
        ("{}/wh.db", {}),
        ("{}/wh.db", {"mode": "ro"}),
        ("{}/wh.db", {"cache": "private"}),
        ("{}/mart/../wh.db", {}),
        ("file:{}/wh.db", {"uri": "true"}),
    ],
)
def test_a_warehouse_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch, host: str, extra: dict[str, Any]) -> None:
    connect(monkeypatch, host.format(folder), **extra)
    engine = database_engine_of("warehouse")
    assert list(read_rows(engine, SQL, {})) == [[7]]
    engine.dispose()


def test_a_database_in_memory_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, ":memory:")
    engine = database_engine_of("warehouse")
    assert list(read_rows(engine, "SELECT 7 AS customer_id", {})) == [[7]]
    engine.dispose()


def test_a_run_plans_nothing_and_leaves_no_file(place: Place, tmp_path: Path) -> None:
    place.connect("warehouse", conn_type="sqlite", host=f"{tmp_path}/mistyped.db")
    operator = PlanBadgesOperator(task_id="plan", sql=SQL, **BADGE)
    with pytest.raises(
        Exception, match=r"ConnectionUnusable: there is no SQLite file .*/mistyped\.db: correct the host"
    ):
        operator.execute(place.context())
    assert not (tmp_path / "mistyped.db").exists()
