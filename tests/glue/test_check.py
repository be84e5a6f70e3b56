"""`python -m capillary check`: what it says of broken campaigns and of good ones, and that it changes nothing."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from capillary.check import connections
from capillary.check.finding import Verdict
from capillary.connections.warehouse import database_engine_of
from capillary.ledger import stops
from capillary.ledger.stops import Scope
from sandbox.faults import Route
from sandbox.warehouse import main as seed
from tests.glue.broken_campaigns import BROKEN, SUBMIT, WRONG_CONNECTIONS, Broken, by_hand, campaign, write
from tests.glue.conftest import LOG, Check, Place
from tests.unit.ledger.orders import snapshot

# Airflow's own: a template's macros may be a plugin's, and its search of their folder warns.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

EXAMPLES = Path(__file__).parents[2] / "dags"


def findings(lines: list[str]) -> list[str]:
    """Return each finding with the lines that stand below it."""
    found: list[str] = []
    for line in lines:
        if line.startswith("    ") and found:
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found


@pytest.fixture
def broken(place: Place, folder: Path) -> Path:
    """The folder of broken campaigns, and connections that lead nowhere."""
    for each in BROKEN:
        write(folder, each)
    (folder / "a_first.py").write_text(campaign("cron2"))
    for name, field, conn_id, _ in WRONG_CONNECTIONS:
        (folder / f"{name}.py").write_text(campaign(name, **{field: repr(conn_id)}))
    place.connect("unloaded", conn_type="sqlite", host=f"{folder}/nothing.db")
    place.connect("lost", conn_type="sqlite", host=f"{folder}/lost.db")
    place.connect("mailbox", conn_type="imap", host="mail.example")
    place.connect("wrong_till", **place.sandbox_connection() | {"password": "S3cret-of-the-till"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place.connect("closed", **place.sandbox_connection() | {"host": f"http://127.0.0.1:{port}"})
    settled = place.sandbox.url.removeprefix("http://")
    stops.stop(place.ledger, Scope(f"{settled}/100458", "stopped"), by="ann", reason="wrong tier")
    return folder


def test_a_folder_of_broken_campaigns_names_each_fault_with_file_and_remedy(
    place: Place, broken: Path, check: Check
) -> None:
    place.customers(*range(880_000_001, 880_000_121))
    before = snapshot(place.ledger)
    began = time.process_time()
    code, lines, err = check(broken)
    took = time.process_time() - began
    said = findings(lines)
    missing = [each.name for each in BROKEN if not any(names(finding, each) for finding in said)]
    for _, _, conn_id, words in WRONG_CONNECTIONS:
        if not any(finding.startswith("fails: connection") and all(w in finding for w in words) for finding in said):
            missing.append(conn_id)
    assert missing == [], "\n".join(said)
    assert code == 1
    assert "S3cret" not in f"{lines}{err}"
    assert "8800000" not in f"{lines}{err}", "no customer"
    assert snapshot(place.ledger) == before
    assert place.sandbox.platform.calls[Route.SUBMIT] == 0
    assert not (broken / "nothing.db").exists(), "SQLite would make an empty one"
    assert not (broken / "lost.db").exists()
    assert len(list(broken.glob("*.py"))) >= 20
    assert took < 10, "seconds of work for twenty files"


def names(finding: str, broken: Broken) -> bool:
    return (
        finding.startswith("fails: ")
        and f"{broken.name}.py" in finding.split(": ", 2)[1]
        and all(words in finding for words in broken.words)
    )


@pytest.mark.parametrize("each", BROKEN[::6], ids=lambda each: each.name)
def test_a_fault_is_named_when_its_file_alone_is_checked(
    place: Place, broken: Path, check: Check, each: Broken
) -> None:
    code, lines, _ = check(broken / f"{each.name}.py", "--quiet")
    assert code == 1
    assert [finding for finding in findings(lines) if names(finding, each)]
    assert not [line for line in lines if line.startswith("ok")]


@pytest.fixture
def examples(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The project's own campaigns, with the example warehouse behind them."""
    assert seed(["--url", f"sqlite:///{tmp_path}/example.db", "--customers", "300"]) == 0
    place.connect("warehouse", conn_type="sqlite", host=f"{tmp_path}/example.db")
    return EXAMPLES


