"""Rows of the list, written into the ledger."""

from __future__ import annotations

import pytest

from capillary.engine.sightings import record_rows
from capillary.ledger import requests
from capillary.ledger.database import Transaction
from tests.unit.engine.desk import Desk, row


def test_requests_are_locked_in_the_order_of_their_ids_whatever_the_lists(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan locks them so, too: in two orders each would wait for the other, and PostgreSQL would end one."""
    desk.plan(range(1, 10))
    keys = [each.key for each in desk.requests()]
    recorded: list[int] = []
    record = requests.record_sighting

    def spy(tx: Transaction, request_id: int, seen: requests.Seen) -> bool:
        recorded.append(request_id)
        return record(tx, request_id, seen)

    monkeypatch.setattr(requests, "record_sighting", spy)
    with desk.ledger.write() as tx:
        rows = record_rows(tx, desk.settings.account, [row(f"p-{n}", keys[n]) for n in (2, 0, 1)])
    assert recorded == [1, 2, 3]
    assert (sorted(rows.rows), rows.new, rows.foreign_key) == ([1, 2, 3], 3, None)
