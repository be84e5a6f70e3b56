"""What `check` renders before a run, with which values, and what it says of templates that a run could not render."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from airflow.models.base import Base
from sqlalchemy import Engine, create_engine, insert

from tests.glue.broken_campaigns import QUERY, SUBMIT, by_hand, campaign
from tests.glue.conftest import Check, Place

# Airflow's own: a template's macros may be a plugin's, and its search of their folder warns.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

QUERY_ARGUMENT = f"sql={QUERY!r}, "
MORE = "from airflow.sdk import Asset, Param, Variable\n"


def hand(name: str, dag: str = "", **changes: str) -> str:
    """Return a DAG file that plans by hand, its DAG with more arguments."""
    text = by_hand(name, **changes).replace("from airflow.sdk import DAG\n", f"from airflow.sdk import DAG\n{MORE}")
    return text.replace(f"DAG({name!r})", f"DAG({name!r}, {dag})") if dag else text


@pytest.fixture
def airflow_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Airflow's database, as far as check reads it, at hand."""
    url = f"sqlite:///{tmp_path}/airflow.db"
    engine = create_engine(url)
    for name in ("pool", "variable", "connection"):
        import_module(f"airflow.models.{name}")
    tables = Base.metadata.tables
    for table in ("slot_pool", "variable", "connection"):
        tables[table].create(engine)
    with engine.begin() as conn:
        pools = [("default_pool", 128), ("small", 1), ("endless", -1)]
        conn.execute(
            insert(tables["slot_pool"]),
            [{"pool": name, "slots": slots, "include_deferred": False} for name, slots in pools],
        )
        for key, value in (("tier", "gold"), ("facts", '{"tier": "gold"}'), ("words", "no json")):
            conn.execute(insert(tables["variable"]).values(key=key, val=value, is_encrypted=False))
        conn.execute(
            insert(tables["connection"]).values(
                conn_id="stored", conn_type="http", host="h", is_encrypted=False, is_extra_encrypted=False
            )
        )
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT")
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    "source",
    [
        hand("a", occasion="'o{{ macros.ds_add(ds, 3) }}{{ ts_nodash_with_tz }}{{ data_interval_start.year }}'"),
        hand("a", occasion="'{{ dag.dag_id }}.{{ task.task_id }}.{{ ti.try_number }}.{{ dag_run.run_type }}'"),
        hand("a", "params={'tier': 'gold'}", occasion="'o{{ params.tier }}'"),
        hand("a", params="{'tier': 'gold'}", occasion="'o{{ params.tier }}'"),
        hand("a", occasion="'o{{ nope | default(1) }}'"),
        hand("a", occasion='\'o{{ dag_run.conf.get("tier", "gold") }}\''),
        hand("a", "user_defined_macros={'f': lambda: 7}, user_defined_filters={'g': str}", occasion="'o{{ f() | g }}'"),
        hand("a", "template_undefined=__import__('jinja2').Undefined", occasion="'o{{ nope }}'"),
        hand("a", note="'{{ \"x\" * 4000 }}'"),
        hand("a", note="'{{ dag_run.conf.get(\"note\") }}'"),
        hand("a", reference_id="'{{ \"x\" * 255 }}'"),
        hand("a", capillary_conn_id='\'{{ "capil" + "lary" }}\''),
        hand("a", "schedule=Asset('load')", occasion="'o{{ dag_run.run_after.year }}'"),
        hand(
            "a",
            "render_template_as_native_obj=True, params={'ids': [1, 2]}",
            parameters="{'ids': '{{ params.ids }}'}",
            sql="'SELECT customer_id FROM vip WHERE customer_id IN :ids'",
        ),
        hand("a") + SUBMIT,
    ],
)
def test_a_template_that_a_run_renders_is_no_fault(place: Place, folder: Path, check: Check, source: str) -> None:
    (folder / "a.py").write_text(source)
    code, lines, _ = check(folder)
    assert (code, lines[-1]) == (0, "check: nothing wrong"), lines


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (hand("a", occasion="'o{{ prev_start_date_success or 1 }}'"), "template, line 7: what it names is known when"),
        (
            hand("a", occasion="'o{{ dag_run.conf[\"tier\"] }}'"),
            "dag_run.conf['tier'] is given when a run is triggered",
        ),
        (hand("a", "schedule=Asset('x')", note="'{{ triggering_asset_events | length }}'"), "triggering_asset_events"),
        (
            hand("a", "params={'x': Param(type='string')}", note="'{{ params.x }}'"),
            "parameter x has no default: whoever",
        ),
        (hand("a", note="'{{ var.value.tier }}'"), "the variable 'tier': Airflow's database is not available here"),
        (hand("a", note='\'{{ var.value.get("tier", "gold") }}\''), "the variable 'tier': Airflow's database is not"),
        (
            hand("a", note="'{{ conn.stored.host }}'"),
            "the connection 'stored': Airflow's database is not available here",
        ),
        (
            hand("a", pool="'small'"),
            "pool 'small': Airflow's database is not available here: see that the pool is under",
        ),
        (
            f"{MORE}{campaign('a')}Variable.get('tier')\n",
            "asks for a variable or connection when it is read, and Airflow",
        ),
    ],
)
def test_what_only_a_run_knows_is_not_counted_as_passed(
    place: Place, folder: Path, check: Check, source: str, words: str
) -> None:
    (folder / "a.py").write_text(source)
    code, lines, _ = check(folder)
    assert code == 0, lines
    assert [line for line in lines if line.startswith("not checked: ") and words in line], lines
    assert lines[-1] == "check: not checked 1"


