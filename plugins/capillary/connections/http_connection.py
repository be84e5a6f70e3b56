"""What an Airflow connection says about HTTP, as the HTTP provider's own hook reads it.

The hook is given a copy of the connection without login and with those options alone that it knows: it would take a
login for its own authentication, and unknown extras, ours among them, for headers. No call goes out through it, and
with it no redirect, no retry and no proxy of the environment's.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from airflow.sdk import Connection

from capillary.api.account import DEFAULT_PORTS
from capillary.api.settings_fields import ADDRESS_REMEDY, BOUNDS
from capillary.connections.errors import ConnectionInvalid
from capillary.connections.fields import as_number, as_switch
from capillary.missing_value import reads_like_none

#: Types of a connection that speaks HTTP; the last is what a URI that begins with https:// becomes.
TYPES: Final = ("capillary", "http", "https")
#: Options of the HTTP provider that mean something here.
MEANT: Final = frozenset({"verify", "verify_ssl", "cert", "proxies", "proxy", "timeout"})
#: Those that change nothing here, where every reply is read whole, judged by itself and never followed.
IDLE: Final = frozenset({"stream", "check_response", "max_redirects"})
#: Those that ask for what is not done: why not, and what to do. Off they change nothing.
UNABLE: Final[Mapping[str, tuple[str, str]]] = {
    "srv_lookup": (
        "hosts are not looked up as SRV records: an account has one address, and credentials go to no other",
        "Switch it off, and write host and port of one target into the host",
    ),
    "allow_redirects": (
        "redirects are not followed: a request would be sent again, to another address",
        "Remove it, and write the address that answers by itself into the host",
    ),
    "trust_env": (
        "proxies and logins of the environment are not read",
        "Remove it, and write the proxy into proxies",
    ),
}
#: Every extra that the HTTP provider does not take for a header.
OPTIONS: Final = MEANT | IDLE | UNABLE.keys()
#: Seconds until a connection stands where `timeout` is one number; half of that where it is short.
_CONNECTING_S: Final = 10.0
#: What a proxy is for, as requests looks it up: a host in lower case, without its port and without brackets.
_PROXIED: Final = re.compile(r"(http|https|all)(://([^/:@\[\]A-Z]+|[0-9a-f.]*(:[0-9a-f.]*){2,}))?")
_PROXIES_REMEDY: Final = 'Write it like {"https": "http://host:3128"}'


@dataclass(frozen=True, slots=True)
class HttpMeaning:
    """What a connection says about HTTP, in the fields of `PlatformSettings`.

    Attributes:
        base_url: scheme, host, port and path.
        options: the other fields that the connection speaks of.
        spelled: the extra that a field comes from, where it has another name.
    """

    base_url: str
    options: Mapping[str, object] = field(repr=False)
    spelled: Mapping[str, str]


def http_meaning(connection: Connection, options: Mapping[str, object]) -> HttpMeaning:
    """Return what a connection says about HTTP.

    Args:
        connection: its host may be a name or a whole address, with or without port and path.
        options: those of its extras that are `OPTIONS`. Numbers and booleans may be written as text, as in a URI.

    Raises:
        ConnectionInvalid: naming the connection and the field, or the extra as it is spelled there.
    """
    from capillary.connections.http_session import session_of  # noqa: PLC0415 - see there

    at = connection.conn_id
    for name, (problem, remedy) in UNABLE.items():
        if as_switch(options.get(name, False)) is not False:
            raise ConnectionInvalid(conn_id=at, field=name, problem=problem, remedy=remedy)
    verify, verify_name = _one_of(at, options, "verify", "verify_ssl")
    proxies, proxies_name = _one_of(at, options, "proxies", "proxy")
    known = {
        "verify": as_switch(verify),
        "cert": options.get("cert"),
        "proxies": _proxies(at, proxies_name, proxies),
        "timeout": options.get("timeout"),
    }
    session = session_of(
        Connection(
            conn_id=at,
            host=address_of(connection),
            extra=json.dumps({name: value for name, value in known.items() if value is not None}),
        )
    )
    seconds = {} if session.timeout is None else _timeouts(at, session.timeout)
    found = {"verify": session.verify, "cert": _certificate(session.cert), "proxy": session.proxy or None, **seconds}
    spelled = {"verify": verify_name, "proxy": proxies_name, **dict.fromkeys(seconds, "timeout")}
    return HttpMeaning(session.base_url, found, spelled)


def address_of(connection: Connection) -> str:
    """Return the whole address of a connection: https where it does not say http, the port behind the host.

    The hook would take a host without a scheme for http, and put the port behind the path.

    Raises:
        ConnectionInvalid: host, port or schema is missing or wrong, or one contradicts another.
    """
    schema, host, port = _schema(connection), connection.host or "", connection.port or None
    host = host.strip().strip("<>").strip() if isinstance(host, str) else "//"
    if not host:
        raise _wrong(connection, "host", "it is missing", ADDRESS_REMEDY)
    if reads_like_none(host):
        raise _wrong(connection, "host", "it is the text that a missing value turns into", ADDRESS_REMEDY)
    try:
        parts = urlsplit(host if "://" in host else f"{schema or 'https'}://{_bracketed(host)}")
        own_port, has_host = parts.port, bool(parts.hostname)
    except ValueError:  # its own words quote the address
        own_port, has_host = None, False
    if not has_host:
        raise _wrong(connection, "host", "it is not an http or https address", ADDRESS_REMEDY)
    if schema and parts.scheme != schema:
        raise _wrong(connection, "schema", "the host begins with another scheme", "Leave one of the two out")
    if port is not None and not _is_port(port):
        raise _wrong(connection, "port", "it is not a number from 1 to 65535", "Correct it, or leave it out")
    if port is None or port == own_port:
        return parts.geturl()
    if own_port is not None:
        raise _wrong(connection, "port", "the host names another port", "Leave one of the two out")
    return parts._replace(netloc=f"{parts.netloc.removesuffix(':')}:{port}").geturl()


def _wrong(connection: Connection, name: str, problem: str, remedy: str) -> ConnectionInvalid:
    return ConnectionInvalid(conn_id=connection.conn_id, field=name, problem=problem, remedy=remedy)


def _schema(connection: Connection) -> str:
    schema = connection.schema or ""
    schema = schema.strip().lower() if isinstance(schema, str) else "?"
    if schema not in {"", *DEFAULT_PORTS}:
        raise _wrong(
            connection,
            "schema",
            "it is neither http nor https",
            "Correct it or leave it out. A path belongs in the host: in a connection's URI as "
            "https%3A%2F%2Fhost%2Fpath",
        )
    return schema


def _bracketed(host: str) -> str:
    """Return an IPv6 address in the brackets that it has in an address; Airflow's URIs lose them."""
    address, slash, path = host.partition("/")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return host
    return f"[{address}]{slash}{path}"


