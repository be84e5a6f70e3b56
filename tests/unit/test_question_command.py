"""The commands `failed`, `waiting`, `customer` and `runs`, as a person and as a program calls them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import URL, update

from capillary.__main__ import main
from capillary.ledger.database import Ledger
from capillary.ledger.schema import badge_request, badge_sighting
from capillary.ledger.status import Outcome, RequestStatus
from tests.unit.ledger.conftest import migrated
from tests.unit.ledger.test_views import Books

Ask = Callable[..., tuple[int, str, str]]
MESSAGE = 'wrong tier, "ask Ann"\n\x1b[31mred'


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger with a customer of each kind: 11 failed, 12 rejected, 13 enrolled, 14 waiting for a human."""
    ledger_url = migrated(URL.create("sqlite", database=str(tmp_path / "ledger.db")))
    with Ledger(ledger_url) as ledger:
        books = Books(ledger)
        books.occasion()
        run = books.run(eligible=4, planned=4)
        books.request(run, 0, RequestStatus.SETTLED, {11: Outcome.FAILED, 13: Outcome.ENROLLED}, error_code=816)
        rejected = books.request(run, 1, RequestStatus.SETTLED, {12: Outcome.REJECTED})
        books.sighting(rejected, "p-12", "rejected", terminal=True)
        sent = datetime(2026, 11, 25, 6, tzinfo=UTC)
        waits = books.request(run, 2, RequestStatus.WAITING, {14: None}, first_sent_at=sent)
        books.sighting(waits, "p-14", "AdminTask", terminal=False)
        with ledger.write() as tx:
            tx.conn.execute(
                update(badge_sighting)
                .where(badge_sighting.c.platform_request_id == "p-12")
                .values(checker_message=MESSAGE)
            )
            tx.conn.execute(update(badge_request).where(badge_request.c.status == "settled").values(settled_at=sent))
    return ledger_url.render_as_string()


@pytest.fixture
def ask(url: str, capsys: pytest.CaptureFixture[str]) -> Ask:
    def asked(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, "--url", url])
        said = capsys.readouterr()
        return code, said.out, said.err

    return asked


def test_failed_shows_code_its_meaning_and_the_checkers_words(ask: Ask) -> None:
    code, out, err = ask("failed")
    header, rejected, failed = out.rstrip("\n").split("\n")
    assert code == 0
    assert err == ""
    assert header.split() == [
        *("campaign", "occasion", "customer", "id", "outcome", "code", "meaning", "checker", "message"),
        *("settled", "at", "request", "key"),
    ]
    assert " 12 " in rejected
    assert 'wrong tier, "ask Ann"\\n\\x1b[31mred' in rejected
    assert "2026-11-25T06:00:00Z" in rejected
    assert " 816 " in failed
    assert "\x1b" not in out, "neither a colour of ours nor one of the checker's"


def test_attention_says_what_each_matter_is_and_the_one_thing_to_do(ask: Ask) -> None:
    code, out, err = ask("attention")
    assert (code, err) == (0, "")
    assert "gold: 1 request with 1 customer waiting for the checker, " in out
    assert "Ask the checker to decide, on the checker's page." in out
    (waiting,) = json.loads(ask("attention", "--json")[1])
    assert (waiting["kind"], waiting["requests"], waiting["customers"], waiting["run_id"]) == ("waiting", 1, 1, "r1")
    assert (waiting["since"], waiting["urgency"]) == ("2026-11-25T06:00:00Z", "blue")
    assert json.loads(ask("attention", "--json", "--campaign", "gold")[1]) == [waiting]


def test_attention_on_a_calm_ledger_says_so(ask: Ask, url: str) -> None:
    with Ledger(url) as ledger, ledger.write() as tx:
        tx.conn.execute(badge_sighting.delete().where(badge_sighting.c.platform_request_id == "p-14"))
        tx.conn.execute(update(badge_request).values(status="planned"))
    assert ask("attention") == (0, "", "attention: nothing needs anybody\n")


