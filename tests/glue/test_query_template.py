"""What Airflow renders of an operator by hand: which text is a file, and what a template that gives nothing means."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import DAG, Context
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowFailException
from jinja2 import DictLoader

from capillary.base_operator import PlanningOperator
from capillary.campaign.errors import SqlInvalid
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from capillary.templating.query import OF_LOGICAL_DATE
from tests.glue.conftest import BADGE

SQL = "SELECT customer_id FROM vip"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vip.sql").write_bytes(b"\xef\xbb\xbfSELECT customer_id FROM {{ params.table }} -- as in other.sql")
    return tmp_path


def dag_in(folder: Path, **facts: Any) -> DAG:  # noqa: ANN401 - any of a DAG's
    dag = DAG(dag_id="by_hand", schedule=None, **facts)
    dag.fileloc = str(folder / "by_hand.py")
    return dag


def context(**facts: object) -> Context:
    return cast("Context", {"params": {"table": "vip", "none": None, "list": [1, 2]}, **facts})


def rendered(folder: Path, given: Context | None = None, /, **arguments: Any) -> PlanBadgesOperator:  # noqa: ANN401 - any
    """Return an operator as its task sees it: its file read, its fields rendered."""
    with dag_in(folder) as dag:
        operator = PlanBadgesOperator(task_id="plan", **BADGE | {"sql": SQL} | arguments)
    dag.resolve_template_files()  # type: ignore[no-untyped-call] # Airflow's own
    operator.render_template_fields(given or context(), dag.get_template_env())
    return operator


def test_sql_may_be_a_file_beside_the_dag_or_in_its_search_path(folder: Path, tmp_path: Path) -> None:
    assert rendered(folder, sql="vip.sql").sql == "SELECT customer_id FROM vip -- as in other.sql"
    with dag_in(tmp_path / "elsewhere", template_searchpath=[str(folder)]) as dag:
        operator = PlanBadgesOperator(task_id="plan", sql=" vip.sql", **BADGE)
    dag.resolve_template_files()  # type: ignore[no-untyped-call] # Airflow's own
    assert operator.sql.startswith("SELECT customer_id FROM {{ params.table }}")


def test_a_loader_of_the_dags_own_has_the_file(tmp_path: Path) -> None:
    loader = DictLoader({"vip.sql": "SELECT 7 AS customer_id"})
    for name, words in (("vip.sql", ""), ("new.sql", "the DAG's Jinja loader has no 'new.sql'")):
        with dag_in(tmp_path, jinja_environment_kwargs={"loader": loader}) as dag:
            operator = PlanBadgesOperator(task_id="plan", sql=name, **BADGE)
        if words:
            with pytest.raises(SqlInvalid, match=words):
                operator.resolve_template_files()
        else:
            operator.resolve_template_files()
            assert (operator.sql, dag.dag_id) == ("SELECT 7 AS customer_id", "by_hand")


def test_a_mapped_operator_reads_its_file_too(folder: Path) -> None:
    with dag_in(folder) as dag:
        PlanBadgesOperator.partial(task_id="plan", sql="vip.sql", **BADGE).expand(note=["one", "two"])
    dag.resolve_template_files()  # type: ignore[no-untyped-call] # Airflow's own
    mapped: Any = dag.get_task("plan")
    assert isinstance(mapped, MappedOperator)
    operator: Any = mapped.unmap({"note": "one"})
    operator._do_render_template_fields(operator, mapped.template_fields, context(), dag.get_template_env(), set())
    assert (operator.sql, operator.note) == ("SELECT customer_id FROM vip -- as in other.sql", "one")


def test_a_zip_of_dags_holds_the_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "dags.zip", "w") as archive:
        archive.writestr("vip.sql", "SELECT 1 AS customer_id")
    assert rendered(tmp_path / "dags.zip", sql="vip.sql").sql == "SELECT 1 AS customer_id"


@pytest.mark.parametrize(
    "name", ["occasion", "reference_id", "campaign", "note", "capillary_conn_id", "ledger_conn_id", "warehouse_conn_id"]
)
def test_no_other_field_is_read_as_a_file(folder: Path, name: str) -> None:
    with dag_in(folder) as dag:
        operator = PlanBadgesOperator(task_id="plan", sql=SQL, **BADGE)
    setattr(operator, name, "vip.sql")  # whatever else may be said of such a value
    dag.resolve_template_files()  # type: ignore[no-untyped-call] # Airflow's own
    operator.render_template_fields(context(), dag.get_template_env())
    assert getattr(operator, name) == "vip.sql"
    assert PlanBadgesOperator.template_ext == IssueBadgeOperator.template_ext == PlanningOperator.template_ext == ()


def test_nothing_within_a_field_is_read_as_a_file(folder: Path) -> None:
    parameters = {"file": "vip.sql", "files": ["vip.sql", ("vip.sql",)], "{{ k }}": "{{ params.table }}.sql"}
    operator = rendered(folder, parameters=parameters, entity=BADGE["entity"] | {"till_id": "vip.sql"})
    assert operator.parameters == parameters | {"{{ k }}": "vip.sql"}
    assert cast("dict[str, str]", operator.entity)["till_id"] == "vip.sql"
    assert rendered(folder, sql="SELECT 1 AS customer_id -- vip.sql").sql.endswith("-- vip.sql")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["there is no file 'new.sql' in ", "template_searchpath", "(there: vip.sql)"]),
        (b"", ["the file 'new.sql' is empty", "Write the SELECT into it"]),
        ("SELECT 1".encode("utf-16-le"), ["'new.sql' holds NUL characters"]),
        (b"\xff\xfeS", ["'new.sql' cannot be read as UTF-8 text", "Save the file as UTF-8"]),
        (b"SELECT 1\n-- {% if", ["renders the file 'new.sql' by Jinja, which cannot read its line 2", "{% raw %}"]),
    ],
)
def test_a_file_that_is_no_query_keeps_the_dag_from_loading(
    folder: Path, content: bytes | None, words: list[str]
) -> None:
    if content is not None:
        (folder / "new.sql").write_bytes(content)
    with pytest.raises(SqlInvalid) as caught:
        rendered(folder, sql="new.sql")
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    assert str(caught.value).startswith("Task 'plan', argument 'sql': ")


def test_a_mapped_operator_without_its_file_fails_at_once(folder: Path) -> None:
    with dag_in(folder) as dag:
        operator = PlanBadgesOperator(task_id="plan", sql="new.sql", **BADGE)
    with pytest.raises(AirflowFailException, match=r"Task 'plan', argument 'sql': there is no file 'new\.sql' in "):
        operator.render_template_fields(context(), dag.get_template_env())


@pytest.mark.parametrize("name", sorted(OF_LOGICAL_DATE))
@pytest.mark.parametrize("field", ["sql", "occasion", "note", "campaign"])
def test_a_date_of_a_run_without_a_logical_date_is_told_and_not_tried_again(
    folder: Path, field: str, name: str
) -> None:
    template = f"{SQL} WHERE day = '{{{{ {name} }}}}'"
    with pytest.raises(AirflowFailException) as caught:
        rendered(folder, **{field: template})
    said = str(caught.value)
    assert said.startswith(
        f"Task 'plan', argument '{field}': this run has no logical date, so that {{{{ {name} }}}} has"
    )
    assert "Use {{ dag_run.run_after }}" in said
    assert "trigger the run again with a logical date" in said


def test_the_same_template_renders_in_a_run_that_has_one(folder: Path) -> None:
    given = context(ds="2026-11-23", logical_date=datetime(2026, 11, 23, tzinfo=UTC))
    operator = rendered(folder, given, sql=f"{SQL} WHERE day = '{{{{ ds }}}}'", parameters={"day": "{{ ds }}"})
    assert (operator.sql, operator.parameters) == (f"{SQL} WHERE day = '2026-11-23'", {"day": "2026-11-23"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sql": "SELECT {{ params.none }}"}, ["'sql': an expression of its template came out as None", "a default"]),
        ({"sql": "SELECT {{ data_interval_start | ds }}"}, ["'sql': this run has no logical date"]),
        (
            {"parameters": {"a": "{{ params.none }}"}},
            ["'parameters': :a: an expression of its template came out as None"],
        ),
        ({"parameters": {"a": ["x", "{{ params.none }}"]}}, ["'parameters': :a: an expression", "came out as None"]),
        ({"parameters": {"a": "{{ params.list }}"}}, ["'parameters': :a: ", "as a list, and would become one text"]),
        ({"parameters": {"a": "{{ params }}"}}, ["'parameters': :a: ", "as a dict, and would become one text"]),
        ({"parameters": {"a": "{{ ds }}"}}, ["'parameters': :a: this run has no logical date"]),
        (
            {"sql": "SELECT 1 WHERE 1 IN ({{ params.list }})"},
            ["'sql': ", "as a list", "give parameters the list itself"],
        ),
        ({"sql": "SELECT {{ tabel }}"}, ["'sql': its template cannot be rendered: 'tabel' is undefined"]),
        ({"sql": "SELECT {{ params.tabel }}"}, ["'sql': its template cannot be rendered", "no attribute 'tabel'"]),
        ({"sql": "{% include 'no.sql' %} "}, ["'sql': its template cannot be rendered: 'no.sql' not found"]),
        ({"occasion": "{{ tabel }}"}, ["'occasion': its template cannot be rendered: 'tabel' is undefined"]),
        ({"occasion": "{{ x"}, ["'occasion': Jinja cannot read its line 1: "]),
        ({"parameters": {"a": "{{ x | y }}"}}, ["'parameters': :a: Jinja cannot read its line 1: No filter named 'y'"]),
    ],
)
def test_what_cannot_be_rendered_fails_at_once_with_its_argument(
    folder: Path, arguments: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(AirflowFailException) as caught:
        rendered(folder, **arguments)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    assert str(caught.value).startswith("Task 'plan', argument ")
    assert str(caught.value).endswith(".")


def test_a_tuple_in_the_query_is_sql(folder: Path) -> None:
    assert rendered(folder, sql=f"{SQL} WHERE id IN {{{{ (params.list[0], 2) }}}}").sql == f"{SQL} WHERE id IN (1, 2)"


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("1/0", "ZeroDivisionError"),
        ("none + 1", "TypeError"),
        ("params.list['x'].y", "UndefinedError"),
        ("'a' | int | batch", "TypeError"),
    ],
)
@pytest.mark.parametrize("field", ["sql", "parameters", "reference_id"])
def test_an_expression_that_raises_fails_by_name_at_once(folder: Path, field: str, expression: str, error: str) -> None:
    template = f"{{{{ {expression} }}}}"
    value = {"sql": f"{SQL} WHERE {template}", "parameters": {"a": template}, "reference_id": template}[field]
    with pytest.raises(AirflowFailException, match=f"argument '{field}': ") as caught:
        rendered(folder, **{field: value})
    assert error == "UndefinedError" or error in str(caught.value)


def test_none_where_it_is_meant_stays(folder: Path) -> None:
    sql = f"{SQL} {{% if params.none %}}WHERE 1 = 0{{% endif %}} -- {{{{ params.none or 'nobody' }}}}"
    operator = rendered(
        folder, sql=sql, parameters={"a": None, "b": "none", "c": "{{ params.list | join(',') }}"}, note="{{ 1 }}"
    )
    assert operator.sql == f"{SQL}  -- nobody"
    assert operator.parameters == {"a": None, "b": "none", "c": "1,2"}
    assert operator.note == "1"


def test_the_query_stays_text_in_a_dag_of_native_objects(folder: Path) -> None:
    with dag_in(folder, render_template_as_native_obj=True) as dag:
        operator = PlanBadgesOperator(
            task_id="plan", sql="vip.sql", parameters={"day": "{{ params.none }}", "ids": "{{ params.list }}"}, **BADGE
        )
    dag.resolve_template_files()  # type: ignore[no-untyped-call] # Airflow's own
    operator.render_template_fields(context(), dag.get_template_env())
    assert (operator.sql, operator.parameters) == (
        "SELECT customer_id FROM vip -- as in other.sql",
        {"day": None, "ids": [1, 2]},
    )
    with dag_in(folder, render_template_as_native_obj=True) as dag:
        operator = PlanBadgesOperator(task_id="plan", sql="SELECT {{ params.none }}", **BADGE)
    with pytest.raises(AirflowFailException, match="came out as None"):
        operator.render_template_fields(context(), dag.get_template_env())
