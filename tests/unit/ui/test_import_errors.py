"""What a traceback says at its end, and which files that do not load are matters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capillary.engine.attention import said_of
from capillary.ledger.matters import Kind
from capillary.ui.import_errors import BrokenFile, matters_of, reason_of
from tests.unit.ui.run_pages import DAG, FACTS

TRACE = """Traceback (most recent call last):
  File "<frozen importlib._bootstrap>", line 241, in _call_with_frames_removed
  File "/dags/silver.py", line 3, in <module>
    BadgeCampaign(name="silver", reference_id=134)
    ^^^^^^^^^^^^^^
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
        ("", ""),
        (f"{TRACE}E: {'x' * 900}", f"E: {'x' * 596}…"),
    ],
    ids=["ours, two lines", "bare", "syntax", "no frames", "nothing", "long"],
)
def test_the_end_of_a_traceback_is_told(trace: str, said: str) -> None:
    assert reason_of(trace) == said


def test_a_broken_campaign_and_a_file_without_a_dag_are_matters() -> None:
    files = [
        BrokenFile("spring.py", frozenset({"spring"}), "KeyError: 'x'"),
        BrokenFile("silver.py", frozenset(), "CampaignInvalid: reference_id: Give text."),
        BrokenFile("others.py", frozenset({"no_campaign"}), "E"),
    ]
    found = list(matters_of(files, {"spring": replace(DAG, broken=True)}))
    assert [(each.kind, each.campaign, each.file) for each in found] == [
        (Kind.FILE_BROKEN, "spring", "spring.py"),
        (Kind.FILE_BROKEN, None, "silver.py"),
    ]
    known, new = (said_of(each, FACTS.moment) for each in found)
    assert (known.title, known.means[:14]) == (
        "spring: the campaign's file (spring.py) does not load",
        "KeyError: 'x'.",
    )
    assert new.title == "silver.py does not load"
    assert new.means.startswith("CampaignInvalid: reference_id: Give text. Airflow has no DAG of this file")
    (untold,) = matters_of((), {"spring": replace(DAG, broken=True)})
    assert said_of(untold, FACTS.moment).title == "spring: the campaign's file does not load"
