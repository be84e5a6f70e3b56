"""libpq's parameters of a connection: which there are, what each takes, and what the ledger asks for by itself.

libpq knows its own list; whatever is not on it would be dropped in silence, and a misspelt `sslmode` would connect
without TLS. Source: PostgreSQL documentation, 34.1.2, "Parameter Key Words".
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final
from urllib.parse import quote, quote_plus

from sqlalchemy import URL

from capillary.ledger.errors import LedgerRefused, ParameterRefused

#: What is given where the connection says nothing. libpq's own would wait for a silent host forever, or for the
#: operating system's two hours. Seconds, save `tcp_user_timeout`: milliseconds.
DEFAULTS: Final[Mapping[str, str]] = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    # A database in SQL_ASCII gives psycopg bytes in place of text, before anybody could refuse it.
    "client_encoding": "utf8",
}
#: libpq reads these as numbers; a form writes true and false.
_SWITCHES: Final = frozenset({"keepalives", "sslcompression", "sslsni", "gssdelegation"})
_AS_NUMBER: Final = {True: "1", False: "0", "true": "1", "false": "0", "on": "1", "off": "0", "yes": "1", "no": "0"}
#: A URL's own parts, as libpq calls them.
_PARTS: Final = {"host": "host", "port": "port", "user": "username", "password": "password", "dbname": "database"}


def driver_missing(error: ImportError) -> LedgerRefused:
    """Return what it becomes that psycopg, or the libpq that it needs, is not installed."""
    return LedgerRefused(
        f"the driver psycopg cannot be loaded ({type(error).__name__}), and connection badge_ledger needs it for "
        "PostgreSQL. Install it: pip install 'airflow-provider-capillary[postgres]', or psycopg[binary]"
    )


@cache
def parameters() -> Mapping[str, bool]:
    """Return libpq's parameters, each with whether its value is a secret.

    Raises:
        LedgerRefused: the driver is not installed.
    """
    try:
        from psycopg import pq  # noqa: PLC0415 - a ledger in SQLite needs none of it
    except ImportError as error:
        raise driver_missing(error) from None
    options = pq.Conninfo.get_defaults()
    return {option.keyword.decode(): option.dispchar == b"*" for option in options}


def checked(given: Mapping[str, object]) -> dict[str, str]:
    """Return the parameters as libpq takes them: text. Those without a value are left out.

    Raises:
        ParameterRefused: libpq knows no such parameter, the value cannot be written as its text, or the ledger cannot
            work with it.
    """
    return {name: _text(name, value) for name, value in given.items() if _is_given(name, value)}


def assert_said_once(url: URL) -> None:
    """Refuse a parameter that the address says in two places, in two ways.

    Raises:
        ParameterRefused: naming it.
    """
    for name, part in _PARTS.items():
        own, other = getattr(url, part), url.query.get(name)
        if own is not None and other is not None and str(own) != other:
            raise ParameterRefused(name, "it is given twice, with different values", "Leave one of the two out")


def defaults_for(url: URL) -> dict[str, str]:
    """Return those of `DEFAULTS` about which the address says nothing."""
    return {name: value for name, value in DEFAULTS.items() if name not in url.query}


def secrets_of(url: URL) -> Iterator[str]:
    """Yield every form in which a secret of the address can be written, for masking."""
    named = parameters() if url.get_backend_name() == "postgresql" else {}
    values = [url.password, *(value for name, value in url.query.items() if named.get(name))]
    for value in values:
        if isinstance(value, str) and value:
            yield from dict.fromkeys((value, quote(value, safe=" +"), quote(value, safe=""), quote_plus(value)))


def _is_given(name: str, value: object) -> bool:
    if name not in parameters():
        near = difflib.get_close_matches(name.lower().replace("-", "_"), parameters(), n=1, cutoff=0.7)
        raise ParameterRefused(
            name,
            "libpq knows no such parameter, and would connect without it",
            f"Write {near[0]}" if near else "Remove it; the names are those of PostgreSQL's documentation, 34.1.2",
        )
    return value is not None and value != ""


def _text(name: str, value: object) -> str:
    if name in _SWITCHES and isinstance(value, str | bool):
        value = _AS_NUMBER.get(value.strip().lower() if isinstance(value, str) else value, value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ParameterRefused(name, f"its value is of type {type(value).__name__}", "Write it as text")
    said = str(value)
    if not said.isprintable() and name != "options":
        raise ParameterRefused(name, "it holds a line break or another control character", "Paste it again without one")
    _assert_workable(name, said)
    return said


def _assert_workable(name: str, value: str) -> None:
    if name == "replication" and value.lower() not in {"0", "false", "off", "no"}:
        raise ParameterRefused(name, "a connection for replication runs no plain SQL", "Remove it")
    if name == "client_encoding" and value.lower().replace("-", "") not in {"utf8", "unicode"}:
        raise ParameterRefused(name, "the ledger's words need UTF-8", "Remove it, or write utf8")
    if name == "port" and not (value.isascii() and value.isdigit() and 0 < int(value) < 65_536):
        raise ParameterRefused(
            name, "it is not a port", "Write a number from 1 to 65535; several hosts are host:port each"
        )
    if name == "connect_timeout" and not (value.isascii() and value.isdigit() and int(value) > 0):
        raise ParameterRefused(
            name, "a host that does not answer would be waited for without end", "Write seconds from 1 upwards"
        )
