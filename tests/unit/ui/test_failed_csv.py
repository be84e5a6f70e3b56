"""The CSV of the customers that failed: whole or said not to be, and no cell of it is a formula."""

from __future__ import annotations

import asyncio
import csv
import threading

import pytest

from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.run_page import FailedCustomer, Place
from capillary.ledger.status import Outcome
from capillary.ui import run_routes
from capillary.ui.failed_csv import HEADER, broken_off, rows_of
from capillary.ui.reading import PLACES, LedgerReader
from tests.unit.ledger.conftest import EmptyDatabase, migrated
from tests.unit.ledger.orders import ORDER, plan, requests_of, settle_as


def customer(message: str | None) -> FailedCustomer:
    return FailedCustomer(
        customer_id=7,
        badge_run_id=1,
        account="platform.example/100",
        occasion="Spring",
        task_id="extract",
        outcome=Outcome.REJECTED,
        code=None,
        checker_message=message,
        request_error=None,
        request_key="key",
        platform_request_ids="p-1",
        asked_again=True,
        last_outcome=None,
        last_code=None,
        place=Place(1, 7),
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("=1+1", "'=1+1"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20x", "'\uff20x"),
        ("\n=1", "'\n'=1"),
        ("\t=1", "'\t'=1"),
        ("\twords", "'\twords"),
        ("  =1", "  '=1"),
        ("\ufeff=1", "\ufeff'=1"),
        ("no; =1+1", "no; '=1+1"),
        ('no;"=1"', 'no;"\'=1"'),
        ("no\t=1", "no\t'=1"),
        ("no\n=1", "no\n'=1"),
        ("not a member, 3-4 weeks old", "not a member, 3-4 weeks old"),
        (None, ""),
    ],
    ids=[
        *("equals", "minus", "at", "wide equals", "wide plus", "wide minus", "wide at", "line end", "tab"),
        *("tab and words", "blanks", "byte order mark", "semicolon", "quoted", "tab inside", "line inside", "words"),
        "nothing",
    ],
)
def test_no_cell_is_a_formula(written: str | None, read: str) -> None:
    (row,) = csv.DictReader((HEADER + rows_of([customer(written)])).splitlines(keepends=True))
    assert row["checker_message"] == read
    assert (row["customer_id"], row["outcome"], row["code"], row["asked_again"]) == ("7", "rejected", "", "yes")


def test_a_file_that_is_not_whole_says_so_in_its_last_row() -> None:
    ((said,),) = csv.reader([broken_off("The ledger, it seems, is away.")])
    assert said == "This file is not whole. The ledger, it seems, is away. Load it again."


@pytest.fixture
def three_failed(empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch) -> LedgerReader:
    monkeypatch.setattr(run_routes, "_PART", 1)
    url = migrated(empty_database("sqlite"))
    with Ledger(url) as ledger:
        for request in requests_of(ledger, plan(ledger, [1, 2, 3])):
            settle_as(ledger, request.id, Outcome.FAILED)
    return LedgerReader(lambda: url)


async def written(reader: LedgerReader) -> list[list[str]]:
    first = await reader.ask(lambda tx: run_routes._part(tx, ORDER.dag_id, ORDER.run_id, None))
    release = threading.Event()

    def stay(_tx: Transaction) -> None:
        release.wait(20)

    others = [asyncio.create_task(reader.ask(stay)) for _ in range(PLACES)]
    await asyncio.sleep(0.2)
    asyncio.get_running_loop().call_later(0.5, release.set)
    text = "".join([part async for part in run_routes._csv(reader, ORDER.dag_id, ORDER.run_id, first)])
    release.set()
    await asyncio.gather(*others)
    reader.close()
    return list(csv.reader(text.splitlines()))


async def test_a_file_that_was_begun_waits_for_its_place(three_failed: LedgerReader) -> None:
    rows = await written(three_failed)
    assert [row[0] for row in rows] == ["customer_id", "1", "2", "3"]


async def test_a_file_that_gets_no_place_ends_with_a_sentence(
    three_failed: LedgerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_routes, "_PATIENCE_S", 0.1)
    rows = await written(three_failed)
    assert [row[0] for row in rows[:2]] == ["customer_id", "1"]
    ((said,),) = rows[2:]
    assert said.startswith("This file is not whole. 4 pages look into the ledger")
