"""What a campaign's first task makes of a run and its trigger form: a real ledger, a real warehouse, dry or not."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import Row, create_engine, text

from capillary.campaign import BadgeCampaign, Guards
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create

DAY = datetime(2026, 11, 30, 19, 0, tzinfo=UTC)  # already December in Kolkata
SQL = "SELECT customer_id FROM earned WHERE day >= :period_start AND day < :period_end ORDER BY customer_id"

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Ledger(url, new=True) as ledger:
        create(ledger.engine)
    return url


@pytest.fixture
def run(tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Execute the first task of a campaign as a run of its DAG would."""
    with sqlite3.connect(tmp_path / "warehouse.db") as warehouse:
        warehouse.execute("CREATE TABLE earned (customer_id INTEGER, day TEXT)")
        warehouse.executemany(
            "INSERT INTO earned VALUES (?, ?)",
            [(customer, "2026-11-15") for customer in range(1, 21)] + [(customer, "2026-12-01") for customer in (7, 8)],
        )
    warehouse.close()
    connections = {
        "CAPILLARY": {
            "conn_type": "capillary",
            "host": "http://127.0.0.1:9",
            "login": "till",
            "password": "not-a-password",
            "extra": {"organisation_id": 7},
        },
        "WAREHOUSE": {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")},
        "BADGE_LEDGER": {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")},
    }
    for name, facts in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(facts))
    runs = iter(range(1_000))

    def execute(
        form: dict[str, object] | None = None,
        *,
        logical_date: datetime | None = DAY,
        run_type: str = "manual",
        passed_on: bool = True,
        **fields: object,
    ) -> dict[str, Any]:
        campaign = BadgeCampaign(
            **{  # type: ignore[arg-type] # any field
                "name": "streak",
                "sql": SQL,
                "badge_id": "a1b2c3d4e5f60718293a4b5c",
                "owner_type": "Loyalty",
                "reference_id": "134",
                "entity": {"till_id": "501", "store_id": "502", "zone_id": "503", "concept_id": "504"},
                "occasion": "streak {month}",
                "timezone": "Asia/Kolkata",
                "live": True,
                "preflight": False,
                "canary": False,
                **fields,
            }
        )
        dag = campaign.dag()
        task: Any = dag.task_dict["extract_eligible_customers"]
        run_id = f"manual__{next(runs)}"
        return dict(
            task.execute(
                context={
                    "params": {**dag.params.dump(), **((form or {}) if passed_on else {})},
                    "dag_run": SimpleNamespace(
                        logical_date=logical_date, run_after=DAY, conf=form, run_type=DagRunType(run_type)
                    ),
                    "ti": SimpleNamespace(dag_id="streak", run_id=run_id, task_id=task.task_id, map_index=-1),
                }
            )
        )

    return execute


def rows(url: str, sql: str) -> list[Row[Any]]:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return list(connection.execute(text(sql)))
    finally:
        engine.dispose()


def occasions(url: str) -> list[str]:
    return [row[0] for row in rows(url, "SELECT occasion FROM badge_occasion ORDER BY id")]


def test_the_run_plans_the_occasion_of_its_local_day_and_binds_its_days(run: Run, ledger_url: str) -> None:
    assert run()["planned"] == 2
    assert occasions(ledger_url) == ["streak 2026-12"]


def test_a_run_without_a_logical_date_counts_from_when_it_was_due(run: Run, ledger_url: str) -> None:
    assert run(logical_date=None)["planned"] == 2
    assert occasions(ledger_url) == ["streak 2026-12"]


def test_the_form_chooses_another_day(run: Run, ledger_url: str) -> None:
    assert run({"occasion_day": "2026-11-02"})["planned"] == 20
    assert occasions(ledger_url) == ["streak 2026-11"]


@pytest.mark.parametrize(("own", "form", "planned"), [(None, 5, 5), (5, None, 5), (5, 12, 5), (12, 5, 5)])
def test_the_smaller_cap_holds(run: Run, own: int | None, form: int | None, planned: int) -> None:
    counts = run({"occasion_day": "2026-11-02", "customer_cap": form}, customer_cap=own)
    assert (counts["planned"], counts["over_cap"]) == (planned, 20 - planned)


@pytest.mark.parametrize(
    ("live", "form"), [(True, {"dry_run": True}), (False, {}), (False, {"dry_run": True}), (False, {"dry_run": False})]
)
def test_a_dry_run_counts_and_writes_nothing(run: Run, ledger_url: str, live: bool, form: dict[str, object]) -> None:
    counts = run(form, live=live)
    assert (counts["planned"], counts["badge_run_id"]) == (2, None)
    assert occasions(ledger_url) == []


def test_the_form_decides_canary_guards_and_note(run: Run, ledger_url: str) -> None:
    november: dict[str, object] = {"occasion_day": "2026-11-02"}
    held = run({**november, "canary": True, "dry_run": True})
    assert (held["planned"], held["canary"]) == (10, True)
    with pytest.raises(AirflowFailException, match="30"):
        run(november, guards=Guards(min_customers=30))
    assert occasions(ledger_url) == []
    taken = run({**november, "override_guards": True, "note": "looked at"}, guards=Guards(min_customers=30))
    assert taken["planned"] == 20
    assert [tuple(row) for row in rows(ledger_url, "SELECT note, planned FROM badge_run")] == [("looked at", 20)]


def test_the_form_plans_outcomes_again(run: Run, ledger_url: str) -> None:
    run()
    with sqlite3.connect(ledger_url.removeprefix("sqlite:///")) as ledger:
        ledger.execute("UPDATE badge_request SET status = 'settled', settled_at = CURRENT_TIMESTAMP, tries = 1")
        ledger.execute("UPDATE badge_enrolment SET outcome = 'rejected'")
    ledger.close()
    assert run()["planned"] == 0
    assert run({"retry_outcomes": ["failed"]})["planned"] == 0
    assert run({"retry_outcomes": ["rejected", "failed"]})["planned"] == 2


def test_the_form_plans_the_codes_again_that_it_names(run: Run, ledger_url: str) -> None:
    run()
    with sqlite3.connect(ledger_url.removeprefix("sqlite:///")) as ledger:
        ledger.execute("UPDATE badge_request SET status = 'settled', settled_at = CURRENT_TIMESTAMP, tries = 1")
        ledger.execute("UPDATE badge_enrolment SET outcome = 'failed', error_code = 800 + 15 * (customer_id % 2)")
    ledger.close()
    failed: dict[str, object] = {"retry_outcomes": ["failed"]}
    assert run({**failed, "retry_codes": ["1026", "none"]})["planned"] == 0
    assert run({**failed, "retry_codes": [815], "dry_run": True})["planned"] == 1
    assert run({**failed, "retry_codes": ["800"], "dry_run": True})["planned"] == 1
    assert run({**failed, "retry_codes": ["800", "815"], "dry_run": True})["planned"] == 2
    assert run({**failed, "retry_codes": None})["planned"] == 2


def test_the_campaigns_parameters_are_bound_beside_its_own(run: Run) -> None:
    sql = (
        "SELECT customer_id FROM earned WHERE customer_id < :below "
        "AND :badge_id = 'a1b2c3d4e5f60718293a4b5c' AND :occasion = 'badge:a1b2c3d4e5f60718293a4b5c' AND day < :until"
    )
    parameters = {"below": 4, "until": date(2026, 12, 1)}
    assert run(sql=sql, occasion=None, parameters=parameters)["planned"] == 3


@pytest.mark.parametrize(
    ("form", "fields", "words"),
    [
        ({"retry_outcomes": ["enrolled"]}, {}, "retry_outcomes: no customer may be planned again after 'enrolled'"),
        ({"retry_outcomes": ["Failed"]}, {}, "Give some of rejected, failed, not_accepted, unconfirmed"),
        ({"dryrun": True}, {}, "dryrun: there is no such field (did you mean 'dry_run'?)"),
        ({"occasion_day": "tomorrow"}, {}, "Give a day such as 2026-11-23"),
        ({"occasion_day": "9999-12-31"}, {}, "Give an earlier day"),
        ({"customer_cap": 0}, {}, "customer_cap: it should be greater than or equal to 1, not 0"),
        (
            {"occasion_day": "2026-11-02"},
            {"occasion": None, "sql": "SELECT customer_id FROM earned"},
            "the occasion 'badge:a1b2c3d4e5f60718293a4b5c' never recurs",
        ),
    ],
)
def test_what_the_form_cannot_mean_fails_at_once_and_plans_nothing(
    run: Run, ledger_url: str, form: dict[str, object], fields: dict[str, object], words: str
) -> None:
    with pytest.raises(AirflowFailException) as caught:
        run(form, **fields)
    assert words in str(caught.value)
    assert occasions(ledger_url) == []


def test_a_dry_run_that_airflow_keeps_back_plans_nothing(run: Run, ledger_url: str) -> None:
    """With `[core] dag_run_conf_overrides_params` off, a dry run with a cap of five submitted everybody."""
    with pytest.raises(AirflowFailException, match=r"Trigger form, dry_run: the run was given True.*\n.*customer_cap"):
        run({"dry_run": True, "customer_cap": 5}, passed_on=False)
    assert occasions(ledger_url) == []
    assert run(passed_on=False)["planned"] == 2


# A backfill: a run for each day that has passed ----------------------------------------------------------------


def test_a_backfill_plans_the_occasion_of_each_runs_day(run: Run, ledger_url: str) -> None:
    assert run(run_type="backfill")["planned"] == 2
    assert run(run_type="backfill", logical_date=datetime(2026, 11, 3, tzinfo=UTC))["planned"] == 20
    assert occasions(ledger_url) == ["streak 2026-12", "streak 2026-11"]


ALL = "SELECT customer_id FROM earned"


@pytest.mark.parametrize("form", [{}, {"dry_run": True}], ids=["real", "dry"])
def test_a_backfill_of_an_occasion_that_never_recurs_is_refused(
    run: Run, ledger_url: str, form: dict[str, object]
) -> None:
    with pytest.raises(
        AirflowFailException, match=r"Backfill, .*never recurs .* Trigger one run, put \{day\}"
    ) as refused:
        run(form, run_type="backfill", occasion="once", sql=ALL, customer_cap=5)
    assert "TriggerFormInvalid" in str(refused.value)
    assert occasions(ledger_url) == []


@pytest.mark.parametrize("run_type", [each.value for each in DagRunType if each is not DagRunType.BACKFILL])
def test_every_other_run_may_plan_such_an_occasion(run: Run, run_type: str) -> None:
    assert run(run_type=run_type, occasion="once", sql=ALL)["planned"] == 20


@pytest.mark.parametrize(
    ("fields", "planned"),
    [
        ({"sql": f"{ALL} WHERE day = '{{{{ ds }}}}'"}, 0),
        ({"sql": f"{ALL} /* {{% if True %}} {{% endif %}} */"}, 20),
        ({"sql": f"{ALL} WHERE day = :of", "parameters": {"of": "{{ ds }}"}}, 0),
    ],
    ids=["in its text", "in a block", "in a parameter"],
)
def test_a_backfill_of_a_query_that_asks_for_its_day_is_meant(
    run: Run, fields: dict[str, object], planned: int
) -> None:
    """Nothing is rendered here: what matters is that it plans."""
    assert run(run_type="backfill", occasion="once", **fields)["planned"] == planned


def test_a_backfill_of_one_named_day_is_refused(run: Run, ledger_url: str) -> None:
    with pytest.raises(AirflowFailException, match=r"Backfill, .*occasion_day.*each run has its own day"):
        run({"occasion_day": "2026-11-15"}, run_type="backfill")
    assert occasions(ledger_url) == []
