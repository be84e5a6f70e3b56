"""Faults that the process under test is given on purpose: what the judgement must see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import update

from capillary.engine import before_sending, send, submit
from capillary.engine.doubt import Resolved
from capillary.engine.history import read_history
from capillary.ledger.database import Ledger
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.schema import badge_request
from capillary.ledger.status import RequestStatus
from tests.laboratory import planting
from tests.laboratory.planting import Bug
from tests.laboratory.transition_bugs import TRANSITION_BUGS


class Plant(StrEnum):
    """A mistake that a careful author could make."""

    FORGETS_CLAIMS = "forgets claims"  #: a retry takes what was claimed and not answered as never sent
    TRUSTS_SILENCE = "trusts silence"  #: a lost reply is taken as not sent


def plant(fault: Plant) -> None:
    """Build the fault into this process."""
    planting.plant(_BUGS[fault])


_ASSERT_ACCOUNT: Final = send.assert_account


def _forgetful(ledger: Ledger, plan: PlanId, account: str) -> None:
    _ASSERT_ACCOUNT(ledger, plan, account)
    with ledger.write() as tx:
        tx.conn.execute(
            update(badge_request)
            .where(badge_request.c.badge_run_id == open_plan(tx, plan), badge_request.c.status == RequestStatus.SENDING)
            .values(status=RequestStatus.PLANNED, doubt_from=None)
        )


async def _look_away(sender: send.Sender, *_args: object, **_kwargs: object) -> before_sending.Looked:
    await read_history(sender.ledger, sender.client, sender.runtime, alive=lambda _: None)  # once, and no more
    return before_sending.Looked(Resolved(), datetime.now(UTC))


_BUGS: Final[Mapping[Plant, Bug]] = {
    Plant.FORGETS_CLAIMS: Bug(
        "what was claimed and not answered is in doubt",
        [(submit, "assert_account", _forgetful), (submit, "look_first", _look_away)],
    ),
    Plant.TRUSTS_SILENCE: TRANSITION_BUGS["a-lost-reply-releases"],
}
