"""Who may call the sandbox and how it behaves where the platform's documentation leaves room.

Every field marked *assumption* stands for a behaviour that the public documentation does not settle;
README.md lists them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

BASIC_LOGIN = re.compile(r"[^:\s]+")
NEVER_NEGATIVE = (
    "token_ttl_s",
    "unknown_every",
    "delay_s",
    "reject_every",
    "auto_approve_after_s",
    "list_lag_s",
    "list_range_days",
    "list_reaches_days",
    "calls_per_minute",
    "latency_s",
)


class SettingsError(ValueError):
    """A setting is missing or wrong. The message names the setting and the remedy."""


class CheckerMode(StrEnum):
    """Who decides what waits."""

    MANUAL = "manual"  #: a person on the checker's page, or a PUT
    AUTOMATIC = "automatic"  #: the sandbox itself, ``delay_s`` after the request arrived


class PartialPolicy(StrEnum):
    """The state of a request whose bulk call refused some of its customers."""

    APPROVED = "approved"
    FAILED = "failed"


class ListRows(StrEnum):
    """How truthful the list of requests is."""

    COMPLETE = "complete"
    DUPLICATES = "duplicates"  #: the last row of a page comes again as the first of the next one
    HIDES = "hides"  #: every second request is missing, though a single read finds it


class EchoedKey(StrEnum):
    """How replies show the inner ``requestId`` of a request."""

    AS_SENT = "as_sent"
    UPPER = "upper"  #: in upper case
    PREFIXED = "prefixed"  #: behind ``req-``
    DASHES = "dashes"  #: with dashes for dots
    CUT = "cut"  #: without its last 12 characters
    HEADLESS = "headless"  #: its last 20 characters alone
    HASHED = "hashed"  #: its MD5


class ListTotals(StrEnum):
    """What ``totalElements`` and ``totalPages`` of the list count."""

    ALL = "all"
    PAGE = "page"  #: the rows of this page only, as if it were the last one


@dataclass(frozen=True, slots=True, kw_only=True)
class Till:
    """A login of the platform and what it may do.

    Attributes:
        username: the till's name; no colon, since Basic joins name and password hash with one.
        password: in clear; what travels is its MD5 (``reference/basic-authentication``).
        user_id: the admin user id that replies show as ``userId``.
        user_name: what replies show as ``userName``.
        may_make: CanMakeRequest.
        may_check: CanCheckRequest.
    """

    username: str
    password: str = field(repr=False)
    user_id: int
    user_name: str
    may_make: bool
    may_check: bool

    def __post_init__(self) -> None:
        if not BASIC_LOGIN.fullmatch(self.username) or not self.password:
            raise SettingsError("till: needs a name without colon or blank, and a password; give USER:PASSWORD")


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """A key and secret for ``/v3/oauth/token/generate``, acting as one of the tills (``reference/oauth``)."""

    key: str
    secret: str = field(repr=False)
    acts_as: str


MAKER = Till(
    username="sandbox-maker",
    password="sandbox-maker",  # noqa: S106 - published in README.md: it opens nothing but this sandbox
    user_id=75_000_001,
    user_name="maker@sandbox.example",
    may_make=True,
    may_check=False,
)
CHECKER = Till(
    username="sandbox-checker",
    password="sandbox-checker",  # noqa: S106 - published in README.md: it opens nothing but this sandbox
    user_id=75_000_002,
    user_name="checker@sandbox.example",
    may_make=False,
    may_check=True,
)
CLIENT = OAuthClient(
    key="sandbox-key",
    secret="sandbox-secret",  # noqa: S106 - published in README.md: it opens nothing but this sandbox
    acts_as=MAKER.username,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """Everything that can be chosen about a sandbox. The names in ``SWITCHES`` may change while it runs.

    Attributes:
        organisation: the organisation id that ``X-CAP-API-AUTH-ORG-ID`` must carry.
        tills: the logins; at least one that may check, since the checker's page acts as it.
        clients: OAuth clients.
        books: a SQLite file that outlives the process, or ``:memory:``.
        ledger: SQLAlchemy URL of the ledger of whoever calls, or empty: the checker's page names campaign and run by
            it, which the platform is never told.
        timezone: the cluster's zone, in which times without zone are written (*assumption*).
        token_ttl_s: life of an OAuth token in seconds.
        unknown_customers: customer ids that the platform does not know; it knows every other id.
        unknown_every: ids divisible by this are unknown too; 0 for none.
        checker: who decides.
        delay_s: the automatic checker decides this many seconds after the request arrived.
        reject_every: the automatic checker rejects every n-th request; 0 for none.
        auto_approve: the workflow's auto-approval flag: requests are executed with no human check.
        auto_approve_after_s: requests are executed with no human check so many seconds after they arrived, as soon as
            anybody reads; 0 for never (*assumption*: approval by itself is immediate).
        echoed_key: how replies show the inner ``requestId`` (*assumption*: as it was sent).
        external_service_bypass: OAuth callers without a UI token count as external services: not checked for
            CanMakeRequest, and executed with no human check (*assumption* for ISSUE-BADGE).
        require_ui_token: refuse workflow calls without a valid ``X-CAP-UI-AUTH-TOKEN`` (*assumption*).
        four_eyes: refuse a decision by the request's maker (*assumption*: the platform allows it).
        partial_policy: state of a request with refused customers in its results (*assumption*: approved).
        refused_call_reserves_key: a bulk call that failed as a whole uses up its requestId as well, so that
            the next one with it gets 809 (*assumption*: it does not).
        unknown_state: name of one more approval node, which new requests pass before AdminTask; or empty.
        drop_output: replies leave out ``IntouchAPITask_Output``.
        list_drops_output: rows of the list leave it out; a single read shows it (*assumption*: the list does, too).
        fail_checks: replies say that the payload did not pass the platform's check, and the request waits nevertheless.
        float_status: ``IntouchAPITask_Output.status`` is written as a float, as in some documented examples.
        page_base: the PageNo of the first page, 0 or 1 (*assumption*: 0).
        page_limit: rows of a page when no ``limit`` is given (*assumption*: 20).
        page_limit_max: the most rows of a page; a larger ``limit`` is cut to it (*assumption*: 100).
        list_lag_s: seconds until a new request shows in the list; a single read finds it at once.
        list_rows: how truthful the list is.
        list_totals: what the list's totals count (*assumption*: all rows).
        list_range_days: the most days, both ends counted, that one call of the list may ask for; a call without
            endDate asks up to today. 0 for no limit (*assumption*).
        list_reaches_days: how many days back startDate may lie; 0 for any day (*assumption*).
        calls_per_minute: calls of one credential in any 60 s before 429; 0 for no limit.
        retry_after: whether a 429 carries ``Retry-After`` in seconds (*assumption*: it does).
        latency_s: seconds added to every call of the platform.
    """

    organisation: int = 100458
    tills: tuple[Till, ...] = (MAKER, CHECKER)
    clients: tuple[OAuthClient, ...] = (CLIENT,)
    books: str = ":memory:"
    ledger: str = field(default="", repr=False)
    timezone: str = "Asia/Kolkata"
    token_ttl_s: int = 300
    unknown_customers: frozenset[int] = frozenset()
    unknown_every: int = 0
    checker: CheckerMode = CheckerMode.MANUAL
    delay_s: float = 0.0
    reject_every: int = 0
    auto_approve: bool = False
    auto_approve_after_s: float = 0.0
    echoed_key: EchoedKey = EchoedKey.AS_SENT
    external_service_bypass: bool = False
    require_ui_token: bool = False
    four_eyes: bool = False
    partial_policy: PartialPolicy = PartialPolicy.APPROVED
    refused_call_reserves_key: bool = False
    unknown_state: str = ""
    drop_output: bool = False
    list_drops_output: bool = False
    fail_checks: bool = False
    float_status: bool = False
    page_base: int = 0
    page_limit: int = 20
    page_limit_max: int = 100
    list_lag_s: float = 0.0
    list_rows: ListRows = ListRows.COMPLETE
    list_totals: ListTotals = ListTotals.ALL
    list_range_days: int = 0
    list_reaches_days: int = 0
    calls_per_minute: int = 0
    retry_after: bool = True
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        _require(self.organisation > 0, "organisation", "give the numeric organisation id")
        _require(any(till.may_check for till in self.tills), "tills", "give one that may check")
        names = [till.username for till in self.tills]
        _require(len(set(names)) == len(names), "tills", "give every till a name of its own")
        _require(all(c.acts_as in names for c in self.clients), "clients", "let acts_as name one of the tills")
        _require(self.page_base in (0, 1), "page_base", "give 0 or 1")
        upto = f"give 1 to {self.page_limit_max}, the value of page_limit_max"
        _require(1 <= self.page_limit <= self.page_limit_max, "page_limit", upto)
        for each in fields(self):
            fits = not isinstance(each.default, bool) or isinstance(getattr(self, each.name), bool)
            _require(fits, each.name, "give true or false")
        for name in NEVER_NEGATIVE:
            _require(0 <= getattr(self, name) < math.inf, name, "give a number, 0 or more")
        _require(
            not self.unknown_state or bool(re.fullmatch(r"[A-Za-z]\w*", self.unknown_state)),
            "unknown_state",
            "give the name of a workflow node, letters and digits, or nothing",
        )
        for name, kind in (
            ("checker", CheckerMode),
            ("partial_policy", PartialPolicy),
            ("list_rows", ListRows),
            ("list_totals", ListTotals),
            ("echoed_key", EchoedKey),
        ):
            object.__setattr__(self, name, _word(kind, name, getattr(self, name)))
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise SettingsError(f"timezone: {self.timezone!r} is not an IANA zone; give one like UTC") from error

    @property
    def zone(self) -> ZoneInfo:
        """The cluster's time zone."""
        return ZoneInfo(self.timezone)

    def knows_customer(self, customer_id: int) -> bool:
        """Whether the platform has a customer of this id."""
        if customer_id <= 0 or customer_id in self.unknown_customers:
            return False
        return not (self.unknown_every and customer_id % self.unknown_every == 0)


FIXED = frozenset({"organisation", "tills", "clients", "books", "ledger", "timezone"})
SWITCHES = frozenset(each.name for each in fields(SandboxSettings)) - FIXED


def _require(holds: bool, name: str, remedy: str) -> None:
    if not holds:
        raise SettingsError(f"{name}: not usable; {remedy}")


def _word(kind: type[StrEnum], name: str, value: str) -> StrEnum:
    try:
        return kind(value)
    except ValueError as error:
        raise SettingsError(f"{name}: {value!r} is unknown; give one of {', '.join(kind)}") from error
