"""Pages of one run: what became of it, the customers that failed as CSV, and what may be ordered about it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query, Request, status
from fastapi.responses import Response, StreamingResponse

from capillary.engine.remedies import meaning_of
from capillary.errors import CapillaryError
from capillary.ledger.database import Transaction
from capillary.ledger.run_page import Place, failed_customers_of
from capillary.ui.access import Reader, ReaderDep
from capillary.ui.airflow_facts import CampaignDag, RunFacts
from capillary.ui.failed_csv import HEADER, broken_off, rows_of
from capillary.ui.not_now import not_now
from capillary.ui.order_day import OrderImpossible
from capillary.ui.orders import (
    Action,
    Choice,
    NothingChosen,
    Order,
    assert_live,
    carry_out,
    choices,
    dry_run_again,
    look_now,
    new_ones,
    only_occasion,
    rest,
    retry,
)
from capillary.ui.reading import LedgerReader
from capillary.ui.rendering import Addresses, PlaceDep, page, protect
from capillary.ui.run_known import AT_BEGIN, Places
from capillary.ui.run_orders import FOR_ONE_OCCASION, is_held_back
from capillary.ui.run_view import RunShown, shown_run
from capillary.ui.since_words import since_of
from capillary.ui.state_words import of_request

ROUTER: Final = APIRouter()
#: A run that is under way is looked at again after so many seconds; one that is over seldom changes.
_RENEW_S: Final = 5
_RENEW_OVER_S: Final = 60
#: Customers of a part of the CSV: each part is one short look into the ledger.
_PART: Final = 5_000
#: A file that was begun waits so long for a place, seconds: it must not break off.
_PATIENCE_S: Final = 30.0
#: Where a page of customers ends: two numbers. Where one of requests ends: a word and a number.
_CUSTOMERS: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)
_REQUESTS: Final = re.compile(r"requests-([0-9]{1,19})", re.ASCII)
#: The ledger's columns of numbers end there.
_LARGEST: Final = 2**63 - 1


@ROUTER.get("/runs/{dag_id}/{run_id}")
async def run_page(request: Request, reader: ReaderDep, dag_id: str, run_id: str, after: PlaceDep) -> Response:
    """Show what became of a run; `after` is where the page before of its customers, or requests, has ended."""
    at = _places(after)
    shown = await _shown(request, reader, dag_id, run_id, at)
    renew_s = 0 if after else _RENEW_OVER_S if shown.facts is None or shown.facts.is_over else _RENEW_S
    return page(
        request,
        "run.html",
        renew_s=renew_s,
        run=shown,
        after=at.customers,
        of_request=of_request,
        since_of=since_of,
        meaning_of=meaning_of,
    )


@ROUTER.get("/runs/{dag_id}/{run_id}/failed.csv")
async def failed_csv(request: Request, reader: ReaderDep, dag_id: str, run_id: str) -> Response:  # noqa: ARG001 - asked
    """Send every customer of the run that ended without the badge."""
    ledger: LedgerReader = request.app.state.ledger
    first = await ledger.ask(partial(_part, dag_id=dag_id, run_id=run_id, after=None))
    name = "".join(each if each.isascii() and each.isalnum() else "-" for each in f"{dag_id}-{run_id}")
    headers = {"Content-Disposition": f'attachment; filename="failed-{name[:150]}.csv"'}
    return protect(StreamingResponse(_csv(ledger, dag_id, run_id, first), media_type="text/csv", headers=headers))


@ROUTER.get("/confirm/{action}/{dag_id}/{run_id}")
async def confirm(
    request: Request,
    reader: ReaderDep,
    action: Action,
    dag_id: str,
    run_id: str,
    take: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """Say what an order would send to Airflow; the person's own browser sends it from there."""
    shown = await _shown(request, reader, dag_id, run_id, AT_BEGIN, for_order=True)
    # Of several accounts or occasions nothing is ordered at once, so nothing is added up, either.
    one = action is Action.RETRY and len(shown.occasions) < 2
    kinds = choices(shown.left, take, shown.on_occasion) if one else ()
    order, why, title = await asyncio.to_thread(_ordered, action, shown, kinds, reader)  # it asks Airflow's database
    given = shown.active.same(shown.dag, order.body["conf"]) if order and order.makes_run and shown.dag else None
    if given is not None:
        order, title = None, _REFUSED
        why = f"This order was given already: {given.run_id} of {dag_id} has the same form, and has not planned yet."
    address = Addresses.of(request)
    return page(
        request,
        "confirm.html",
        title=title,
        run=shown,
        order=order,
        why=why,
        given=given,
        as_of=shown.active.as_of if order and order.makes_run else "",
        may_count=action is Action.CARRY_OUT and Action.DRY_RUN in shown.actions,
        kinds=kinds,
        checkers_words=shown.checkers_words,
        new=new_ones(shown.left_now),
        body=json.dumps(order.body, indent=2) if order else "",
        post=address.airflow(*order.path) if order else "",
        then=f"{address.page('runs', dag_id)}/{{run}}" if order and order.makes_run else address.run(dag_id, run_id),
    )


