"""What a traceback says at its end, and which files that do not load are matters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capillary.engine.attention import said_of
from capillary.ledger.matters import Kind
from capillary.ui.import_errors import BrokenFile, line_of, matters_of, reason_of
from tests.unit.ui.run_pages import DAG, FACTS

TRACE = """Traceback (most recent call last):
  File "<frozen importlib._bootstrap>", line 241, in _call_with_frames_removed
  File "/dags/silver.py", line 3, in <module>
    BadgeCampaign(name="silver", reference_id=134)
    ^^^^^^^^^^^^^^
"""

OTHER = """  File "/dags/shared.py", line 7
    x = = 1
        ^
"""
BROKEN = """  File "/dags/teams/silver.py", line 12
    BadgeCampaign(name=)
                       ^
"""


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (
            f"{TRACE}capillary.campaign.errors.CampaignInvalid: silver.py, sql: Give text.\nThe same: Give one.\n",
            "CampaignInvalid: silver.py, sql: Give text. The same: Give one.",
        ),
        (f"{TRACE}KeyError\n", "KeyError"),
        (f"{TRACE}SyntaxError: invalid syntax (silver.py, line 3)", "SyntaxError: invalid syntax (silver.py, line 3)"),
        ("Timed out: DagBag import timeout", "Timed out: DagBag import timeout"),
        (f"{TRACE}{OTHER}SyntaxError: invalid syntax", "SyntaxError: invalid syntax (shared.py, line 7)"),
        (f"{BROKEN}SyntaxError: invalid syntax\n", "SyntaxError: invalid syntax"),
        ("", ""),
        (f"{TRACE}E: {'x' * 900}", f"E: {'x' * 596}…"),
    ],
    ids=[
        "ours, two lines",
        "bare",
        "syntax",
        "syntax of another file",
        "syntax of its own",
        "no frames",
        "nothing",
        "long",
    ],
)
def test_the_end_of_a_traceback_is_told(trace: str, said: str) -> None:
    assert reason_of(trace, "silver.py") == said


@pytest.mark.parametrize(
    ("trace", "name", "line"),
    [
        (TRACE, "silver.py", 3),
        (f"{BROKEN}SyntaxError: invalid syntax", "teams/silver.py", 12),
        (f"{TRACE}KeyError: 1\n\nThe above exception led to:\n\n{TRACE.replace('line 3', 'line 4')}E", "silver.py", 4),
        (f"{TRACE}{OTHER}SyntaxError: invalid syntax", "silver.py", 3),
        (TRACE, "ver.py", None),
        ("Timed out: DagBag import timeout", "silver.py", None),
        ("", "silver.py", None),
    ],
    ids=[
        "its frame",
        "syntax, in a folder",
        "the last of two",
        "its import",
        "the end of another name",
        "no frames",
        "nothing",
    ],
)
def test_the_line_of_the_file_is_told_where_the_traceback_names_it(trace: str, name: str, line: int | None) -> None:
    assert line_of(trace, name) == line


def test_a_broken_campaign_and_a_file_without_a_dag_are_matters() -> None:
    files = [
        BrokenFile("spring.py", frozenset({"spring"}), "KeyError: 'x'", 12),
        BrokenFile("silver.py", frozenset(), "CampaignInvalid: reference_id: Give text.", 3),
        BrokenFile("others.py", frozenset({"no_campaign"}), "E"),
    ]
    found = list(matters_of(files, {"spring": replace(DAG, broken=True)}))
    assert [(each.kind, each.campaign, each.file) for each in found] == [
        (Kind.FILE_BROKEN, "spring", "spring.py"),
        (Kind.FILE_BROKEN, None, "silver.py"),
    ]
    known, new = (said_of(each, FACTS.moment) for each in found)
    assert (known.title, known.means[:14]) == (
        "spring: the campaign's file (spring.py, line 12) does not load",
        "KeyError: 'x'.",
    )
    assert new.title == "silver.py (line 3) does not load"
    assert new.means.startswith("CampaignInvalid: reference_id: Give text. Airflow has no DAG of this file")
    (untold,) = matters_of((), {"spring": replace(DAG, broken=True)})
    assert said_of(untold, FACTS.moment).title == "spring: the campaign's file does not load"
