"""A campaign's query through Trino's own client and Airflow's provider, against a stand-in for the coordinator."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy import select
from urllib3.exceptions import InsecureRequestWarning

from capillary.connections.warehouse import database_engine_of
from capillary.engine.errors import LoginRefused, QueryInterrupted, QueryRefused
from capillary.engine.query_probe import Depth, probe_query
from capillary.engine.warehouse import read_rows
from capillary.ledger.schema import badge_enrolment
from capillary.operators import PlanBadgesOperator
from tests.certificates import Authority
from tests.glue.conftest import BADGE, Place
from tests.trino_server import Query, TrinoError, TrinoServer, running_trino

pytest.importorskip("trino", reason="Trino's client is not installed: requirements-dev.txt has it")
pytest.importorskip(
    "airflow.providers.trino.hooks.trino", reason="Airflow's provider for Trino is not installed: same file"
)

SQL = "SELECT customer_id FROM shop.mart.member WHERE tier = :tier ORDER BY joined_on"
MEMBERS = "SELECT customer_id FROM shop.mart.member"
SHUTTING_DOWN = TrinoError("SERVER_SHUTTING_DOWN", "INSUFFICIENT_RESOURCES", 131_083, "Server is shutting down")


@pytest.fixture
def trino() -> Iterator[TrinoServer]:
    with running_trino() as server:
        yield server


Connect = Callable[..., None]


@pytest.fixture
def connected(trino: TrinoServer, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return what defines the connection `warehouse`, to the stand-in unless it is told another server."""
    # The client waits 0.1 s, 0.2 s, … with jitter, before it asks a busy server again.
    monkeypatch.setattr("trino.client.sleep", lambda _: None)

    def connect(server: TrinoServer = trino, *, extra: dict[str, object] | None = None, **fields: object) -> None:
        facts = {"conn_type": "trino", "host": "127.0.0.1", "port": server.port, "login": "etl-robot", **fields}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(facts | {"extra": {"catalog": "shop"} | (extra or {})}))

    connect()
    return connect


@pytest.fixture
def place(place: Place, connected: Connect) -> Place:
    """Return everything around a task, with the stand-in as its warehouse."""
    connected()
    return place


def customers(sql: str = MEMBERS, rows: int = 50, **parameters: object) -> list[object]:
    engine = database_engine_of("warehouse")
    try:
        return [value for batch in read_rows(engine, sql, parameters, partition_rows=rows) for value in batch]
    finally:
        engine.dispose()


def page(*ids: object) -> list[list[object]]:
    return [[each] for each in ids]


def plan(place: Place, **changes: object) -> dict[str, Any]:
    arguments: dict[str, Any] = {"sql": SQL, "parameters": {"tier": "gold"}, **BADGE, **changes}
    return PlanBadgesOperator(task_id="extract", **arguments).execute(place.context("run", "extract"))


def test_a_query_is_planned_from_its_pages_distinct_and_in_order(place: Place, trino: TrinoServer) -> None:
    """Of 60 customers the query's first 45 are taken; two stand there twice, and two rows are nobody."""
    ids = [str(5_000 - each) for each in range(60)]
    pages = [[], page(*ids[:25]), page(*ids[25:50], ids[0]), [], page(ids[30], *ids[50:], "no id", None)]
    trino.query = Query(pages, columns=[("Customer_Id", "varchar")])
    reference = plan(place, customers_per_request=20, customer_cap=45)
    assert (reference["eligible"], reference["duplicates"], reference["invalid"]) == (64, 2, 2)
    assert (reference["planned"], reference["requests"], reference["over_cap"]) == (45, 3, 15)
    with place.ledger.read() as tx:
        held = tx.conn.execute(select(badge_enrolment.c.customer_id)).scalars().all()
    assert sorted(held, reverse=True) == [int(each) for each in ids[:45]]


@pytest.mark.usefixtures("connected")
def test_pages_are_read_as_they_are_asked_for_and_an_unread_query_is_cancelled(trino: TrinoServer) -> None:
    trino.query = Query([page(*range(at, at + 10)) for at in range(1, 1_001, 10)])
    engine = database_engine_of("warehouse")
    rows = read_rows(engine, MEMBERS, {}, partition_rows=10)
    assert next(rows) == list(range(1, 11))
    assert trino.pages_read() < 5
    assert isinstance(rows, Generator)
    rows.close()
    engine.dispose()
    assert [call.method for call in trino.calls if call.method == "DELETE"] == ["DELETE"]


@pytest.mark.usefixtures("connected")
def test_all_pages_are_read(trino: TrinoServer) -> None:
    trino.query = Query([page(*range(at, at + 10)) for at in range(1, 1_001, 10)])
    assert customers() == list(range(1, 1_001))
    assert not [call for call in trino.calls if call.method == "DELETE"]


