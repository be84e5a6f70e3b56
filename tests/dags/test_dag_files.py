"""The campaigns that come with the project, as Airflow loads them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from capillary.campaign.trigger_form import SECTION

FOLDER = Path(__file__).parents[2] / "dags"
CAMPAIGNS = ("gold_tier", "monthly_streak", "new_arrivals")
#: Airflow's own, while it reads plugins/capillary/.airflowignore.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
TASKS = ["extract_eligible_customers", "submit", "wait", "report"]


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(FOLDER)


@pytest.fixture(params=CAMPAIGNS)
def dag(bag: DagBag, request: pytest.FixtureRequest) -> DAG:
    found = bag.dags[request.param]
    assert isinstance(found, DAG)
    return found


def test_every_file_loads_and_every_query_has_its_campaign(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert {path.stem for path in FOLDER.glob("*.sql")} == set(CAMPAIGNS) <= set(bag.dags)


def test_the_dag_belongs_to_its_file(dag: DAG) -> None:
    assert dag.fileloc == str(FOLDER / f"{dag.dag_id}.py")


def test_four_tasks_in_a_row_and_the_last_is_the_result(dag: DAG) -> None:
    assert list(dag.task_dict) == TASKS
    for task, following in pairwise(TASKS):
        assert following in dag.get_task(task).downstream_task_ids
    assert [task.task_id for task in dag.tasks if task.returns_dag_result] == ["report"]
    report = dag.get_task("report")
    assert (report.trigger_rule, [alias.name for alias in report.outlets]) == ("all_done", [f"badges_{dag.dag_id}"])
    assert {task.task_id: task.retries for task in dag.tasks} == dict(zip(TASKS, (5, 5, 10, 5), strict=True))


def test_airflow_can_keep_it(dag: DAG) -> None:
    kept = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    assert sorted(kept.task_ids) == sorted(TASKS)
    assert kept.params.dump() == dag.params.dump()
    assert kept.doc_md == dag.doc_md
    assert DagSerialization.serialize_dag(dag) == DagSerialization.serialize_dag(DagBag(dag.fileloc).dags[dag.dag_id])


def test_the_manual_is_the_files_docstring_with_the_facts(dag: DAG) -> None:
    source = Path(dag.fileloc).read_text()
    manual = dag.doc_md or ""
    assert source.startswith(f'"""{manual.partition(chr(10))[0]}')
    assert "If a task fails" in manual
    assert manual.count("\n| ") >= 8
    assert f"`{dag.dag_id}.sql`" in manual


def test_it_stands_among_the_badges_and_does_not_catch_up(dag: DAG) -> None:
    assert "badges" in dag.tags
    assert (dag.catchup, dag.max_active_runs) == (False, 16)


def test_the_hours_of_a_schedule_are_those_of_the_campaigns_zone(bag: DagBag) -> None:
    schedule: Any = bag.dags["monthly_streak"].schedule
    assert (schedule.expression, str(schedule.timezone)) == ("0 22 28-31 * *", "Asia/Kolkata")
    assert "Asia/Kolkata" in (bag.dags["monthly_streak"].doc_md or "")


def test_the_form_opens_with_the_dry_run_and_hides_the_rest_in_a_section_of_its_own(dag: DAG) -> None:
    form = {name: dag.params.get_param(name) for name in dag.params}
    assert next(iter(form)) == "dry_run"
    assert ("occasion_day" in form) is (dag.dag_id == "monthly_streak")
    opened = {name for name, param in form.items() if "section" not in param.schema}
    assert opened - {"occasion_day"} == {"dry_run", "customer_cap"}
    assert {param.schema.get("section", SECTION) for param in form.values()} == {SECTION}
    assert "Advanced" not in SECTION, "Airflow's own section is called Advanced Options"
    for param in form.values():
        assert param.schema["title"]
        assert param.description
        assert param.description.endswith(".")


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("dry_run", [True, False], [None, "yes", 1]),
        ("occasion_day", [None, "2026-11-23"], ["23.11.2026", "2026-02-30", 20261123, ""]),
        ("customer_cap", [None, 1, 1_000_000], [0, -1, 1.5, "10"]),
        ("retry_outcomes", [[], None, ["failed"], ["rejected", "unconfirmed"]], ["failed", ["enrolled"], ["Failed"]]),
        (
            "retry_codes",
            [[], None, ["816"], ["none", "1039"], [816]],
            ["816", 816, ["0816"], ["x"], [0], [-1], [1.5], [True], [None], [""]],
        ),
        ("canary", [True, False], [None, "no"]),
        ("override_guards", [True, False], [None, "no"]),
        ("note", [None, "", "looked at it\nwith the CRM team"], [5, ["note"]]),
    ],
)
def test_the_form_takes_what_it_can_use(bag: DagBag, name: str, good: list[object], bad: list[object]) -> None:
    param = bag.dags["monthly_streak"].params.get_param(name)
    for value in good:
        assert param.resolve(value) == value
    for value in bad:
        with pytest.raises(ParamValidationError):
            param.resolve(value)
