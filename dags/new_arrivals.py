"""New arrivals: a welcome badge for customers that partners signed up, once per customer.

An Airflow DAG that runs whenever the partner sign-up load has updated the asset `partner_signups`: the load's last task
names that asset as an outlet, or posts an event for it. It can be run by hand at any time.

Partners type the customer ids, and about one row in eighteen is none. Such rows are counted as invalid and kept with
their reason in the ledger's table `badge_invalid`; the others go on. Above one row in ten the load itself is broken,
and `extract_eligible_customers` refuses to plan.

**If a task fails**, read the error in its log: it says what to fix. Then clear the task, which goes on from where
the ledger stands; nothing is sent twice. Where too many ids were invalid, have the partner send the file again and
trigger a run; *Override guards* takes the good rows as they are.
"""

from __future__ import annotations

from airflow.sdk import Asset

from capillary.campaign import BadgeCampaign, Entity, Guards, Policy

dag = BadgeCampaign(
    name="new_arrivals",
    sql="new_arrivals.sql",
    badge_id="c1b2c3d4e5f60718293a4b5c",
    owner_type="Audience_Campaigns",
    reference_id="317",
    entity=Entity(till_id="50001", store_id="7001", zone_id="601", concept_id="501"),
    schedule=Asset("partner_signups"),
    live=True,
    policy=Policy(tolerated_failure_share=0.1),  # some were merged or removed since the warehouse was loaded
    guards=Guards(max_invalid_share=0.10),
    dag_args={"tags": ["partners"]},
).dag()
