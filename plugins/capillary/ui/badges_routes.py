"""The page Badges, and the page of one customer."""

from __future__ import annotations

from functools import partial
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

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
#: The ledger's column of customer ids ends there.
_LARGEST: Final = 2**63 - 1


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
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 19 else None
    if number is None or not 0 < number <= _LARGEST:
        return page(request, "customer.html", asked=asked, attempts=(), wrong=bool(asked))
    ledger: LedgerReader = request.app.state.ledger

    def question(tx: Transaction) -> tuple[CustomerAttempt, ...]:
        return customer_history(tx, number)

    attempts = await ledger.ask(question)
    seen = tuple(each for each in attempts if each.dag_id in reader.dag_ids)
    return page(request, "customer.html", asked=asked, attempts=tuple(map(of_attempt, seen)), wrong=False)
