"""Every route of the pages over HTTP, by nobody and by each kind of user: Airflow decides who sees and does what."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from html import unescape
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx
import pytest
from fastapi.routing import APIRoute
from markupsafe import escape
from sqlalchemy import select

from capillary.ledger.database import Ledger
from capillary.ledger.request_rows import Seen, record_sighting
from capillary.ledger.schema import badge_stop
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome
from capillary.ledger.stops import Scope, order_stop
from capillary.ui.app import pages
from capillary.ui.rendering import HEADERS, PLACE
from tests.pages.auth import NARROW, THEIRS
from tests.pages.server import ApiServer, running_server
from tests.unit.ledger.orders import ORDER, SPEC, customers_of, plan, requests_of, send

RUN: Final = "manual__2026-11-26T10:00:00+00:00"
#: What a checker may write: nothing of it may run, or be a formula.
WORDS: Final = "=<img src=x onerror=alert(1)>"
FAILED, ENROLLED, OTHERS = 1_000_097, 1_000_001, 2_000_001
ALL: Final = (None, NARROW, "vic", "uma", "olga", "ada")
SAME_ORIGIN: Final = {"Sec-Fetch-Site": "same-origin"}
ACCOUNT: Final = {"account": SPEC.account}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with running_server() as server:
        fill(server)
        yield server


def fill(server: ApiServer) -> None:
    """One run of gold_tier with a rejected request, and one of new_arrivals; Airflow knows the first."""
    gold = replace(ORDER, dag_id="gold_tier", campaign="gold_tier", run_id=RUN, capillary_conn_id="capillary")
    with Ledger(f"sqlite:///{server.ledger}") as ledger:
        planned = plan(ledger, [ENROLLED, FAILED], gold)
        (request,) = requests_of(ledger, planned)
        send(ledger, request.id)
        with ledger.write() as tx:
            record_sighting(
                tx, request.id, Seen("p-1", "rejected", decided=True, auto_approved=False, checker_message=WORDS)
            )
            endings = dict.fromkeys(customers_of(ledger, request.id), Ending(Outcome.REJECTED))
            settle(tx, request.id, sightings_read=["p-1"], endings=endings)
        plan(
            ledger,
            [OTHERS],
            replace(gold, dag_id=THEIRS, campaign=THEIRS, run_id="theirs", spec=replace(SPEC, account="other/1")),
        )
    body: dict[str, object] = {"dag_run_id": RUN, "logical_date": None, "conf": {}}
    assert server.client("ada").post("/api/v2/dags/gold_tier/dagRuns", json=body).status_code == 200


#: route → its address, and the status for each of `ALL`.
TABLE: Final[dict[tuple[str, str], tuple[str, tuple[int, ...]]]] = {
    ("GET", "/"): ("/", (307,) * 6),
    ("GET", "/badges"): ("/badges", (401, 200, 200, 200, 200, 200)),
    ("GET", "/customer"): ("/customer", (401, 200, 200, 200, 200, 200)),
    ("GET", "/runs/{dag_id}/{run_id}"): (f"/runs/gold_tier/{RUN}", (401, 403, 200, 200, 200, 200)),
    ("GET", "/runs/{dag_id}/{run_id}/failed.csv"): (
        f"/runs/gold_tier/{RUN}/failed.csv",
        (401, 403, 200, 200, 200, 200),
    ),
    ("GET", "/confirm/{action}/{dag_id}/{run_id}"): (
        f"/confirm/retry/gold_tier/{RUN}",
        (401, 403, 403, 200, 200, 200),
    ),
    ("GET", "/confirm/stop/{connection_id}"): (
        f"/confirm/stop/capillary?account={SPEC.account}",
        (401, 403, 403, 403, 200, 200),
    ),
    ("GET", "/confirm/resume/{connection_id}"): (
        f"/confirm/resume/capillary?account={SPEC.account}",
        (401, 403, 403, 403, 200, 200),
    ),
    ("POST", "/stop/{connection_id}"): ("/stop/capillary", (401, 403, 403, 403, 200, 200)),
    ("POST", "/resume/{connection_id}"): ("/resume/capillary", (401, 403, 403, 403, 200, 200)),
}
BODIES: Final[dict[str, dict[str, str]]] = {
    "/stop/capillary": ACCOUNT | {"reason": "a test"},
    "/resume/capillary": ACCOUNT,
}


def ask(server: ApiServer, user: str | None, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401 - httpx's
    return server.client(user).request(method, f"/capillary{path}", **more)


def at(place: object) -> dict[str, str]:
    """Return the header in which the module sends what stands behind the # of an address."""
    return {PLACE: quote(str(place))}


