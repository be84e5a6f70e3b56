"""What a person types at `python -m capillary`: a wrong day, an odd id or an unset variable is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from capillary.__main__ import main

LEDGER = ["--url", "sqlite:////nowhere/ledger.db"]


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("days", [2, 30, 36_500])
def test_a_first_day_that_lies_ahead_is_refused(capsys: pytest.CaptureFixture[str], days: int) -> None:
    ahead = (datetime.now(UTC) + timedelta(days=days)).date()
    assert f"{ahead} is in the future" in refused(capsys, "ledger", "import", *LEDGER, "--since", str(ahead))


@pytest.mark.parametrize("day", ["01.11.2026", "2026-13-01", "yesterday", ""])
def test_what_is_no_day_is_refused(capsys: pytest.CaptureFixture[str], day: str) -> None:
    assert "write a day as 2026-11-01" in refused(capsys, "ledger", "import", *LEDGER, "--since", day)


@pytest.mark.parametrize(
    "typed", ["900_001", "\uff19\uff10\uff10\uff10\uff10\uff11", "0900001", " 900001", "9" * 30, "-1", "x", ""]
)
def test_what_is_no_customer_id_is_refused(capsys: pytest.CaptureFixture[str], typed: str) -> None:
    assert "it is not a customer id" in refused(capsys, "ledger", "erase", *LEDGER, f"--customer={typed}")


@pytest.mark.parametrize("option", ["--account", "--capillary-conn-id", "--campaign"])
@pytest.mark.parametrize("command", [["stop", "--reason", "wrong tier"], ["resume"]])
def test_an_unset_variable_is_no_word_for_every_account(
    capsys: pytest.CaptureFixture[str], command: list[str], option: str
) -> None:
    assert f"argument {option}: give 1 to" in refused(capsys, *command, *LEDGER, f"{option}=")


@pytest.mark.parametrize("path", ["", " "])
def test_an_empty_path_is_not_the_working_directory(capsys: pytest.CaptureFixture[str], path: str) -> None:
    assert "it is empty: give a folder or a file" in refused(capsys, "check", path)
