"""Who looks: only DAGs whose runs they may read, whatever the address says; and who may change something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.models.batch_apis import IsAuthorizedDagRequest
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.models.dag import DagModel
from fastapi import HTTPException, Request

from capillary.ui import access

USER: Any = object()


class Rights:
    """An auth manager: three DAGs may be read, the runs of two of them."""

    def __init__(self, runs: frozenset[str] = frozenset({"gold_tier", "badge_upkeep"})) -> None:
        self.runs = runs

    def get_authorized_dag_ids(self, *, user: object, method: str) -> set[str]:
        assert (user, method) == (USER, "GET")
        return {"gold_tier", "badge_upkeep", "monthly_streak"}

    def batch_is_authorized_dag(self, requests: Sequence[IsAuthorizedDagRequest], *, user: object) -> bool:
        assert user is USER
        assert {(each["method"], each["access_entity"]) for each in requests} == {("GET", DagAccessEntity.RUN)}
        return all(each["details"] is not None and each["details"].id in self.runs for each in requests)


def request(query: str = "", headers: dict[str, str] | None = None, **path: str) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request(
        {
            "type": "http",
            "method": "POST",
            "scheme": "http",
            "path": "/",
            "server": ("airflow", 80),
            "query_string": query.encode(),
            "headers": raw,
            "path_params": path,
        }
    )


@pytest.fixture(autouse=True)
def rights(monkeypatch: pytest.MonkeyPatch) -> Rights:
    made = Rights()
    monkeypatch.setattr(access, "get_auth_manager", lambda: made)
    monkeypatch.setattr(DagModel, "get_dag_id_to_team_name_mapping", lambda _: {})
    return made


@pytest.mark.parametrize("query", ["", "dag_id=gold_tier", "dag_id=monthly_streak"])
def test_a_dag_whose_runs_they_may_not_read_is_none_of_theirs(query: str) -> None:
    assert access.reader(request(query), USER).dag_ids == {"gold_tier", "badge_upkeep"}


@pytest.mark.parametrize("query", ["", "dag_id=gold_tier"])
def test_the_page_of_a_run_asks_for_the_dag_in_its_path(query: str) -> None:
    assert "gold_tier" in access.reader(request(query, dag_id="gold_tier"), USER).dag_ids
    with pytest.raises(HTTPException) as refused:
        access.reader(request(query, dag_id="monthly_streak"), USER)
    assert refused.value.status_code == 403


def test_who_may_read_no_runs_sees_no_page(rights: Rights) -> None:
    rights.runs = frozenset()
    with pytest.raises(access.NothingToSee):
        access.reader(request("dag_id=gold_tier"), USER)


SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.mark.parametrize(
    ("host", "origin", "fits"),
    [
        ("airflow:8080", "https://airflow.company.example", True),
        ("airflow:8080", "https://airflow.company.example:443", True),
        ("airflow.company.example:443", "https://airflow.company.example", True),
        ("other.example", "https://other.example", True),
        ("airflow:8080", "https://evil.example", False),
        ("airflow:8080", "http://airflow.company.example", False),
        ("airflow:8080", "https://airflow.company.example:8443", False),
        ("airflow:8080", "https://airflow.company.example.evil.example", False),
        ("airflow:8080", "https://airflow.company.example@evil.example", False),
        ("airflow:8080", "null", False),
        ("airflow:8080", "https://[", False),
    ],
)
def test_a_call_comes_from_airflows_host_or_its_base_url(
    host: str, origin: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(headers=SAME | {"Host": host, "Origin": origin})
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.company.example/airflow")
    if fits:
        access.assert_from_here(asked)
        return
    with pytest.raises(HTTPException, match="base_url"):
        access.assert_from_here(asked)


@pytest.mark.parametrize(
    "said", ["application/json", "Application/JSON", "application/json; charset=utf-8", " application/json ;x=y"]
)
def test_json_is_spelt_as_airflows_audit_log_looks_for_it(said: str) -> None:
    asked = request(headers={"Content-Type": said})
    access.assert_logged_as_sent(asked)
    assert asked.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "said", ["text/plain", "application/vnd.api+json", "text/plain; x=application/json", "application/jsonx", None]
)
def test_what_airflows_audit_log_would_not_read_is_refused(said: str | None) -> None:
    with pytest.raises(HTTPException) as refused:
        access.assert_logged_as_sent(request(headers={"Content-Type": said} if said else {}))
    assert refused.value.status_code == 415


@pytest.mark.parametrize("query", ["account=other", "dag_id=x&run_id=y", "x"])
def test_an_order_with_a_query_is_refused(query: str) -> None:
    with pytest.raises(HTTPException, match="takes no query") as refused:
        access.assert_logged_as_sent(request(query, {"Content-Type": "application/json"}))
    assert refused.value.status_code == 422