def test_the_table_names_every_route() -> None:
    served = {
        (method, route.path) for route in pages().routes if isinstance(route, APIRoute) for method in route.methods
    }
    assert served == set(TABLE)


@pytest.mark.parametrize("user", ALL, ids=str)
@pytest.mark.parametrize("route", TABLE, ids=" ".join)
def test_a_route_answers_as_airflow_allows(server: ApiServer, route: tuple[str, str], user: str | None) -> None:
    path, statuses = TABLE[route]
    body = BODIES.get(path)
    asked = {"headers": at(FAILED)} if path == "/customer" else {"json": body} if body else {}
    reply = ask(server, user, route[0], path, **asked)
    assert reply.status_code == statuses[ALL.index(user)], reply.text
    if reply.status_code in {401, 403}:
        # A page may name what was asked for: in its sentence, and in the address to come back to after the login.
        told = re.sub(r'href="[^"]*next=[^"]*"', "", reply.text).replace("runs of gold_tier", "")
        assert "gold_tier" not in told
        assert str(FAILED) not in reply.text
    if route != ("GET", "/"):
        assert reply.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
        assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["shell.js", "pages.css", "badge.svg"])
def test_what_holds_nothing_of_anybody_is_open(server: ApiServer, name: str) -> None:
    reply = ask(server, None, "GET", f"/static/{name}")
    assert (reply.status_code, reply.headers["Cache-Control"]) == (200, "no-cache")


def test_a_page_shows_the_campaigns_that_its_reader_may_see_and_no_others(server: ApiServer) -> None:
    narrow, wide = (ask(server, user, "GET", "/badges").text for user in (NARROW, "vic"))
    assert THEIRS in narrow
    assert "gold_tier" not in narrow
    assert SPEC.account not in narrow
    assert THEIRS in wide
    assert "gold_tier" in wide


def test_what_airflow_alone_knows_is_a_matter_for_a_person(server: ApiServer) -> None:
    """Every example campaign is live and paused, housekeeping has never run, and one file does not load any more."""
    with closing(sqlite3.connect(server.airflow_db)) as airflow, airflow:
        airflow.execute("UPDATE dag SET is_stale = 1, has_import_errors = 1 WHERE dag_id = 'monthly_streak'")
    text = ask(server, "vic", "GET", "/badges").text
    assert "monthly_streak: the campaign&#39;s file does not load" in text
    assert "monthly_streak: live, and its DAG is paused" not in text
    assert "gold_tier: live, and its DAG is paused" in text
    assert "badge_upkeep has not ended well yet" in text
    assert "gold_tier: live, and its DAG is paused" not in ask(server, NARROW, "GET", "/badges").text
    with closing(sqlite3.connect(server.airflow_db)) as airflow, airflow:
        airflow.execute("UPDATE dag SET is_stale = 1, has_import_errors = 0 WHERE dag_id = 'monthly_streak'")
    assert "monthly_streak" not in ask(server, "vic", "GET", "/badges").text, "its file is gone"


def test_a_run_that_failed_before_planning_is_a_matter_with_its_reason(server: ApiServer) -> None:
    """As a task of ours leaves it: its reason as an XCom, itself failed, and its run."""
    why, run, task = "Stopped: sending is stopped by ann", "dry", "extract_eligible_customers"
    address = f"/api/v2/dags/new_arrivals/dagRuns/{run}"
    ada = server.client("ada")
    ada.post("/api/v2/dags/new_arrivals/dagRuns", json={"dag_run_id": run, "logical_date": None}).raise_for_status()
    entry = {"key": "failure", "value": why, "map_index": -1}
    ada.post(f"{address}/taskInstances/{task}/xcomEntries", json=entry).raise_for_status()
    ada.patch(f"{address}/taskInstances/{task}", json={"new_state": "failed"}).raise_for_status()
    ada.patch(address, json={"state": "failed"}).raise_for_status()
    link = f'href="/dags/new_arrivals/runs/{run}/tasks/{task}"'
    for user in (NARROW, "vic"):
        text = ask(server, user, "GET", "/badges").text
        assert f"new_arrivals: the last run failed in {task}" in text
        assert why in text
        assert link in text
        page = ask(server, user, "GET", f"/runs/new_arrivals/{run}").text
        assert f"Task {task}: {why}." in page
        assert link in page
    ada.patch(address, json={"state": "success"}).raise_for_status()
    assert "the last run failed" not in ask(server, "vic", "GET", "/badges").text


