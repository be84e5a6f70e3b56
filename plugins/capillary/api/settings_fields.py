"""What each field of a connection takes, as pydantic types, and the words in which a wrong value is refused.

A value is never repeated: it may be a secret, or hold one.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AllowInfNan, Field, ValidationError
from pydantic_core import PydanticCustomError

from capillary.api.account import DEFAULT_PORTS, ORGANISATION, host_of, split
from capillary.api.errors import SettingsInvalid
from capillary.missing_value import reads_like_none
from capillary.visible_text import invisible
from capillary.zone_names import depends_on_machine

#: How the platform's address is written.
ADDRESS_REMEDY: Final = "Write it like https://eu.api.capillarytech.com"
#: Bounds of the numbers, inclusive: field → (lowest, highest, unit).
BOUNDS: Final = {
    "calls_per_minute": (1, 1_000_000, "calls a minute"),
    "page_base": (0, 1, "(the number of the list's first page)"),
    "page_size": (1, 10_000, "requests a page"),
    "visibility_lag_s": (0, 86_400, "seconds"),
    "post_timeout_s": (1, 3_600, "seconds"),
    "connect_timeout_s": (0.1, 600, "seconds"),
    "read_timeout_s": (1, 3_600, "seconds"),
}
#: Those of them that are whole numbers.
WHOLE: Final = frozenset({"calls_per_minute", "page_base", "page_size"})
#: Fields of more than one type: what is said of a value of another one.
_NEITHER: Final = {
    "verify": (
        "it is neither true nor false, nor the path of a CA",
        "Write true, or the whole path of a CA's PEM file or folder",
    ),
    "cert": (
        "it is not a path, and no certificate and key",
        "Write the whole path of a PEM file that holds both, or a list of two paths",
    ),
}
# Halves of a surrogate pair, too: neither a header nor the ledger can hold them.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def as_invalid(error: ValidationError) -> SettingsInvalid:
    """Return the first wrong field, with its problem and its remedy."""
    found = error.errors(include_url=False, include_input=False)
    name = str(found[0]["loc"][0])
    for each in found:
        if each["loc"][0] == name and each["type"] == "refused":
            return SettingsInvalid(field=name, **each["ctx"])
    problem, remedy = _NEITHER.get(name, ("it is not text", "Write it as text, or leave it out"))
    if name in BOUNDS:
        lowest, highest, unit = BOUNDS[name]
        problem = f"it must be a number from {lowest:,} to {highest:,} {unit}"
        remedy = "Correct it, or leave it out to get the default"
    elif found[0]["type"] == "unexpected_keyword_argument":
        problem, remedy = "there is no such field", "Remove it"
    elif found[0]["type"].startswith("missing"):
        problem, remedy = "it is missing", "Fill it in"
    elif found[0]["type"] == "bool_type" and name not in _NEITHER:
        problem, remedy = "it is neither true nor false", "Write true or false"
    return SettingsInvalid(field=name, problem=problem, remedy=remedy)


def _refused(problem: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{problem}. {remedy}.", {"problem": problem, "remedy": remedy})


def _printable(value: str) -> str:
    if _CONTROL.search(value):
        raise _refused("it holds a line break or another control character", "Paste it again without one")
    if (sign := invisible(value)) is not None:
        raise _refused(f"it holds an invisible character ({sign})", "Type it, or paste it again without one")
    return value


def _there(value: str) -> str:
    if reads_like_none(value):
        raise _refused("it is the text that a missing value turns into", "Give a value, or leave the field empty")
    return value


def _for_a_header(value: str) -> str:
    if not value.isascii():
        raise _refused("it holds characters that no header may hold", "Paste it again")
    return value


def _till(value: str) -> str:
    if ":" in value:
        raise _refused("a till's login cannot hold a colon", "Give the login and the password in their own fields")
    return value


def _organisation(value: str) -> str:
    if not ORGANISATION.fullmatch(value):
        raise _refused(
            "it is not an organisation id" if value else "it is missing",
            "Give the number shown in InTouch under Organisation settings",
        )
    return value


def _zone(value: str) -> str:
    try:
        is_zone = not depends_on_machine(value) and bool(ZoneInfo(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        is_zone = False
    if not is_zone:
        raise _refused("it is not a known time zone", "Give an IANA name such as Asia/Kolkata or UTC")
    return value


def _whole_path(value: str) -> str:
    if not PurePath(value).is_absolute():
        raise _refused(
            "it is not a whole path, and would depend on the folder in which a process runs",
            "Write the path from / on, of a file that stands on every worker and triggerer",
        )
    return value


def _page(value: str) -> str:
    address = value.strip("<>")
    try:
        is_page = not address or urlsplit(address).scheme in DEFAULT_PORTS
    except ValueError:  # its own words quote the address
        is_page = False
    if not is_page:
        raise _refused("it is not an http address", "Give the page's whole address")
    return address


def _address(value: str) -> str:
    address = _bare(value)
    if problem := _address_problem(address, userinfo=False, scheme=True):
        raise _refused(problem, ADDRESS_REMEDY)
    return address


def _optional_address(value: str) -> str:
    return value and _address(value)


def _account_address(value: str) -> str:
    address = _bare(value)
    if value and (problem := _address_problem(address, userinfo=False, scheme=False)):
        raise _refused(problem, ADDRESS_REMEDY)
    return address


def _proxy(value: str) -> str | None:
    address = _bare(value)
    if value and (problem := _address_problem(address, userinfo=True, scheme=True)):
        raise _refused(problem, "Write it like http://host:3128")
    return address or None


def _bare(value: str) -> str:
    """Return an address without the brackets and the slash that the public pages print around it."""
    return value.strip("<>").strip().rstrip("/")


def _address_problem(address: str, *, userinfo: bool, scheme: bool) -> str | None:
    if not address:
        return "it is missing"
    if scheme and "://" not in address:
        return "it is not an http or https address"
    try:
        parts = split(address)
        host = host_of(parts)
    except ValueError as error:
        return str(error)
    faults = {
        "its scheme is misspelt and would be taken for the host": host in DEFAULT_PORTS,
        "it holds a login, which belongs in its own field": bool(parts.username or parts.password) and not userinfo,
        "it is the address of one call; give the host alone": bool(parts.query or parts.fragment)
        or "/api_gateway" in parts.path,
    }
    return next((problem for problem, is_there in faults.items() if is_there), None)


#: Text of one line, stripped; a password is kept as it is.
Words = Annotated[str, AfterValidator(str.strip), AfterValidator(_printable), AfterValidator(_there)]
Password = Annotated[str, AfterValidator(_printable)]
HeaderWords = Annotated[Words, AfterValidator(_for_a_header)]
Till = Annotated[Words, AfterValidator(_till)]
Organisation = Annotated[Words, AfterValidator(_organisation)]
Zone = Annotated[Words, AfterValidator(_zone)]
Page = Annotated[Words, AfterValidator(_page)]
Address = Annotated[Words, AfterValidator(_address)]
OptionalAddress = Annotated[Words, AfterValidator(_optional_address)]
#: An address with or without a scheme, or nothing.
AccountAddress = Annotated[Words, AfterValidator(_account_address)]
#: An address that may hold a login; None where it is empty.
Proxy = Annotated[Words, AfterValidator(_proxy)]
WholePath = Annotated[Words, AfterValidator(_whole_path)]
ClientCertificate = Annotated[tuple[WholePath, ...], Field(max_length=2)]


def _within(name: str) -> object:
    lowest, highest, _ = BOUNDS[name]
    return Field(ge=lowest, le=highest)


CallsPerMinute = Annotated[int, _within("calls_per_minute")]
PageBase = Annotated[int, _within("page_base")]
PageSize = Annotated[int, _within("page_size")]
VisibilityLag = Annotated[float, AllowInfNan(False), _within("visibility_lag_s")]
PostTimeout = Annotated[float, AllowInfNan(False), _within("post_timeout_s")]
ConnectTimeout = Annotated[float, AllowInfNan(False), _within("connect_timeout_s")]
ReadTimeout = Annotated[float, AllowInfNan(False), _within("read_timeout_s")]
