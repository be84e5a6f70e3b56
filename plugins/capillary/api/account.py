"""Who an account is: `host[:port][/path]/organisation`, one text for all the ways to write one address.

The text stands in the ledger and is shown to people; its format is fixed. A wrong address raises `ValueError`
with a clause that says what is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

import idna

#: Characters of an account, as the ledger's columns take it.
ACCOUNT_LIMIT: Final = 255
#: An organisation's id.
ORGANISATION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

#: Characters of a host, and of a part of it between two dots, that can be looked up (RFC 1035, 2.3.4).
HOST_LIMIT: Final = 253
LABEL_LIMIT: Final = 63
_NO_ADDRESS: Final = "it is not an http or https address"
_HOST: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
#: What resolvers take for an IPv4 address in another spelling: the last label is a number.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
#: Characters that mean the same encoded and plain (RFC 3986, 2.3).
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: Characters of a path that mean something else when they are encoded, and the sign of encoding itself.
_KEPT: Final = "/%!$&'()*+,;=:@"


def account_of(address: str, organisation: str) -> str:
    """Return the account of an organisation at an address.

    The scheme is not a part of it, and neither are the ports 80 and 443: http and https lead to one platform. The path
    is: a platform may keep a test system under `/test`.

    Args:
        address: of the platform's API, with or without a scheme.
        organisation: its id. A number is taken without leading zeros; the case of anything else is kept, since
            nobody documents whether the platform tells it apart (the ledger compares without case).

    Raises:
        ValueError: the address is none, or the account would be longer than 255 characters.
    """
    parts = split(address)
    port = "" if parts.port in {None, *DEFAULT_PORTS.values()} else f":{parts.port}"
    account = f"{host_of(parts)}{port}{_path_of(parts)}/{normal_organisation(organisation)}"
    if len(account) > ACCOUNT_LIMIT:
        raise ValueError(
            f"with the organisation it is {len(account)} characters long, and the ledger takes {ACCOUNT_LIMIT}"
        )
    return account


def account_named(text: str) -> str:
    """Return the account that a person names, in the ledger's spelling: an address, a slash, the organisation's id.

    Raises:
        ValueError: it can be the name of no account.
    """
    address, _, organisation = text.rpartition("/")
    if not text.rpartition("://")[2].rpartition("/")[0].strip("/") or re.search(r"[?#@]", text):
        raise ValueError("an account is written as host/organisation, for example eu.api.capillarytech.com/100458")
    if not ORGANISATION.fullmatch(organisation):
        raise ValueError(f"{organisation!r} is not an organisation id")
    return account_of(address, organisation)


def normal_organisation(organisation: str) -> str:
    """Return an organisation's id in its one spelling."""
    return organisation.lstrip("0") or "0" if organisation.isdecimal() and organisation.isascii() else organisation


def origin_of(address: str) -> str:
    """Return scheme and authority of an http or https address, host as in the account, default port left out."""
    parts = split(address)
    port = "" if parts.port in {None, DEFAULT_PORTS[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host_of(parts)}{port}"


def split(address: str) -> SplitResult:
    """Return the parts of an address; without a scheme it counts as https.

    Raises:
        ValueError: it is not an http or https address.
    """
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        usable = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its own words quote the address
        usable = False
    if not usable or re.search(r"\s", address):
        raise ValueError(_NO_ADDRESS)
    return parts


def host_of(parts: SplitResult) -> str:
    """Return the host in its one spelling: lower case, no final dot, punycode, an IPv6 address shortened in brackets.

    Raises:
        ValueError: it names no host, or an IPv4 address in another spelling than four numbers.
    """
    host = parts.hostname or ""
    if "[" in parts.netloc:
        try:
            six = ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(_NO_ADDRESS) from None
        if six.scope_id is not None:
            raise ValueError("its host has a zone (%), which means something on one machine only")
        return str(six.ipv4_mapped) if six.ipv4_mapped else f"[{six.compressed}]"
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            raise ValueError(
                _host_problem(host.removesuffix(".")) or "its host is not a name that can be looked up"
            ) from None
    host = host.lower().removesuffix(".")
    if problem := _host_problem(host):
        raise ValueError(problem)
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError("its host is a number: write an IPv4 address as four numbers") from None
    return host


def _host_problem(host: str) -> str | None:
    """Return why a host can be looked up nowhere (RFC 1035, 2.3.4)."""
    labels = host.split(".")
    if not all(labels):
        return "its host has two dots in a row, or begins with one"
    if any(len(label) > LABEL_LIMIT for label in labels):
        return f"a part of its host between two dots is longer than {LABEL_LIMIT} characters"
    if len(host) > HOST_LIMIT:
        return f"its host is longer than {HOST_LIMIT} characters"
    return _NO_ADDRESS if host.isascii() and not _HOST.fullmatch(host) else None


def _path_of(parts: SplitResult) -> str:
    """Return the path in its one spelling: no empty, `.` or `..` segment, encoded only where it must be."""
    if "%" in _ENCODED.sub("", parts.path):
        raise ValueError("a % in its path encodes nothing")
    segments: list[str] = []
    for segment in _ENCODED.sub(_plain, quote(parts.path, safe=_KEPT + "~")).split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    return "".join(f"/{segment}" for segment in segments)


def _plain(encoded: re.Match[str]) -> str:
    byte = unquote_to_bytes(encoded[0])
    return byte.decode() if byte[0] in _UNRESERVED else encoded[0].upper()