def test_a_file_that_does_not_load_is_a_matter_for_whoever_airflow_shows_it_to(server: ApiServer) -> None:
    noted = [
        (1, "silver.py", '  File "silver.py", line 1\n    BadgeCampaign(…)\nCampaignInvalid: reference_id: Give text'),
        (2, "gold_tier.py", "KeyError: 'gold'"),
        (3, "badge_upkeep.py", "KeyError: 'not a campaign'"),
        (4, "gone.py", "KeyError: 'on no host'"),
    ]
    with closing(sqlite3.connect(server.airflow_db)) as airflow, airflow:
        [bundle] = {row[0] for row in airflow.execute("SELECT bundle_name FROM dag")}
        rows = [(each, file, bundle, trace) for each, file, trace in noted]
        airflow.executemany(
            "INSERT INTO import_error (id, filename, bundle_name, stacktrace) VALUES (?, ?, ?, ?)", rows
        )
        airflow.execute("UPDATE dag SET has_import_errors = 1 WHERE dag_id = 'gold_tier'")
    try:
        wide, narrow = (unescape(ask(server, user, "GET", "/badges").text) for user in ("vic", NARROW))
    finally:
        with closing(sqlite3.connect(server.airflow_db)) as airflow, airflow:
            airflow.execute("DELETE FROM import_error")
            airflow.execute("UPDATE dag SET has_import_errors = 0 WHERE dag_id = 'gold_tier'")
    assert "silver.py (line 1) does not load" in wide
    assert "CampaignInvalid: reference_id: Give text. Airflow has no DAG of this file" in wide
    assert "gone.py does not load" in wide, "nobody can tell that it is none of ours"
    assert "gold_tier: the campaign's file (gold_tier.py) does not load" in wide
    assert "KeyError: 'gold'." in wide
    assert "none until its file loads" in wide
    assert "not a campaign" not in wide
    assert "gold" not in narrow
    assert "silver.py (line 1) does not load" in narrow, "Airflow shows them its error, too"


def test_an_order_page_names_the_runs_that_airflow_has_not_ended(server: ApiServer) -> None:
    """As Airflow keeps them: the run itself is queued, and another tab may have given the same order."""
    path = f"/confirm/retry/gold_tier/{RUN}?take=-&take=rejected%3Anone"
    runs, ada = "/api/v2/dags/gold_tier/dagRuns", server.client("ada")

    def page() -> tuple[str, str | None]:
        text = unescape(ask(server, "ada", "GET", path).text)
        found = re.search(r'data-as-of="([0-9a-f]{16})"', text)
        return text, found and found[1]

    text, first = page()
    assert first is not None
    assert f"has planned already, which is counted here: {RUN}." in text
    again = {"dry_run": False, "retry_outcomes": ["rejected"], "canary": True, "customer_cap": None, "note": "Ann's."}
    for run, conf in (("dry", {"dry_run": True}), ("second", again)):
        ada.post(runs, json={"dag_run_id": run, "logical_date": None, "conf": conf}).raise_for_status()
        text, as_of = page()
        given = "This order was given already: second of gold_tier has the same form, and has not planned yet." in text
        assert given is (run == "second")
        assert as_of != first, "a run was made since"
    ada.patch(f"{runs}/second", json={"state": "failed"}).raise_for_status()
    text, as_of = page()
    assert "given already" not in text
    assert as_of not in {None, first}
    for run in ("dry", "second"):
        ada.delete(f"{runs}/{run}").raise_for_status()
    assert page()[1] == first


