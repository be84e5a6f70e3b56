"""A damaged row of a stranger stops nothing forever, and a damaged row of ours is never taken for missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import cast

import pytest

from capillary.api.client import Client
from capillary.api.errors import InDoubt
from capillary.api.request_workflow import UNREADABLE_STATE, Page, WorkflowRequest
from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import ListCutShort
from capillary.engine.platform_list import read_list
from capillary.engine.send import Sent
from capillary.engine.submit import submit_run
from capillary.engine.unreadable_rows import read_damaged
from capillary.engine.watch import watch
from capillary.ledger import scans
from tests.unit.engine.scripted_client import ScriptedClient, row

DAY = date(2026, 11, 1)
NAME = "unreadable:0badcafe"


class Damaged(ScriptedClient):
    """A platform whose list has one more row, without an id."""

    name = NAME
    foreign = 0

    async def list_requests(self, **asked: object) -> Page:
        page = await super().list_requests(**asked)  # type: ignore[arg-type]
        if page.number > 0:
            return replace(page, total_elements=page.total_elements + 1)
        unreadable = frozenset[str]() if self.foreign else frozenset({self.name})
        return replace(
            page,
            unreadable_rows=len(unreadable),
            unreadable=unreadable,
            foreign_rows=self.foreign,
            total_elements=page.total_elements + 1,
        )


@pytest.fixture
def damaged(scripted: ScriptedClient) -> Damaged:
    return Damaged(scripted.ledger, scripted.now)


async def submit(scripted: ScriptedClient) -> dict[Sent, int]:
    badge_run_id = scripted.requests()[0].badge_run_id
    done = await submit_run(scripted.sender, scripted.plan_id(badge_run_id), lease=timedelta(hours=6))
    return dict(done.counts)


def say_it_is_not_ours(scripted: ScriptedClient, name: str = NAME) -> None:
    with scripted.ledger.write() as tx:
        scans.note_not_ours(tx, scripted.settings.account, name, by="a person")


async def test_a_row_without_an_id_that_is_somebody_elses_stops_nothing(damaged: Damaged) -> None:
    damaged.plan([1])
    damaged.foreign = 1
    assert await submit(damaged) == {Sent.ACCEPTED: 1}


async def test_one_that_may_be_ours_holds_everything_back_until_a_person_looks(damaged: Damaged) -> None:
    damaged.plan([1])
    for _ in range(2):
        with pytest.raises(ListCutShort, match=f"ledger import --not-ours {NAME}"):
            await submit(damaged)
    assert damaged.posts == []
    say_it_is_not_ours(damaged)
    assert await submit(damaged) == {Sent.ACCEPTED: 1}


async def test_a_persons_word_is_of_one_content_alone(damaged: Damaged) -> None:
    damaged.plan([1])
    say_it_is_not_ours(damaged, "unreadable:00000000")
    with pytest.raises(ListCutShort):
        await submit(damaged)


async def test_nor_does_it_stand_for_rows_that_are_missing(damaged: Damaged) -> None:
    damaged.plan([1])
    say_it_is_not_ours(damaged)
    damaged.cut_short = 9
    with pytest.raises(ListCutShort) as caught:
        await submit(damaged)
    assert "--not-ours" not in str(caught.value)


async def test_nothing_in_doubt_is_sent_again_beside_one(damaged: Damaged) -> None:
    damaged.plan([1])
    say_it_is_not_ours(damaged)
    damaged.answers = [_in_doubt()]
    await submit(damaged)
    damaged.name = "unreadable:11111111"
    damaged.now[0] += timedelta(hours=3)
    assert (await resolve_doubt(damaged.sender)).still_in_doubt == 1
    say_it_is_not_ours(damaged, damaged.name)
    assert (await resolve_doubt(damaged.sender)).sent_again == 1


async def test_a_row_whose_state_is_damaged_is_read_singly_and_settled(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    await submit(scripted)
    key = str(scripted.requests()[0].request_key)
    scripted.unlisted = [row("p-1", key, "rejected")]
    shown = row("p-1", key, UNREADABLE_STATE)

    async def listed(**asked: object) -> Page:
        return Page((shown,), 0, 0, total_pages=1, total_elements=1)

    scripted.list_requests = listed  # type: ignore[method-assign]
    watched = await watch(scripted.ledger, cast("Client", scripted), scripted.sender.runtime)
    assert (watched.settled, scripted.statuses()) == (1, ["settled"])


async def test_one_that_stays_damaged_waits(scripted: ScriptedClient) -> None:
    scripted.plan([1])
    await submit(scripted)
    scripted.listed = [row("p-1", str(scripted.requests()[0].request_key), UNREADABLE_STATE)]
    watched = await watch(scripted.ledger, cast("Client", scripted), scripted.sender.runtime)
    assert (watched.read.to_the_end, watched.settled, scripted.statuses()) == (True, 0, ["waiting"])


async def test_a_strangers_damaged_state_costs_no_call(scripted: ScriptedClient) -> None:
    rows = (
        row("p-8", "ERP-7", UNREADABLE_STATE),
        replace(row("p-9", None, UNREADABLE_STATE), wraps_issue_bulk=False),
    )
    assert await read_damaged(cast("Client", scripted), rows) == rows
    assert scripted.events == []


async def test_rows_without_an_id_count_as_rows(damaged: Damaged) -> None:
    async def on_page(rows: tuple[WorkflowRequest, ...]) -> None:
        assert len(rows) == 1

    damaged.listed = [row("p-1", "cb1.x.a")]
    client = cast("Client", damaged)
    read = await read_list(client, since=DAY, request_type=None, on_page=on_page)
    assert (read.rows, read.to_the_end, read.but_for) == (2, False, frozenset({NAME}))
    damaged.foreign = 1
    read = await read_list(client, since=DAY, request_type=None, on_page=on_page)
    assert (read.rows, read.to_the_end, read.but_for) == (2, True, frozenset())


def _in_doubt() -> Exception:
    return InDoubt(reason="no whole answer")