@pytest.mark.parametrize(
    ("codes", "customers"), [(["816"], [11]), (["none"], [12]), (["816", "none"], [12, 11]), (["1026"], [])]
)
def test_failed_is_narrowed_by_code(ask: Ask, codes: list[str], customers: list[int]) -> None:
    rows = json.loads(ask("failed", "--json", *(part for code in codes for part in ("--code", code)))[1])
    assert [row["customer_id"] for row in rows] == customers
    assert {row["customer_id"]: row["to_do"] for row in rows if row["customer_id"] == 11}.get(11) in (
        None,
        "retry on a day inside the badge's own period, or have the period changed on the platform",
    )


@pytest.mark.parametrize("code", ["x", "0816", "-1", "", "None"])
def test_a_code_that_is_none_is_refused(ask: Ask, code: str) -> None:
    with pytest.raises(SystemExit) as end:
        ask("failed", "--code", code)
    assert end.value.code == 2


def test_csv_holds_every_column_and_the_words_as_they_are(ask: Ask) -> None:
    code, out, _ = ask("failed", "--csv")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert code == 0
    assert [(row["customer_id"], row["outcome"], row["code"]) for row in rows] == [
        ("12", "rejected", ""),
        ("11", "failed", "816"),
    ]
    assert rows[0]["checker_message"] == MESSAGE
    assert rows[1]["meaning"]
    assert rows[1]["settled_at"] == "2026-11-25T06:00:00Z"


def test_json_holds_values_of_their_type(ask: Ask) -> None:
    code, out, _ = ask("failed", "--json")
    rejected, failed = json.loads(out)
    assert code == 0
    assert (rejected["customer_id"], rejected["code"], rejected["checker_message"]) == (12, None, MESSAGE)
    assert (failed["customer_id"], failed["code"], failed["settled_at"]) == (11, 816, "2026-11-25T06:00:00Z")
    assert list(failed) == next(csv.reader([ask("failed", "--csv")[1].split("\n")[0]])), "one set of columns"


def test_waiting_says_how_many_approvals_are_needed(ask: Ask) -> None:
    code, out, err = ask("waiting")
    assert code == 0
    assert "p-14" in out
    assert "AdminTask" in out
    assert "capillary" in out
    assert err == "waiting: approvals needed: 1\n"
    (row,) = json.loads(ask("waiting", "--json")[1])
    assert (row["approvals"], row["connection"], row["account"]) == (1, "capillary", "https://eu.api.example/7")
    assert row["age_s"] > 0
    assert row["first_sent_at"] == "2026-11-25T06:00:00Z"


def test_a_customer_of_two_attempts_has_two_blocks(ask: Ask, url: str) -> None:
    with Ledger(url) as ledger:
        books = Books(ledger)
        books.occasion("silver")
        books.request(books.run(run_id="other"), 0, RequestStatus.SETTLED, {12: Outcome.ENROLLED})
    first, second = ask("customer", "12")[1].split("\n\n")
    assert "outcome               rejected" in first
    assert "outcome               enrolled" in second
    assert "issued id             i12" in second
    assert "checker message" not in second, "a line that says nothing is left out"


def test_customer_shows_status_outcome_request_run_and_words(ask: Ask) -> None:
    code, out, _ = ask("customer", "12")
    assert code == 0
    for words in ("settled", "rejected", "cb1.1.1", "p-12", "gold", "r1", 'wrong tier, "ask Ann"'):
        assert words in out
    (row,) = json.loads(ask("customer", "14", "--json")[1])
    assert (row["status"], row["outcome"], row["attempt"]) == ("waiting", None, 1)


