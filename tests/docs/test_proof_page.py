"""docs/proof.md holds the table that `make proof` wrote, of the proofs there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.proof.__main__ import BEGIN, END, PAGE, ROOT, read_records, table
from tests.proof.proofs import PASSED, PROOFS, last, mutants, rounds
from tests.simulation.test_worlds import SEEDS
from tests.soak.test_soak import DAYS

PAGE_TEXT = PAGE.read_text()


def test_the_table_is_the_recorded_one() -> None:
    assert PAGE_TEXT.partition(BEGIN)[2].partition(END)[0].strip() == table(read_records())


def test_every_proof_was_run() -> None:
    assert sorted(read_records()) == sorted(proof.name for proof in PROOFS)


def test_what_is_said_of_shorter_forms_is_what_they_do() -> None:
    in_test = {proof.name: proof.in_test for proof in PROOFS}
    seeds = re.search(r"--seeds \$\(or \$\(SEEDS\),(\d+)\)", (ROOT / "Makefile").read_text())
    assert seeds is not None
    assert in_test["seeds"] == f"{len(SEEDS)} seeds; CI plays {int(seeds[1]):,}"
    assert in_test["soak"] == f"{DAYS} days of two campaigns"


@pytest.mark.parametrize("word", sorted({word for proof in PROOFS for word in proof.command.split()}))
def test_what_a_command_names_exists(word: str) -> None:
    if word.startswith("tests/"):
        assert (ROOT / word).is_file()
    if word.startswith("tests."):
        assert (ROOT / Path(*word.split(".")) / "__main__.py").is_file()
    if word == "mutants":
        assert re.search(r"^mutants:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("result", "printed", "found"),
    [
        (PASSED, "..\n12 passed, 1 skipped in 3.02s\n", "12 passed, 1 skipped"),
        (PASSED, "2 failed, 12 passed in 61.02s (0:01:01)\n", "2 failed, 12 passed"),
        (PASSED, "no tests ran in 0.01s\n", None),
        (
            rounds,
            "a SQLite 50 rounds 0 broken 7 s\nb SQLite 50 rounds 2 broken 7 s\n",
            "100 rounds of 2 races, 2 broken",
        ),
        (rounds, "nothing", None),
        (mutants, "module   mutants\nall    200   190   10   95.0%\n", "200 mutants, 190 killed, 95.0%"),
        (mutants, "all is lost", None),
        (last(r"lost\W+\d+", r"doubled\W+\d+"), "│ doubled │  0 │\n│ lost    │ 7 │", "lost 7; doubled 0"),
        (last(r"lost\W+\d+", r"doubled\W+\d+"), "│ lost    │ 7 │", None),
    ],
)
def test_what_a_command_printed_is_found(result: object, printed: str, found: str | None) -> None:
    assert callable(result)
    assert result(printed) == found
