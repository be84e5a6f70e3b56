"""A reader of one DAG, in a ledger that another team shares: no page of theirs names that team's DAG or campaign."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from sqlalchemy import insert

from capillary.engine.verdict import Facts, Policy, judge
from capillary.ledger.canary import UNNAMED, OpenCanary, without_foreign_name
from capillary.ledger.database import Ledger
from capillary.ledger.request_rows import Seen, record_sighting
from capillary.ledger.schema import badge_unknown_key
from capillary.ledger.stops import Scope, order_stop
from capillary.plan_preview import PREVIEW
from capillary.ui.airflow_facts import EXTRACT, REPORT
from capillary.ui.other_dags import for_reader
from tests.funnels import sound_funnel_of
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, see, send
from tests.unit.ui.run_pages import DRY, PASSED, TEN, Airflow, asked, ended

#: In every name of the other team's.
SECRET: Final = "zephyr"
SENT: Final = datetime(2026, 11, 26, 10, 0, tzinfo=UTC)
FOREIGN: Final = OpenCanary(f"{SECRET}_dag", f"manual__{SECRET}, 2026-11-26T10:00:00+00:00", SENT)
OWN: Final = OpenCanary("spring", "manual__2026-11-26T10:00:00+00:00", None)


def held_by(canary: OpenCanary) -> str:
    facts = Facts(sound_funnel_of(over_cap=20, canary=True), waiting_reason=canary.sentence())
    return judge(facts, Policy()).sentence


def late_by(canary: OpenCanary) -> str:
    funnel = sound_funnel_of(open=2, requests_open=1)
    facts = Facts(funnel, deadline_passed=True, waiting_reason=canary.sentence())
    return judge(facts, Policy()).sentence


def known_through(names: str) -> str:
    return judge(Facts(sound_funnel_of(eligible=9, known_elsewhere=7), known_through=names), Policy()).sentence


@pytest.mark.parametrize("said", [held_by, late_by])
def test_a_foreign_canary_has_no_name_and_an_own_one_has(said: Any) -> None:  # noqa: ANN401 - one of two functions
    assert without_foreign_name(said(FOREIGN), {"spring"}) == said(OWN).replace(OWN.sentence(), UNNAMED)
    assert without_foreign_name(said(OWN), {"spring"}) == said(OWN)
    assert without_foreign_name(said(FOREIGN), {"spring", FOREIGN.dag_id}) == said(FOREIGN)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("spring", "spring"),
        (f"spring, {SECRET}_a", "spring, 1 other campaign"),
        (f"{SECRET}_a, spring, {SECRET}_b", "spring, 2 other campaigns"),
        (f"{SECRET}_a", "1 other campaign"),
        (f"{SECRET}. a: b", "1 other campaign"),
        (f"spring, {SECRET}, 3 more", "spring, 4 other campaigns"),
        ("spring, 3 more", "spring, 3 more"),
        ("", ""),
    ],
)
def test_campaigns_that_a_reader_may_not_see_are_counted(names: str, told: str) -> None:
    report = {"sentence": known_through(names), "known_through": names, "verdict": "pass"}
    shown = for_reader(report, dag_ids={"spring"}, campaigns={"spring"})
    assert shown == {"sentence": known_through(told), "known_through": told, "verdict": "pass"}


@pytest.mark.parametrize("report", [None, {}, {"sentence": 7, "known_through": ["x"]}, {"sentence": "Done."}])
def test_an_odd_report_stays_as_it_is(report: dict[str, Any] | None) -> None:
    assert for_reader(report, dag_ids=(), campaigns=()) == report


@pytest.fixture
def shared(ledger: Ledger) -> Ledger:
    """A ledger in which the other team has done everything that is a matter for somebody, and holds our run back."""
    of_other: dict[str, Any] = {"dag_id": FOREIGN.dag_id, "campaign": f"{SECRET}_campaign", "capillary_conn_id": SECRET}
    on_one_occasion: dict[str, Any] = {"shared_occasion": True, **TEN}
    ended(ledger, run("first", **on_one_occasion), range(1, 4))
    ended(ledger, run(f"{SECRET} failed", **of_other, **on_one_occasion), range(4, 9))
    other = replace(SPEC, store_id="store-2")
    canary = plan(ledger, range(20, 50), run(f"{SECRET} canary", canary=True, spec=other, occasion="W", **of_other))
    (request,) = requests_of(ledger, canary)[:1]
    send(ledger, request.id)
    see(ledger, request.id, "p-2", decided=False)
    plan(ledger, range(20, 50), run("held", canary=True, spec=other, occasion="Held"))
    auto = plan(ledger, range(60, 62), run(f"{SECRET} auto", occasion="auto", **of_other))
    send(ledger, requests_of(ledger, auto)[0].id)
    with ledger.write() as tx:
        seen = Seen("p-3", "approved", decided=True, auto_approved=True, checker_message=f"{SECRET} says")
        record_sighting(tx, requests_of(ledger, auto)[0].id, seen)
        unknown = {"account": SPEC.account, "sender": SECRET, "key": f"cb1.{SECRET}", "unseen": False}
        tx.conn.execute(insert(badge_unknown_key).values(seen_at=tx.now, **unknown))
    order_stop(ledger, Scope(SPEC.account, f"{SECRET}_campaign"), by=f"{SECRET} person", reason=f"{SECRET} reason")
    return ledger


#: Every page, as that reader asks for it.
PATHS: Final = (
    *("badges", "customer#5", "customer#21", "runs/spring/first", "runs/spring/held", "runs/spring/none"),
    *("runs/spring/first/failed.csv", "confirm/retry/spring/first", "confirm/rest/spring/held"),
    *("confirm/carry-out/spring/none", "confirm/look-now/spring/held", "confirm/stop/spring?account=x"),
)
NAMES: Final = f"{SECRET}_campaign, spring"


@pytest.mark.parametrize(
    ("report", "on", "said"),
    [
        (
            PASSED | {"waits_for_canary": True, "sentence": held_by(FOREIGN)},
            "runs/spring/held",
            f"Nothing was planned: {UNNAMED}.",
        ),
        (PASSED | {"verdict": "fail", "sentence": late_by(FOREIGN)}, "runs/spring/first", f"({UNNAMED})"),
        (
            PASSED | {"sentence": known_through(NAMES), "known_through": NAMES},
            "runs/spring/first",
            "7 customers known through other campaigns of the badge: spring, 1 other campaign.",
        ),
        (DRY | {"known_through": NAMES}, "runs/spring/none", "<dt>Known through</dt><dd>spring, 1 other campaign</dd>"),
    ],
    ids=["held", "late", "known", "dry"],
)
async def test_no_page_of_a_reader_of_one_dag_names_another(
    shared: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch, report: dict[str, Any], on: str, said: str
) -> None:
    before = {"dag_id": FOREIGN.dag_id, "run_id": FOREIGN.run_id, "customers": 3, "planned_at": SENT.isoformat()}
    preview = {"customers": 30, "guards": [], "last_run": before, "sample": []}
    output = {"customers": 30, "requests": 2, "calls": 4, "minutes": 1, "calls_per_minute": 60, "preview": preview}
    airflow.told = {REPORT: report, EXTRACT: {PREVIEW: output}}
    pages = {path: await asked(airflow, monkeypatch, path, {"spring"}) for path in PATHS}
    assert {path for path, text in pages.items() if SECRET in text} == set()
    assert said in pages[on]
    assert f"it waits: {UNNAMED}." in pages["badges"]
    assert "No campaign that you may see has planned this customer" in pages["customer#5"]
    assert shared.engine.url.database


async def test_the_names_are_there_for_whoever_may_read_them(
    shared: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above cannot pass because there was nothing to be told."""
    airflow.told = {REPORT: PASSED | {"waits_for_canary": True, "sentence": held_by(FOREIGN)}}
    both = {"spring", FOREIGN.dag_id}
    badges = await asked(airflow, monkeypatch, "badges", both)
    for each in (f"{SECRET} person", f"{SECRET}_campaign", f"the canary of {FOREIGN.dag_id}", f"{SECRET}%20failed"):
        assert each in badges
    assert FOREIGN.sentence() in await asked(airflow, monkeypatch, "runs/spring/held", both)
    assert f"{SECRET}_campaign" in await asked(airflow, monkeypatch, "customer#5", both)
    assert shared.engine.url.database
