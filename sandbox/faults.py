"""Faults that happen once: a queue per route, filled by tests or through ``/_sandbox/faults``."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Lock

MAX_SECONDS = 3_600.0


class Route(StrEnum):
    """The platform's calls, as faults and counts name them."""

    SUBMIT = "submit"  #: POST request-workflow/{TYPE}
    DECIDE = "decide"  #: PUT request-workflow/{TYPE}
    GET = "get"  #: GET request-workflow/requests/{id}
    LIST = "list"  #: GET request-workflow/requests
    TOKEN = "token"  # noqa: S105 - the name of a route
    BADGES = "badges"  #: everything under /api_gateway/v1/badges
    OTHER = "other"  #: the customer lookup, and paths that there are none of


class FaultKind(StrEnum):
    """What goes wrong with one call."""

    DROP = "drop"  #: the connection closes without a reply
    RESET = "reset"  #: the connection is reset in the middle of the reply's body; always after the commit
    HANG = "hang"  #: no reply for ``seconds``, then the connection closes
    DELAY = "delay"  #: the reply comes ``seconds`` late
    STATUS = "status"  #: the HTTP status ``status`` in place of the reply, with ``code`` in an envelope if given
    HTML = "html"  #: HTTP 200 with a page of HTML
    TRUNCATED = "truncated"  #: the first half of the reply's JSON, as if it were all; always after the commit


class When(StrEnum):
    """Whether the platform did what the call asked for."""

    BEFORE = "before"  #: it never got the call
    AFTER = "after"  #: it did, and committed; only the reply is lost


class FaultError(ValueError):
    """A fault cannot be played as described. The message names the field and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault and how often it still happens.

    Attributes:
        route: the calls it waits for.
        kind: what goes wrong.
        when: before or after the platform has committed; ``reset`` and ``truncated`` are always after.
        seconds: for ``hang`` and ``delay``, 0 to 3600.
        status: for ``status``, 400 to 599.
        code: for ``status``, an error code for the envelope; without one the body is a proxy's HTML page.
        retry_after: for ``status``, the value of ``Retry-After`` exactly as given.
        times: on how many calls.
    """

    route: Route
    kind: FaultKind
    when: When = When.AFTER
    seconds: float = 0.0
    status: int = 500
    code: int | None = None
    retry_after: str | None = None
    times: int = 1

    def __post_init__(self) -> None:
        for name, kind in (("route", Route), ("kind", FaultKind), ("when", When)):
            try:
                object.__setattr__(self, name, kind(getattr(self, name)))
            except ValueError as error:
                raise FaultError(f"{name}: give one of {', '.join(kind)}") from error
        if not 0 <= self.seconds <= MAX_SECONDS:
            raise FaultError(f"seconds: give 0 to {MAX_SECONDS:.0f}")
        if not 400 <= self.status <= 599:
            raise FaultError("status: give 400 to 599")
        if self.times < 1:
            raise FaultError("times: give 1 or more")
        if self.kind in (FaultKind.RESET, FaultKind.TRUNCATED) and self.when is When.BEFORE:
            raise FaultError(f"when: {self.kind} needs a reply to spoil; give after")
        if self.retry_after is not None and not (self.retry_after.isascii() and self.retry_after.isprintable()):
            raise FaultError("retry_after: give printable ASCII")


class Faults:
    """The faults still to come, first in first out per route. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._queue: deque[Fault] = deque()

    def add(self, fault: Fault) -> None:
        """Queues a fault."""
        with self._lock:
            self._queue.append(fault)

    def take(self, route: Route) -> Fault | None:
        """The fault for a call on a route, used up once; nothing where none waits."""
        with self._lock:
            for place, fault in enumerate(self._queue):
                if fault.route is route:
                    if fault.times > 1:
                        self._queue[place] = replace(fault, times=fault.times - 1)
                    else:
                        del self._queue[place]
                    return fault
        return None

    def waiting(self) -> list[Fault]:
        """The faults still to come."""
        with self._lock:
            return list(self._queue)

    def clear(self) -> None:
        """Forgets every fault still to come."""
        with self._lock:
            self._queue.clear()