def test_runs_shows_the_funnel(ask: Ask) -> None:
    code, out, _ = ask("runs")
    assert code == 0
    header, run = out.rstrip("\n").split("\n")
    assert "eligible" in header
    assert "invalid" not in header, "a column that says nothing is left out of the table"
    assert " r1 " in run
    (row,) = json.loads(ask("runs", "--json")[1])
    assert [row[name] for name in ("eligible", "planned", "enrolled", "failed", "rejected", "open", "invalid")] == [
        *(4, 4, 1, 1, 1, 1, 0)
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["customer", "4712"], "no row of this customer: no run has planned them, or they were given back unsent, or"),
        (["failed", "--outcome", "unconfirmed"], "nobody's last attempt ended without the badge, of what was asked"),
        (["failed", "--since", "2026-11-26"], "of what was asked for"),
        (["waiting", "--since", "2026-11-25T06:00:01"], "every request is settled, of what was asked for"),
        (["runs", "--since", "2999-01-01"], "no run has planned anything, of what was asked for"),
    ],
)
def test_an_empty_answer_is_an_answer(ask: Ask, arguments: list[str], words: str) -> None:
    code, out, err = ask(*arguments)
    assert (code, out) == (0, "")
    assert words in err
    assert ask(*arguments, "--json")[:2] == (0, "[]\n")
    assert ask(*arguments, "--csv")[1].count("\n") == 1, "the header"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["failed", "--campaign", "golf"], "knows no campaign 'golf': correct --campaign. It knows gold"),
        (["runs", "--campaign", "golf"], "knows no campaign 'golf'"),
        (["waiting", "--account", "eu.api.example/8"], "knows no account eu.api.example/8: correct --account"),
        (["customer", "11", "--account", "nowhere"], "'nowhere' names no account"),
    ],
)
def test_a_misspelt_name_is_no_empty_answer(ask: Ask, arguments: list[str], words: str) -> None:
    code, out, err = ask(*arguments)
    assert (code, out) == (1, "")
    assert words in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["customer"],
        ["customer", "0"],
        ["customer", "007"],
        ["customer", "9223372036854775808"],
        ["failed", "--since", "yesterday"],
        ["failed", "--since", "0001-01-01T00:00+14:00"],
        ["runs", "--limit", "0"],
        ["runs", "--limit", "٣"],
        ["runs", "--limit", "-1"],
        ["failed", "--outcome", "enrolled"],
        ["failed", "--campaign", " "],
        ["failed", "--csv", "--json"],
        ["customer", "1", "--limit", "3"],
    ],
)
def test_a_wrong_argument_is_refused_before_the_ledger_is_opened(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--url", "sqlite:////nowhere/ledger.db"])
    assert "error:" in capsys.readouterr().err


def test_a_table_says_that_there_is_more(ask: Ask) -> None:
    code, out, err = ask("failed", "--limit", "1")
    assert (code, out.count("\n")) == (0, 2)
    assert "there are more than these 1: give --limit, or --csv or --json for all" in err
    assert ask("failed", "--limit", "2")[2] == ""


def test_times_may_be_given_in_any_zone(ask: Ask) -> None:
    assert ask("failed", "--since", "2026-11-25T11:30+05:30", "--csv")[1].count("\n") > 2
    assert ask("failed", "--since", "2026-11-25T11:31+05:30", "--json")[1] == "[]\n"


def test_a_ledger_that_is_missing_is_an_error_and_is_not_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "nowhere.db"
    assert main(["failed", "--url", f"sqlite:///{missing}"]) == 1
    assert capfd.readouterr().err.startswith("failed: there is no SQLite file")
    assert not missing.exists()


COMMAND = [sys.executable, "-m", "capillary"]


@pytest.mark.parametrize("form", [["--csv"], ["--json"]])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(url: str, form: list[str]) -> None:
    with Ledger(url) as ledger:
        books = Books(ledger)
        books.occasion("many")
        books.request(
            books.run(run_id="many"), 0, RequestStatus.SETTLED, dict.fromkeys(range(1, 5_000), Outcome.FAILED)
        )
    asked = subprocess.Popen(  # noqa: S603 - our own interpreter
        [*COMMAND, "failed", *form, "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert asked.stdout is not None
    assert asked.stderr is not None
    asked.stdout.readline()
    asked.stdout.close()
    said = asked.stderr.read()
    asked.stderr.close()
    assert (asked.wait(), said) == (141, b"")


def test_a_command_with_an_address_needs_no_airflow(url: str) -> None:
    code = f"""import sys
from capillary.__main__ import main
main(["runs", "--url", {url!r}])
print("airflow" in sys.modules)"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own interpreter
    assert said.stdout.rstrip().endswith("False")
