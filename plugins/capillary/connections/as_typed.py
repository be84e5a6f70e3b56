"""A connection as a person typed it: what Airflow's reader takes for something else, or settles without a word.

Of a name that is given twice it keeps the last, of `"port": true` it makes port 1, and a pasted token keeps the
characters that nobody sees.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from airflow.sdk import Connection

from capillary.connections.errors import ConnectionInvalid
from capillary.visible_text import invisible

_FIELDS: Final = ("host", "login", "password", "schema")
_Pairs = list[tuple[str, object]]


def json_object(connection: Connection, *, example: str) -> dict[str, object]:
    """Return a connection's extra, after a look at its other fields. Airflow's own reader takes broken JSON for none.

    Raises:
        ConnectionInvalid: naming the field: the extra is not a JSON object, a name stands in it twice, a field holds a
            character that nobody sees, or the port is not a number.
    """
    assert_as_typed(connection)
    twice: list[str] = []
    try:
        found = json.loads(connection.extra or "{}", object_pairs_hook=lambda pairs: _noting(pairs, twice))
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _wrong(connection, "extra", "it is not a JSON object", f"Write it like {example}")
    for name in twice:
        raise _twice(connection, name, "the extra")
    return found


def assert_as_typed(connection: Connection) -> None:
    """Look at a connection's fields, and at the environment variable that they come from.

    Raises:
        ConnectionInvalid: a field holds a character that nobody sees, the variable says something twice, or its port is
            not a number.
    """
    for name in _FIELDS:
        value = getattr(connection, name)
        if isinstance(value, str) and (sign := invisible(value)) is not None:
            problem = f"it holds an invisible character ({sign})"
            raise _wrong(connection, name, problem, "Type it, or paste it again without one")
    typed = os.environ.get(variable := f"AIRFLOW_CONN_{connection.conn_id.upper()}", "").strip()
    if not typed or not _is_from(typed, connection):
        return
    twice: list[str] = []
    if typed.startswith("{"):
        port = json.loads(typed, object_pairs_hook=lambda pairs: _noting(pairs, twice)).get("port")
        if isinstance(port, bool) or (isinstance(port, float) and not port.is_integer()):
            problem = f"it is {json.dumps(port)} in {variable}, of which Airflow makes {int(port)}"
            raise _wrong(connection, "port", problem, "Write a whole number")
    else:
        twice += _repeated(name for name, _ in parse_qsl(urlsplit(typed).query, keep_blank_values=True))
    for name in twice:
        raise _twice(connection, name, variable)


def _is_from(typed: str, connection: Connection) -> bool:
    """Return whether a connection is what Airflow makes of a text; a secrets backend comes before the environment."""
    conn_id = connection.conn_id
    try:
        read = Connection.from_json(typed, conn_id) if typed.startswith("{") else Connection.from_uri(typed, conn_id)
    except Exception:  # noqa: BLE001 - what cannot be read, Airflow has not read either
        return False
    return all(getattr(read, name) == getattr(connection, name) for name in (*_FIELDS, "port", "extra"))


def _noting(pairs: _Pairs, twice: list[str]) -> dict[str, object]:
    twice += _repeated(name for name, _ in pairs)
    return dict(pairs)


def _repeated(names: Iterable[str]) -> Iterator[str]:
    return (name for name, times in Counter(names).items() if times > 1)


def _twice(connection: Connection, name: str, where: str) -> ConnectionInvalid:
    return _wrong(connection, name, f"{where} gives it twice, and the last one would count", "Leave one of the two out")


def _wrong(connection: Connection, name: str, problem: str, remedy: str) -> ConnectionInvalid:
    return ConnectionInvalid(conn_id=connection.conn_id, field=name, problem=problem, remedy=remedy)
