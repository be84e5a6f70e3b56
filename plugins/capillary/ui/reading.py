"""Looks into the ledger for a page: four at a time, each short and read-only, and none of them blocks the API server.

A thread that hangs keeps its place until its database lets go of it, so that pages of a ledger that is away cost the
API server four threads and no more. Whoever finds all places taken is told so at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import URL, make_url

from capillary.connections.errors import ConnectionMissing
from capillary.errors import CapillaryError
from capillary.hooks import ledger_url_of
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.opening import DATABASE_ERRORS, broke_off
from capillary.ui.errors import LedgerBusy, LedgerSilent, NoConnection, RowUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The pages read this ledger: a campaign that names another one is not shown.
LEDGER_CONN_ID: Final = "badge_ledger"
#: Most pages that look at once.
PLACES: Final = 4
#: A page says within so long that the ledger does not answer, seconds.
ANSWER_WITHIN_S: Final = 3.0
#: Of that, for one statement: PostgreSQL ends it by itself, so that the thread is free again.
STATEMENT_S: Final = 2.5
_CONNECT_S: Final = 3
_LOOK_AGAIN_S: Final = 0.1

_T = TypeVar("_T")


class LedgerReader:
    """The ledger as the pages see it; kept open from page to page.

    Args:
        address: returns the ledger's URL; asked for every page, since the connection may change.
        within_s: how long a page waits for its answer.
    """

    def __init__(self, address: Callable[[], str | URL] | None = None, *, within_s: float = ANSWER_WITHIN_S) -> None:
        self._address = address or (lambda: ledger_url_of(LEDGER_CONN_ID))
        self._within_s = within_s
        self._threads = ThreadPoolExecutor(PLACES, thread_name_prefix="badge-pages")
        self._taken = 0
        self._lock = Lock()
        self._open: tuple[URL, Ledger] | None = None

    async def ask(self, question: Callable[[Transaction], _T], *, patience_s: float = 0.0) -> _T:
        """Return the answer to a question about the ledger.

        Args:
            question: asked in one short transaction.
            patience_s: how long to wait for a place where all are taken, seconds.

        Raises:
            NoConnection: the API server has no such connection.
            LedgerBusy, LedgerSilent: four pages look already; no answer came in time.
            RowUnreadable: what it holds is not as this version writes it.
            CapillaryError: the ledger cannot be read, and why.
        """
        until = time.monotonic() + patience_s
        while self._taken >= PLACES and time.monotonic() < until:  # noqa: ASYNC110 - places are left from threads
            await asyncio.sleep(_LOOK_AGAIN_S)
        return await self.run(lambda: self.look(question))

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return what comes of some work in one of the four threads.

        Raises:
            LedgerBusy, LedgerSilent: as above, and whatever the work raises.
        """
        if self._taken >= PLACES:
            raise LedgerBusy(
                f"{PLACES} pages look into the ledger at this moment, or wait for its database. Load this page again "
                f"in a few seconds; if it stays so, look at the database of connection {LEDGER_CONN_ID!r}."
            )
        self._taken += 1
        loop = asyncio.get_running_loop()
        future = self._threads.submit(work)
        future.add_done_callback(lambda _: self._leave(loop))
        return await self._answer(future)

    async def _answer(self, future: Future[_T]) -> _T:
        waiting = asyncio.wrap_future(future)
        done, _ = await asyncio.wait([waiting], timeout=self._within_s)
        if not done:
            waiting.add_done_callback(lambda late: late.cancelled() or late.exception())  # heard, though nobody waits
            raise LedgerSilent(
                f"The ledger did not answer within {self._within_s:.0f} s. Nothing else of Airflow waits for it. Look "
                f"at the database of connection {LEDGER_CONN_ID!r} and its host. Nothing is lost."
            )
        return waiting.result()

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        def leave() -> None:
            self._taken -= 1

        with suppress(RuntimeError):  # the loop is closed: nobody looks any more
            loop.call_soon_threadsafe(leave)

    def look(self, question: Callable[[Transaction], _T]) -> _T:
        """Ask in this thread, in one short transaction that reads only.

        Raises:
            RowUnreadable: what it holds is not as this version writes it.
            CapillaryError: the ledger cannot be read, and why.
        """
        try:
            with self._ledger() as ledger, ledger.read() as tx, legible():
                return question(tx)
        except DATABASE_ERRORS as error:
            self._forget()
            raise broke_off(error) from None
        except CapillaryError:
            self._forget()
            raise

    def address(self) -> str | URL:
        """Return the ledger's URL as it is now.

        Raises:
            NoConnection: the API server has no such connection.
            CapillaryError: the connection cannot be used, and why.
        """
        try:
            return self._address()
        except ConnectionMissing:
            raise NoConnection(LEDGER_CONN_ID) from None

    def close(self) -> None:
        """Give the connections back."""
        self._forget()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        url = _impatient(make_url(self.address()))
        with self._lock:
            opened = self._open
        if opened is None or opened[0] != url:
            opened = url, Ledger(url, reads_only=True, statement_s=STATEMENT_S)
            self._forget()
            with self._lock:
                self._open = opened
        yield opened[1]

    def _forget(self) -> None:
        with self._lock:
            opened, self._open = self._open, None
        if opened is not None:
            opened[1].let_go()


@contextmanager
def legible() -> Iterator[None]:
    """Turn what Python says of an odd value in a row into a sentence.

    Raises:
        RowUnreadable: a word or a date is none that this version knows.
    """
    try:
        yield
    except (ValueError, LookupError) as error:
        raise RowUnreadable(type(error).__name__) from error


def _impatient(url: URL) -> URL:
    """Return the ledger's URL for a page, which waits for a connection no longer than a person does."""
    if not url.get_backend_name().startswith("postgres"):
        return url
    own = url.query.get("connect_timeout")
    seconds = (
        _CONNECT_S if not isinstance(own, str) or not own.isdigit() or int(own) == 0 else min(_CONNECT_S, int(own))
    )
    return url.update_query_dict({"connect_timeout": str(seconds)})
