"""What is to be done about customers that were given back: true of a plan of which a part was sent, and of one not."""

from __future__ import annotations

import pytest

from capillary.engine.given_back import SWITCH_OFF, to_do
from capillary.ledger.given_back import GivenBack


@pytest.mark.parametrize(
    ("is_whole", "refused", "says"),
    [
        (True, False, "Clear extract and other with Downstream, which plans again."),
        (False, False, "Start a new run with the same occasion and settings, which can take them."),
        (True, True, f"{SWITCH_OFF}, then clear extract and other with Downstream."),
        (
            False,
            True,
            (
                f"{SWITCH_OFF}, then start a new run with the same occasion and settings. If that one stops, too, "
                "clear extract and other with Downstream there."
            ),
        ),
    ],
    ids=["nothing sent", "a part sent", "nothing sent and refused", "a part sent and refused"],
)
def test_what_to_do(*, is_whole: bool, refused: bool, says: str) -> None:
    assert to_do(GivenBack(3, is_whole, ("extract", "other"), refused)) == says
