"""What `check` says of campaigns that plan, and whose live runs would not be let send."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from capillary.ledger import unknown_keys
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from tests.glue.broken_campaigns import SUBMIT, by_hand, campaign
from tests.glue.conftest import Check, Place
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, see, send

# Airflow's own: a template's macros may be a plugin's, and its search of their folder warns.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

KEY = "cb1.other.0000000000000000000000000000000000000000000000000000"


def account(place: Place) -> str:
    return f"{place.sandbox.url.removeprefix('http://')}/100458"


def submits(name: str, **changes: str) -> str:
    """Return a DAG file whose submit has arguments of its own."""
    more = "".join(f", {field}={value}" for field, value in changes.items())
    return by_hand(name) + SUBMIT.replace(".output)", f".output{more})")


def test_a_request_that_the_ledger_does_not_know_refuses_live_runs_and_no_dry_ones(
    place: Place, folder: Path, check: Check
) -> None:
    with place.ledger.write() as tx:
        unknown_keys.note(tx, account(place), "another", [KEY])
    (folder / "dry.py").write_text(campaign("dry", live="False"))
    assert check(folder)[0] == 0
    (folder / "wet.py").write_text(campaign("wet"))
    (folder / "hand.py").write_text(submits("hand"))
    code, lines, _ = check(folder)
    assert code == 1
    told = [line for line in lines if "sending: a live run would be refused" in line]
    assert [Path(line.split(",")[0].removeprefix("fails: ")).name for line in told] == ["hand.py", "wet.py"]
    assert all("python -m capillary ledger import" in line for line in told)


def test_the_platforms_own_approval_refuses_live_runs_unless_the_campaign_accepts_it(
    place: Place, folder: Path, check: Check
) -> None:
    planned = plan(place.ledger, [1], run("before", spec=replace(SPEC, account=account(place))))
    (request,) = requests_of(place.ledger, planned)
    send(place.ledger, request.id)
    see(place.ledger, request.id, auto=True)
    (folder / "wet.py").write_text(campaign("wet"))
    code, lines, _ = check(folder)
    assert code == 1
    assert [line for line in lines if "without a human's approval, and no human has decided any" in line]
    (folder / "wet.py").write_text(campaign("wet", policy="Policy(on_auto_approved='accept')"))
    assert check(folder)[0] == 0


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("capillary_conn_id", "would send to {account} (connection 'other'). Give both the same capillary_conn_id"),
        ("ledger_conn_id", "'submit' looks for it in 'other'. Give both the same ledger_conn_id"),
    ],
)
def test_a_submit_by_another_connection_than_its_plans_is_told(
    place: Place, folder: Path, check: Check, tmp_path: Path, field: str, words: str
) -> None:
    if field == "capillary_conn_id":
        place.connect("other", **place.sandbox_connection(account_address="other.example"))
    else:
        with Ledger(f"sqlite:///{tmp_path}/other.db", new=True) as empty:
            create(empty.engine)
        place.connect("other", conn_type="sqlite", host=f"{tmp_path}/other.db")
    (folder / "hand.py").write_text(submits("hand", **{field: "'other'"}))
    code, lines, _ = check(folder)
    said = words.format(account="other.example/100458")
    assert [line for line in lines if f"task 'submit': {field}: " in line and said in line], lines
    assert code == 1


def test_the_same_platform_under_two_names_is_no_fault(place: Place, folder: Path, check: Check) -> None:
    place.connect("other", **place.sandbox_connection())
    (folder / "hand.py").write_text(submits("hand", capillary_conn_id="'other'"))
    code, lines, _ = check(folder)
    assert (code, lines[-1]) == (0, "check: nothing wrong"), lines


def test_a_plan_that_is_not_handed_over_is_told(place: Place, folder: Path, check: Check) -> None:
    (folder / "hand.py").write_text(by_hand("hand", do_xcom_push="False") + SUBMIT)
    code, lines, _ = check(folder)
    assert code == 1
    assert [line for line in lines if "task 'submit': plan: task 'extract' says do_xcom_push=False" in line]


def test_a_plan_by_somebody_elses_task_is_not_counted_as_passed(place: Place, folder: Path, check: Check) -> None:
    (folder / "hand.py").write_text(
        "from airflow.sdk import task\n"
        + by_hand("hand")
        + "    @task\n    def other():\n        return 1\n"
        + SUBMIT.replace("dag.get_task('extract').output", "other()")
    )
    code, lines, _ = check(folder)
    assert (code, lines[-1]) == (0, "check: not checked 1"), lines
    assert [
        line for line in lines if "plan: it is handed over by task 'other', which is none of this package's" in line
    ]
