"""Replies lost and garbled after the platform has acted: nobody doubled, nobody lost, no false failure.

Faults that come again and again are in the long form, `python -m tests.crashes --only replies`.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

import pytest

from tests.crashes.installation_factory import InstallationFactory
from tests.crashes.planted import Plant
from tests.crashes.replies import Call, LostReply, every_case, play


@pytest.mark.parametrize("case", every_case(repeated=False), ids=str)
def test_a_lost_reply_costs_nobody_anything(installations: InstallationFactory, case: LostReply) -> None:
    assert play(installations, case) == []


def test_a_lost_reply_taken_as_not_sent_is_seen(installations: InstallationFactory) -> None:
    faults = play(installations, LostReply(Call.SUBMIT, "dropped"), plant=Plant.TRUSTS_SILENCE)
    assert any(fault.startswith("I1:") for fault in faults)