async def _shown(
    request: Request, reader: Reader, dag_id: str, run_id: str, at: Places, *, for_order: bool = False
) -> RunShown:
    ledger: LedgerReader = request.app.state.ledger
    shown = await ledger.run(partial(shown_run, ledger, reader, dag_id, run_id, at=at, for_order=for_order))
    if not shown.exists:
        said = f"Neither Airflow nor the ledger knows a run {run_id!r} of {dag_id!r}."
        raise HTTPException(status.HTTP_404_NOT_FOUND, said)
    return shown


def _ordered(action: Action, shown: RunShown, kinds: Sequence[Choice], reader: Reader) -> tuple[Order | None, str, str]:
    """Return the order, or why there is none, and the page's title. 403 for a reader who may not give it."""
    may = reader.may_clear(shown.dag_id) if action is Action.LOOK_NOW else reader.may_trigger(shown.dag_id)
    if not may:
        verb = "clear tasks" if action is Action.LOOK_NOW else "start runs"
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"Airflow does not let you {verb} of {shown.dag_id}.")
    if shown.dag is None or shown.facts is None:
        return None, "Airflow does not know this run, or its DAG is not a campaign's any more.", _REFUSED
    try:
        if action is not Action.LOOK_NOW:
            assert_live(shown.dag)
        if shown.hindrances.refuses and is_held_back(action, shown.dag):
            return None, " ".join(shown.hindrances.refuses), _REFUSED
        if action in FOR_ONE_OCCASION:
            only_occasion(shown.occasions)
        if action not in shown.actions:
            return None, not_now(action, shown, reader.dag_ids), _REFUSED
        return _order(action, shown.dag, shown.facts, shown, kinds), "", action.words
    except NothingChosen as error:
        return None, f"{error} {_NOT_BY_ITSELF}", action.words
    except OrderImpossible as error:
        return None, str(error), _REFUSED


def _order(action: Action, dag: CampaignDag, facts: RunFacts, shown: RunShown, kinds: Sequence[Choice]) -> Order:
    if action is Action.LOOK_NOW:
        return look_now(facts)
    if action is Action.DRY_RUN:
        return dry_run_again(dag, facts, only_occasion(shown.occasions))
    order = _submits(action, dag, facts, shown, kinds)
    return replace(order, says=(*shown.hindrances.warns, *shown.active.says(dag.dag_id), *order.says))


def _submits(action: Action, dag: CampaignDag, facts: RunFacts, shown: RunShown, kinds: Sequence[Choice]) -> Order:
    occasion = only_occasion(shown.occasions)
    if action is Action.RETRY:
        new = new_ones(shown.left_now)
        return retry(dag, facts, occasion, kinds, shown.on_occasion, new, shown.left_now)
    if action is Action.REST:
        assert shown.left_now is not None  # noqa: S101 - for the type: it is offered by what is left
        return rest(dag, facts, occasion, shown.left_now)
    report = shown.report
    assert report is not None  # noqa: S101 - the same
    assert report.planned  # noqa: S101 - the same
    of = report.planned + (report.left_over or 0) if report.canary else None
    return carry_out(dag, facts, occasion, report.planned, report.requests, canary_of=of)


#: The title of a page on which nothing can be ordered.
_REFUSED: Final = "Not now"
#: Why a page may have no box ticked: it is a question, and no refusal.
_NOT_BY_ITSELF: Final = (
    "Tick a box above, then press Choose these. A failure that needs something done first is not ticked for you: the "
    "text at its box says what."
)


def _places(after: str) -> Places:
    customers, requests = _CUSTOMERS.fullmatch(after), _REQUESTS.fullmatch(after)
    numbers = [int(each) for found in (customers, requests) if found for each in found.groups()]
    if (after and not numbers) or max(numbers, default=0) > _LARGEST:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"{after[:50]!r} is not a place in the list.")
    return Places(customers=Place(*numbers) if customers else None, requests=numbers[0] if requests else 0)


def _part(tx: Transaction, dag_id: str, run_id: str, after: Place | None) -> tuple[str, Place | None]:
    """Return the rows of a part, and where the next one begins; None: there is none. Runs in a reader's thread."""
    part = failed_customers_of(tx, dag_id, run_id, after=after, limit=_PART)
    return rows_of(part), part[-1].place if len(part) == _PART else None


async def _csv(ledger: LedgerReader, dag_id: str, run_id: str, first: tuple[str, Place | None]) -> AsyncIterator[str]:
    yield HEADER
    rows, after = first
    yield rows
    while after is not None:
        ask = partial(_part, dag_id=dag_id, run_id=run_id, after=after)
        try:
            rows, after = await ledger.ask(ask, patience_s=_PATIENCE_S)
        except CapillaryError as error:
            yield broken_off(str(error))  # the 200 is sent: the file itself must say it
            return
        yield rows
