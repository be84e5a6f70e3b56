"""The page Badges, and the page of one customer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from capillary.engine.customer_id import MAX_CUSTOMER_ID, InvalidId, Reason, customer_id_of
from capillary.ledger.answers import CustomerAttempt
from capillary.ledger.database import Transaction
from capillary.ledger.questions import customer_history
from capillary.ui.access import ReaderDep
from capillary.ui.badges_view import shown_badges
from capillary.ui.reading import LedgerReader
from capillary.ui.rendering import PlaceDep, page
from capillary.ui.state_words import of_attempt

ROUTER: Final = APIRouter()
_RENEW_S: Final = 15
#: Why what was typed is no customer id, and what to give; of any other reason its own words stand there.
_WRONG: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.NOT_DIGITS: "give the platform’s number, digits only",
        Reason.LEADING_ZEROS: "write the number without zeros in front of it",
        Reason.TOO_SMALL: "ids begin at 1",
        Reason.TOO_LARGE: f"too large: the largest is {MAX_CUSTOMER_ID}, of {len(str(MAX_CUSTOMER_ID))} digits",
    }
)


@ROUTER.get("/badges")
async def badges_page(request: Request, reader: ReaderDep) -> Response:
    """Show what needs a person now, every campaign, and every account."""
    ledger: LedgerReader = request.app.state.ledger
    shown = await ledger.run(partial(shown_badges, ledger, reader))
    return page(request, "badges.html", renew_s=_RENEW_S, shown=shown)


@ROUTER.get("/customer")
async def customer_page(request: Request, reader: ReaderDep, place: PlaceDep) -> Response:
    """Show everything that ever happened to a customer, in the campaigns that the reader may see."""
    asked = place.strip()
    try:
        number = customer_id_of(asked)
    except InvalidId as error:
        wrong = _WRONG.get(error.reason, error.reason) if asked else ""
        return page(request, "customer.html", asked=asked, attempts=(), wrong=wrong)
    ledger: LedgerReader = request.app.state.ledger

    def question(tx: Transaction) -> tuple[CustomerAttempt, ...]:
        return customer_history(tx, number)

    attempts = await ledger.ask(question)
    seen = tuple(each for each in attempts if each.dag_id in reader.dag_ids)
    return page(request, "customer.html", asked=asked, attempts=tuple(map(of_attempt, seen)), wrong="")