def test_what_a_macro_raises_repeats_no_value(place: Place, folder: Path, check: Check) -> None:
    raises = "lambda: (_ for _ in ()).throw(RuntimeError('guess-' + 'me'))"
    (folder / "a.py").write_text(hand("a", f"user_defined_macros={{'f': {raises}}}", note="'{{ f() }}'"))
    _, lines, error = check(folder, "--files-only")
    assert any("it raised RuntimeError" in line for line in lines), lines
    assert "guess-me" not in "\n".join([*lines, error])


@pytest.mark.parametrize("native", ["", "render_template_as_native_obj=True"])
@pytest.mark.parametrize("field", ["note", "reference_id", "sql", "parameters"])
def test_an_expression_that_raises_repeats_no_value(
    place: Place, folder: Path, check: Check, field: str, native: str
) -> None:
    text = "{{ [].index('guess-' ~ 'me') }}"  # Python's error repeats what was looked for
    given = {"parameters": f'{{"x": "{text}"}}', "sql": f'"SELECT {text} AS customer_id"'}.get(field, f'"{text}"')
    more = {"sql": "'SELECT :x AS customer_id'"} if field == "parameters" else {}
    (folder / "a.py").write_text(hand("a", native, **{field: given, **more}))
    code, lines, error = check(folder, "--files-only")
    assert code == 1
    assert "guess-me" not in "\n".join([*lines, error])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (hand("a", "schedule='@daily'", note="'{{ dag_run.conf[\"x\"] }}'"), "has no attribute 'x'"),
        (hand("a", "params={'tier': 1}", note="'{{ params.teir }}'"), "no parameter 'teir'. Did you mean tier?"),
        (
            hand("a", "params={'x': None}", note="'{{ params.x + 1 }}'"),
            "an expression of its template raised TypeError",
        ),
        (
            hand("a", params="{'x': Param('a', type='integer')}"),
            "params: Invalid input for param x: 'a' is not of type",
        ),
        (hand("a", sql="'SELECT customer_id FROM vip {% include \"no.sql\" %}'"), "'no.sql' not found in search path"),
        (
            hand("a", "render_template_as_native_obj=True", parameters="{'x': '{{ nope }}'}", sql="'SELECT :x AS b'"),
            "template, line 7: Task 'extract', argument 'parameters': :x: its template cannot be rendered: 'nope' is",
        ),
        (
            hand("a", sql='"""SELECT customer_id FROM vip\n  WHERE 1 > 0\n  AND \'{{ nope }}\' > 0"""'),
            "template, line 9: Task 'extract', argument 'sql'",
        ),
        (hand("a", capillary_conn_id='\'{{ "no" + "where" }}\''), "There is no Airflow connection 'nowhere'"),
        (
            hand("a") + SUBMIT.replace(")\n", ', capillary_conn_id=\'{{ "no" + "where" }}\')\n'),
            "There is no Airflow connection 'nowhere'",
        ),
    ],
)
def test_what_fails_in_a_run_fails_the_check(place: Place, folder: Path, check: Check, source: str, words: str) -> None:
    (folder / "a.py").write_text(source)
    code, lines, _ = check(folder)
    assert code == 1, lines
    assert [line for line in lines if line.startswith("fails: ") and words in line], lines