@pytest.mark.parametrize(
    ("error", "becomes", "said"),
    [
        (TrinoError("TABLE_NOT_FOUND", "USER_ERROR", 46, "line 1:8: Table 'member' does not exist"), QueryRefused, ""),
        (TrinoError("SYNTAX_ERROR", "USER_ERROR", 1, "line 1:1: mismatched input"), QueryRefused, "mismatched input"),
        (TrinoError("PERMISSION_DENIED", "USER_ERROR", 4, "Access Denied: Cannot select"), QueryRefused, "Denied"),
        (TrinoError("INVALID_CAST_ARGUMENT", "USER_ERROR", 8, "Cannot cast 'a@b.example'"), QueryRefused, r"'\*\*\*'"),
        (TrinoError("USER_CANCELED", "USER_ERROR", 3, "Query was canceled"), QueryInterrupted, "canceled"),
        (TrinoError("ABANDONED_QUERY", "USER_ERROR", 6, "Query was abandoned"), QueryInterrupted, "abandoned"),
        (SHUTTING_DOWN, QueryInterrupted, "shutting down"),
        (
            TrinoError("EXCEEDED_GLOBAL_MEMORY_LIMIT", "INSUFFICIENT_RESOURCES", 131_075, "Query exceeded memory"),
            QueryInterrupted,
            "exceeded memory",
        ),
        (TrinoError("QUERY_QUEUE_FULL", "INSUFFICIENT_RESOURCES", 131_074, "Too many queued"), QueryInterrupted, ""),
        (TrinoError("GENERIC_INTERNAL_ERROR", "INTERNAL_ERROR", 65_536, "null"), QueryInterrupted, "null"),
        (TrinoError("HIVE_METASTORE_ERROR", "EXTERNAL", 16_777_216, "Metastore away"), QueryInterrupted, "away"),
    ],
    ids=lambda value: value.name if isinstance(value, TrinoError) else None,
)
@pytest.mark.parametrize("pages", [(), (page(1, 2), page(3))], ids=["at once", "after page 2"])
def test_an_error_is_judged_by_its_type_and_nobody_is_planned(
    place: Place,
    trino: TrinoServer,
    error: TrinoError,
    becomes: type[Exception],
    said: str,
    pages: tuple[list[list[object]], ...],
) -> None:
    trino.query = Query(pages, error=error)
    with pytest.raises(AirflowException, match=f"^{becomes.__name__}: .*{said}") as caught:
        plan(place)
    assert isinstance(caught.value, AirflowFailException) is (becomes is not QueryInterrupted)
    assert "a@b.example" not in str(caught.value)
    assert place.rows() == 0


def test_a_connection_that_is_lost_after_the_second_page_plans_nobody_and_the_next_try_everybody(
    place: Place, trino: TrinoServer
) -> None:
    pages = [page(*range(1, 4_001)), page(*range(4_001, 8_001))]
    trino.query = Query(pages, lost=True)
    with pytest.raises(AirflowException, match=r"^QueryInterrupted: .*failed to fetch"):
        plan(place)
    assert trino.pages_read() > 2, "the page that never came was asked for"
    assert place.rows() == 0
    trino.lost, trino.query = False, Query([*pages, page(*range(8_001, 8_101))])
    assert plan(place, override_guards=True)["planned"] == 8_100


@pytest.mark.parametrize(
    ("status", "becomes", "said"),
    [
        (401, LoginRefused, "error 401"),
        (403, LoginRefused, "error 403"),
        (404, QueryInterrupted, "error 404"),
        (429, QueryInterrupted, "error 429"),
        (500, QueryInterrupted, "error 500"),
        (502, QueryInterrupted, "error 502: bad gateway"),
        (503, QueryInterrupted, "error 503: service unavailable"),
        (504, QueryInterrupted, "error 504: gateway timeout"),
    ],
)
def test_an_error_of_http_is_judged_by_its_status(
    place: Place, trino: TrinoServer, status: int, becomes: type[Exception], said: str
) -> None:
    trino.status, trino.page = status, "Unauthorized: the token of a@b.example has run out"
    with pytest.raises(AirflowException, match=f"^{becomes.__name__}: .*{said}") as caught:
        plan(place)
    assert isinstance(caught.value, AirflowFailException) is (becomes is not QueryInterrupted)
    assert "a@b.example" not in str(caught.value)
    assert place.rows() == 0


def test_an_address_where_nobody_listens_passes(connected: Connect) -> None:
    connected(port=1)
    with pytest.raises(QueryInterrupted, match="failed to execute"):
        customers()


@pytest.mark.usefixtures("connected")
def test_a_page_in_place_of_json_passes(monkeypatch: pytest.MonkeyPatch, trino: TrinoServer) -> None:
    def gateway(*_: object) -> object:
        return "the page of a gateway", {}

    monkeypatch.setattr(trino, "posted", gateway)
    with pytest.raises(QueryInterrupted):
        customers()