def test_a_customer_is_shown_in_the_campaigns_that_its_reader_may_see(server: ApiServer) -> None:
    assert "gold_tier" in ask(server, "vic", "GET", "/customer", headers=at(FAILED)).text
    assert "gold_tier" not in ask(server, NARROW, "GET", "/customer", headers=at(FAILED)).text
    unseen = ask(server, NARROW, "GET", "/customer", headers=at(FAILED)).text
    assert "No campaign that you may see has planned this customer" in unseen
    assert THEIRS in ask(server, NARROW, "GET", "/customer", headers=at(OTHERS)).text


@pytest.mark.parametrize("asked", ["12x", "-1", "0", "9" * 19, "9" * 40, "<b>1</b>", "٣"])
def test_what_is_no_customer_id_is_said_so(server: ApiServer, asked: str) -> None:
    reply = ask(server, "vic", "GET", "/customer", headers=at(asked))
    assert reply.status_code == 200
    assert "is not a customer id" in reply.text
    assert "<b>1</b>" not in reply.text


def test_a_checkers_words_are_words(server: ApiServer) -> None:
    for path in (f"/runs/gold_tier/{RUN}", "/customer"):
        text = ask(server, "vic", "GET", path, headers=at(FAILED) if path == "/customer" else {}).text
        assert "&lt;img src=x onerror=alert(1)&gt;" in text
        assert "<img" not in text
    lines = ask(server, "vic", "GET", f"/runs/gold_tier/{RUN}/failed.csv").text.splitlines()
    assert lines[0].startswith("customer_id,outcome,code,")
    assert [line.split(",")[:4] for line in lines[1:]] == [
        [str(customer), "rejected", "", f"'{WORDS}"] for customer in (ENROLLED, FAILED)
    ]


@pytest.mark.parametrize("place", ["x", "1-", "1-99999999999999999999", "-1--2", "1_0-2", "٣-٤", "1-2-3"])
def test_what_is_no_place_in_the_list_is_not_found(server: ApiServer, place: str) -> None:
    reply = ask(server, "vic", "GET", f"/runs/gold_tier/{RUN}", headers=at(place))
    assert reply.status_code == 404
    assert "is not a place in the list" in reply.text


@pytest.mark.parametrize("query", ["dag_id=gold_tier", f"dag_id={THEIRS}"])
def test_a_dag_in_the_query_shows_nobody_more(server: ApiServer, query: str) -> None:
    page = ask(server, NARROW, "GET", f"/badges?{query}")
    assert page.status_code == 200
    assert "gold_tier" not in page.text
    assert THEIRS in page.text
    assert ask(server, NARROW, "GET", f"/runs/gold_tier/{RUN}?{query}").status_code == 403


def test_the_customers_go_on_where_the_page_before_has_ended(server: ApiServer) -> None:
    first = ask(server, "vic", "GET", f"/runs/gold_tier/{RUN}").text
    assert f"#{ENROLLED}" in first
    assert f"#{FAILED}" in first
    rest = ask(server, "vic", "GET", f"/runs/gold_tier/{RUN}", headers=at(f"1-{ENROLLED}")).text
    assert f"#{ENROLLED}" not in rest
    assert f"#{FAILED}" in rest
    assert "The first customers" in rest


def test_no_address_of_a_page_holds_a_customers_id(server: ApiServer) -> None:
    """Servers log addresses; what stands behind the # a browser keeps to itself."""
    for path, headers in ((f"/runs/gold_tier/{RUN}", {}), ("/customer", at(FAILED)), ("/badges", {})):
        text = ask(server, "vic", "GET", path, headers=headers).text
        addresses = re.findall(r'(?:href|action|src|data-post|data-then)="([^"]*)"', text)
        assert addresses
        assert [each for each in addresses if str(FAILED) in each.partition("#")[0]] == []


