"""A short storm over real Airflow: a few kills, a few requests. `python -m tests.fire` is the long one."""

from __future__ import annotations

import os
from functools import partial

import pytest

from tests.fire.campaigns import storm_campaigns
from tests.fire.kills import Killer
from tests.fire.stack import running_stack
from tests.fire.storm import CAMPAIGNS, CHECKER_DELAY_S, Order, storm

KILLS, REQUESTS, SEED = 6, 20, 1

pytestmark = pytest.mark.skipif(
    os.environ.get("FIRE") != "1",
    reason="it starts a whole Airflow on PostgreSQL and kills its processes for ten minutes: set FIRE=1",
)


def test_nobody_is_lost_or_doubled_while_processes_are_killed() -> None:
    campaigns = storm_campaigns(CAMPAIGNS)
    with running_stack(campaigns, checker_delay_s=CHECKER_DELAY_S) as stack:
        killing = partial(Killer, stack, kills=KILLS, tell=print)
        outcome = storm(stack, campaigns, Order(kills=KILLS, requests=REQUESTS, seed=SEED), killing, print)
    assert sum(outcome.kills.values()) == KILLS
    assert outcome.judgement.broken == ()
    assert outcome.reached_quiet
    assert outcome.judgement.requests >= REQUESTS