@pytest.mark.parametrize("immediate", [True, False], ids=["EXECUTE IMMEDIATE", "PREPARE"])
def test_parameters_are_bound_as_the_client_does(
    connected: Connect, trino: TrinoServer, monkeypatch: pytest.MonkeyPatch, *, immediate: bool
) -> None:
    from trino import dbapi  # noqa: PLC0415 - it may be missing

    monkeypatch.setattr(dbapi, "must_use_legacy_prepared_statements", dbapi.TimeBoundLRUCache(1, 60))
    trino.immediate = immediate
    trino.query = Query([page(7, 8)])
    sql = "SELECT customer_id FROM m WHERE city = :city AND tier IN (:tiers) AND points > :points -- it's :none"
    assert customers(sql, city="St. John's :x ?", tiers=[2, 3], points=1.5) == [7, 8]
    probe, *asked = [" ".join(sql.split()) for sql in trino.statements()]
    assert probe == "EXECUTE IMMEDIATE 'SELECT 1'"
    text = "SELECT customer_id FROM m WHERE city = ? AND tier IN (?, ?) AND points > ? -- it"
    values = "'St. John''s :x ?',2,3,DOUBLE '1.5'"
    if immediate:
        assert asked == [f"EXECUTE IMMEDIATE '{text}''s :none' USING {values}"]
    else:
        name = asked[0].split(" ")[1]
        assert asked == [
            f"PREPARE {name} FROM {text}'s :none",
            f"EXECUTE {name} USING {values}",
            f"DEALLOCATE PREPARE {name}",
        ]
    assert all("St. John" not in call.path for call in trino.calls)
    connected()


@pytest.mark.usefixtures("connected")
def test_a_query_without_parameters_is_posted_as_it_stands(trino: TrinoServer) -> None:
    trino.query = Query([page(7)])
    assert customers("SELECT customer_id FROM member WHERE note = '100% :: ?'") == [7]
    assert trino.statements() == ["SELECT customer_id FROM member WHERE note = '100% :: ?'"]


def test_the_fields_of_the_connection_arrive_on_the_wire(connected: Connect, trino: TrinoServer) -> None:
    connected(
        schema="mart",
        extra={
            "catalog": "lake",
            "source": "badges",
            "session_properties": {"query_max_run_time": "10m"},
            "client_tags": ["loyalty", "nightly"],
            "timezone": "Asia/Kolkata",
            "roles": {"lake": "reader"},
            "extra_credential": [["region", "eu"]],
        },
    )
    trino.query = Query([page(7)])
    assert customers() == [7]
    headers = trino.calls[0].headers
    assert {name: value for name, value in headers.items() if name.startswith("X-Trino-")} == {
        "X-Trino-Catalog": "lake",
        "X-Trino-Schema": "mart",
        "X-Trino-Source": "badges",
        "X-Trino-User": "etl-robot",
        "X-Trino-Time-Zone": "Asia/Kolkata",
        "X-Trino-Role": "lake=ROLE%7Breader%7D",
        "X-Trino-Client-Tags": "loyalty,nightly",
        "X-Trino-Session": "query_max_run_time=10m",
        "X-Trino-Extra-Credential": "region=eu",
        "X-Trino-Transaction-Id": "NONE",
        "X-Trino-Client-Info": headers["X-Trino-Client-Info"],
        "X-Trino-Client-Capabilities": headers["X-Trino-Client-Capabilities"],
        "X-Trino-Query-Data-Encoding": headers["X-Trino-Query-Data-Encoding"],
    }


@pytest.mark.parametrize(
    ("fields", "extra", "sent"),
    [
        ({"password": "s3cret-word"}, {}, "Basic ZXRsLXJvYm90OnMzY3JldC13b3Jk"),
        ({}, {"auth": "jwt", "jwt__token": "header.claims.signature"}, "Bearer header.claims.signature"),
    ],
    ids=["password", "token"],
)
def test_over_tls_the_certificate_is_verified_unless_the_extra_says_otherwise(
    connected: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fields: dict[str, object],
    extra: dict[str, object],
    sent: str,
) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)  # requests prefers them to what a session was told
    authority = Authority(tmp_path)
    with running_trino(authority.serve()) as server:
        server.query = Query([page(7)])
        connected(server, extra={"protocol": "https", **extra}, **fields)
        with pytest.raises(QueryInterrupted, match="SSLCertVerificationError"):
            customers()
        assert server.calls == []
        connected(server, extra={"protocol": "https", "verify": str(authority.pem), **extra}, **fields)
        assert customers() == [7]
        connected(server, extra={"protocol": "https", "verify": False, **extra}, **fields)
        with pytest.warns(InsecureRequestWarning):
            assert customers() == [7]
        assert {call.headers["Authorization"] for call in server.calls} == {sent}


def test_a_password_is_not_sent_in_plain(connected: Connect, trino: TrinoServer) -> None:
    connected(password="s3cret-word")
    with pytest.raises(LoginRefused, match="TLS/SSL is required") as caught:
        customers()
    assert trino.calls == []
    assert "s3cret-word" not in str(caught.value)


def test_what_cannot_be_asked_without_a_run_is_said_so(connected: Connect, trino: TrinoServer) -> None:
    connected()
    engine = database_engine_of("warehouse")
    assert probe_query(engine, MEMBERS, {}) is Depth.NOTHING
    engine.dispose()
    assert trino.calls == []
