"""One request, one POST. The order is the promise: pace, credential, body, claim, send.

Whatever could take long or fail without having sent anything comes before the claim; the POST starts within
`START_WITHIN_S` seconds of its slot in the account's pace or not at all. What was claimed and not clearly
answered stays ``sending`` and is in doubt. Why in this order: docs/design.md, "Pace, claim, send".
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar

from capillary.api.client import Client
from capillary.api.errors import EverythingRefused, InDoubt, NotTaken, RequestRefused
from capillary.api.outside_text import on_one_line
from capillary.api.request_workflow import Entity, IssueBadgeRequest, RequestState, WorkflowRequest
from capillary.engine.absence import doubt_after
from capillary.engine.answered import Named, look_up
from capillary.engine.errors import BodyChanged, ServerChanged, SubmittingOff, WrongAccount
from capillary.engine.runtime import Runtime
from capillary.engine.sightings import answers_for, record_accepted, seen_in
from capillary.ledger import request_rows, server
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.pace import START_WITHIN_S
from capillary.ledger.plan_id import PlanId, account_of, open_plan
from capillary.ledger.request_content import content_of, customers_of
from capillary.ledger.request_rows import Claim
from capillary.ledger.spec import carries, content_hash, hash_in

_LOG: Final = logging.getLogger("capillary.submit")


class Sent(StrEnum):
    """What became of one send."""

    ACCEPTED = "accepted"  #: the platform answered with its request id
    ELSEWHERE = "elsewhere"  #: somebody else has it; nothing was sent
    NOT_TAKEN = "not taken"  #: certainly not taken; the request may be sent again
    REFUSED = "refused"  #: refused for its own content
    IN_DOUBT = "in doubt"  #: no trustworthy answer


@dataclass(frozen=True, slots=True)
class Sending:
    """The end of one send.

    Attributes:
        sent: what became of it.
        auto_approved: the platform executed it at once, without a human.
        not_taken: why it was not taken.
        platform_request_id: of what was accepted.
    """

    sent: Sent
    auto_approved: bool = False
    not_taken: NotTaken | None = None
    platform_request_id: str | None = field(default=None, compare=False)


T = TypeVar("T")
ClaimOne = Callable[[Transaction], Claim | None]


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends requests of one account.

    Attributes:
        ledger: the ledger.
        client: the platform.
        runtime: time and threads.
        may_submit: asked before every POST: the connection's switch as it is now.
    """

    ledger: Ledger
    client: Client
    runtime: Runtime
    may_submit: Callable[[], Awaitable[bool]]

    async def send(self, request_id: int, claim: ClaimOne, *, list_read_at: datetime) -> Sending:
        """Send one request once.

        Args:
            request_id: the ledger's id of the request.
            claim: takes the claim in a transaction of this sender.
            list_read_at: when the reading of the platform's list began on which this send relies, by the ledger's
                clock.

        Raises:
            ServerChanged: the list was read too soon after the ledger's server changed; nothing was claimed.
            EverythingRefused: every request would be refused; this one is planned again.
            SubmittingOff: the switch is off; nothing was claimed.
            Stopped: a person has stopped the request's campaign or account; nothing was claimed.
            BodyChanged: the ledger's rows are not what the key was made from; nothing was claimed.
        """
        await self.client.clear_to_send()
        begun = self.runtime.monotonic()
        if not await self.may_submit():
            raise SubmittingOff(
                "submitting is switched off in the platform's connection. Switch it on there and retry the task"
            )
        body = await self.runtime.ledger_call(lambda: self._body(request_id))
        held = await self.runtime.ledger_call(lambda: self._claimed(claim, list_read_at)) if body else None
        if body is None or held is None:
            return Sending(Sent.ELSEWHERE)
        if isinstance(held, server.Change):
            raise ServerChanged(held)
        held_up = self.runtime.monotonic() - begun > START_WITHIN_S
        if held_up or held.key != body.key:
            why = "the sender was held up before it sent" if held_up else "the request has been planned again"
            return await self._not_taken(held, NotTaken(reason=why))
        try:
            taken = await self.client.submit(body)
        except NotTaken as error:
            return await self._not_taken(held, error)
        except RequestRefused as error:
            return await self._refused(held, error)
        except EverythingRefused as error:
            await self._release(held, str(error))
            raise
        except InDoubt as error:
            return await self._unclear(held, error)
        return await self._accepted(held, taken)

    async def _accepted(self, held: Claim, taken: WorkflowRequest) -> Sending:
        seen, settings = seen_in(taken), self.client.settings
        if seen.decided and taken.state != RequestState.REJECTED and not held.is_again:
            # No human decides while a call is under way, unless it names the request of an earlier send.
            seen = replace(seen, auto_approved=True, human_decided=False)
        known = await self.runtime.ledger_call(
            lambda: self._in_transaction(lambda tx: record_accepted(tx, settings.account, settings.sender, held, seen))
        )
        platform_request_id, state = on_one_line(seen.platform_request_id), on_one_line(seen.state)
        _LOG.info("request %s accepted as %s, state %s", held.key, platform_request_id, state)
        if seen.failed_checks:
            _LOG.error(
                "the platform took request %s and says that it did not pass its check (%s): it waits and is not sent "
                "again. Look at it on the checker's page, and check the till's rights (CanMakeRequest)",
                held.key,
                seen.failed_checks,
            )
        if not known:
            _LOG.error(
                "this ledger no longer knows %s, because it was restored in the meantime; submitting stops", held.key
            )
        return Sending(Sent.ACCEPTED, auto_approved=seen.auto_approved, platform_request_id=seen.platform_request_id)

    async def _unclear(self, held: Claim, error: InDoubt) -> Sending:
        """Accept an answer that speaks of what was sent under another key; read once what any other one names."""
        if error.answered is not None and await self._is_ours(held, error.answered):
            return await self._accepted(held, error.answered)
        doubted = await self._doubted(held, str(error), answered_id=error.platform_request_id)
        if error.platform_request_id is None:
            return doubted
        named = Named(held.request_id, held.key, error.platform_request_id)
        account = self.client.settings.account
        _, seen = await look_up(self.ledger, self.client, self.runtime, named, account=account)
        if seen is None:
            return doubted
        return Sending(Sent.ACCEPTED, auto_approved=seen.auto_approved, platform_request_id=seen.platform_request_id)

    async def _is_ours(self, held: Claim, answered: WorkflowRequest) -> bool:
        """Return whether an answer with another key speaks of what was sent; whose key it is, the ledger tells."""
        ours = await self.runtime.ledger_call(
            lambda: self._in_transaction(lambda tx: answers_for(tx, answered, key=held.key, request_id=held.request_id))
        )
        if ours and not carries(answered.request_key, held.key):
            _LOG.warning("the platform shows request %s under another key", held.key)
        return ours

    async def _not_taken(self, held: Claim, error: NotTaken) -> Sending:
        if await self._release(held, str(error)):
            return Sending(Sent.NOT_TAKEN, not_taken=error)
        return await self._doubted(held, str(error))

    async def _refused(self, held: Claim, error: RequestRefused) -> Sending:
        refused = await self.runtime.ledger_call(
            lambda: self._in_transaction(lambda tx: request_rows.refuse(tx, held, code=error.code, reason=error.reason))
        )
        if not refused:
            return await self._doubted(held, str(error))
        _LOG.warning("request %s refused by the platform, code %s", held.key, error.code)
        return Sending(Sent.REFUSED)

    async def _doubted(self, held: Claim, reason: str, *, answered_id: str | None = None) -> Sending:
        def note(tx: Transaction) -> None:
            request_rows.note_doubt(tx, held, reason=reason)
            if answered_id is not None:
                request_rows.note_answer(tx, held, answered_id)

        await self.runtime.ledger_call(lambda: self._in_transaction(note))
        named = "" if answered_id is None else f". It named request {on_one_line(answered_id)}"
        _LOG.warning("request %s is in doubt: %s%s", held.key, reason, named)
        return Sending(Sent.IN_DOUBT)

    async def _release(self, held: Claim, reason: str) -> bool:
        released = await self.runtime.ledger_call(
            lambda: self._in_transaction(lambda tx: request_rows.release(tx, held, reason=reason))
        )
        if released:
            _LOG.info("request %s is planned again: %s", held.key, reason)
        return released

    def _claimed(self, claim: ClaimOne, list_read_at: datetime) -> Claim | server.Change | None:
        with self.ledger.write() as tx:
            change = server.unread_change(tx, list_read_at=list_read_at, doubt_after=doubt_after(self.client.settings))
            # Not raised in here: what was found is to be committed.
            return change or claim(tx)

    def _in_transaction(self, work: Callable[[Transaction], T]) -> T:
        with self.ledger.write() as tx:
            return work(tx)

    def _body(self, request_id: int) -> IssueBadgeRequest | None:
        with self.ledger.read() as tx:
            return body_of(tx, request_id)


