"""Whoever plans takes turns with whoever plans; nobody who sends, sees or settles waits for a plan, however long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import pytest
from sqlalchemy import URL, text
from sqlalchemy.exc import OperationalError

from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.erase import erase
from capillary.ledger.locked_rows import locked_occasion, locked_spec
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import (
    ConfirmedAbsence,
    Seen,
    claim,
    discard_unsent,
    give_up,
    keep_alive,
    record_sighting,
    refuse,
    release,
    resend,
)
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome
from tests.unit.ledger.conftest import EmptyDatabase, migrated
from tests.unit.ledger.orders import DOUBT, ORDER, SPEC, plan

#: A request of the run that the change is about, with its three customers.
REQUEST: Final = 1
CUSTOMERS: Final = (1, 2, 3)


@pytest.fixture(scope="module")
def url(empty_database: EmptyDatabase) -> URL:
    return migrated(empty_database("postgresql"))


@pytest.fixture
def server(url: URL) -> Iterator[Ledger]:
    """A ledger in PostgreSQL with one plan of two requests; only it locks single rows."""
    with Ledger(url) as ledger:
        with ledger.write() as tx:
            tx.conn.execute(text("TRUNCATE badge_occasion, badge_spec RESTART IDENTITY CASCADE"))
        plan(ledger, range(1, 7))
        yield ledger


@contextmanager
def somebody_plans(ledger: Ledger) -> Iterator[None]:
    """Keep a transaction open that has locked what every plan of the occasion locks."""
    with ledger.write() as tx:
        locked_occasion(
            tx, account=SPEC.account, campaign=ORDER.campaign, occasion=ORDER.occasion, badge_id=SPEC.badge_id
        )
        locked_spec(tx, SPEC)
        yield


def _claim_once_more(tx: Transaction) -> bool:
    held = claim(tx, REQUEST, badge_run_id=OpenPlan(1), sender="me", doubt_after=DOUBT)
    return held is not None and release(tx, held, reason="429")


def _be_refused(tx: Transaction) -> bool:
    held = claim(tx, REQUEST, badge_run_id=OpenPlan(1), sender="me", doubt_after=DOUBT)
    return held is not None and refuse(tx, held, code=2008, reason="no")


def _send_three_times(tx: Transaction) -> bool:
    held = claim(tx, REQUEST, badge_run_id=OpenPlan(1), sender="me", doubt_after=DOUBT)
    while held is not None:
        absence = ConfirmedAbsence(REQUEST, held.key, held.tries, tx.now + timedelta(days=1))
        held = resend(tx, absence, sender="me", doubt_after=DOUBT)
    return give_up(tx, absence)


def _be_seen(tx: Transaction) -> bool:
    return record_sighting(tx, REQUEST, Seen("p-1", "AdminTask", decided=False))


def _be_settled(tx: Transaction) -> bool:
    record_sighting(tx, REQUEST, Seen("p-1", "approved", decided=True))
    rejected = dict.fromkeys(CUSTOMERS, Ending(Outcome.REJECTED))
    return settle(tx, REQUEST, sightings_read=["p-1"], endings=rejected)


def _be_seen_and_not_settled(tx: Transaction) -> bool:
    record_sighting(tx, REQUEST, Seen("p-1", "approved", decided=True))
    endings = dict.fromkeys(CUSTOMERS, Ending(Outcome.REJECTED))
    return not settle(tx, REQUEST, sightings_read=[], endings=endings)


def _be_given_back(tx: Transaction) -> bool:
    return discard_unsent(tx, badge_run_ids=[OpenPlan(1)]) == 6


def _be_alive(tx: Transaction) -> bool:
    keep_alive(tx, OpenPlan(1), lease=timedelta(days=2))
    return True


@pytest.mark.parametrize(
    "change",
    [
        _claim_once_more,
        _be_refused,
        _send_three_times,
        _be_seen,
        _be_settled,
        _be_seen_and_not_settled,
        _be_given_back,
        _be_alive,
    ],
)
def test_nobody_else_waits_for_a_plan(server: Ledger, change: Callable[[Transaction], bool]) -> None:
    """A request's row that is written twice has its foreign keys looked up: seeing one waited for a million others."""
    with somebody_plans(server), server.write() as tx:
        tx.conn.execute(text("SET LOCAL lock_timeout = '2s'"))
        assert change(tx)


def _plan(tx: Transaction) -> None:
    locked_occasion(tx, account=SPEC.account, campaign=None, occasion=ORDER.occasion, badge_id=SPEC.badge_id)


def _plan_under_the_spec(tx: Transaction) -> None:
    locked_spec(tx, SPEC)


def _erase(tx: Transaction) -> None:
    erase(tx, CUSTOMERS[0])


@pytest.mark.parametrize("other", [_plan, _plan_under_the_spec, _erase])
def test_who_plans_takes_turns(server: Ledger, other: Callable[[Transaction], None]) -> None:
    with somebody_plans(server), server.write() as tx:
        tx.conn.execute(text("SET LOCAL lock_timeout = '200ms'"))
        with pytest.raises(OperationalError, match="lock timeout"):
            other(tx)
        tx.conn.rollback()
