"""Turn campaigns on in a database of Airflow's own, by the code of its DAG processor and its scheduler.

Usage: turn_on.py HOME. Prints a line of JSON, by campaign: what our pages say before, and for when the scheduler has
made runs after. Moments are hours from now; a campaign's last tick was two hours ago, or twelve.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

(HOME,) = sys.argv[1:]
os.environ |= {"AIRFLOW_HOME": HOME, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}

from airflow.dag_processing.collection import update_dag_parsing_results_in_db  # noqa: E402 - Airflow reads HOME first
from airflow.jobs.job import Job  # noqa: E402 - same
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner  # noqa: E402 - same
from airflow.models.dag import DagModel  # noqa: E402 - same
from airflow.models.dagbundle import DagBundleModel  # noqa: E402 - same
from airflow.models.dagrun import DagRun  # noqa: E402 - same
from airflow.models.serialized_dag import SerializedDagModel  # noqa: E402 - same
from airflow.serialization.serialized_objects import LazyDeserializedDAG  # noqa: E402 - same
from airflow.utils.db import initdb  # noqa: E402 - same
from airflow.utils.session import create_session  # noqa: E402 - same
from airflow.utils.state import DagRunState  # noqa: E402 - same
from airflow.utils.types import DagRunTriggeredByType, DagRunType  # noqa: E402 - same
from sqlalchemy import select  # noqa: E402 - same

from capillary.campaign import BadgeCampaign, Entity  # noqa: E402 - same
from capillary.ui.airflow_facts import campaign_dags  # noqa: E402 - same
from capillary.ui.once_on import once_on  # noqa: E402 - same

NOW: Final = datetime.now(UTC).replace(second=0, microsecond=0)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
RAN: Final = ("ran_then_missed_three", "ran_and_missed_none")


def _daily(last: timedelta) -> str:
    tick = NOW - last
    return f"{tick.minute} {tick.hour} * * *"


_SCHEDULES: Final[dict[str, dict[str, Any]]] = {
    "new": {"schedule": _daily(2 * HOUR)},
    "new_with_a_first_day": {"schedule": _daily(2 * HOUR), "dag_args": {"start_date": NOW - 99 * DAY}},
    "new_half_way": {"schedule": _daily(12 * HOUR)},
    "ran_then_missed_three": {"schedule": _daily(2 * HOUR)},
    "ran_and_missed_none": {"schedule": _daily(2 * HOUR)},
    "every_day_from_now": {"schedule": DAY},
    # The pages read another ledger than this one's, so they say nothing of it.
    "of_another_ledger": {"schedule": None, "ledger_conn_id": "another_ledger"},
    "catches_up": {"schedule": _daily(2 * HOUR), "dag_args": {"catchup": True, "start_date": NOW - 3 * DAY}},
}
DAGS: Final = [
    BadgeCampaign(
        name=name,
        sql="SELECT customer_id FROM vip",
        badge_id="a1b2c3d4e5f60718293a4b5c",
        owner_type="loyalty",
        reference_id="134",
        entity=Entity(till_id="501", store_id="502", zone_id="503", concept_id="504"),
        occasion="vip {day}",
        live=True,
        **fields,
    ).dag()
    for name, fields in _SCHEDULES.items()
]


def read_files() -> None:
    """Write what the DAG processor writes whenever it has read the files."""
    for dag in DAGS:
        dag.relative_fileloc = "campaigns.py"
    lazy = [LazyDeserializedDAG.from_dag(dag) for dag in DAGS]
    with create_session() as session:
        update_dag_parsing_results_in_db(
            "dags", None, lazy, {}, None, set(), session, files_parsed={("dags", "campaigns.py")}
        )


def ran(dag_id: str, tick: Any) -> None:  # noqa: ANN401 - Airflow's own kind of datetime
    """Note a run that the schedule made."""
    with create_session() as session:
        model = SerializedDagModel.get(dag_id, session=session)
        if model is None:
            raise LookupError(dag_id)
        model.dag.create_dagrun(
            run_id=f"scheduled__{tick.isoformat()}",
            logical_date=tick,
            data_interval=(tick, tick),
            run_after=tick,
            run_type=DagRunType.SCHEDULED,
            triggered_by=DagRunTriggeredByType.TIMETABLE,
            state=DagRunState.SUCCESS,
            session=session,
        )


def hours(moment: datetime) -> int:
    """Return a moment in hours from now."""
    return round((moment - NOW) / HOUR)


initdb()
with create_session() as made:
    made.add(DagBundleModel(name="dags"))
read_files()
ran(RAN[0], NOW - 2 * HOUR - 3 * DAY)
ran(RAN[1], NOW - 2 * HOUR)
read_files()
said = {
    name: once_on(dag, datetime.now(UTC), shown=lambda moment: f"{hours(moment):+} h")
    for name, dag in campaign_dags({dag.dag_id for dag in DAGS}).items()
}
with create_session() as turned_on:
    before = set(turned_on.scalars(select(DagRun.id)))
    for model in turned_on.scalars(select(DagModel)):
        model.is_paused = False
time.sleep(1.1)  # SQLite's own clock has whole seconds
runner = SchedulerJobRunner(Job())  # type: ignore[no-untyped-call] # Airflow's
for _ in range(len(DAGS)):
    with create_session() as scheduling:
        due, _by_asset = DagModel.dags_needing_dagruns(scheduling)
        runner._create_dag_runs(list(due), scheduling)
with create_session() as looked:
    runs = [run for run in looked.scalars(select(DagRun).order_by(DagRun.run_after)) if run.id not in before]
    told = {name: [said[name], [hours(run.run_after) for run in runs if run.dag_id == name]] for name in said}
print(json.dumps(told))  # noqa: T201
