"""Faults that the process under test is given on purpose: what the judgement must see."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import update

from capillary.engine import before_sending, send, submit
from capillary.engine.doubt import Resolved
from capillary.engine.history import read_history
from capillary.ledger import request_rows
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.request_rows import Claim
from capillary.ledger.schema import badge_request
from capillary.ledger.status import RequestStatus


class Plant(StrEnum):
    """A mistake that a careful author could make."""

    FORGETS_CLAIMS = "forgets claims"  #: a retry takes what was claimed and not answered as never sent
    TRUSTS_SILENCE = "trusts silence"  #: a lost reply is taken as not sent


def plant(fault: Plant) -> None:
    """Build the fault into this process."""
    {
        Plant.FORGETS_CLAIMS: _forget_claims,
        Plant.TRUSTS_SILENCE: _trust_silence,
    }[fault]()


def _forget_claims() -> None:
    assert_account = send.assert_account

    def forgetful(ledger: Ledger, plan: PlanId, account: str) -> None:
        assert_account(ledger, plan, account)
        with ledger.write() as tx:
            tx.conn.execute(
                update(badge_request)
                .where(
                    badge_request.c.badge_run_id == open_plan(tx, plan), badge_request.c.status == RequestStatus.SENDING
                )
                .values(status=RequestStatus.PLANNED, doubt_from=None)
            )

    async def look_away(sender: send.Sender, *_args: object, **_kwargs: object) -> before_sending.Looked:
        await read_history(sender.ledger, sender.client, sender.runtime, alive=lambda _: None)  # once, and no more
        return before_sending.Looked(Resolved(), datetime.now(UTC))

    submit.assert_account = forgetful  # type: ignore[attr-defined]
    submit.look_first = look_away  # type: ignore[attr-defined]


def _trust_silence() -> None:
    def release(tx: Transaction, held: Claim, *, reason: str) -> bool:
        return request_rows.release(tx, held, reason=reason)

    send.request_rows.note_doubt = release  # type: ignore[attr-defined]
