"""A verdict's sentence on a page: no shell command where the page has a button, and outcomes in words."""

from __future__ import annotations

import pytest

from capillary.engine.verdict import Facts, Policy, judge
from capillary.ledger.status import Outcome
from capillary.ui.page_words import for_a_page
from tests.funnels import sound_funnel_of


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("All of 10 customers ended: 10 enrolled.", "All of 10 customers ended: 10 enrolled."),
        (
            "fix the cause, then retry outcomes failed and not_accepted.",
            "fix the cause, then retry the failed and the not accepted.",
        ),
        ("or retry outcome unconfirmed, which skips", "or retry the unconfirmed, which skips"),
        (
            "Stop sending (python -m capillary stop), and run python -m capillary ledger check --deep.",
            "Stop sending, and run python -m capillary ledger check --deep.",
        ),
        (
            "still open (they stay so (failed_checks of `python -m capillary waiting`)): have",
            "still open (they stay so): have",
        ),
        (
            "say so (python -m capillary ledger import --not-ours x).",
            "say so (python -m capillary ledger import --not-ours x).",
        ),
    ],
)
def test_a_page_says_it_without_what_it_has_a_button_for(sentence: str, said: str) -> None:
    assert for_a_page(sentence) == said


def test_every_verdict_about_failures_is_rid_of_its_commands() -> None:
    ends = {Outcome.FAILED: 1, Outcome.REJECTED: 2, Outcome.UNCONFIRMED: 3}
    sentence = judge(Facts(sound_funnel_of(**{str(name): many for name, many in ends.items()})), Policy()).sentence
    assert "python -m capillary" in sentence, "a log has no button"
    said = for_a_page(sentence)
    assert "python -m" not in said
    assert "outcome " not in said
    for words in ("then retry the failed.", "retry the rejected once", "retry the unconfirmed, which"):
        assert words in said
