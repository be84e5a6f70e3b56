"""Named points of a task: before and after every commit and every call, and in the middle of a POST.

They are set by the process under test alone, around SQLAlchemy's commit and the client's transport; the
product has no switch for them. A name is the function that commits or the route that is called, so that a
point is the same one in every run of a task.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy.engine.interfaces import DBAPIConnection

from capillary.api.transport import AiohttpTransport, Reply
from capillary.ledger.database import Ledger
from sandbox.faults import Route
from sandbox.gate import route_of

#: How long a POST is given to leave the machine before its sender dies in the middle of it, seconds.
UNDER_WAY_S: Final = 0.03
#: Functions that commit on behalf of the one that called them.
_GO_BETWEENS: Final = frozenset({"_in_transaction", "ledger_call", "<lambda>", "write"})


class Moment(StrEnum):
    """Where in a commit or a call."""

    BEFORE = "before"
    DURING = "during"  #: the POST is on its way and no answer has come
    AFTER = "after"


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """One place in a task.

    Attributes:
        name: `commit <function>` or `call <route>`.
        nth: its how many-th passing, from 1.
        moment: where in it.
    """

    name: str
    nth: int
    moment: Moment

    def __str__(self) -> str:
        return f"{self.moment} {self.name} #{self.nth}"


class Points:
    """Counts what is passed, and sends this process a signal at one point.

    Args:
        at: at this point, or at the passing of this number, from 1; nowhere by default.
        signal_number: SIGKILL ends the process without a word, SIGSTOP freezes it.
    """

    def __init__(self, at: Point | int | None = None, signal_number: int = signal.SIGKILL) -> None:
        self._at = at
        self._signal = signal_number
        self._lock = Lock()
        self._counts: Counter[tuple[str, Moment]] = Counter()
        self.passed: list[Point] = []

    def set(self) -> None:
        """Set the points in this process, for good."""
        self._around_commits()
        self._around_calls()

    def _pass(self, name: str, moment: Moment) -> bool:
        """Note a passing; True where the signal is due and the caller sends it."""
        with self._lock:
            self._counts[name, moment] += 1
            point = Point(name, self._counts[name, moment], moment)
            self.passed.append(point)
            return self._at in (point, len(self.passed))

    def _strike(self) -> None:
        os.kill(os.getpid(), self._signal)

    def _around_commits(self) -> None:
        made = Ledger.__init__

        def init(ledger: Ledger, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever it takes
            made(ledger, *args, **kwargs)
            dialect = ledger.engine.dialect
            commit = dialect.do_commit

            def do_commit(connection: DBAPIConnection) -> None:
                name = f"commit {_committer()}"
                if self._pass(name, Moment.BEFORE):
                    self._strike()
                commit(connection)  # type: ignore[arg-type] # the pool's proxy, as SQLAlchemy hands it over
                if self._pass(name, Moment.AFTER):
                    self._strike()

            dialect.do_commit = do_commit  # type: ignore[method-assign, assignment]

        Ledger.__init__ = init  # type: ignore[method-assign, assignment]

    def _around_calls(self) -> None:
        made = AiohttpTransport.call

        async def call(transport: AiohttpTransport, method: str, url: str, **kwargs: Any) -> Reply:  # noqa: ANN401 - whatever it takes
            route = route_of(method, urlsplit(url).path)
            name = f"call {route}"
            if self._pass(name, Moment.BEFORE):
                self._strike()
            under_way = asyncio.ensure_future(made(transport, method, url, **kwargs))
            try:
                if route is Route.SUBMIT and self._pass(name, Moment.DURING):
                    await asyncio.wait([under_way], timeout=UNDER_WAY_S)
                    self._strike()
                reply = await under_way
            finally:
                under_way.cancel()
            if self._pass(name, Moment.AFTER):
                self._strike()
            return reply

        AiohttpTransport.call = call  # type: ignore[method-assign, assignment]


def _committer() -> str:
    """Return the function of the product that asked for the commit, as module and name."""
    frame = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        name = frame.f_code.co_name
        if module.startswith("capillary.") and module != "capillary.ledger.database" and name not in _GO_BETWEENS:
            return f"{module.rpartition('.')[2]}.{name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"
