"""A task's way to Airflow: the installed supervisor's own code over a socket, before an API server that may be away."""

from __future__ import annotations

import inspect
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socketpair
from typing import Any

import msgspec
import psutil  # type: ignore[import-untyped]
import pytest
import structlog
from airflow.sdk.api import client as airflow_client
from airflow.sdk.execution_time import request_handlers, task_runner
from airflow.sdk.execution_time.comms import CommsDecoder, _RequestFrame
from airflow.sdk.execution_time.supervisor import ActivitySubprocess

#: Answers with a status, a content type and a body.
Say = tuple[int, str, str]
_NOT_FOUND: Say = (404, "application/json", '{"detail": {"reason": "not_found", "message": "no such connection"}}')

_FIELDS = dict.fromkeys(("host", "schema", "login", "password", "port", "extra"))


@dataclass
class ApiServer:
    """Airflow's execution API, as far as connections go.

    Attributes:
        connections: what it knows, by id.
        asked: ids in the order in which they were asked for.
        trouble: what is answered in place of a connection; None answers.
    """

    connections: dict[str, dict[str, object]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    trouble: Callable[[str], Say | None] = lambda _: None
    close: Callable[[], None] = lambda: None

    def answer(self, conn_id: str) -> Say:
        """Return what is said of a connection."""
        self.asked.append(conn_id)
        said = self.trouble(conn_id)
        if said is None and conn_id in self.connections:
            said = (200, "application/json", json.dumps(_FIELDS | {"conn_id": conn_id} | self.connections[conn_id]))
        return said or _NOT_FOUND


@contextmanager
def supervised(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """Let this process be a task's: its questions go through Airflow's supervisor to an API server of this test.

    Airflow's client tries five times with pauses of up to half a minute; here it tries once.
    """
    api = ApiServer()
    monkeypatch.setattr(airflow_client.Client, "request", inspect.unwrap(airflow_client.Client.request))
    # The supervisor masks in its own process, where there is no supervisor to tell.
    monkeypatch.setattr(request_handlers, "mask_secret", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(api)) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()

        def close() -> None:
            http.shutdown()
            http.server_close()

        api.close = close
        ours, theirs = socketpair()
        client = airflow_client.Client(base_url=f"http://127.0.0.1:{http.server_port}/", token="")
        supervisor = ActivitySubprocess(
            id=uuid.uuid4(),
            pid=os.getpid(),
            stdin=theirs,
            process=psutil.Process(),
            process_log=structlog.get_logger(),
            client=client,
        )
        thread = threading.Thread(target=_serve, args=(supervisor, theirs), daemon=True)
        thread.start()
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", CommsDecoder(socket=ours), raising=False)
        try:
            yield api
        finally:
            ours.shutdown(2)
            thread.join()
            ours.close()
            theirs.close()
            client.close()
            http.shutdown()


def _serve(supervisor: ActivitySubprocess, requests: Any) -> None:  # noqa: ANN401 - a socket
    handler = supervisor.handle_requests(structlog.get_logger())
    next(handler)
    decoder = msgspec.msgpack.Decoder(_RequestFrame)
    stream = requests.makefile("rb")
    while len(head := stream.read(4)) == 4:
        handler.send(decoder.decode(stream.read(int.from_bytes(head, "big"))))
    stream.close()


def _handler(api: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = api.answer(self.path.rpartition("/")[2])
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return Handler
