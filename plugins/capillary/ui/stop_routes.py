"""*Stop sending* and *Resume*: the one thing on these pages that changes something by itself, in the ledger.

Airflow is asked for the right to edit the platform's connection: who may turn *Submitting* off there may stop here.
Other sites' pages are refused, and what was ordered stands in Airflow's audit log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Final, TypeVar

from airflow.api_fastapi.core_api.security import requires_access_connection
from airflow.api_fastapi.logging.decorators import action_logging
from fastapi import APIRouter, Depends, HTTPException, Query, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from capillary.ledger.database import Ledger
from capillary.ledger.opening import DATABASE_ERRORS, broke_off
from capillary.ledger.stops import Scope, Stop, await_claims, connections_of, in_force, order_stop, resume
from capillary.ui.access import FromHereDep, LoggedAsSentDep, Reader, ReaderDep
from capillary.ui.errors import LedgerSilent
from capillary.ui.hindrances import platform_of
from capillary.ui.reading import LedgerReader
from capillary.ui.rendering import HEADERS, page

ROUTER: Final = APIRouter()
#: Longest reason, characters: it stands in every stopped task's log.
REASON_LENGTH: Final = 500
#: Its own thread: four pages that hang must not keep a stop waiting.
_STOPS: Final = ThreadPoolExecutor(2, thread_name_prefix="badge-stops")
#: So long a person waits for the stop to be in force, seconds.
_WITHIN_S: Final = 10.0
#: A stop is in force from its commit on; so long is waited for claims that began before, seconds.
_CLAIMS_S: Final = 3.0
_MAY_EDIT: Final = Depends(requires_access_connection("PUT"))
_T = TypeVar("_T")


def _printable(words: str) -> str:
    if not words.isprintable():
        raise ValueError("give printable characters in one line")
    return words


class StopOrder(BaseModel):
    """What is to be stopped."""

    model_config = ConfigDict(extra="forbid")

    account: str
    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=REASON_LENGTH),
        AfterValidator(_printable),
    ]


class ResumeOrder(BaseModel):
    """What is to be resumed."""

    model_config = ConfigDict(extra="forbid")

    account: str
    campaign: str = ""


def _ordered(model: type[BaseModel], event: str) -> tuple[Any, ...]:
    """Return what is asked before an order, and then writes it into Airflow's audit log: never one that is refused."""

    async def valid(request: Request) -> None:
        try:
            model.model_validate(await request.json())
        except ValidationError as error:
            raise RequestValidationError(
                [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_input=False)]
            ) from None

    return (_MAY_EDIT, FromHereDep, LoggedAsSentDep, Depends(valid), Depends(action_logging(event=event)))


@ROUTER.get("/confirm/stop/{connection_id}")
async def confirm_stop(
    request: Request, reader: ReaderDep, connection_id: str, account: Annotated[str, Query()]
) -> Response:
    """Say what a stop does, and ask for its reason."""
    await _assert_may_edit(reader, connection_id)
    return page(request, "stop.html", account=account, conn_id=connection_id, reason_length=REASON_LENGTH)


@ROUTER.get("/confirm/resume/{connection_id}")
async def confirm_resume(
    request: Request,
    reader: ReaderDep,
    connection_id: str,
    account: Annotated[str, Query()],
    campaign: Annotated[str, Query()] = "",
) -> Response:
    """Say who has stopped it and why, and what resuming does."""
    await _assert_may_edit(reader, connection_id)
    scope = Scope(account, campaign)

    def stopped(ledger: Ledger) -> Stop | None:
        _assert_of(ledger, connection_id, account)
        with ledger.read() as tx:
            return next((each for each in in_force(tx) if each.scope == scope), None)

    stop = await _asked(request, stopped, within_s=_WITHIN_S)
    return page(request, "resume.html", scope=scope, stop=stop, conn_id=connection_id)


@ROUTER.post(
    "/stop/{connection_id}",
    dependencies=[*_ordered(StopOrder, "badges.stop")],
)
async def stop_account(request: Request, reader: ReaderDep, connection_id: str, order: StopOrder) -> Response:
    """Stop all sending of an account: once this is answered, no process begins to send for it."""
    scope = Scope(order.account)

    def work(ledger: Ledger) -> Stop:
        _assert_of(ledger, connection_id, order.account)
        return order_stop(ledger, scope, by=_author(reader), reason=order.reason)

    done = await _asked(request, work, within_s=_WITHIN_S)
    try:
        await _asked(request, lambda ledger: await_claims(ledger, scope), within_s=_CLAIMS_S)
    except LedgerSilent:
        return _said(f"stopped {done}. A claim that began before is still open: its request may yet be sent.")
    return _said(f"stopped {done}")


@ROUTER.post(
    "/resume/{connection_id}",
    dependencies=[*_ordered(ResumeOrder, "badges.resume")],
)
async def resume_account(request: Request, reader: ReaderDep, connection_id: str, order: ResumeOrder) -> Response:
    """Release a stop; this alone sends nothing."""

    def work(ledger: Ledger) -> Stop | None:
        _assert_of(ledger, connection_id, order.account)
        return resume(ledger, Scope(order.account, order.campaign), by=_author(reader))

    released = await _asked(request, work, within_s=_WITHIN_S)
    return _said("nothing was stopped" if released is None else f"resumed {released.scope}")


async def _assert_may_edit(reader: Reader, conn_id: str) -> None:
    """Refuse who may not order it anyway (403). Airflow's own dependency reads a body, which a GET has not."""
    if not await asyncio.to_thread(reader.may_stop, conn_id):
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"Airflow does not let you edit connection {conn_id!r}.")


def _said(sentence: str) -> Response:
    return JSONResponse({"detail": sentence}, headers=dict(HEADERS))


def _author(reader: Reader) -> str:
    return f"{reader.name} in Airflow"[:200]


def _assert_of(ledger: Ledger, conn_id: str, account: str) -> None:
    """Refuse an account that this connection does not lead to: the right to edit it says nothing of another (404)."""
    platform = platform_of(conn_id)
    if platform is not None and platform.account == account:
        return
    with ledger.read() as tx:
        if conn_id in connections_of(tx, account):
            return
    raise HTTPException(
        status.HTTP_404_NOT_FOUND,
        f"Connection {conn_id!r} does not lead to account {account!r}, and no run of it ever did. Nothing was changed.",
    )


async def _asked(request: Request, work: Callable[[Ledger], _T], *, within_s: float) -> _T:
    """Ask the ledger, or change it, in a thread of the stops', whatever else is wrong with its schema.

    Raises:
        LedgerSilent: it has not answered in time; it may do so later.
        CapillaryError: it cannot be done, and why.
    """
    reader: LedgerReader = request.app.state.ledger

    def run() -> _T:
        try:
            with Ledger(reader.address(), stops_only=True) as ledger:
                return work(ledger)
        except DATABASE_ERRORS as error:
            raise broke_off(error) from None

    doing = asyncio.get_running_loop().run_in_executor(_STOPS, run)
    done, _ = await asyncio.wait([doing], timeout=within_s)
    if not done:
        doing.add_done_callback(lambda late: late.cancelled() or late.exception())  # heard, though nobody waits
        raise LedgerSilent(
            f"The ledger did not answer within {within_s:.0f} s; whether it was done is not known. Look at the page "
            "Badges, and use `python -m capillary stop` or the connection's switch Submitting if it does not say so."
        )
    return doing.result()