def test_a_run_that_nobody_knows_is_not_found(server: ApiServer) -> None:
    assert ask(server, "ada", "GET", "/runs/gold_tier/none").status_code == 404
    assert ask(server, "ada", "GET", "/runs/none/none").status_code == 403, "whether there is such a DAG is not told"
    assert ask(server, "ada", "GET", f"/runs/gold_tier/{RUN}", headers=at("x")).status_code == 404
    assert ask(server, "ada", "GET", f"/confirm/delete/gold_tier/{RUN}").status_code == 422
    missing = ask(server, None, "GET", "/static/none.js")
    assert (missing.status_code, 'href="/capillary/badges"' in missing.text) == (404, True)
    assert 'src="/capillary/static/shell.js"' in missing.text


def test_who_logs_in_by_an_error_page_comes_back_to_the_page(server: ApiServer) -> None:
    said = ask(server, None, "GET", "/badges").text
    link = re.search(r'href="([^"]*/auth/login[^"]*)"', said)
    assert link is not None
    reply = server.client(None).get(unescape(link[1]))
    assert reply.status_code == 307
    assert parse_qs(urlsplit(reply.headers["location"]).query)["next"] == ["/capillary/badges"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
    ids=["another site", "a sibling site", "another origin", "a lie", "a sandboxed frame"],
)
@pytest.mark.parametrize("path", BODIES)
def test_another_sites_page_stops_and_resumes_nothing(server: ApiServer, path: str, headers: dict[str, str]) -> None:
    reply = ask(server, "ada", "POST", path, json=BODIES[path], headers=headers)
    assert reply.status_code == 403
    assert "Only Airflow's own pages" in reply.json()["detail"]


def test_the_cookie_alone_is_no_word_of_a_page_of_ours(server: ApiServer) -> None:
    token = server.client("ada").headers["Authorization"].removeprefix("Bearer ")
    with httpx.Client(base_url=server.url, cookies={"_token": token}, trust_env=False) as browser:
        body = BODIES["/stop/capillary"]
        assert browser.post("/capillary/stop/capillary", json=body).status_code == 403
        form = browser.post("/capillary/stop/capillary", data=body, headers=SAME_ORIGIN)
        assert form.status_code == 415, "a form of another site cannot send JSON"
        assert browser.post("/capillary/stop/capillary", json=body, headers=SAME_ORIGIN).status_code == 200
        assert browser.post("/capillary/resume/capillary", json=ACCOUNT, headers=SAME_ORIGIN).status_code == 200


def test_a_stop_is_in_the_ledger_and_in_airflows_audit_log(server: ApiServer) -> None:
    body = ACCOUNT | {"reason": "  The list is wrong.  "}
    said = ask(server, "olga", "POST", "/stop/capillary", json=body).json()["detail"]
    assert said.startswith(f"stopped every campaign of {SPEC.account} by olga in Airflow")
    assert stopped(server) == [(SPEC.account, "olga in Airflow", "The list is wrong.")]
    page = ask(server, "vic", "GET", "/badges").text
    assert "sending is stopped" in page
    assert "The list is wrong." in page
    assert "Resume…" not in page
    assert "Resume…" in ask(server, "olga", "GET", "/badges").text
    resume = f"/confirm/resume/capillary?account={SPEC.account}"
    said = ask(server, "ada", "GET", resume).text
    assert "The stop that olga in Airflow ordered ends" in said
    assert "Its reason: The list is wrong." in said
    assert "so does a submit that somebody clears" not in said
    assert "A run that has given back what it had not sent sends no more of it when its submit is cleared" in said
    assert ask(server, "olga", "POST", "/resume/capillary", json=ACCOUNT).json()["detail"].startswith("resumed")
    said = ask(server, "ada", "GET", resume).text
    assert "or somebody has resumed it since" in said
    assert "data-post=" not in said
    assert stopped(server) == []
    assert ask(server, "olga", "POST", "/resume/capillary", json=ACCOUNT).json()["detail"] == "nothing was stopped"
    log = server.client("ada").get("/api/v2/eventLogs?limit=100&order_by=-event_log_id").json()["event_logs"]
    of_olga = [each for each in log if each["owner"] == "olga"][:3]
    assert [each["event"] for each in of_olga] == ["badges.resume", "badges.resume", "badges.stop"]
    assert json.loads(of_olga[-1]["extra"])["account"] == SPEC.account