def assert_account(ledger: Ledger, plan: PlanId, account: str) -> None:
    """Refuse a connection that leads elsewhere than the run's plan.

    Raises:
        PlanUnknown: the ledger has no such run.
        WrongAccount: it was planned for another account.
    """
    with ledger.read() as tx:
        planned_for = account_of(tx, open_plan(tx, plan))
    if planned_for != account:
        raise WrongAccount(
            f"run {plan.badge_run_id} was planned for {planned_for}, and the platform's connection leads to {account}: "
            "give the task the connection with which it was planned. If the platform has moved, write "
            f"{planned_for.rpartition('/')[0]!r} into the connection's field Account address"
        )


def body_of(tx: Transaction, request_id: int) -> IssueBadgeRequest | None:
    """Build a request from the ledger alone; None when it was given back in the meantime.

    Raises:
        BodyChanged: it is not what its key was made from.
    """
    content = content_of(tx, request_id)
    if content is None:
        return None
    spec, customers = content.spec, customers_of(tx, request_id)
    # By the hash alone: what was imported carries the name that its campaign had when it was sent.
    if content_hash(spec.fingerprint(), content.occasion, content.attempt, customers) != hash_in(content.key):
        raise BodyChanged(
            f"request {content.key}: the ledger's spec or enrolments were changed after it was planned; nothing was "
            "sent. Restore the rows, or ask who wrote to the ledger's tables"
        )
    return IssueBadgeRequest(
        key=content.key,
        badge_id=spec.badge_id,
        owner_type=spec.owner_type,
        reference_id=spec.reference_id,
        entity=Entity(spec.till_id, spec.store_id, spec.zone_id, spec.concept_id),
        hostname=spec.hostname,
        customers=customers,
    )
