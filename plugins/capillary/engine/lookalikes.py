"""Rows of the list that may be a request in doubt, though they show no key that was made from its."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from capillary.api.request_workflow import WorkflowRequest
from capillary.engine.platform_list import LOOK_BACK
from capillary.ledger import scans
from capillary.ledger.database import Transaction
from capillary.ledger.request_content import customers_of


class Doubt(Protocol):
    """What is asked of a request in doubt."""

    @property
    def request_id(self) -> int:
        """The ledger's id of it."""
        ...

    @property
    def badge_id(self) -> str:
        """The badge."""
        ...

    @property
    def first_sent_at(self) -> datetime:
        """When it was first sent."""
        ...


@dataclass(frozen=True, slots=True)
class Lookalike:
    """A row that may be a request in doubt."""

    platform_request_id: str
    request_key: str | None


class Lookalikes:
    """Rows of no request of the ledger that may be one of those in doubt."""

    def __init__(self, account: str, doubts: Collection[Doubt]) -> None:
        self._account = account
        self._doubts = doubts
        self._customers: dict[int, frozenset[int]] = {}
        self._held: dict[int, Lookalike] = {}

    def take(self, tx: Transaction, rows: Iterable[WorkflowRequest]) -> None:
        """Look at rows of the list that show no request of the ledger."""
        of_type = [row for row in rows if row.may_issue_badges]
        if not of_type:
            return
        names = {name for row in of_type for name in (row.platform_request_id, row.request_key) if name}
        not_ours = scans.are_not_ours(tx, self._account, names)
        for row in of_type:
            if not_ours.isdisjoint((row.platform_request_id, row.request_key)):
                for doubt in self._doubts:
                    if doubt.request_id not in self._held and self._may_be(tx, row, doubt):
                        self._held[doubt.request_id] = Lookalike(row.platform_request_id, row.request_key)

    def of(self, request_id: int) -> Lookalike | None:
        """Return the first row that may be a request in doubt."""
        return self._held.get(request_id)

    def _may_be(self, tx: Transaction, row: WorkflowRequest, doubt: Doubt) -> bool:
        if row.badge_id is not None and row.badge_id.casefold() != doubt.badge_id.casefold():
            return False
        # The platform's clock may be a day away from ours, as for the days of the list.
        if row.created_at is not None and row.created_at < doubt.first_sent_at - LOOK_BACK:
            return False
        if row.customers:
            return not self._of(tx, doubt).isdisjoint(row.customers)
        # A stranger's key without customers tells enough, unless it is for our badge.
        return row.request_key is None or row.badge_id is not None

    def _of(self, tx: Transaction, doubt: Doubt) -> frozenset[int]:
        if doubt.request_id not in self._customers:
            self._customers[doubt.request_id] = frozenset(customers_of(tx, doubt.request_id))
        return self._customers[doubt.request_id]