def test_nothing_is_wrong_with_the_examples(place: Place, examples: Path, check: Check) -> None:
    code, lines, err = check(examples, "--dry-run")
    assert code == 0
    assert lines[-1] == "check: nothing wrong"
    assert [line for line in lines[:-1] if not line.startswith("ok: ")] == []
    assert err == ""
    for name in ("gold_tier", "monthly_streak", "new_arrivals"):
        (line,) = [line for line in lines if f"campaign '{name}'" in line]
        assert "live; badge" in line
        assert "query with its columns and parameters" in line
        assert re.search(r"dry run: \d+ customers in \d+ requests? \(approvals needed: \d+\)", line)
    assert any("connection 'capillary'" in line and "answered the till" in line for line in lines)
    assert check(examples, "--quiet") == (0, [], "")


def test_a_dry_run_counts_and_leaves_everything_as_it_was(place: Place, folder: Path, check: Check) -> None:
    (folder / "gold.py").write_text(campaign("gold", canary="False", customers_per_request="50"))
    (folder / "inline.py").write_text(
        "from airflow.sdk import DAG\nfrom capillary.operators import IssueBadgeOperator\n"
        "with DAG('inline'):\n    IssueBadgeOperator(task_id='submit', customers=[1, 2, 2], "
        + by_hand("x").split("task_id='extract', sql=")[1].split(", ", 1)[1].replace("Entity(", "dict(")
    )
    before = snapshot(place.ledger)
    code, lines, _ = check(folder, "--dry-run")
    assert code == 0, lines
    assert any(
        "campaign 'gold'" in line
        and "dry run: 120 customers in 3 requests (approvals needed: 3): 120 eligible = 120 planned" in line
        for line in lines
    )
    assert any("DAG 'inline'" in line and "3 eligible = 1 duplicate " in line for line in lines)
    assert snapshot(place.ledger) == before, "the account's pace included"
    assert place.sandbox.platform.calls[Route.SUBMIT] == 0
    assert place.sandbox.platform.requests() == []


def test_a_dry_run_tells_what_a_guard_would_refuse(place: Place, folder: Path, check: Check) -> None:
    place.customers(*range(1, 11), *["x"] * 10)
    (folder / "gold.py").write_text(campaign("gold"))
    code, lines, _ = check(folder, "--dry-run", "--quiet")
    assert code == 1
    assert any(line.startswith("fails: ") and "dry run" in line and "invalid" in line for line in lines)


def test_an_operator_of_ones_own_is_not_run(
    place: Place, folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "own.py").write_text(
        by_hand("own")
        .replace(
            "\nwith DAG",
            "\nclass Own(PlanBadgesOperator):\n"
            "    def execute(self, context):\n        raise SystemExit('it ran')\n\nwith DAG",
        )
        .replace("    PlanBadgesOperator(", "    Own(")
    )
    code, lines, _ = check(folder, "--dry-run")
    assert code == 0
    assert any("not checked: " in line and "Own is an operator of your own" in line for line in lines)
    assert lines[-1] == "check: not checked 1"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (by_hand("later", sql="'SELECT {{ var.value.column }} FROM vip'"), "is known when it runs"),
        (by_hand("later", sql="'SELECT {{ ti.xcom_pull(\"x\") }} FROM vip'"), "is known when it runs"),
        (
            by_hand("later")
            .replace("task_id='extract', ", "task_id='extract', ")
            .replace("    PlanBadgesOperator(task_id='extract', ", "    PlanBadgesOperator.partial(task_id='extract', ")
            .replace("sql=", "occasion='a', sql=")
            .rstrip()
            .removesuffix(")")
            + ").expand(customer_cap=[1, 2])\n",
            "it is mapped",
        ),
        (campaign("later", preflight="False"), "it says preflight=False"),
    ],
    ids=["variable", "xcom", "mapped", "no_preflight"],
)
def test_what_cannot_be_told_is_not_counted_as_passed(
    place: Place, folder: Path, check: Check, source: str, words: str
) -> None:
    (folder / "later.py").write_text(f"# Airflow DAG\n{source}")
    code, lines, _ = check(folder)
    assert code == 0, lines
    assert any(line.startswith("not checked: ") and words in line for line in lines), lines
    assert lines[-1] == "check: not checked 1"


