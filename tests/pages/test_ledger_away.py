"""A ledger that is unknown, hanging, missing or old: the page says so in time, and the rest of Airflow goes on."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import httpx
import pytest

from capillary.ui.reading import ANSWER_WITHIN_S, PLACES
from tests.pages.server import ApiServer, running_server

#: On a machine that is busy with other tests; the ledger itself is waited for no longer than three seconds.
SLACK_S = 4.0


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with running_server(AIRFLOW_CONN_BADGE_LEDGER="") as server:
        yield server


@contextmanager
def silent_host() -> Iterator[int]:
    """Yield a port on which everybody is let in and nobody is answered."""
    inside: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as host:

        def let_in() -> None:
            while True:
                try:
                    inside.append(host.accept()[0])
                except OSError:
                    return

        threading.Thread(target=let_in, daemon=True).start()
        yield host.getsockname()[1]
    for each in inside:
        each.close()


def connect(server: ApiServer, **connection: object) -> None:
    """Define the connection as a person does, under Admin, Connections."""
    client = server.client("ada")
    client.delete("/api/v2/connections/badge_ledger")
    body = {"connection_id": "badge_ledger", **connection}
    client.post("/api/v2/connections", json=body).raise_for_status()


def asked(server: ApiServer) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    reply = httpx.get(
        f"{server.url}/capillary/badges", headers=server.client("ada").headers, timeout=30, trust_env=False
    )
    return reply, time.monotonic() - began


def test_the_page_says_what_is_wrong_with_the_ledger_until_it_is_right(server: ApiServer) -> None:
    reply, _ = asked(server)
    assert (reply.status_code, "AIRFLOW_CONN_BADGE_LEDGER" in reply.text) == (503, True)
    assert "data-renew" in reply.text, "it looks again by itself"

    with silent_host() as port:
        connect(server, conn_type="postgres", host="127.0.0.1", port=port, schema="ledger", login="u", password="p")
        with ThreadPoolExecutor(PLACES + 2) as people:
            waiting = [people.submit(asked, server) for _ in range(PLACES + 1)]
            time.sleep(0.5)
            began = time.monotonic()
            assert server.client("vic").get("/api/v2/dags").status_code == 200
            assert time.monotonic() - began < ANSWER_WITHIN_S, "Airflow's own pages do not wait"
            answers = [each.result() for each in waiting]
        assert {reply.status_code for reply, _ in answers} == {503}
        assert max(took for _, took in answers) < ANSWER_WITHIN_S + SLACK_S
        said = " ".join(reply.text for reply, _ in answers)
        assert "did not answer within" in said or "does not answer" in said
        assert f"{PLACES} pages look into the ledger at this moment" in said

    connect(server, conn_type="sqlite", host=str(server.ledger.with_name("none.db")))
    assert until(server, "there is no SQLite file").status_code == 503

    with closing(sqlite3.connect(server.ledger)) as ledger, ledger:
        [was] = ledger.execute("SELECT version_num FROM badge_ledger_version").fetchone()
        ledger.execute("UPDATE badge_ledger_version SET version_num = '9999z'")
    connect(server, conn_type="sqlite", host=str(server.ledger))
    assert until(server, "which this code does not know").status_code == 503

    with closing(sqlite3.connect(server.ledger)) as ledger, ledger:
        ledger.execute("UPDATE badge_ledger_version SET version_num = ?", [was])
    assert until(server, "What needs a person now").status_code == 200


def until(server: ApiServer, said: str) -> httpx.Response:
    """Ask until the page says so: threads that hung come back one by one."""
    deadline = time.monotonic() + 60
    while said not in (reply := asked(server)[0]).text:
        assert time.monotonic() < deadline, reply.text
        time.sleep(0.5)
    return reply