def mapped(expanded: str, **changes: str) -> str:
    """Return a DAG file with a mapped task that plans."""
    text = hand("a", **changes).replace("PlanBadgesOperator(task_id", "PlanBadgesOperator.partial(task_id")
    return f"{text.rstrip()}.{expanded}\n"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            mapped("expand(occasion=['a', 'x' * 201])"),
            "task 'extract', part 1: arguments: Task 'extract', argument 'occ",
        ),
        (
            mapped("expand(occasion=['a', '{{ nope }}'])"),
            "part 1: template, line 7: Task 'extract', argument 'occasion'",
        ),
        (
            mapped("expand(occasion=['a'])", note="'{{ nope }}'"),
            "part 0: template, line 7: Task 'extract', argument 'n",
        ),
        (
            mapped("expand_kwargs([{'note': 'a'}, {'note': '{{ 1/0 }}'}])"),
            "part 1: template, line 7: Task 'extract', arg",
        ),
        (mapped("expand(capillary_conn_id=['nowhere'])"), "connection 'nowhere': used by a"),
        (mapped("expand(sql=['gone.sql'])").replace(QUERY_ARGUMENT, ""), "there is no file 'gone.sql'"),
    ],
)
def test_the_parts_of_a_mapped_task_that_the_file_writes_out_are_looked_at(
    place: Place, folder: Path, check: Check, source: str, words: str
) -> None:
    (folder / "a.py").write_text(source)
    code, lines, _ = check(folder)
    assert code == 1, lines
    assert [line for line in lines if line.startswith("fails: ") and words in line], lines
    assert [line for line in lines if line.startswith("not checked: ") and "it is mapped, and what each part" in line]


def test_a_dry_run_waits_for_arguments_that_are_right(place: Place, folder: Path, check: Check) -> None:
    (folder / "a.py").write_text(hand("a", note="'{{ \"x\" * 4001 }}'"))
    code, lines, _ = check(folder, "--dry-run", "--quiet")
    assert (code, len(lines)) == (1, 2), lines
    assert lines[0].startswith("fails: ")
    assert lines[1].endswith("dry run: what fails above would fail here, too")


def test_every_template_that_fails_is_told(place: Place, folder: Path, check: Check) -> None:
    (folder / "a.py").write_text(hand("a", note="'{{ one }}'", occasion="'{{ two }}'", reference_id="'{{ three }}'"))
    _, lines, _ = check(folder, "--files-only")
    assert [sum(f"'{name}' is undefined" in line for line in lines) for name in ("one", "two", "three")] == [1, 1, 1]


def test_variables_of_airflows_database_are_read(
    place: Place, folder: Path, check: Check, airflow_database: Engine
) -> None:
    (folder / "there.py").write_text(
        hand("there", occasion='\'{{ var.value.tier }}-{{ var.json.facts.tier }}-{{ var.value.get("no", "x") }}\'')
    )
    code, lines, _ = check(folder)
    assert (code, lines[-1]) == (0, "check: nothing wrong"), lines
    (folder / "missing.py").write_text(hand("missing", note="'{{ var.value.teir }}'"))
    (folder / "no_json.py").write_text(hand("no_json", note="'{{ var.json.words }}'"))
    code, lines, _ = check(folder)
    assert code == 1
    (line,) = [line for line in lines if "missing.py" in line and line.startswith("fails: ")]
    assert "template, line 7: argument 'note': there is no Airflow variable 'teir'. Create it under Admin" in line
    assert [line for line in lines if "no_json.py" in line and "raised JSONDecodeError" in line]