def test_templates_are_rendered_as_for_a_run_that_starts_now(place: Place, folder: Path, check: Check) -> None:
    (folder / "day.py").write_text(
        by_hand("day", sql="\"SELECT customer_id FROM vip WHERE '{{ ds }}' > '2000' AND {{ logical_date.year }} > 1\"")
    )
    code, lines, _ = check(folder)
    assert (code, lines[-1]) == (0, "check: nothing wrong"), lines


def test_a_stop_is_no_fault_of_a_campaign_that_is_not_live(place: Place, folder: Path, check: Check) -> None:
    account = f"{place.sandbox.url.removeprefix('http://')}/100458"
    stops.stop(place.ledger, Scope(account), by="ann", reason="wrong tier")
    (folder / "dry.py").write_text(campaign("dry", live="False"))
    code, lines, _ = check(folder)
    assert (code, lines[-1]) == (0, "check: nothing wrong"), lines
    (folder / "wet.py").write_text(campaign("wet"))
    code, lines, _ = check(folder)
    assert code == 1
    assert [line for line in lines if "sending is stopped" in line and "wet.py" in line]


def test_a_run_by_an_asset_has_no_day(place: Place, folder: Path, check: Check) -> None:
    text = campaign("day", sql="\"SELECT customer_id FROM vip WHERE '{{ ds }}' > '2000'\"", schedule="Asset('load')")
    (folder / "day.py").write_text(text.replace("from capillary", "from airflow.sdk import Asset\nfrom capillary"))
    code, lines, _ = check(folder)
    assert code == 1
    assert any(line.startswith("fails: ") and "this run has no logical date" in line for line in lines), lines


def test_a_query_on_a_database_that_tells_nothing_is_not_checked(
    place: Place, folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "gold.py").write_text(campaign("gold"))

    def engine_of(conn_id: str) -> Any:  # noqa: ANN401 - an engine
        engine = database_engine_of(conn_id)
        engine.dialect.name = "oracle"
        return engine

    monkeypatch.setattr(connections, "database_engine_of", engine_of)
    code, lines, _ = check(folder)
    assert code == 0
    assert any(
        line.startswith("not checked: ") and "query: oracle shows nothing of a query without running it" in line
        for line in lines
    )
    assert not any("query with its" in line for line in lines)


def test_one_campaign_is_checked_without_the_others(place: Place, broken: Path, check: Check) -> None:
    (broken / "good.py").write_text(campaign("good"))
    code, lines, _ = check(broken, "--campaign", "good")
    assert code == 0, lines
    assert lines[-1] == "check: nothing wrong"
    assert all("good" in line or "connection" in line for line in lines[:-1])


def test_a_campaign_that_is_not_there_is_told_with_those_that_are_and_with_every_broken_file(
    place: Place, broken: Path, check: Check
) -> None:
    code, lines, _ = check(broken, "--campaign", "expird", "--files-only")
    said = findings(lines)
    assert code == 1
    assert any("campaign 'expird'" in each and "Did you mean expired?" in each and "stopped" in each for each in said)
    assert any("syntax.py" in each and "SyntaxError" in each for each in said), "it may be what is looked for"
    assert any("silent.py" in each and "Airflow ignores this file" in each for each in said)