def _is_port(port: object) -> bool:
    return isinstance(port, int) and not isinstance(port, bool) and 0 < port <= 65_535


def _one_of(conn_id: str, options: Mapping[str, object], name: str, other: str) -> tuple[object, str]:
    """Return what an option of two names says, and the name that says it."""
    given = [(options[each], each) for each in (name, other) if each in options]
    if len(given) == 2 and given[0][0] != given[1][0]:
        raise ConnectionInvalid(
            conn_id=conn_id, field=other, problem=f"{name} says something else", remedy="Leave one of the two out"
        )
    return given[0] if given else (None, name)


def _proxies(conn_id: str, name: str, value: object) -> dict[str, str | None] | None:
    """Return proxies by what they are for, as requests selects among them; one alone is for everything."""
    if value is None:
        return None
    found = {"all": value} if isinstance(value, str) else value
    if not isinstance(found, dict):
        problem = "it is neither an address nor an object of addresses"
    elif (wrong := next((key for key in found if not _PROXIED.fullmatch(key)), None)) is not None:
        problem = f"{wrong[:40]!r} in it is neither http, https, all, nor one of them with ://host in lower case"
    elif any(each is not None and not isinstance(each, str) for each in found.values()):
        problem = "an address in it is not text"
    else:
        return {key: each and (each if "://" in each else f"http://{each}") for key, each in found.items()}
    raise ConnectionInvalid(conn_id=conn_id, field=name, problem=problem, remedy=_PROXIES_REMEDY)


def _certificate(cert: object) -> object:
    """Return the paths of a client's certificate; what are none is left to the settings' own check."""
    if not cert:
        return () if cert in (None, [], ()) else cert
    if isinstance(cert, str):
        return (cert,)
    return tuple(cert) if isinstance(cert, list) else cert


def _timeouts(conn_id: str, value: object) -> dict[str, object]:
    """Return the three timeouts for one number, or for two: until a connection stands, and of the whole call."""
    pair = value if isinstance(value, list) and len(value) == 2 else [None, value]
    connecting, whole = map(as_number, pair)
    lowest, highest, _ = BOUNDS["post_timeout_s"]
    if not isinstance(whole, int | float) or isinstance(whole, bool) or not lowest <= whole <= highest:
        problem = f"it must be a number from {lowest} to {highest:,} seconds, or two: for connecting and for the call"
    elif connecting is None:
        return {
            "connect_timeout_s": min(_CONNECTING_S, whole / 2),
            "post_timeout_s": whole,
            "read_timeout_s": whole,
        }
    elif not isinstance(connecting, int | float) or isinstance(connecting, bool) or not 0.1 <= connecting < whole:
        problem = "its first number, for connecting, must be at least 0.1 seconds and less than the second"
    else:
        return {"connect_timeout_s": connecting, "post_timeout_s": whole, "read_timeout_s": whole}
    raise ConnectionInvalid(
        conn_id=conn_id, field="timeout", problem=problem, remedy="Correct it, or leave it out to get the defaults"
    )
