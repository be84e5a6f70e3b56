"""The long form: kills over all services at random, under overlapping runs and a backfill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import select, text

from capillary.ledger.schema import badge_occasion, badge_request, badge_run
from tests.cluster.cluster import Cluster
from tests.cluster.kills import ContainerKiller
from tests.fire.campaigns import UPKEEP, Campaign, storm_campaigns
from tests.fire.storm import CAMPAIGNS, CHECKER_DELAY_S, Order, Storm, storm

_STREAK: Final = Campaign("cluster_streak", 9)
_STREAK_BADGE: Final = "b1b2c3d4e5f60718293a4b5c"
#: Months of the backfill, each an occasion, and requests of each.
MONTHS: Final = 6
_STREAK_REQUESTS: Final = 2
_LIMIT_S: Final = 900.0

_STREAK_FILE: Final = '''"""cluster_streak: a recurring campaign, an Airflow DAG, for the backfill."""

from datetime import datetime, timedelta

from capillary.campaign import BadgeCampaign, Entity, Guards, Policy, OnFinding

dag = BadgeCampaign(
    name="{name}",
    sql="SELECT customer_id FROM member WHERE campaign = :member_of ORDER BY customer_id",
    parameters={{"member_of": "{name}"}},
    badge_id="{badge_id}",
    owner_type="Milestones",
    reference_id="205",
    entity=Entity(till_id="50001", store_id="7001", zone_id="601", concept_id="501"),
    occasion="{name} {{month}}",
    schedule="0 6 1 * *",
    dag_args={{"start_date": datetime(2026, 1, 1)}},
    live=True,
    canary=False,
    customers_per_request={customers_per_request},
    policy=Policy(tolerated_failure_share=1.0, on_rejected=OnFinding.ACCEPT, on_unconfirmed=OnFinding.WARN),
    guards=Guards(max_jump=None, max_requests=None, max_open_requests=None),
    poll_interval_s=10,
    settle_every=timedelta(seconds=45),
).dag()
'''


def campaigns() -> list[Campaign]:
    """The campaigns of the storm."""
    return storm_campaigns(CAMPAIGNS)


def write_streak(folder: Path) -> None:
    """Write the recurring campaign's file."""
    values = {"badge_id": _STREAK_BADGE, "customers_per_request": _STREAK.customers_per_request}
    (folder / f"{_STREAK.name}.py").write_text(_STREAK_FILE.format(name=_STREAK.name, **values))


@dataclass(frozen=True, slots=True)
class Long:
    """What came of it.

    Attributes:
        storm: the runs under fire, judged.
        backfilled: months by the state of their run.
        broken: what does not hold, in sentences.
    """

    storm: Storm
    backfilled: Counter[str]
    broken: tuple[str, ...]


def long(cluster: Cluster, order: Order, tell: Callable[[str], None]) -> Long:
    """Let it rage over a cluster in which nothing has run yet, and judge.

    Args:
        cluster: with the storm's campaigns and the recurring one in its image.
        order: how large.
        tell: takes one line for each event.
    """
    wanted = campaigns()
    cluster.warehouse.grow(_STREAK, _STREAK_REQUESTS)
    cluster.switch(checker="automatic", delay_s=CHECKER_DELAY_S, reject_every=17, list_lag_s=3)
    cluster.await_campaigns([UPKEEP, _STREAK.name, *(campaign.name for campaign in wanted)])
    _backfill(cluster)
    tell(f"a backfill of {MONTHS} months is ordered")
    killing = partial(ContainerKiller, cluster, kills=order.kills, tell=tell)
    came = storm(cluster, wanted, order, killing, tell)
    cluster.until(lambda: _months(cluster)["success"] >= MONTHS, "the backfill has ended", _LIMIT_S)
    months = _months(cluster)
    return Long(came, months, (*_judge_storm(came), *_judge_backfill(cluster)))


def _backfill(cluster: Cluster) -> None:
    scheduler = cluster.containers.one("airflow-scheduler").container
    days = ("--from-date", "2026-03-01", "--to-date", "2026-08-31")
    command = ("airflow", "backfill", "create", "--dag-id", _STREAK.name, *days, "--max-active-runs", "3")
    asked = scheduler.inside(command)
    if asked is None:
        raise RuntimeError("the scheduler is down before the first kill")
    said, _ = asked.communicate(timeout=120)
    if asked.returncode:
        raise RuntimeError(f"airflow backfill create ended with {asked.returncode}:\n{said[-2000:]}")


def _months(cluster: Cluster) -> Counter[str]:
    with cluster.airflow.connect() as conn:
        states = conn.execute(
            text("SELECT state FROM dag_run WHERE dag_id = :dag AND run_type = 'backfill'"), {"dag": _STREAK.name}
        )
        return Counter(states.scalars())


def _judge_storm(came: Storm) -> list[str]:
    said = list(came.judgement.broken)
    if not came.reached_quiet:
        said.append("not everything had ended by the limit")
    return said


def _judge_backfill(cluster: Cluster) -> list[str]:
    """Each customer in one request of each month, by the platform's books."""
    customers = {one for one, of in cluster.warehouse.customers().items() if of == _STREAK.name}
    with cluster.ledger.read() as tx:
        rows = tx.conn.execute(
            select(badge_request.c.request_key, badge_occasion.c.occasion)
            .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
            .join(badge_occasion, badge_occasion.c.id == badge_run.c.occasion_id)
            .where(badge_run.c.dag_id == _STREAK.name)
        )
        occasions = {row.request_key: row.occasion for row in rows}
    books = cluster.sandbox.get("/_sandbox/requests").json()
    held = Counter(
        (customer, occasions.get(each["request_key"], "unknown"))
        for each in books
        for customer in customers.intersection(each["customers"])
    )
    of_each = Counter(customer for customer, _ in held)
    said = []
    if twice := sum(times > 1 for times in held.values()):
        said.append(f"backfill: {twice} customers are in two requests of one month")
    if wrong := sum(of_each[customer] < MONTHS for customer in customers):
        said.append(f"backfill: {wrong} customers are in fewer than {MONTHS} months")
    if any(occasion == "unknown" for _, occasion in held):
        said.append("backfill: a request on the platform is unknown to the ledger")
    return said
