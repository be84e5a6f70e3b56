"""What a connection to the platform says, checked once, with everything that is derived from it."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import math
import re
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from capillary.api.account import DEFAULT_PORTS, ORGANISATION, account_of, host_of, origin_of, split
from capillary.api.errors import SettingsInvalid
from capillary.api.json_body import read_json
from capillary.api.json_fields import fields as json_object
from capillary.api.json_fields import instant

# Halves of a surrogate pair, too: neither a header nor the ledger can hold them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
#: Characters of an account that the ledger keeps.
ACCOUNT_LIMIT: Final = 255
_REMEDY: Final = "Write it like https://eu.api.capillarytech.com"
_HEADER_FIELDS: Final = ("ui_token", "oauth_key", "oauth_secret")

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
_WHOLE: Final = frozenset({"calls_per_minute", "page_base", "page_size"})


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """One account on the platform, and how to call it.

    A till (`login`, `password`) or an OAuth client (`oauth_key`, `oauth_secret`) is needed; with both, calls
    go out with OAuth and the till serves as the inner credential. A wrong field raises `SettingsInvalid`.

    Attributes:
        base_url: scheme, host and path of the API, e.g. `https://eu.api.capillarytech.com`.
        organisation_id: goes out as `X-CAP-API-AUTH-ORG-ID`.
        ui_token: JWT of an InTouch user; sent when set (`reference/issue-badge-enrol-customers-for-badges`).
        environment: a label for people, e.g. `production`.
        submitting: the switch for the night; the submitting code asks it before every POST.
        cluster_timezone: of the cluster's zone-less times and list dates (`reference/timezone-management`).
            Default `UTC`, which is right for the European cluster; India and Singapore: `Asia/Kolkata`.
        calls_per_minute: budget of the whole account, 1 to 1,000,000; default 100, the documented limit of
            demo clusters (`reference/rate-limits`).
        page_base: number of the list's first page, 0 or 1; not documented.
        page_size: requests a list page, default 100; the platform's maximum is not documented.
        visibility_lag_s: how long an accepted request may be missing from the list; default 900 s.
        post_timeout_s, connect_timeout_s, read_timeout_s: seconds; connecting counts into the other two and
            must be the shortest.
        verify_tls: off only for a test system; with it `ca_file` is not looked at.
        ca_file: path of a PEM file with the CAs that are trusted in place of the system's, on every worker and
            triggerer. Default: the system's, or those of the environment variable `SSL_CERT_FILE`.
        proxy: `http://host:port`; the environment's proxy variables are not read.
        inner_hostname: where the platform runs the wrapped call; default: scheme and authority of `base_url`.
        inner_login, inner_password: till of the wrapped call; default: the outer till.
        checker_url: page where the checker decides; only shown to people.
        account_address: the address as it was when the account was first used, with or without a scheme. The
            account is named by it in place of `base_url`, and stays the same when the platform's address changes.
    """

    base_url: str
    organisation_id: str
    login: str = ""
    password: str = field(default="", repr=False)
    oauth_key: str = ""
    oauth_secret: str = field(default="", repr=False)
    ui_token: str = field(default="", repr=False)
    environment: str = ""
    submitting: bool = True
    cluster_timezone: str = "UTC"
    calls_per_minute: int = 100
    page_base: int = 0
    page_size: int = 100
    visibility_lag_s: float = 900
    post_timeout_s: float = 60
    connect_timeout_s: float = 10
    read_timeout_s: float = 60
    verify_tls: bool = True
    ca_file: str = ""
    proxy: str | None = field(default=None, repr=False)
    inner_hostname: str = ""
    inner_login: str = ""
    inner_password: str = field(default="", repr=False)
    checker_url: str = ""
    account_address: str = ""

    def __post_init__(self) -> None:
        self._check_types()
        for name in ("organisation_id", "login", "oauth_key", "oauth_secret", "ui_token", "inner_login"):
            self._set(name, getattr(self, name).strip())
        for name in ("environment", "cluster_timezone"):
            self._set(name, getattr(self, name).strip())
        self._set("base_url", _address("base_url", self.base_url))
        self._set("inner_hostname", _address("inner_hostname", self.inner_hostname or origin_of(self.base_url)))
        known = self.account_address.strip()
        self._set("account_address", known and _address("account_address", known, scheme=False))
        self._set("ca_file", self.ca_file.strip())
        self._set("checker_url", self.checker_url.strip().strip("<>"))
        self._set("proxy", (self.proxy or "").strip() or None)
        self._check_words()
        self._check_account()
        self._check_numbers()
        self._check_credentials()
        if len(self.account) > ACCOUNT_LIMIT:
            raise SettingsInvalid(
                field="base_url",
                problem=f"with the organisation id it is {len(self.account)} characters long",
                remedy=f"Give an address with which it has at most {ACCOUNT_LIMIT}",
            )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_types(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type in {"str", "str | None"} and not isinstance(value, str) and value != each.default:
                raise SettingsInvalid(
                    field=each.name, problem="it is no text", remedy="Write it as text, or leave it out"
                )
            if each.type == "bool" and not isinstance(value, bool):
                raise SettingsInvalid(
                    field=each.name, problem="it is neither true nor false", remedy="Write true or false"
                )
            if isinstance(value, str) and _CONTROL.search(value if "password" in each.name else value.strip()):
                raise SettingsInvalid(
                    field=each.name,
                    problem="it holds a line break or another control character",
                    remedy="Paste it again without one",
                )

    def _check_words(self) -> None:
        if not ORGANISATION.fullmatch(self.organisation_id):
            raise SettingsInvalid(
                field="organisation_id",
                problem="it is missing" if not self.organisation_id else "it is no organisation id",
                remedy="Give the number shown in InTouch under Organisation settings",
            )
        try:
            ZoneInfo(self.cluster_timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            unknown = True
        else:
            unknown = False
        if unknown:
            raise SettingsInvalid(
                field="cluster_timezone",
                problem="it is no known time zone",
                remedy="Give an IANA name such as Asia/Kolkata or UTC",
            )
        if self.proxy is not None:
            _address("proxy", self.proxy, userinfo=True)
        if self.checker_url and urlsplit(self.checker_url).scheme not in DEFAULT_PORTS:
            raise SettingsInvalid(
                field="checker_url", problem="it is no http address", remedy="Give the page's whole address"
            )
        for name in _HEADER_FIELDS:
            if not getattr(self, name).isascii():
                raise SettingsInvalid(
                    field=name, problem="it holds characters that no header may hold", remedy="Paste it again"
                )

    def _check_account(self) -> None:
        name = "account_address" if self.account_address else "base_url"
        try:
            account_of(self._known_address, self.organisation_id)
        except ValueError as error:
            raise SettingsInvalid(field=name, problem=str(error), remedy=_REMEDY) from None

    def _check_numbers(self) -> None:
        for name, (lowest, highest, unit) in BOUNDS.items():
            value = getattr(self, name)
            kinds = (int,) if name in _WHOLE else (int, float)
            if (
                isinstance(value, bool)
                or not isinstance(value, kinds)
                or not math.isfinite(value)
                or not lowest <= value <= highest
            ):
                raise SettingsInvalid(
                    field=name,
                    problem=f"it must be a number from {lowest:,} to {highest:,} {unit}",
                    remedy="Correct it, or leave it out to get the default",
                )

        if self.connect_timeout_s >= min(self.post_timeout_s, self.read_timeout_s):
            raise SettingsInvalid(
                field="connect_timeout_s",
                problem="it must be shorter than post_timeout_s and read_timeout_s, which include it: "
                "a call that never left could not be told from one that did",
                remedy="Lower it, or raise the other two",
            )

    def _check_credentials(self) -> None:
        for name, partner in (
            ("login", "password"),
            ("oauth_key", "oauth_secret"),
            ("inner_login", "inner_password"),
        ):
            given, partner_given = bool(getattr(self, name)), bool(getattr(self, partner))
            if given != partner_given:
                missing, present = (partner, name) if given else (name, partner)
                raise SettingsInvalid(
                    field=missing,
                    problem=f"it is missing while {present} is given",
                    remedy="Give both or neither",
                )
        for name in ("login", "inner_login"):
            if ":" in getattr(self, name):
                raise SettingsInvalid(
                    field=name,
                    problem="a till's login cannot hold a colon",
                    remedy="Give the login and the password in their own fields",
                )
        if not self.login and not self.oauth_key:
            raise SettingsInvalid(
                field="login",
                problem="neither a till nor an OAuth client is given",
                remedy="Give login and password of a till, or oauth_key and oauth_secret",
            )
        if not self.login and not self.inner_login:
            raise SettingsInvalid(
                field="inner_login",
                problem="the wrapped call needs a till: an OAuth token would expire before a checker decides",
                remedy="Give inner_login and inner_password, or login and password",
            )

    @property
    def account(self) -> str:
        """Identity of the account: address and organisation, e.g. `eu.api.capillarytech.com/100458`."""
        return account_of(self._known_address, self.organisation_id)

    @property
    def _known_address(self) -> str:
        return self.account_address or self.base_url

    @property
    def inner_hostnames(self) -> tuple[str, ...]:
        """Hostnames of this account's requests: today's, then its defaults at each of the account's addresses.

        What is imported may have been planned before the address changed.
        """
        found = dict.fromkeys((self.inner_hostname,))
        for address in (self.base_url, self._known_address):
            _, _, rest = origin_of(address).partition("://")
            found |= dict.fromkeys(f"{scheme}://{rest}" for scheme in DEFAULT_PORTS)
        return tuple(found)

    @property
    def sends_in_clear(self) -> bool:
        """Whether credentials would cross a network over plain http."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "http" and not _is_loopback(parts.hostname or "")

    @property
    def uses_oauth(self) -> bool:
        """Whether calls go out with an OAuth token instead of Basic."""
        return bool(self.oauth_key)

    @property
    def basic_authorization(self) -> str:
        """`Basic base64(till:md5hex(password))` (`reference/basic-authentication`); empty without a till."""
        return _basic(self.login, self.password) if self.login else ""

    @property
    def inner_authorization(self) -> str:
        """The Basic value that the platform replays when it runs the wrapped call."""
        return _basic(self.inner_login, self.inner_password) if self.inner_login else self.basic_authorization

    @property
    def sender(self) -> str:
        """Which credential user calls, in 16 hex digits; the same after a change of password or secret."""
        user = f"oauth:{self.oauth_key}" if self.uses_oauth else f"till:{self.login}"
        return hashlib.sha256(f"{self.account}\n{user}".encode()).hexdigest()[:16]

    @property
    def ui_token_expires_at(self) -> datetime | None:
        """The UI token's own `exp` (UTC), read without verifying it; None without one."""
        parts = self.ui_token.split(".")
        if len(parts) != 3:
            return None
        try:
            claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        except ValueError:
            return None
        return instant(None, json_object(read_json(claims)).get("exp"), zone=UTC)

    def secrets(self) -> tuple[str, ...]:
        """Return every form in which a secret of this connection can appear, for masking."""
        found: dict[str, None] = {}
        for login, password in ((self.login, self.password), (self.inner_login, self.inner_password)):
            if login:
                header = _basic(login, password)
                found |= dict.fromkeys((password, _md5(password), header.removeprefix("Basic "), header))
                found[base64.b64encode(f"{login}:{password}".encode()).decode()] = None
        found |= dict.fromkeys((self.oauth_secret, self.ui_token))
        if self.proxy:
            found[unquote(urlsplit(self.proxy).password or "")] = None
            found[urlsplit(self.proxy).password or ""] = None
        return tuple(secret for secret in found if secret)


def _md5(password: str) -> str:
    return hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()


def _basic(login: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{login}:{_md5(password)}".encode()).decode()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _address(name: str, value: str, *, userinfo: bool = False, scheme: bool = True) -> str:
    """Return an address without the brackets and the slash that the public pages print around it."""
    address = value.strip().strip("<>").strip().rstrip("/")
    problem = _address_problem(address, userinfo=userinfo, scheme=scheme)
    if problem:
        remedy = "Write it like http://host:3128" if name == "proxy" else _REMEDY
        raise SettingsInvalid(field=name, problem=problem, remedy=remedy)
    return address


def _address_problem(address: str, *, userinfo: bool, scheme: bool) -> str | None:
    if not address:
        return "it is missing"
    if scheme and "://" not in address:
        return "it is no http or https address"
    try:
        parts = split(address)
        host_of(parts)
    except ValueError as error:
        return str(error)
    if (parts.username or parts.password) and not userinfo:
        return "it holds a login, which belongs into its own field"
    if parts.query or parts.fragment or "/api_gateway" in parts.path:
        return "it is the address of one call; the host alone is wanted"
    return None
