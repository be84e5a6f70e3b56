"""The report of a run, read and printed."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
from rich.console import Console

from local_airflow.errors import CampaignUnavailableError, LocalAirflowError
from local_airflow.summary import Report, print_report

REPORT: dict[str, Any] = {
    "verdict": "fail",
    "sentence": "12 customers failed: see [failures] by code",
    "dry_run": False,
    "canary": False,
    "canary_passed": False,
    "waits_for_canary": False,
    "left_over": 0,
    "requests": 3,
    "funnel": {
        "eligible": 1_339,
        "invalid": 4,
        "duplicates": 112,
        "known_before": 0,
        "over_cap": 0,
        "planned": 1_223,
        "enrolled": 1_200,
        "already_enrolled": 11,
        "rejected": 0,
        "failed": 12,
        "not_accepted": 0,
        "unconfirmed": 0,
        "open": 0,
        "discarded": 0,
    },
    "failures": [
        {"outcome": "already_enrolled", "code": 1040, "meaning": "has the badge", "customers": 11},
        {"outcome": "failed", "code": None, "meaning": "no code given", "customers": 12},
    ],
}


def printed(report: dict[str, Any], width: int = 100) -> str:
    text = io.StringIO()
    print_report(Report.parse(report), Console(file=text, width=width, markup=False, highlight=False, soft_wrap=True))
    return text.getvalue()


def test_a_dry_run_says_what_would_be() -> None:
    text = printed({**REPORT, "verdict": "pass", "dry_run": True, "funnel": dict.fromkeys(REPORT["funnel"], 0)})
    assert "would be put into requests" in text
    assert "enrolled" not in text.partition("Failures")[0]
    assert "Dry run" in text


def test_who_was_never_sent_is_in_the_funnel() -> None:
    text = printed({**REPORT, "funnel": {**REPORT["funnel"], "discarded": 1_500}})
    assert "given back" in text
    assert "1,500" in text


def test_the_funnel_counts_every_customer() -> None:
    lines = printed(REPORT).splitlines()

    def row(step: str) -> str:
        return next(line for line in lines if f"│ {step}" in line)

    assert "1,339" in row("eligible")
    assert "112" in row("  duplicates")
    assert "1,200" in row("    enrolled")
    assert "│         0 │" in row("  known before")


def test_steps_that_nobody_took_are_left_out() -> None:
    text = printed(REPORT)
    assert "rejected" not in text
    assert "over the cap" not in text


def test_failures_are_listed_by_code_the_most_first() -> None:
    text = printed(REPORT)
    assert text.index("no code given") < text.index("has the badge")
    assert "1040" in text
    without = copy.deepcopy(REPORT) | {"failures": []}
    assert "Failures" not in printed(without)


@pytest.mark.parametrize(("verdict", "word"), [("pass", "PASS"), ("fail", "FAIL")])
def test_the_verdict_ends_it_with_its_sentence_as_it_is(verdict: str, word: str) -> None:
    last = printed(copy.deepcopy(REPORT) | {"verdict": verdict}).splitlines()[-1]
    assert last == f"{word} 12 customers failed: see [failures] by code"


def test_a_narrow_terminal_still_shows_the_counts() -> None:
    assert "1,339" in printed(REPORT, width=50)


def test_anything_but_pass_is_no_pass() -> None:
    assert not Report.parse(copy.deepcopy(REPORT) | {"verdict": "PASS "}).passed


def test_what_is_no_report_is_told() -> None:
    with pytest.raises(CampaignUnavailableError, match="give a campaign, not another DAG"):
        Report.parse(None)
    with pytest.raises(CampaignUnavailableError):
        Report.parse("text")
    incomplete = copy.deepcopy(REPORT)
    del incomplete["funnel"]["open"]
    with pytest.raises(LocalAirflowError, match=r"KeyError: 'open'.*same version"):
        Report.parse(incomplete)