def test_a_stop_of_one_campaign_is_resumed_where_it_is_told(server: ApiServer) -> None:
    scope = Scope(SPEC.account, "gold_tier")
    with Ledger(f"sqlite:///{server.ledger}") as ledger:
        order_stop(ledger, scope, by="somebody", reason="a look first")
    address = f"/confirm/resume/capillary?{urlencode({'account': scope.account, 'campaign': scope.campaign})}"
    assert f'href="/capillary{escape(address)}"' in ask(server, "ada", "GET", "/badges").text
    assert "/confirm/resume" not in ask(server, "uma", "GET", "/badges").text
    assert "campaign &#39;gold_tier&#39; of" in ask(server, "ada", "GET", address).text
    ask(server, "ada", "POST", "/resume/capillary", json=ACCOUNT | {"campaign": scope.campaign})
    assert stopped(server) == []


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (ACCOUNT, 422, "reason"),
        (ACCOUNT | {"reason": " "}, 422, "reason"),
        (ACCOUNT | {"reason": "x" * 501}, 422, "reason"),
        (ACCOUNT | {"reason": "two\nlines"}, 422, "in one line"),
        (ACCOUNT | {"reason": "x", "campaign": "gold_tier"}, 422, "campaign"),
        (ACCOUNT | {"reason": "x", "dag_id": "gold_tier"}, 422, "dag_id"),
        ({"account": "nobody/1", "reason": "x"}, 404, "does not lead to account"),
        ({"account": "other/1", "reason": "x", "more": 1}, 422, "more"),
    ],
    ids=["no reason", "blank", "long", "two lines", "a field too many", "a DAG", "another account", "an unknown field"],
)
def test_a_stop_that_cannot_be_given_is_refused_and_changes_nothing(
    server: ApiServer, body: dict[str, str], status: int, said: str
) -> None:
    reply = ask(server, "ada", "POST", "/stop/capillary", json=body)
    assert reply.status_code == status
    assert said in reply.json()["detail"]
    assert stopped(server) == []
    log = server.client("ada").get("/api/v2/eventLogs?limit=100&order_by=-event_log_id").json()["event_logs"]
    logged = [json.loads(each["extra"]) for each in log if each["event"] == "badges.stop"]
    assert (body | {"connection_id": "capillary", "method": "POST"} in logged) is (status == 404)


@pytest.mark.parametrize(
    ("query", "content_type", "status"),
    [
        ("?account=other/1&reason=routine", "application/json", 422),
        ("?dag_id=gold_tier&run_id=x", "application/json", 422),
        ("", "application/vnd.api+json", 415),
        ("", "text/plain", 415),
    ],
    ids=["another account", "a run", "another JSON", "text"],
)
def test_an_order_that_the_audit_log_would_not_have_as_sent_is_refused(
    server: ApiServer, query: str, content_type: str, status: int
) -> None:
    body = json.dumps(ACCOUNT | {"reason": "another one"})
    headers = {"Content-Type": content_type}
    assert ask(server, "ada", "POST", f"/stop/capillary{query}", content=body, headers=headers).status_code == status
    assert stopped(server) == []
    log = server.client("ada").get("/api/v2/eventLogs?limit=100&order_by=-event_log_id").json()["event_logs"]
    assert not [each for each in log if "another one" in (each["extra"] or "")]


def test_any_spelling_of_json_is_in_the_audit_log(server: ApiServer) -> None:
    body = json.dumps(ACCOUNT | {"reason": "in capitals"})
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert ask(server, "ada", "POST", "/stop/capillary", content=body, headers=headers).status_code == 200
    assert ask(server, "ada", "POST", "/resume/capillary", json=ACCOUNT).status_code == 200
    log = server.client("ada").get("/api/v2/eventLogs?limit=100&order_by=-event_log_id").json()["event_logs"]
    assert [json.loads(each["extra"])["account"] for each in log if "in capitals" in (each["extra"] or "")] == [
        SPEC.account
    ]


def stopped(server: ApiServer) -> list[tuple[str, str, str]]:
    columns = badge_stop.c
    in_force = select(columns.account, columns.stopped_by, columns.reason).where(columns.stopped_at.is_not(None))
    with Ledger(f"sqlite:///{server.ledger}") as ledger, ledger.read() as tx:
        return [tuple(row) for row in tx.conn.execute(in_force)]
