"""A list that lags, shifts its pages, repeats rows or hides some, counts pages from 0 or 1: nothing goes out early.

One request gets no answer; it stands on the platform, or never arrived. The upkeep looks every minute, and the
platform's books are judged after each look.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from capillary.engine.absence import WITHOUT_CONTROL, doubt_after
from capillary.engine.plan import plan_rows
from capillary.engine.submit import submit_run
from capillary.engine.upkeep import keep_account
from capillary.ledger.plan import Order
from capillary.ledger.schema import badge_enrolment
from capillary.ledger.spec import Spec
from sandbox.badges import GOLD_CIRCLE
from sandbox.settings import ListRows
from tests.states.one_process import LAG_S, START, Mishap, OneProcess

LEASE = timedelta(hours=6)
CUSTOMERS = range(1, 13)
MINUTE = timedelta(minutes=1)
#: The list may lag by anything up to what the connection allows for.
LAGS_S = (0, 5, 60, 600, LAG_S)


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Iterator[OneProcess]:
    folder = tmp_path / "world"
    folder.mkdir()
    shutil.copy(template, folder / "ledger.db")
    one_process = OneProcess(folder)
    yield one_process
    one_process.close()


def submit_all(world: OneProcess, mishap: Mishap) -> None:
    """Plan four requests and submit them; the first one meets the mishap."""
    settings = world.settings
    spec = Spec(settings.account, GOLD_CIRCLE.badge_id, "Loyalty", "42", "1", "2", "3", "4", settings.base_url)
    order = Order(
        dag_id="gold",
        run_id="run",
        task_id="extract",
        capillary_conn_id="capillary",
        campaign="gold",
        occasion="gold",
        spec=spec,
        customers_per_request=3,
        canary=False,
        lease=LEASE,
    )
    plan = plan_rows(world.ledger, [list(CUSTOMERS)], order, without_badge=lambda _: ())
    plan_id = plan.plan_id
    assert plan_id is not None
    world.mishap, world.spared = mishap, 2  # the list is read first, and asked whether our type has more
    assert world.run(lambda sender: submit_run(sender, plan_id, lease=LEASE)) == "done"
    arrived = len(world.platform.requests())
    assert arrived == (3 if mishap is Mishap.LOST else 4)


def keys(world: OneProcess) -> Counter[str | None]:
    """Count the platform's requests by key."""
    return Counter(request.request_key for request in world.platform.requests())


def look(world: OneProcess, *, until: timedelta, every: timedelta = MINUTE) -> None:
    """Look again and again until so long after the beginning; no key may ever stand twice."""
    while world.now < START + until:
        world.pass_time(every)
        assert world.run(lambda sender: keep_account(sender, reader="upkeep")) in ("done", "PlatformUnavailable")
        assert set(keys(world).values()) == {1}


@pytest.mark.parametrize("mishap", [Mishap.REPLY_LOST, Mishap.LOST])
@pytest.mark.parametrize("rows", list(ListRows))
@pytest.mark.parametrize("page_base", [0, 1])
@pytest.mark.parametrize("lag_s", LAGS_S)
def test_what_got_no_answer_is_not_sent_again_early(
    world: OneProcess, lag_s: float, page_base: int, rows: ListRows, mishap: Mishap
) -> None:
    world.settings = replace(world.settings, page_size=2, page_base=page_base)
    world.platform.switch(list_lag_s=lag_s, page_base=page_base)
    sent_by = world.now - START  # the last request of the run goes out a minute later: it is kept for a control
    submit_all(world, mishap)
    world.platform.switch(list_rows=rows)
    look(world, until=sent_by + doubt_after(world.settings) - MINUTE)
    assert len(keys(world)) == (3 if mishap is Mishap.LOST else 4), "nothing is sent before absence can be judged"
    look(world, until=sent_by + doubt_after(world.settings) + WITHOUT_CONTROL + 2 * MINUTE, every=10 * MINUTE)
    may_send = rows is ListRows.COMPLETE
    assert len(keys(world)) == (4 if mishap is Mishap.REPLY_LOST or may_send else 3)
    # Once the list tells the truth again, and the day of distrust is over, everybody comes to an end.
    world.platform.switch(list_rows=ListRows.COMPLETE)
    for _ in range(4):
        world.pass_time(timedelta(hours=8))
        world.platform.approve_all()
        assert world.run(lambda sender: keep_account(sender, reader="upkeep")) == "done"
    assert set(keys(world).values()) == {1}
    with world.ledger.read() as tx:
        outcome = badge_enrolment.c.outcome
        outcomes = tx.conn.execute(select(outcome, func.count()).group_by(outcome)).all()
    assert [tuple(row) for row in outcomes] == [("enrolled", len(CUSTOMERS))]
