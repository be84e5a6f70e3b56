"""Monthly streak: a badge for who bought on at least three days of a month, every month.

An Airflow DAG that runs on the last days of the month, at 22:00 in India. `monthly_streak.sql` looks at the month of
the run, and each run takes those who were not planned on the month's occasion before. A run by hand early in the month
finds few customers, or nobody.

**Purchases after the last run** of a month are found by a run by hand with *Occasion of day* set to a day of that
month: it counts the whole month, and enrols only customers that the earlier runs have left out.

**If a task fails**, read the error in its log: it says what to fix. Then clear the task, which goes on from where
the ledger stands; nothing is sent twice. A request that nobody decides within seven days fails `wait` and stays in the
platform's list: have the checker decide, then clear `wait`.
"""

from __future__ import annotations

from capillary.campaign import BadgeCampaign, Entity, Guards, Policy

dag = BadgeCampaign(
    name="monthly_streak",
    sql="monthly_streak.sql",
    badge_id="b1b2c3d4e5f60718293a4b5c",
    owner_type="Milestones",
    reference_id="205",
    entity=Entity(till_id="50001", store_id="7001", zone_id="601", concept_id="501"),
    occasion="monthly_streak {month}",
    timezone="Asia/Kolkata",
    schedule="0 22 28-31 * *",
    live=True,
    policy=Policy(tolerated_failure_share=0.1),  # some were merged or removed since the warehouse was loaded
    guards=Guards(max_jump=None),  # a month begins with nobody: a multiple of the run before says nothing
    dag_args={"tags": ["streaks"]},
).dag()
