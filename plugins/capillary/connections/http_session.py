"""What Airflow's HTTP hook makes of a connection. Importing it costs 0.1 s, which a DAG file need not pay."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk import Connection
from requests.utils import select_proxy


@dataclass(frozen=True, slots=True)
class HttpSession:
    """What the hook's session would call with; of the types that stand in the connection."""

    base_url: str
    verify: Any
    cert: Any
    proxy: Any
    timeout: Any


def session_of(connection: Connection) -> HttpSession:
    """Return what `HttpHook.get_conn()` makes of a connection, which is handed to it as it is. No call goes out."""
    hook = _Handed(connection)
    with hook.get_conn() as session:
        return HttpSession(
            base_url=hook.base_url,
            verify=session.verify,
            cert=session.cert,
            proxy=select_proxy(hook.base_url, dict(session.proxies)),
            timeout=hook.merged_extra.get("timeout"),
        )


class _Handed(HttpHook):
    """The hook over a connection that need not be looked up."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(http_conn_id=connection.conn_id, tcp_keep_alive=False)
        self._connection = _Quiet(
            conn_id=connection.conn_id, host=connection.host, schema=connection.schema, extra=connection.extra
        )

    def get_connection(self, _: str) -> Connection:  # type: ignore[override] # the base looks one up by its id
        return self._connection


class _Quiet(Connection):
    """A connection that does not send its extras to be masked: it is read in a trigger's thread, too."""

    @property
    def extra_dejson(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.extra or "{}")
        return found
