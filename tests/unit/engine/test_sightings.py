"""Rows of the list, written into the ledger."""

from __future__ import annotations

import pytest

from capillary.api.request_workflow import WorkflowRequest
from capillary.engine.sightings import record_rows
from capillary.ledger import request_rows, scans, unknown_keys
from capillary.ledger.database import Transaction
from tests.unit.engine.scripted_client import ScriptedClient, row


def test_requests_are_locked_in_the_order_of_their_ids_whatever_the_lists(
    scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan locks them so, too: in two orders each would wait for the other, and PostgreSQL would end one."""
    scripted.plan(range(1, 10))
    keys = [each.request_key for each in scripted.requests()]
    recorded: list[int] = []
    record = request_rows.record_sighting

    def spy(tx: Transaction, request_id: int, seen: request_rows.Seen) -> bool:
        recorded.append(request_id)
        return record(tx, request_id, seen)

    monkeypatch.setattr(request_rows, "record_sighting", spy)
    with scripted.ledger.write() as tx:
        rows = record_rows(
            tx, scripted.settings.account, scripted.settings.sender, [row(f"p-{n}", keys[n]) for n in (2, 0, 1)]
        )
    assert recorded == [1, 2, 3]
    assert (sorted(rows.rows), rows.new, rows.unknown_key) == ([1, 2, 3], 3, None)


KEY = "cb1.stray.0123456789abcdef0123456789abcdef"
OTHER = "cb1.other.0123456789abcdef0123456789abcdef"


def unknown_key(scripted: ScriptedClient, *rows: WorkflowRequest, not_ours: str = "") -> str | None:
    """Record rows of a page, and return the key that stops the account."""
    with scripted.ledger.write() as tx:
        if not_ours:
            scans.note_not_ours(tx, scripted.settings.account, not_ours, by="anna")
        recorded = record_rows(tx, scripted.settings.account, scripted.settings.sender, rows)
        kept = {each.key for each in unknown_keys.unknown_keys(tx, scripted.settings.account)}
        assert recorded.unknown_key in kept if kept else recorded.unknown_key is None
        return recorded.unknown_key


@pytest.mark.parametrize("state", ["AdminTask", "approved", "failed", "ZoneTask", "Rejected", "rejected by nobody"])
def test_an_unknown_key_of_ours_stops_the_account_in_every_state_but_rejected(
    scripted: ScriptedClient, state: str
) -> None:
    assert unknown_key(scripted, row("p-1", KEY, state)) == KEY


def test_an_unknown_request_that_was_rejected_stops_nothing(scripted: ScriptedClient) -> None:
    assert unknown_key(scripted, row("p-1", KEY, "rejected")) is None


@pytest.mark.parametrize("states", [("rejected", "AdminTask"), ("AdminTask", "rejected")])
def test_a_live_twin_of_a_rejected_one_stops_all_the_same(scripted: ScriptedClient, states: tuple[str, str]) -> None:
    rows = [row(f"p-{number}", KEY, state) for number, state in enumerate(states)]
    assert unknown_key(scripted, *rows) == KEY


def test_a_key_that_is_not_ours_by_a_persons_word_stops_nothing(scripted: ScriptedClient) -> None:
    assert unknown_key(scripted, row("p-1", KEY), not_ours=KEY) is None
    assert unknown_key(scripted, row("p-1", KEY), row("p-2", OTHER), row("p-3", KEY)) == OTHER


def test_the_word_for_one_account_is_none_for_another(scripted: ScriptedClient) -> None:
    with scripted.ledger.write() as tx:
        scans.note_not_ours(tx, "https://elsewhere.example/100", KEY, by="anna")
    assert unknown_key(scripted, row("p-1", KEY)) == KEY


def test_a_rejected_request_of_ours_that_the_ledger_knows_is_recorded_as_ever(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    (request,) = scripted.requests()
    assert unknown_key(scripted, row("p-1", request.request_key, "rejected")) is None
    assert [each.state for each in scripted.sightings()] == ["rejected"]
