"""Rows as a table, as blocks, as CSV and as JSON: nothing is lost, and nothing of theirs is obeyed."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime, timedelta, timezone

import pytest

from capillary.commands.output_formats import Row, print_blocks, print_csv, print_json, print_table
from capillary.engine.attention import age
from capillary.ledger.status import Outcome

ROWS: tuple[Row, ...] = (
    {
        "campaign": "gold",
        "customer_id": 9223372036854775807,
        "outcome": Outcome.REJECTED,
        "message": 'wrong tier,\n"ask Ann" \x1b[31mred [bold]x[/bold] :smile:',
        "sent_at": datetime(2026, 11, 25, 11, 30, tzinfo=timezone(timedelta(hours=5.5))),
        "age_s": 90_000,
        "canary": True,
        "nothing": None,
    },
    {
        "campaign": "silver of a very long name that no terminal has room for",
        "customer_id": 7,
        "outcome": None,
        "message": "",
        "sent_at": None,
        "age_s": None,
        "canary": False,
        "nothing": 0,
    },
)
COLUMNS = tuple(ROWS[0])


class Terminal(io.StringIO):
    """Where people look."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    assert print_table(ROWS, COLUMNS, out) == 2
    return out.getvalue()


def letters(text: str) -> list[str]:
    return sorted(re.sub(r"\x1b\[[0-9;]*m|\s", "", text))


def piped() -> str:
    out = io.StringIO()
    assert print_table(ROWS, COLUMNS, out) == 2
    return out.getvalue()


@pytest.mark.parametrize("columns", [116, 120, 133, 150, 250])
def test_a_table_on_a_terminal_is_folded_and_loses_no_letter(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said = on_a_terminal(columns, monkeypatch)
    assert "\x1b[1mcampaign" in said
    assert letters(said) == letters(piped())
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in said.splitlines()) <= columns


@pytest.mark.parametrize("columns", [20, 60, 80, 110])
def test_where_a_terminal_is_too_narrow_each_row_is_a_block(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said = on_a_terminal(columns, monkeypatch)
    first, second = said.split("\n\n")
    assert "campaign     gold\n" in first
    assert "age          1 d 1 h\n" in first
    assert "customer id  7\n" in second
    assert "outcome" not in second
    assert "\x1b" not in said


def test_what_goes_to_a_program_is_neither_folded_nor_coloured() -> None:
    header, first, second = piped().rstrip("\n").split("\n")
    assert header.split() == ["campaign", "customer", "id", "outcome", "message", "sent", "at", "age", "canary"]
    assert "9223372036854775807" in first
    assert 'wrong tier,\\n"ask Ann" \\x1b[31mred [bold]x[/bold] :smile:' in first
    assert "2026-11-25T06:00:00Z" in first
    assert first.rstrip().endswith("yes")
    assert "no terminal has room for" in second


def test_a_table_that_nobody_reads_ends_as_any_other_writing_does() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        print_table(ROWS, COLUMNS, Closed())


def test_nothing_is_printed_of_no_rows() -> None:
    out = io.StringIO()
    assert (print_table([], COLUMNS, out), print_blocks([], COLUMNS, out), out.getvalue()) == (0, 0, "")
    assert print_json([], COLUMNS, out) == 0
    assert json.loads(out.getvalue()) == []


def test_csv_and_json_hold_the_values_as_they_are() -> None:
    as_csv, as_json = io.StringIO(newline=""), io.StringIO()
    assert print_csv(ROWS, COLUMNS, as_csv) == print_json(ROWS, COLUMNS, as_json) == 2
    first, second = csv.DictReader(io.StringIO(as_csv.getvalue(), newline=""))
    assert first["message"] == ROWS[0]["message"]
    assert (first["sent_at"], first["age_s"], first["canary"]) == ("2026-11-25T06:00:00Z", "90000", "True")
    assert (second["outcome"], second["sent_at"], second["nothing"]) == ("", "", "0")
    first, second = json.loads(as_json.getvalue())
    assert first == dict(ROWS[0]) | {"outcome": "rejected", "sent_at": "2026-11-25T06:00:00Z"}
    assert second == dict(ROWS[1])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 min"),
        (59, "0 min"),
        (3_599, "59 min"),
        (3_600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_an_age_is_said_in_its_two_largest_units(seconds: int, words: str) -> None:
    assert age(timedelta(seconds=seconds)) == words
