"""A stand-in for a Trino coordinator, as far as its HTTP protocol goes.

It speaks what https://trino.io/docs/current/develop/client-protocol.html says: a query is posted to `/v1/statement`,
each reply names the next page, and the query has ended where none is named. It understands no SQL: a test says which
rows a query has, in which pages, and what goes wrong after them.
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote_plus, unquote_plus

STATEMENT = "/v1/statement"
_WORD = re.compile(r"\S+")
#: What belongs to a type besides its name: text has a length.
_ARGUMENTS = {"varchar": [{"kind": "LONG", "value": 2_147_483_647}]}


@dataclass(frozen=True, slots=True)
class TrinoError:
    """What stands in place of a page (StandardErrorCode of Trino's SPI).

    Attributes:
        name: such as `TABLE_NOT_FOUND`.
        kind: `USER_ERROR`, `INTERNAL_ERROR`, `INSUFFICIENT_RESOURCES` or `EXTERNAL`.
        code: its number.
        message: for people.
    """

    name: str
    kind: str
    code: int
    message: str

    def as_json(self) -> dict[str, object]:
        """Return the field `error` of a reply."""
        return {
            "message": self.message,
            "errorCode": self.code,
            "errorName": self.name,
            "errorType": self.kind,
            "failureInfo": {"type": "io.trino.spi.TrinoException", "message": self.message, "suppressed": []},
        }


@dataclass(frozen=True, slots=True)
class Query:
    """What a query has.

    Attributes:
        pages: rows by page; an empty page is a query that is still at work.
        columns: name and type of each.
        error: comes after the last page.
        lost: after the last page the connection is closed without an answer, and so is every later one.
    """

    pages: Sequence[Sequence[Sequence[object]]] = ()
    columns: Sequence[tuple[str, str]] = (("customer_id", "bigint"),)
    error: TrinoError | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A call that arrived. `sql` is the body of a posted statement."""

    method: str
    path: str
    headers: Mapping[str, str]
    sql: str


@dataclass
class TrinoServer:
    """The coordinator.

    Attributes:
        query: what the next queries have.
        url: its address; `port` is part of it.
        immediate: whether it knows `EXECUTE IMMEDIATE`, which came with Trino 418.
        status: where it is no 200, the status of all replies, with `page` as their body.
        calls: all that arrived, in order.
    """

    query: Query = field(default_factory=Query)
    url: str = ""
    port: int = 0
    immediate: bool = True
    status: int = 200
    page: str = ""
    calls: list[Call] = field(default_factory=list)
    lost: bool = False
    _under_way: dict[str, Query] = field(default_factory=dict)

    def statements(self) -> list[str]:
        """Return every SQL text that was posted, in order."""
        return [call.sql for call in self.calls if call.method == "POST"]

    def pages_read(self) -> int:
        """Return how many pages of rows were asked for."""
        return sum("/executing/" in call.path and call.method == "GET" for call in self.calls)

    def posted(self, sql: str, prepared: str) -> tuple[dict[str, object], dict[str, str]]:
        """Take a statement; return the first reply and its headers."""
        query_id = f"20261126_000000_{len(self._under_way):05}_stand"
        word = (_WORD.match(sql) or [""])[0].upper()
        headers: dict[str, str] = {}
        query = self.query
        if word == "PREPARE":
            _, name, _, statement = sql.split(" ", 3)
            headers["X-Trino-Added-Prepare"] = f"{name}={quote_plus(statement)}"
            query = Query()
        elif word == "DEALLOCATE":
            headers["X-Trino-Deallocated-Prepare"] = sql.split(" ")[2]
            query = Query()
        elif sql.startswith("EXECUTE IMMEDIATE") and not self.immediate:
            query = Query(error=TrinoError("SYNTAX_ERROR", "USER_ERROR", 1, "mismatched input 'IMMEDIATE'"))
        elif sql == "EXECUTE IMMEDIATE 'SELECT 1'":
            query = Query([[[1]]], [("_col0", "integer")])
        elif word == "EXECUTE" and not sql.startswith("EXECUTE IMMEDIATE") and f"{sql.split(' ')[1]}=" not in prepared:
            query = Query(error=TrinoError("NOT_FOUND", "USER_ERROR", 12, "Prepared statement not found"))
        self._under_way[query_id] = query
        return self._reply(query_id, "QUEUED", following=f"queued/{query_id}/y0/1"), headers

    def page_of(self, path: str) -> dict[str, object] | None:
        """Return the page at a path; None where the connection is lost in its place."""
        state, query_id, _, token = path.removeprefix(f"{STATEMENT}/").split("/")
        query, at = self._under_way[query_id], int(token) if state == "executing" else 0
        if state == "queued":
            return self._reply(query_id, "RUNNING", following=f"executing/{query_id}/y1/0")
        if at < len(query.pages):
            following = f"executing/{query_id}/y1/{at + 1}"
            rows = {"data": [*query.pages[at]]} if query.pages[at] else {}
            return self._reply(query_id, "RUNNING", following=following, columns=query.columns) | rows
        if query.lost:
            self.lost = True
            return None
        if query.error is not None:
            return self._reply(query_id, "FAILED") | {"error": query.error.as_json()}
        return self._reply(query_id, "FINISHED", columns=query.columns)

    def _reply(
        self, query_id: str, state: str, *, following: str = "", columns: Sequence[tuple[str, str]] = ()
    ) -> dict[str, object]:
        reply: dict[str, object] = {
            "id": query_id,
            "infoUri": f"{self.url}/ui/query.html?{query_id}",
            "stats": {"state": state, "queued": state == "QUEUED", "scheduled": state != "QUEUED"},
            "warnings": [],
        }
        if columns:
            reply["columns"] = [
                {"name": name, "type": kind, "typeSignature": {"rawType": kind, "arguments": _ARGUMENTS.get(kind, [])}}
                for name, kind in columns
            ]
        return reply | ({"nextUri": f"{self.url}{STATEMENT}/{following}"} if following else {})


def _handler(server: TrinoServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sql = self.rfile.read(int(self.headers["Content-Length"])).decode()
            prepared = unquote_plus(self.headers.get("X-Trino-Prepared-Statement", ""))
            self._answer(sql, lambda: server.posted(sql, prepared))

        def do_GET(self) -> None:
            self._answer("", lambda: (server.page_of(self.path), {}))

        def do_DELETE(self) -> None:
            server.calls.append(Call("DELETE", self.path, dict(self.headers), ""))
            self._send(204, b"", {})

        def _answer(self, sql: str, reply: Callable[[], tuple[dict[str, Any] | None, dict[str, str]]]) -> None:
            server.calls.append(Call(self.command, self.path, dict(self.headers), sql))
            if server.status != 200:
                self._send(server.status, server.page.encode(), {"Content-Type": "text/plain"})
                return
            content, headers = (None, {}) if server.lost else reply()
            if content is None:
                self.close_connection = True
                return
            self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a test looks at the calls."""

    return Handler


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that does not like the certificate."""


@contextmanager
def running_trino(context: ssl.SSLContext | None = None) -> Iterator[TrinoServer]:
    """Yield a coordinator on a free port, behind TLS where a context is given."""
    server = TrinoServer()
    listener = _Quiet(("127.0.0.1", 0), _handler(server))
    if context is not None:
        listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
    server.port = listener.server_address[1]
    server.url = f"{'http' if context is None else 'https'}://127.0.0.1:{server.port}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join()
        with contextlib.suppress(OSError):
            listener.server_close()
