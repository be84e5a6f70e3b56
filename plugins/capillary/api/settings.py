"""What a connection to the platform says, checked once, with everything that is derived from it."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from capillary.api import settings_fields as kinds
from capillary.api.account import DEFAULT_PORTS, account_of, host_of, origin_of, split
from capillary.api.errors import SettingsInvalid
from capillary.api.json_body import read_json
from capillary.api.json_fields import fields as json_object
from capillary.api.json_fields import instant


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True, extra="forbid"))
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
        verify: whose TLS certificates are trusted. True, the default: the system's CAs, or those of the environment
            variable `SSL_CERT_FILE`. A path: the CAs of that PEM file, or of that folder of hashed names, in their
            place, on every worker and triggerer. False: anybody's, for a test system only.
        cert: of this client, where the platform or a gateway demands one: the path of a PEM file with certificate
            and key, or the paths of both.
        proxy: `http://host:port`; the environment's proxy variables are not read.
        allow_plain_http: whether credentials may cross a network over plain http; default False. This machine needs
            no leave.
        inner_hostname: where the platform runs the wrapped call; default: scheme and authority of `base_url`.
        inner_login, inner_password: till of the wrapped call; default: the outer till.
        checker_url: page where the checker decides; only shown to people.
        account_address: the address as it was when the account was first used, with or without a scheme. The
            account is named by it in place of `base_url`, and stays the same when the platform's address changes.
    """

    base_url: kinds.Address
    organisation_id: kinds.Organisation
    login: kinds.Till = ""
    password: kinds.Password = field(default="", repr=False)
    oauth_key: kinds.HeaderWords = ""
    oauth_secret: kinds.HeaderWords = field(default="", repr=False)
    ui_token: kinds.HeaderWords = field(default="", repr=False)
    environment: kinds.Words = ""
    submitting: bool = True
    cluster_timezone: kinds.Zone = "UTC"
    calls_per_minute: kinds.CallsPerMinute = 100
    page_base: kinds.PageBase = 0
    page_size: kinds.PageSize = 100
    visibility_lag_s: kinds.VisibilityLag = 900
    post_timeout_s: kinds.PostTimeout = 60
    connect_timeout_s: kinds.ConnectTimeout = 10
    read_timeout_s: kinds.ReadTimeout = 60
    verify: bool | kinds.WholePath = True
    cert: kinds.ClientCertificate = ()
    proxy: kinds.Proxy | None = field(default=None, repr=False)
    allow_plain_http: bool = False
    inner_hostname: kinds.OptionalAddress = ""
    inner_login: kinds.Till = ""
    inner_password: kinds.Password = field(default="", repr=False)
    checker_url: kinds.Page = ""
    account_address: kinds.AccountAddress = ""

    @model_validator(mode="wrap")
    @classmethod
    def _refused_by_name(cls, given: Any, checked: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 - pydantic's
        try:
            return checked(given)
        except ValidationError as error:
            refusal = kinds.as_invalid(error)
        # Raised out here: pydantic's error repeats the values, and would be chained.
        raise refusal

    def __post_init__(self) -> None:
        if not self.inner_hostname:
            object.__setattr__(self, "inner_hostname", origin_of(self.base_url))
        self._check_account()
        self._check_timeouts()
        self._check_pairs()
        self._check_tills()
        if self.sends_in_clear and not self.allow_plain_http:
            raise SettingsInvalid(
                field="base_url",
                problem="it is plain http, so login and password would cross the network unencrypted",
                remedy="Write https, or set allow_plain_http to true if a test system accepts nothing else",
            )

    def _check_account(self) -> None:
        name = "account_address" if self.account_address else "base_url"
        try:
            account_of(self._known_address, self.organisation_id)
        except ValueError as error:
            raise SettingsInvalid(field=name, problem=str(error), remedy=kinds.ADDRESS_REMEDY) from None

    def _check_timeouts(self) -> None:
        if self.connect_timeout_s >= min(self.post_timeout_s, self.read_timeout_s):
            raise SettingsInvalid(
                field="connect_timeout_s",
                problem="it must be shorter than post_timeout_s and read_timeout_s, which include it: "
                "a call that never left could not be told from one that did",
                remedy="Lower it, or raise the other two",
            )

    def _check_pairs(self) -> None:
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

    def _check_tills(self) -> None:
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
        """Whether credentials would cross a network over plain http: to the platform, or to a proxy before it."""
        hops = (self.base_url, self.proxy) if self.proxy else (self.base_url,)
        return urlsplit(self.base_url).scheme == "http" and not all(_is_this_machine(hop) for hop in hops)

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


def _is_this_machine(address: str) -> bool:
    host = host_of(split(address))
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
