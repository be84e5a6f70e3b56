"""Replies lost and garbled after the platform has acted: nobody doubled, nobody lost, no false failure.

Faults that come again and again are in the long form, `python -m tests.crashes --only replies`.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

import pytest

from tests.crashes.planted import Plant
from tests.crashes.replies import Call, LostReply, every_case, play
from tests.crashes.yard import Yard


@pytest.mark.parametrize("case", every_case(repeated=False), ids=str)
def test_a_lost_reply_costs_nobody_anything(the_yard: Yard, case: LostReply) -> None:
    assert play(the_yard, case) == []


def test_a_lost_reply_taken_as_not_sent_is_seen(the_yard: Yard) -> None:
    faults = play(the_yard, LostReply(Call.SUBMIT, "dropped"), plant=Plant.TRUSTS_SILENCE)
    assert any(fault.startswith("I1:") for fault in faults)
