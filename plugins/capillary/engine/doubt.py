"""What was sent and never answered. Doubt ends by evidence: the request is found, or its absence confirmed.

Absence is confirmed by a reading of the whole list, of all days from before the request's first send up to now, begun
after its ``doubt_from``, that shows a control: a request of ours that the platform must have accepted later than the
one in doubt, if it accepted that at all. A list that lags, hides or lies to this user would miss the control too. For
the credential user that sent the one in doubt any such request is a control, and without one an hour must pass.
Another user may not be shown that user's requests: it judges only beside a control that the very same user sent, once,
and never without one. A row that shows no key may be the request in doubt unless it shows customers, and all of them
others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from capillary.api.client import Client
from capillary.api.request_workflow import WorkflowRequest
from capillary.api.settings import PlatformSettings
from capillary.engine.lean_list import look_behind
from capillary.engine.platform_list import LOOK_BACK, hides_its_key, read_days
from capillary.engine.runtime import Runtime
from capillary.engine.send import SEND_WITHIN_S, Sender, Sent, doubt_after
from capillary.engine.sightings import record_rows
from capillary.engine.watch import cluster_day
from capillary.ledger import requests, scans
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import Stopped
from capillary.ledger.foreign_keys import foreign_keys
from capillary.ledger.history import history
from capillary.ledger.requests import ConfirmedAbsence
from capillary.ledger.schema import RequestStatus, badge_enrolment, badge_occasion, badge_request

#: Without a control, absence is judged by a reading begun so long after ``doubt_from``.
WITHOUT_CONTROL: Final = timedelta(hours=1)

_LOG: Final = logging.getLogger("capillary.doubt")


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A request in doubt whose absence may be judged now."""

    request_id: int
    key: str
    tries: int
    resends: int
    sender: str
    first_sent_at: datetime
    last_sent_at: datetime
    doubt_from: datetime


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of the requests in doubt: numbers of requests."""

    found: int = 0
    sent_again: int = 0
    given_up: int = 0
    still_in_doubt: int = 0
    auto_approved: int = 0


@dataclass(frozen=True, slots=True)
class _Controls:
    """First sends of requests that a reading of the list shows.

    Attributes:
        newest: of them all.
        newest_by_sender: of those that one credential user sent, and nobody sent again.
    """

    newest: datetime | None
    newest_by_sender: Mapping[str, datetime]


class _Keyless:
    """Rows of the list that show no key, and whose customers they show."""

    def __init__(self) -> None:
        self._customers = set[int]()
        self._show_nobody = False

    def take(self, rows: Iterable[WorkflowRequest]) -> None:
        """Look at rows of the list."""
        for row in rows:
            if hides_its_key(row):
                self._customers.update(row.customers or ())
                self._show_nobody |= not row.customers

    def may_be(self, tx: Transaction, doubt: InDoubt) -> bool:
        """Return whether one of them could be the request in doubt."""
        if self._show_nobody:
            return True
        if not self._customers:
            return False
        customers = select(badge_enrolment.c.customer_id).where(badge_enrolment.c.request_id == doubt.request_id)
        return not self._customers.isdisjoint(tx.conn.execute(customers).scalars())


async def resolve_doubt(sender: Sender, *, stop_on_auto_approval: bool = True) -> Resolved:
    """Read the whole list once for everything in doubt of the account; send again what is confirmed absent.

    Args:
        sender: sends one request.
        stop_on_auto_approval: send no further one after the platform executed one by itself; the next call goes on.

    Raises:
        What a read and `Sender.send` raise, `Stopped` apart: what a person has stopped stays in doubt, and the
        others go on. A trigger never calls this: it sends.
    """
    ledger, client, runtime = sender.ledger, sender.client, sender.runtime
    begun, doubts = await runtime.ledger_call(lambda: _doubts(ledger, client.settings))
    if not doubts:
        return Resolved()
    found, absences = await _absences(ledger, client, runtime, begun, doubts)
    sent_again = given_up = auto_approved = stopped = 0
    for absence, resends in absences:
        if resends >= requests.MAX_RESENDS:
            given_up += await runtime.ledger_call(lambda a=absence: _give_up(ledger, a))  # type: ignore[misc]
            continue
        try:
            sending = await sender.send(
                absence.request_id,
                lambda tx, a=absence: requests.resend(  # type: ignore[misc]
                    tx, a, sender=client.settings.sender, doubt_after=doubt_after(client.settings)
                ),
                list_read_at=absence.scan_begun_at,
            )
        except Stopped as error:
            # The doubt may be another campaign's, and the caller's own goes on.
            stopped += 1
            _LOG.warning("a request in doubt stays in doubt: %s", error)
            continue
        sent_again += sending.sent is not Sent.ELSEWHERE
        auto_approved += sending.auto_approved
        if auto_approved and stop_on_auto_approval:
            _LOG.error("a request was executed without a human: nothing more is sent again now")
            break
    still = len(doubts) - found - sent_again - given_up
    _LOG.info(
        "doubt: %d found, %d sent again, %d given up, %d left, %d of them stopped",
        found,
        sent_again,
        given_up,
        still,
        stopped,
    )
    return Resolved(found, sent_again, given_up, still, auto_approved)


async def _absences(
    ledger: Ledger, client: Client, runtime: Runtime, begun: datetime, doubts: tuple[InDoubt, ...]
) -> tuple[int, list[tuple[ConfirmedAbsence, int]]]:
    account, user = client.settings.account, client.settings.sender
    seen_keys, keyless = set[str](), _Keyless()

    def take(rows: tuple[WorkflowRequest, ...]) -> None:
        keyless.take(rows)
        with ledger.write() as tx:
            seen_keys.update(record_rows(tx, account, user, rows).keys)

    async def on_page(rows: tuple[WorkflowRequest, ...]) -> None:
        shown = await look_behind(ledger, client, runtime, rows)
        await runtime.ledger_call(lambda: take(shown))

    settings = client.settings
    first_day = min(cluster_day(doubt.first_sent_at, settings) for doubt in doubts)
    days = await read_days(
        client,
        since=first_day - LOOK_BACK,
        today=cluster_day(begun, settings),
        request_type=None,
        on_page=on_page,
    )
    found = sum(doubt.key in seen_keys for doubt in doubts)
    if not days.read.to_the_end:
        return found, []

    def judge() -> list[tuple[ConfirmedAbsence, int]]:
        with ledger.read() as tx:
            is_read = history(tx, account, user).read_at is not None
            if not scans.state(tx, account).trusted or foreign_keys(tx, account) or not is_read:
                return []
            controls = _newest_first_sends(tx, seen_keys)
            return [
                (ConfirmedAbsence(doubt.request_id, doubt.key, doubt.tries, begun), doubt.resends)
                for doubt in doubts
                if doubt.key not in seen_keys
                and days.shows(cluster_day(doubt.first_sent_at, settings))
                and _may_judge(doubt, begun, controls, settings)
                and not keyless.may_be(tx, doubt)
            ]

    return found, await runtime.ledger_call(judge)


def _may_judge(doubt: InDoubt, begun: datetime, controls: _Controls, settings: PlatformSettings) -> bool:
    if begun <= doubt.doubt_from:
        return False
    is_its_sender = doubt.sender == settings.sender
    control_sent_at = controls.newest if is_its_sender else controls.newest_by_sender.get(doubt.sender)
    # Whatever arrived of the send in doubt had arrived by then; the control was not even sent before.
    arrived_by = doubt.last_sent_at + timedelta(seconds=SEND_WITHIN_S + settings.post_timeout_s)
    if control_sent_at is not None and control_sent_at > arrived_by:
        return True
    return is_its_sender and begun > doubt.doubt_from + WITHOUT_CONTROL


def _doubts(ledger: Ledger, settings: PlatformSettings) -> tuple[datetime, tuple[InDoubt, ...]]:
    with ledger.read() as tx:
        columns = badge_request.c
        rows = tx.conn.execute(
            select(
                columns.id,
                columns.key,
                columns.tries,
                columns.resends,
                columns.sender,
                columns.first_sent_at,
                columns.last_sent_at,
                columns.doubt_from,
            )
            .join(badge_occasion, badge_occasion.c.id == columns.occasion_id)
            .where(
                badge_occasion.c.account == settings.account,
                columns.status == RequestStatus.SENDING,
                columns.doubt_from < tx.now,
            )
            .order_by(columns.id)
        )
        return tx.now, tuple(InDoubt(*row) for row in rows)


def _newest_first_sends(tx: Transaction, request_keys: set[str]) -> _Controls:
    """Return the newest first sends of requests that a reading shows."""
    columns = badge_request.c
    newest: datetime | None = None
    by_sender = dict[str, datetime]()
    keys = sorted(request_keys)
    for start in range(0, len(keys), 500):
        rows = tx.conn.execute(
            select(columns.sender, columns.resends, columns.first_sent_at).where(
                # What was found or imported has the platform's time, and that is another clock than the doubt's.
                columns.key.in_(keys[start : start + 500]),
                columns.first_sent_at.is_not(None),
                columns.sender.is_not(None),
                columns.tries > 0,
            )
        )
        for sender, resends, sent_at in rows:
            newest = max(newest or sent_at, sent_at)
            # Of a request that was sent again nobody can tell whose send the list shows.
            if sender is not None and not resends:
                by_sender[sender] = max(by_sender.get(sender, sent_at), sent_at)
    return _Controls(newest, by_sender)


def _give_up(ledger: Ledger, absence: ConfirmedAbsence) -> bool:
    with ledger.write() as tx:
        return requests.give_up(tx, absence)
