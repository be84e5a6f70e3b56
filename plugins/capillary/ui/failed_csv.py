"""The customers of a run that failed, as rows of a CSV file in which no cell becomes a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final

from capillary.engine.remedies import advice
from capillary.ledger.reports import FailureCount
from capillary.ledger.run_page import FailedCustomer
from capillary.ui.since_words import since_of

_COLUMNS: Final = (
    "customer_id",
    "outcome",
    "code",
    "checker_message",
    "request_error",
    "request_key",
    "platform_request_ids",
    "asked_again",
    "account",
    "occasion",
    "task_id",
    "meaning",
    "to_do",
    "since_then",
)
#: The first line of the file.
HEADER: Final = ",".join(_COLUMNS) + "\n"
#: What a spreadsheet takes for the beginning of a formula, in every width of it.
_SIGNS: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
#: Where a cell begins for a spreadsheet: at its own begin, or after what some country's setting takes for a separator.
_FORMULA: Final = re.compile(rf"(^|[;,|\t\r\n])([\s\x00-\x20\u200b\ufeff\"']*)(?=[{_SIGNS}])")


def rows_of(customers: Iterable[FailedCustomer]) -> str:
    """Return a row for each."""
    return _written([_told(each).get(name, getattr(each, name, None)) for name in _COLUMNS] for each in customers)


def _told(customer: FailedCustomer) -> dict[str, str]:
    """Return what is said of a customer beside what the ledger holds."""
    said = advice(FailureCount(customer.outcome, customer.code, 1))
    return {"meaning": said.meaning, "to_do": said.to_do, "since_then": since_of(customer)}


def broken_off(why: str) -> str:
    """Return the last row of a file that is not whole: a sentence where a customer's id would stand."""
    return _written([[f"This file is not whole. {why} Load it again."]])


def _written(rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows(map(_cell, row) for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return "" if value is None else value
    quoted = _FORMULA.sub(r"\1\2'", value)
    return f"'{quoted}" if quoted.startswith(("\t", "\r", "\n")) else quoted
