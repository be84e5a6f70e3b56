"""Gold tier: the badge Gold Circle 2026, once for every customer of the gold tier.

An Airflow DAG that runs each morning at 06:00 UTC. `gold_tier.sql` finds the gold customers who do not hold the
badge; whoever was enrolled by an earlier run is left out, so a run has work only when somebody reached the tier.

**Before it ends** a human approves each request in the platform's request list; until then `wait` is deferred. The
first run under a new configuration takes ten customers (the canary); once that has passed, a later run takes the rest.

**If a task fails**, read the error in its log: it says what to fix. Then clear the task, which goes on from where
the ledger stands; nothing is sent twice. A guard that refused in `extract_eligible_customers` needs you to look at
the query's customers first, and then a run with *Override guards*. To retry customers that the checker rejected or the
platform refused, start a run with *Retry outcomes*.
"""

from __future__ import annotations

from capillary.campaign import BadgeCampaign, Entity, Policy

dag = BadgeCampaign(
    name="gold_tier",
    sql="gold_tier.sql",
    badge_id="a1b2c3d4e5f60718293a4b5c",
    owner_type="Loyalty",
    reference_id="134",
    entity=Entity(till_id="50001", store_id="7001", zone_id="601", concept_id="501"),
    schedule="0 6 * * *",
    live=True,
    policy=Policy(tolerated_failure_share=0.1),  # some were merged or removed since the warehouse was loaded
    dag_args={"tags": ["tiers"]},
).dag()
