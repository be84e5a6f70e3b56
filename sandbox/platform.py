"""The whole platform in one object: what the routes serve, and what tests assert on."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock

from sandbox.access import Access
from sandbox.badge_engine import BadgeEngine, customer_ids, issual_status, row_id
from sandbox.badges import Catalogue
from sandbox.books import Books
from sandbox.books_schema import RequestRow
from sandbox.documents import child, whole
from sandbox.faults import Faults, Route
from sandbox.payloads import APPROVED, REJECTED, read_task
from sandbox.replies import PlatformError
from sandbox.settings import SWITCHES, SandboxSettings, SettingsError
from sandbox.workflow import Workflow

ARRIVALS_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Item:
    """One customer in a bulk call's answer."""

    customer_id: int
    issued_id: str | None
    status: str | None
    error_code: int | None


@dataclass(frozen=True, slots=True)
class Execution:
    """What the wrapped call of a request answered."""

    http_status: int
    items: tuple[Item, ...]
    error_codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request on the platform's books. ``execution`` is none until it is executed, and if it never is."""

    platform_request_id: str
    request_key: str | None
    badge_id: str | None
    customers: tuple[int, ...]
    state: str
    message: str | None
    started: float
    ended: float | None
    execution: Execution | None


@dataclass(frozen=True, slots=True)
class Issual:
    """One enrolment on the platform's books. Times in seconds since 1970 UTC."""

    issue_id: str
    status: str
    request_key: str
    owner_type: str
    reference_id: str | None
    issued_on: float
    expires: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """One call and when it came, in seconds since 1970 UTC."""

    at: float
    route: Route


class Platform:
    """Settings, books and services of one sandbox. Everything here may be called from any thread.

    Args:
        settings: how it behaves; the switches among them may change later.
        clock: gives seconds since 1970 UTC.
    """

    def __init__(self, settings: SandboxSettings, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.clock = clock
        self.books = Books(settings.books)
        self.catalogue = Catalogue(self.books)
        self.access = Access(self.books, self._current, clock)
        self.engine = BadgeEngine(self.books, self.catalogue, self._current)
        self.workflow = Workflow(self.books, self.engine, self.access, self._current, clock)
        self.faults = Faults()
        self._lock = Lock()
        self._calls: Counter[Route] = Counter()
        self._arrivals: deque[Arrival] = deque(maxlen=ARRIVALS_KEPT)

    def close(self) -> None:
        """Closes the books."""
        self.books.close()

    def switch(self, **changes: object) -> SandboxSettings:
        """Changes switches while the sandbox runs; returns the settings that hold from now on."""
        if unknown := sorted(changes.keys() - SWITCHES):
            raise SettingsError(f"{', '.join(unknown)}: no switch; there are {', '.join(sorted(SWITCHES))}")
        with self._lock:
            self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]  # checked on construction
            return self.settings

    def count(self, route: Route) -> None:
        """Notes that a call arrived."""
        with self._lock:
            self._calls[route] += 1
            self._arrivals.append(Arrival(self.clock(), route))

    @property
    def calls(self) -> Counter[Route]:
        """How many calls arrived on each route, whatever became of them."""
        with self._lock:
            return self._calls.copy()

    @property
    def arrivals(self) -> list[Arrival]:
        """The last 200,000 calls, in the order in which they arrived."""
        with self._lock:
            return list(self._arrivals)

    def requests(self) -> list[RequestRecord]:
        """Every request, in the order in which they arrived."""
        return [record(row) for row in self.books.requests(bodies=True)]

    def enrolments(self, badge_id: str) -> dict[int, list[Issual]]:
        """The enrolments in a badge by customer, oldest first; revoked and expired ones included."""
        badge = self.catalogue.get(badge_id)
        if badge is None:
            raise LookupError(f"Badge {badge_id} is not in the sandbox; add it through /_sandbox/badges.")
        now = self.clock()
        found: dict[int, list[Issual]] = defaultdict(list)
        for row in self.books.issuals(badge.number):
            found[row.customer].append(
                Issual(
                    issue_id=row_id(row),
                    status=issual_status(row, now),
                    request_key=row.request_key,
                    owner_type=row.owner_type,
                    reference_id=row.reference_id,
                    issued_on=row.issued_on,
                    expires=row.expires,
                )
            )
        return dict(found)

    def approve_all(self, message: str = "Approved.") -> int:
        """Approves every request once on the node it is parked on; returns how many there were."""
        return sum(self.decide(row, APPROVED, message) for row in self.workflow.due(self.clock(), limit=-1))

    def approve(self, request_key: str, message: str = "Approved.") -> int:
        """Approves what waits under a request key; returns how many requests that were."""
        return self._decide_key(request_key, APPROVED, message)

    def reject(self, request_key: str, message: str = "Rejected.") -> int:
        """Rejects what waits under a request key; returns how many requests that were."""
        return self._decide_key(request_key, REJECTED, message)

    def decide(self, row: RequestRow, decision: str, message: str) -> bool:
        """Whether the decision was taken; not if somebody else was faster."""
        try:
            self.workflow.decide_row(row, decision, message)
        except PlatformError as error:
            if error.code in (2002, 2007):
                return False
            raise
        return True

    def _decide_key(self, request_key: str, decision: str, message: str) -> int:
        rows = self.books.requests("decided = 0 AND request_key = ?", (request_key,), bodies=False)
        return sum(self.decide(row, decision, message) for row in rows)

    def _current(self) -> SandboxSettings:
        return self.settings


def record(row: RequestRow) -> RequestRecord:
    """A row of the books, read with its bodies, as a record."""
    body = child(read_task(row.payload), "body") or {}
    try:
        customers = tuple(customer_ids(body))
    except PlatformError:
        customers = ()
    return RequestRecord(
        platform_request_id=row.platform_request_id,
        request_key=row.request_key,
        badge_id=row.badge_id,
        customers=customers,
        state=row.state,
        message=row.message,
        started=row.started,
        ended=row.ended,
        execution=_execution(row),
    )


def _execution(row: RequestRow) -> Execution | None:
    if row.output_status is None:
        return None
    body = json.loads(row.output_body)
    issued = (body["data"] or {}).get("issuedBadges", [])
    items = tuple(
        Item(
            customer_id=item["customerId"],
            issued_id=item.get("issuedId"),
            status=item.get("status"),
            error_code=whole((item.get("error") or {}).get("code")),
        )
        for item in issued
    )
    return Execution(row.output_status, items, tuple(error["code"] for error in body["errors"]))