def test_files_alone_need_no_connection(folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AIRFLOW_CONN_"):
            monkeypatch.delenv(name)
    (folder / "gold.py").write_text(campaign("gold"))
    code, lines, _ = check(folder, "--files-only")
    assert code == 0
    assert lines[-1] == "check: nothing wrong; connections, queries and badges were not looked at"


def test_safe_mode_that_is_off_passes_over_nothing(
    place: Place, folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE", "False")
    (folder / "silent.py").write_text(campaign("silent", header="No such word."))
    code, lines, _ = check(folder)
    assert (code, lines[-1]) == (0, "check: nothing wrong")
    assert any("silent.py" in line for line in lines)


def test_a_campaign_that_a_factory_made_without_its_dag_is_told(place: Place, folder: Path, check: Check) -> None:
    (folder / "factory.py").write_text(
        "from capillary.campaign import BadgeCampaign, Entity\n"
        "def made(name):\n    return " + campaign("x", made="{}").split("\n\n")[-1].replace("name='x'", "name=name")
    )
    (folder / "uses.py").write_text("# Airflow DAG\nfrom factory import made\ncampaign = made('by_factory')\n")
    code, lines, _ = check(folder, "--files-only")
    assert code == 1
    assert any(line.startswith("fails: ") and "uses.py: 'by_factory' makes no DAG" in line for line in lines), lines


def test_files_that_airflow_ignores_and_files_of_other_things_are_left_alone(
    place: Place, folder: Path, check: Check, tmp_path: Path
) -> None:
    (folder / ".airflowignore").write_text("ignored.py\n")
    (folder / "ignored.py").write_text("raise SystemExit('it ran')  # Airflow DAG")
    (folder / "script.py").write_text("raise SystemExit('it ran')")
    (folder / "factory.py").write_text(
        "# An Airflow DAG of each\nfrom capillary.campaign import BadgeCampaign, Entity\n"
        "def made(name):\n    return " + campaign("x").split("dag = ")[1].replace("name='x'", "name=name")
    )
    (folder / "uses.py").write_text("# Airflow DAG\nfrom factory import made\ndag = made('by_factory')\n")
    code, lines, _ = check(folder)
    assert code == 0, lines
    assert any("by_factory" in line for line in lines)
    assert not any("script.py" in line or "ignored.py" in line for line in lines)


def test_an_archive_of_dags_is_looked_into(place: Place, folder: Path, check: Check) -> None:
    with zipfile.ZipFile(folder / "many.zip", "w") as archive:
        archive.writestr("zipped_good.py", campaign("zipped_good"))
        archive.writestr("zipped_bad.py", campaign("zipped_bad", badge_id="'GOLD'"))
        archive.writestr("zipped_silent.py", campaign("zipped_silent", header="No such word."))
        archive.writestr("zipped_script.py", "raise SystemExit('it ran')")
    code, lines, _ = check(folder)
    said = findings(lines)
    assert code == 1
    assert any(each.startswith("ok: ") and "campaign 'zipped_good'" in each for each in said)
    assert any("many.zip/zipped_bad.py" in each and "Give 24 digits" in each for each in said), said
    assert any("many.zip/zipped_silent.py" in each and "Airflow ignores this file" in each for each in said)
    assert not any("zipped_script" in each for each in said)


@pytest.mark.parametrize("value", ["None", "5", "['a']"])
@pytest.mark.parametrize("field", ["badge_id", "owner_type", "reference_id", "entity", "sql", "parameters", "occasion"])
def test_a_value_of_any_type_ends_no_check(place: Place, folder: Path, check: Check, field: str, value: str) -> None:
    (folder / "odd.py").write_text(by_hand("odd", **{field: value}))
    code, lines, _ = check(folder)
    assert lines[-1].startswith("check: ")
    assert code == 1 or field not in {"sql", "badge_id", "owner_type", "entity"}, lines


def test_a_ledger_of_another_version_is_told(place: Place, folder: Path, check: Check) -> None:
    with place.ledger.write() as tx:
        tx.conn.execute(text("UPDATE badge_ledger_version SET version_num = 'another'"))
    (folder / "gold.py").write_text(campaign("gold"))
    code, lines, _ = check(folder)
    assert code == 1
    assert any(line.startswith("fails: connection 'badge_ledger'") and "another" in line for line in lines), lines


def test_a_file_that_is_no_dag_file_is_an_error(place: Place, folder: Path, check: Check) -> None:
    (folder / "vips.sql").write_text("-- an Airflow DAG reads it\nSELECT 1")
    code, lines, err = check(folder / "vips.sql")
    assert (code, lines) == (1, [])
    assert "vips.sql is not a DAG file: give a Python file" in err


def test_a_file_that_cannot_be_read_is_told(place: Place, folder: Path, check: Check) -> None:
    (folder / "gone.py").symlink_to(folder / "elsewhere.py")
    (folder / "torn.py").write_bytes(b"# Airflow DAG\n\xff\xfe = 1\n")
    code, lines, _ = check(folder)
    assert code == 1
    assert any(line.startswith("fails: ") and "torn.py" in line for line in lines), lines


@pytest.mark.parametrize("path", ["nowhere", "empty"])
def test_a_folder_without_dags_is_an_error(place: Place, folder: Path, check: Check, path: str) -> None:
    code, lines, err = check(folder / "nowhere" if path == "nowhere" else folder)
    assert (code, lines) == (1, [])
    assert "give" in err


def test_a_dag_that_airflow_cannot_store_is_told(place: Place, folder: Path, check: Check) -> None:
    (folder / "odd.py").write_text(
        "from airflow.sdk import DAG\nfrom airflow.timetables.simple import NullTimetable\n"
        "class Own(NullTimetable):\n    pass\nwith DAG('odd', schedule=Own()):\n    pass\n"
    )
    code, lines, _ = check(folder, "--files-only")
    assert code == 1
    assert any(line.startswith("fails: ") and "odd.py" in line for line in lines)


def test_a_warehouse_that_does_not_answer_ends_the_wait(
    place: Place, folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capillary.check.answers.ANSWER_WITHIN_S", 0.5)
    (folder / "gold.py").write_text(campaign("gold", warehouse_conn_id="'silent'"))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        place.connect(
            "silent", conn_type="postgres", host="127.0.0.1", port=silent.getsockname()[1], login="a", password="S3cret"
        )
        code, lines, _ = check(folder)
    assert code == 1
    assert any("connection 'silent'" in line and "no answer within" in line for line in lines)
    assert any(line.startswith("not checked: ") and "query" in line for line in lines)
    assert not any("S3cret" in line for line in lines)


def test_a_connection_that_does_not_submit_is_told(place: Place, folder: Path, check: Check) -> None:
    place.platform(submitting=False)
    (folder / "gold.py").write_text(campaign("gold", live="False"))
    code, lines, _ = check(folder)
    assert code == 0, "a dry run sends nothing"
    assert any(line.startswith("beware: connection 'capillary'") and "submitting is off" in line for line in lines)
    (folder / "gold.py").write_text(campaign("gold"))
    (folder / "hand.py").write_text(by_hand("hand") + SUBMIT)
    code, lines, _ = check(folder)
    assert code == 1
    for name in ("gold.py, campaign 'gold'", "hand.py, DAG 'hand', task 'submit'"):
        (line,) = [line for line in lines if line.startswith(f"fails: {folder}/{name}: submitting: ")]
        assert "a live run would be refused: submitting is switched off in connection 'capillary'. Switch it on" in line


def test_it_works_on_a_machine_with_connections_in_the_environment_alone(
    place: Place, folder: Path, tmp_path: Path
) -> None:
    (folder / "gold.py").write_text(campaign("gold") + "print('a word of the file')\n")
    environment = {name: value for name, value in os.environ.items() if name != "_AIRFLOW_PROCESS_CONTEXT"}
    environment = {name: value for name, value in environment.items() if not name.startswith("AIRFLOW__LOGGING__")}
    environment |= {
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/no_airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "capillary", "check", "--dry-run"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "a word of the file\n"), done
    assert done.stdout.splitlines()[-1] == "check: nothing wrong"
    assert not LOG.search(done.stdout), "no line of a log among the findings"
    assert not (tmp_path / "no_airflow.db").exists()
    missing = environment | {"AIRFLOW_CONN_WAREHOUSE": ""}
    done = subprocess.run(
        [sys.executable, "-m", "capillary", "check"],
        env=missing,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "AIRFLOW_CONN_WAREHOUSE" in done.stdout, "the remedy where there is no Airflow"


def test_no_thread_and_no_path_is_left_behind(place: Place, folder: Path, check: Check) -> None:
    (folder / "gold.py").write_text(campaign("gold"))
    threads, paths = threading.active_count(), list(sys.path)
    check(folder)
    assert threading.active_count() == threads
    assert sys.path == paths


def test_every_finding_is_one_line_but_for_an_import_error(place: Place, broken: Path, check: Check) -> None:
    _, lines, _ = check(broken)
    verdicts = tuple(f"{verdict}: " for verdict in Verdict)
    below = [index for index, line in enumerate(lines) if not line.startswith((*verdicts, "check: "))]
    heads = {max(other for other in range(index) if lines[other].startswith(verdicts)) for index in below}
    assert below
    assert all(lines[index].rstrip().endswith(":") for index in heads)