def test_the_environments_variables_need_no_database(
    place: Place, folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_API_TOKEN", "S3cret-of-ours")
    (folder / "a.py").write_text(hand("a", note="'{{ var.value.api_token | length }}'"))
    for more in ([], ["--files-only"]):
        code, lines, _ = check(folder, *more)
        assert code == 0, lines
        assert lines[-1].startswith("check: nothing wrong")
    (folder / "a.py").write_text(hand("a", badge_id="'{{ var.value.api_token }}'"))
    code, lines, _ = check(folder)
    assert code == 1
    assert [line for line in lines if "argument 'badge_id': it should match" in line]
    assert "S3cret" not in "".join(lines), "hidden as in Airflow's logs"


@pytest.mark.parametrize(
    ("pool", "slots", "words"),
    [
        (
            "smal",
            1,
            "Airflow has no such pool, and never starts task extract. Did you mean small? Create it under Admin",
        ),
        ("small", 2, "it has 1 slots, and Airflow never starts task extract, which takes 2. Give the pool more slots"),
        ("small", 1, ""),
        ("endless", 9, ""),
        ("default_pool", 1, ""),
    ],
)
def test_a_pool_that_airflow_has_not_is_told(
    place: Place, folder: Path, check: Check, airflow_database: Engine, pool: str, slots: int, words: str
) -> None:
    (folder / "a.py").write_text(hand("a", pool=repr(pool), pool_slots=str(slots)))
    code, lines, _ = check(folder)
    assert code == (1 if words else 0), lines
    told = [line for line in lines if f"DAG 'a': pool {pool!r}: {words}" in line]
    assert len(told) == (1 if words else 0)


def test_a_campaigns_pool_is_that_of_all_its_tasks(
    place: Place, folder: Path, check: Check, airflow_database: Engine
) -> None:
    (folder / "a.py").write_text(campaign("a", dag_args="{'default_args': {'pool': 'nope'}}"))
    code, lines, _ = check(folder)
    assert code == 1
    assert [line for line in lines if "tasks extract_eligible_customers, submit, wait, report" in line]
    assert check(folder, "--files-only")[0] == 0, "no connection is used"


def test_a_database_that_does_not_answer_is_not_at_hand(
    place: Place, folder: Path, check: Check, airflow_database: Engine
) -> None:
    with airflow_database.begin() as conn:
        conn.exec_driver_sql("DROP TABLE slot_pool")
    (folder / "a.py").write_text(hand("a", pool="'small'"))
    code, lines, _ = check(folder)
    assert (code, lines[-1]) == (0, "check: not checked 1")


def test_connections_and_variables_of_airflows_database_are_read_as_its_dag_processor_reads_them(
    place: Place, folder: Path, tmp_path: Path, airflow_database: Engine
) -> None:
    (folder / "at_once.py").write_text(f"{MORE}{campaign('at_once')}assert Variable.get('tier') == 'gold'\n")
    (folder / "there.py").write_text(hand("there", note="'{{ conn.stored.host }}{{ conn.get(\"no\") }}'"))
    (folder / "missing.py").write_text(hand("missing", note="'{{ conn.no_such.host }}'"))
    done = subprocess.run(
        [sys.executable, "-m", "capillary", "check"],
        env=os.environ
        | {
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
            "AIRFLOW_HOME": str(tmp_path / "home"),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1, done
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fails: ")]
    assert "missing.py" in line
    assert "argument 'note': There is no Airflow connection 'no_such'. Create it under Admin" in line


def test_a_file_imports_from_the_dags_folder_and_not_from_elsewhere(
    place: Place, folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))
    (folder / "sub").mkdir()
    (folder / "in_the_folder.py").write_text("TIER = 'gold'\n")
    (folder / "sub" / "beside_the_file.py").write_text("TIER = 'gold'\n")
    (folder / "sub" / "a.py").write_text(campaign("a") + "import in_the_folder\n")
    (folder / "sub" / "b.py").write_text(campaign("b") + "import beside_the_file\n")
    assert check(folder / "sub" / "a.py")[0] == 0
    monkeypatch.chdir(folder / "sub")
    monkeypatch.syspath_prepend(folder / "sub")  # as python -m does with the working directory
    for path in (folder / "sub" / "b.py", folder / "sub", folder):
        code, lines, _ = check(path)
        assert code == 1
        assert [line for line in lines if "No module named 'beside_the_file'" in line]
    assert sys.path[0] == str(folder / "sub")
