"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from capillary.counted import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 requests"), (1, "1 request"), (2, "2 requests"), (1_217, "1,217 requests")]
)
def test_the_noun_is_in_its_number(number: int, said: str) -> None:
    assert counted(number, "request") == said


def test_so_is_the_verb() -> None:
    assert counted(1, "request", "is", "are") == "1 request is"
    assert counted(1_000, "request", "is", "are") == "1,000 requests are"
