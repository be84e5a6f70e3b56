"""What became since of customers whom a run left without the badge: on its page, and in its file."""

from __future__ import annotations

from capillary.ledger.database import Ledger
from capillary.ledger.settle import Ending
from capillary.ledger.since_then import since_then
from capillary.ledger.status import Outcome
from capillary.ui.since_words import since_clauses
from tests.unit.ledger.orders import plan, requests_of, run
from tests.unit.ledger.test_attention import end
from tests.unit.ui.run_pages import TEN, Airflow, ended


def retried(ledger: Ledger, name: str, customers: range, endings: dict[int, Ending] | None) -> None:
    """Plan the failed among these customers again; None: nothing of it has ended."""
    (request,) = requests_of(ledger, plan(ledger, customers, run(name, retry=frozenset({Outcome.FAILED}), **TEN)))
    if endings is not None:
        end(ledger, request.id, endings)


async def test_the_page_of_an_old_run_tells_how_its_retry_ended(ledger: Ledger, airflow: Airflow) -> None:
    planned = ended(ledger, run("first", **TEN), range(1, 8))
    assert planned is not None
    assert "Since then" not in (await airflow.page("runs")).replace('<th scope="col">Since then</th>', "").replace(
        'data-name="Since then"', ""
    )
    bad = Ending(Outcome.FAILED, error_code=1026)
    retried(
        ledger, "second", range(1, 6), {1: Ending(Outcome.ENROLLED, issued_id="i")} | dict.fromkeys(range(2, 6), bad)
    )
    retried(ledger, "third", range(2, 5), {2: Ending(Outcome.ENROLLED, issued_id="j"), 3: bad, 4: bad})
    retried(ledger, "fourth", range(3, 4), None)
    with ledger.read() as tx:
        assert since_then(tx, [planned]) == {planned: {Outcome.ENROLLED: 2, Outcome.FAILED: 2, None: 1}}
    shown = await airflow.page("runs")
    assert (
        "Since then 2 of these 7 got the badge by a later run, 2 ended again as failed, 1 was asked for again "
        "without an end yet, 2 were not asked for again."
    ) in shown
    rows = {int(row["customer_id"]): row["since_then"] for row in await airflow.csv()}
    assert rows == {
        1: "enrolled by a later run",
        2: "enrolled by a later run",
        3: "asked for again, not ended yet",
        4: "asked for again: failed, code 1026",
        5: "asked for again: failed, code 1026",
        6: "nothing",
        7: "nothing",
    }
    for words in rows.values():
        assert f'data-name="Since then">{words}</td>' in shown


def test_nothing_is_said_where_nobody_was_asked_for_again() -> None:
    assert list(since_clauses(7, {})) == []
    assert list(since_clauses(1, {Outcome.ENROLLED: 1})) == ["1 of these 1 got the badge by a later run"]


async def test_the_words_of_a_failure_are_those_of_its_code_and_of_a_rejection_the_checkers(
    ledger: Ledger, airflow: Airflow
) -> None:
    ended(ledger, run("first", **TEN), range(1, 3), code=1026)
    shown = await airflow.page("runs")
    assert 'data-name="Words">the customer was not found' in shown
    for row in await airflow.csv():
        assert row["meaning"] == "the customer was not found"
        assert row["to_do"].startswith("correct the customer in the warehouse or on the platform first")
