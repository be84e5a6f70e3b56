"""The deep check finds what is wrong with a ledger, names it and where, and says nothing of a right one."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from capillary.__main__ import main
from capillary.ledger.check import NAMED, faults
from capillary.ledger.database import Ledger
from capillary.ledger.status import Outcome
from tests.unit.ledger.orders import plan, requests_of, run, see, send, settle_as, snapshot


@pytest.fixture
def key(ledger: Ledger) -> str:
    """The key of a settled request, of customers 1 to 3, in a ledger with one request of every other status."""
    planned = plan(ledger, range(1, 16))
    done, _unsent, sending, waiting, again = (row.id for row in requests_of(ledger, planned))
    settle_as(ledger, done, Outcome.FAILED)
    send(ledger, sending)
    send(ledger, waiting)
    see(ledger, waiting, "p-waiting")
    settle_as(ledger, again, Outcome.REJECTED)
    see(ledger, again, "p-again")
    return str(requests_of(ledger, planned)[0].request_key)


def found(ledger: Ledger, *changes: str) -> tuple[str, ...]:
    """Return the faults of a ledger after changes by hand, which are taken back."""
    with ledger.read() as tx:
        for change in changes:
            tx.conn.execute(text(change))
        return faults(tx)


def test_a_ledger_without_rows_is_right(ledger: Ledger) -> None:
    assert found(ledger) == ()


def test_a_ledger_with_a_request_in_every_state_is_right_and_left_as_it_is(ledger: Ledger, key: str) -> None:
    before = snapshot(ledger)
    assert key
    assert found(ledger) == ()
    assert snapshot(ledger) == before


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            "UPDATE badge_run SET planned = planned + 1, known_before = known_before - 1",
            [
                (
                    "plan {run} (spring, first) does not add up: 15 rows of its query, 15 accounted for; "
                    "16 customers planned, 15 accounted for"
                )
            ],
        ),
        (
            "UPDATE badge_run SET eligible = eligible + 1",
            [
                (
                    "plan {run} (spring, first) does not add up: 16 rows of its query, 15 accounted for; "
                    "15 customers planned, 15 accounted for"
                )
            ],
        ),
        (
            "UPDATE badge_enrolment SET outcome = 'unconfirmed' WHERE customer_id = 1",
            [
                "request {key}: 3 customers with a row are counted as failed, no code, 2 rows say so",
                "request {key}: 0 customers with a row are counted as unconfirmed, no code, 1 row says so",
            ],
        ),
        (
            "UPDATE badge_enrolment SET error_code = 816 WHERE customer_id = 1",
            [
                "request {key}: 3 customers with a row are counted as failed, no code, 2 rows say so",
                "request {key}: 0 customers with a row are counted as failed, code 816, 1 row says so",
            ],
        ),
        (
            "DELETE FROM badge_enrolment WHERE customer_id = 1",
            [
                "request {key}: 3 customers with a row are counted as failed, no code, 2 rows say so",
                "request {key} holds 3 customers: 2 with a row, 0 counted without",
            ],
        ),
        (
            "UPDATE badge_enrolment SET outcome = NULL WHERE customer_id = 1",
            ["request {key}: 3 customers with a row are counted as failed, no code, 2 rows say so"],
        ),
        (
            "UPDATE badge_enrolment SET attempt = 2 WHERE customer_id = 1",
            ["request {key}: 1 of its customers stand under another occasion or attempt than it"],
        ),
        (
            "UPDATE badge_result SET without_row = 1 WHERE outcome = 'failed'",
            [
                "request {key}: 2 customers with a row are counted as failed, no code, 3 rows say so",
                "request {key} holds 3 customers: 3 with a row, 1 counted without",
            ],
        ),
        (
            "DELETE FROM badge_result WHERE outcome = 'failed'",
            [
                (
                    "plan {run} (spring, first) does not add up: 15 rows of its query, 15 accounted for; "
                    "15 customers planned, 12 accounted for"
                ),
                "request {key}: 0 customers with a row are counted as failed, no code, 3 rows say so",
                "request {key} is settled, with 0 of its 3 customers counted",
            ],
        ),
        (
            "UPDATE badge_request SET status = 'planned' WHERE request_key = '{key}'",
            ["request {key} is planned, with 3 of its 3 customers counted"],
        ),
        (
            "UPDATE badge_request SET status = 'sending' WHERE request_key = '{key}'",
            ["request {key} is sending, with 3 of its 3 customers counted"],
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(ledger: Ledger, key: str, change: str, sentences: list[str]) -> None:
    with ledger.read() as tx:
        run_id = tx.conn.execute(text("SELECT id FROM badge_run")).scalar_one()
    expected = [sentence.format(key=key, run=run_id) for sentence in sentences]
    assert sorted(found(ledger, change.format(key=key))) == sorted(expected)


def test_a_request_that_was_seen_again_must_be_counted_whole(ledger: Ledger, key: str) -> None:
    assert key
    told = found(ledger, "UPDATE badge_result SET customers = 2 WHERE outcome = 'rejected'")
    assert [sentence for sentence in told if sentence.endswith("is waiting, with 2 of its 3 customers counted")]


def test_one_ending_in_two_lines_is_a_fault(ledger: Ledger, key: str) -> None:
    told = found(
        ledger,
        "UPDATE badge_result SET customers = 2 WHERE outcome = 'failed'",
        "INSERT INTO badge_result (request_id, outcome, customers) "
        "SELECT request_id, outcome, 1 FROM badge_result WHERE outcome = 'failed'",
    )
    assert told == (f"request {key}: failed, no code is counted in 2 lines, not in one",)


def test_a_customer_open_twice_is_found_without_the_index_that_forbids_it(ledger: Ledger, key: str) -> None:
    assert key
    other = requests_of(ledger, plan(ledger, [99], run("second")))[0].id
    told = found(
        ledger,
        "DROP INDEX uq_badge_enrolment_open",
        f"UPDATE badge_enrolment SET customer_id = 4, attempt = 2 WHERE request_id = {other}",  # noqa: S608 - a number
        f"UPDATE badge_request SET attempt = 2 WHERE id = {other}",  # noqa: S608 - a number
    )
    assert told == ("occasion Spring 2026: 1 customer is open in more than one request",)


def test_of_many_faults_of_one_kind_the_first_are_named_and_the_others_counted(ledger: Ledger) -> None:
    plan(ledger, range(1, 3 * NAMED + 10))
    told = found(ledger, "UPDATE badge_request SET customers = customers + 1")
    assert len([sentence for sentence in told if " holds " in sentence]) == NAMED
    assert "… and 3 more of this kind" in told


def test_the_command_ends_with_0_on_a_right_ledger(
    ledger: Ledger, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert key
    assert main(["ledger", "check", "--deep", "--url", ledger.url.render_as_string(hide_password=False)]) == 0
    assert capsys.readouterr().out.endswith("every row keeps its rules\n")


def test_the_command_ends_with_1_and_names_every_fault(
    ledger: Ledger, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with ledger.write() as tx:
        tx.conn.execute(text("UPDATE badge_enrolment SET error_code = 816 WHERE customer_id = 1"))
    url = ledger.url.render_as_string(hide_password=False)
    assert main(["ledger", "check", "--url", url]) == 0
    assert capsys.readouterr().err == ""
    assert main(["ledger", "check", "--deep", "--url", url]) == 1
    told = capsys.readouterr().err
    assert f"\n  request {key}: 3 customers with a row are counted as failed, no code, 2 rows say so\n" in told
    assert f"\n  request {key}: 0 customers with a row are counted as failed, code 816, 1 row says so\n" in told
