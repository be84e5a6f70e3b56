"""What settles a request: a row of the list that leaves nobody unconfirmed; else single reads, which alone give up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from capillary.api.badges import BulkItem, Execution
from capillary.api.request_workflow import WorkflowRequest
from capillary.engine import upkeep
from capillary.engine import wait as advancing
from capillary.engine import watch as watching
from capillary.engine.settle import OUTPUT_PATIENCE
from capillary.engine.submit import submit_run
from capillary.engine.upkeep import keep_account
from capillary.engine.wait import Advanced, advance
from capillary.engine.watch import watch_in_turn
from tests.unit.engine.scripted_client import LEASE, ScriptedClient, row

CUSTOMERS = (1, 2, 3)


def line(customer: int, issued: str | None = "i", code: int | None = None) -> BulkItem:
    return BulkItem(customer, issued, "ACTIVE", code, failed=code is not None)


def output(*lines: BulkItem, unreadable: int = 0) -> Execution:
    return Execution(200, lines, (), unreadable_items=unreadable)


WHOLE = output(*map(line, CUSTOMERS))
#: The body of a reply that ends in the middle.
BROKEN = Execution(200, None, ())


async def send(
    scripted: ScriptedClient, execution: Execution | None, *, whole: Execution | None = None, requests: int = 1
) -> None:
    """Have requests of three customers each decided; the list shows one output of each and a single read another."""
    customers = range(1, 3 * requests + 1)
    planned = scripted.plan(customers, "the run")
    await submit_run(scripted.sender, scripted.plan_id(planned.badge_run_id), lease=LEASE)
    for number, request in enumerate(scripted.requests(), start=1):
        shown = replace(row(f"p-{number}", request.request_key, "approved", human=True), customers=None)
        scripted.listed.append(replace(shown, execution=_of(number, execution)))
        if whole is not None:
            scripted.whole[f"p-{number}"] = replace(shown, execution=_of(number, whole))
    scripted.events.clear()


def _of(number: int, execution: Execution | None) -> Execution | None:
    """Return an output with the customers of a request."""
    if execution is None or execution.items is None:
        return execution
    return replace(
        execution,
        items=tuple(replace(item, customer_id=item.customer_id + 3 * (number - 1)) for item in execution.items),
    )


async def look(scripted: ScriptedClient, *, after: timedelta = timedelta(0)) -> Advanced:
    """A worker looks."""
    scripted.now[0] += after
    scripted.events.clear()
    return await advance(scripted.sender, scripted.plan_id(1), reader="a worker", lease=LEASE)


def singly(scripted: ScriptedClient) -> list[str]:
    return sorted(event.removeprefix("read ") for event in scripted.events if event.startswith("read "))


@pytest.mark.parametrize(
    ("lines", "outcomes"),
    [
        ((line(1), line(2), line(3)), {"enrolled": 3}),
        ((line(1), line(2, None, 816), line(3, "i", 1040)), {"enrolled": 1, "failed": 1, "already_enrolled": 1}),
    ],
    ids=["all enrolled", "every clear word"],
)
async def test_a_whole_list_settles_by_itself_and_costs_no_other_call(
    scripted: ScriptedClient, lines: tuple[BulkItem, ...], outcomes: dict[str, int]
) -> None:
    await send(scripted, output(*lines), requests=4)
    assert (await look(scripted)).wait.is_over
    assert scripted.events == ["list"]
    assert scripted.outcomes() == {outcome: 4 * count for outcome, count in outcomes.items()}


async def test_a_rejected_row_settles_by_itself(scripted: ScriptedClient) -> None:
    await send(scripted, None)
    scripted.listed = [replace(each, state="rejected") for each in scripted.listed]
    assert (await look(scripted)).wait.is_over
    assert scripted.events == ["list"]
    assert scripted.outcomes() == {"rejected": 3}


async def test_a_failed_request_that_the_platform_executes_again_is_settled_again(scripted: ScriptedClient) -> None:
    """Nothing of it was enrolled when it failed; an outcome that was right then is not the last word."""
    await send(scripted, Execution(401, None, (401,)))
    approved = scripted.listed
    scripted.listed = [replace(each, state="failed") for each in approved]
    assert (await look(scripted)).wait.is_over
    assert scripted.outcomes() == {"failed": 3}
    scripted.listed = [replace(each, execution=WHOLE) for each in approved]
    await keep_account(scripted.sender, reader="the upkeep")
    assert scripted.outcomes() == {"enrolled": 3}
    await keep_account(scripted.sender, reader="the upkeep")
    assert scripted.outcomes() == {"enrolled": 3}


LEAN: list[tuple[str, Execution | None]] = [
    ("no output", None),
    ("an empty output", Execution(None, None, ())),
    ("no lines", output()),
    ("fewer lines", output(line(1))),
    ("a line without an id", output(line(1), line(2, None), line(3))),
    ("a line of another status", output(line(1), line(2), replace(line(3), status="PARKED"))),
    ("an unknown code", output(line(1), line(2, None, 7777), line(3))),
    ("an unreadable line", output(line(1), line(2), unreadable=1)),
    ("unreadable lines alone", output(unreadable=3)),
    ("a body cut short", BROKEN),
    ("a gateway's page", Execution(502, None, ())),
    ("the twin's word", Execution(400, None, (809,))),
]


@pytest.mark.parametrize("execution", [each[1] for each in LEAN], ids=[each[0] for each in LEAN])
@pytest.mark.parametrize("after", [timedelta(0), OUTPUT_PATIENCE, timedelta(days=3)])
async def test_what_the_list_leaves_out_a_single_read_shows(
    scripted: ScriptedClient, execution: Execution | None, after: timedelta
) -> None:
    await send(scripted, execution, whole=WHOLE, requests=2)
    await watch_in_turn(
        scripted.ledger,
        scripted.sender.client,
        scripted.sender.runtime,
        reader="a trigger",
        older_than=after,
        settle=False,
    )
    assert singly(scripted) == [], "a trigger records and reads nothing else"
    assert (await look(scripted, after=after)).wait.is_over
    assert singly(scripted) == ["p-1", "p-2"], "each once"
    assert scripted.outcomes() == {"enrolled": 6}


@pytest.mark.parametrize("shown", [(), (1,), (1, 2)])
async def test_a_cut_echo_in_the_list_is_no_alarm(
    scripted: ScriptedClient, shown: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    await send(scripted, WHOLE)
    scripted.whole = {each.platform_request_id: each for each in scripted.listed}
    scripted.listed = [replace(each, customers=shown) for each in scripted.listed]
    assert (await look(scripted)).wait.is_over
    assert scripted.outcomes() == {"enrolled": 3}
    assert "other customers" not in caplog.text


async def test_other_customers_in_the_list_settle_nothing_whatever_a_single_read_shows(
    scripted: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    await send(scripted, WHOLE)
    scripted.whole = {each.platform_request_id: each for each in scripted.listed}
    scripted.listed = [replace(each, customers=(1, 2, 4)) for each in scripted.listed]
    assert (await look(scripted)).wait.decided == 1
    assert scripted.outcomes() == {None: 3}
    assert "other customers under this key" in caplog.text


async def test_only_a_single_read_gives_up_and_only_after_a_while(scripted: ScriptedClient) -> None:
    await send(scripted, None)
    assert (await look(scripted)).wait.decided == 1
    assert singly(scripted) == ["p-1"], "once in a look"
    assert (await look(scripted, after=OUTPUT_PATIENCE - timedelta(seconds=1))).wait.decided == 1
    assert (await look(scripted, after=timedelta(seconds=1))).wait.is_over
    assert scripted.outcomes() == {"unconfirmed": 3}


async def test_without_a_single_read_nobody_is_given_up(
    scripted: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    await send(scripted, output(line(1)))
    scripted.refused_reads = {"p-1"}
    for _ in range(3):
        assert (await look(scripted, after=timedelta(days=2))).wait.decided == 1
    assert scripted.outcomes() == {None: 3}
    assert "refuses to show request p-1" in caplog.text


async def test_what_the_list_said_counts_beside_a_poorer_single_read(scripted: ScriptedClient) -> None:
    await send(scripted, output(line(1), line(2)), whole=None)
    bare: Callable[[WorkflowRequest], WorkflowRequest] = lambda each: replace(each, execution=None)  # noqa: E731
    scripted.whole = {each.platform_request_id: bare(each) for each in scripted.listed}
    assert (await look(scripted)).wait.decided == 1, "the output may still come"
    assert (await look(scripted, after=OUTPUT_PATIENCE)).wait.is_over
    assert scripted.outcomes() == {"enrolled": 2, "unconfirmed": 1}


async def test_a_single_read_that_is_cut_as_well_ends_it(scripted: ScriptedClient) -> None:
    await send(scripted, output(line(1), line(2)))
    assert (await look(scripted)).wait.is_over
    assert singly(scripted) == ["p-1"]
    assert scripted.outcomes() == {"enrolled": 2, "unconfirmed": 1}


async def test_a_look_makes_so_many_single_reads_and_says_that_more_are_left(
    scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (advancing, watching, upkeep):
        monkeypatch.setattr(module, "SINGLE_READS", 2)
    await send(scripted, None, whole=WHOLE, requests=5)
    left = []
    for _ in range(3):
        advanced = await look(scripted)
        assert len(singly(scripted)) <= 2
        left.append((advanced.wait.decided, advanced.held_up))
    assert left == [(3, True), (1, True), (0, False)]
    assert scripted.outcomes() == {"enrolled": 15}


async def test_requests_that_no_single_read_settles_do_not_keep_the_others_waiting(
    scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (advancing, watching):
        monkeypatch.setattr(module, "SINGLE_READS", 2)
    await send(scripted, None, whole=WHOLE, requests=5)
    scripted.refused_reads = {"p-1", "p-2", "p-3"}
    for _ in range(30):
        await look(scripted)
    assert scripted.outcomes() == {"enrolled": 6, None: 9}


async def test_the_upkeep_reads_singly_what_no_living_run_waits_for(scripted: ScriptedClient) -> None:
    await send(scripted, None, whole=WHOLE, requests=2)
    kept = await keep_account(scripted.sender, reader="the upkeep")
    assert kept.settled == 2
    assert singly(scripted) == ["p-1", "p-2"]


async def test_a_twin_that_still_waits_costs_no_single_read_in_every_look(scripted: ScriptedClient) -> None:
    await send(scripted, None, whole=WHOLE)
    scripted.listed.append(row("p-twin", scripted.requests()[0].request_key))
    for _ in range(2):
        await look(scripted)
        assert singly(scripted) == []
    scripted.listed[-1] = replace(scripted.listed[-1], state="rejected")
    assert (await look(scripted)).wait.is_over
    assert singly(scripted) == ["p-1", "p-twin"]
    assert scripted.outcomes() == {"enrolled": 3}


@pytest.mark.parametrize("human", [True, False])
async def test_details_that_the_list_leaves_out_say_nothing_of_a_human_and_a_single_read_does(
    scripted: ScriptedClient, human: bool
) -> None:
    await send(scripted, WHOLE)
    scripted.whole = {each.platform_request_id: replace(each, human_decided=human) for each in scripted.listed}
    scripted.listed = [replace(each, request_key=None, execution=None, human_decided=False) for each in scripted.listed]
    await watch_in_turn(
        scripted.ledger,
        scripted.sender.client,
        scripted.sender.runtime,
        reader="a trigger",
        older_than=timedelta(0),
        settle=False,
    )
    assert [each.auto_approved for each in scripted.sightings()] == [False]
    assert (await look(scripted)).wait.is_over
    assert [each.auto_approved for each in scripted.sightings()] == [not human]
