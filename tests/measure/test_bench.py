"""The bench drives the tasks as Airflow does: it measures with few customers, whatever the figures are."""

from __future__ import annotations

import re

import pytest

from measure.bench.__main__ import main


def test_a_campaign_is_measured_from_extract_to_the_last_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["million", "--customers", "40", "--database", "sqlite"])

    said = capsys.readouterr()
    assert code in {0, 1}, said.err  # on a busy machine a bound may be missed; 2 says that it could not be measured
    rows = re.findall(r"^  (\S.*?) +│ +[\d.]+ s ", said.out, re.MULTILINE)
    assert rows == [
        *("extract", "submit", "wait, first look", "wait, settling", "one poll, all decided"),
        *("work of all tasks", "all task processes"),
    ]
