"""What a page offers is not refused by the next page, and takes what it says: under a canary, a cap, a retry."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.settle import Ending
from capillary.ledger.status import Outcome
from capillary.ui import run_view
from capillary.ui.airflow_facts import REPORT, CampaignDag
from tests.unit.ledger.orders import customers_of, plan, requests_of, run, see, send
from tests.unit.ledger.test_attention import end
from tests.unit.ui.run_pages import CAREFUL, DAG, PASSED, TEN, Airflow, asked

EVERYBODY: Final = range(1, 31)
CANARY: Final = run("held", canary=True, **TEN)
REST, RETRY = "Take the rest now…", "Retry the failed…"


def decided(ledger: Ledger, order: Any, outcome: Outcome, customers: range = EVERYBODY) -> None:  # noqa: ANN401 - an order
    """Plan, and have every request end so."""
    for each in requests_of(ledger, plan(ledger, customers, order)):
        end(ledger, each.id, dict.fromkeys(customers_of(ledger, each.id), Ending(outcome)))


def waits(ledger: Ledger, run_id: str, **changes: Any) -> None:  # noqa: ANN401 - fields of an order
    """Plan three others under the same configuration, who wait for the checker."""
    order = run(run_id, dag_id="autumn", campaign="autumn", occasion="Autumn", **TEN, **changes)
    for each in requests_of(ledger, plan(ledger, range(101, 104), order)):
        send(ledger, each.id)
        see(ledger, each.id, f"p-{each.id}", decided=False)


def nothing(_ledger: Ledger) -> None: ...


#: name → how the campaign's last run ended, what was done beside it, the campaign, and what Badges offers of that run.
CASES: Final[dict[str, tuple[Outcome, Callable[[Ledger], None], CampaignDag, set[str]]]] = {
    "proven": (Outcome.ENROLLED, nothing, CAREFUL, {REST}),
    "rejected": (Outcome.REJECTED, nothing, CAREFUL, {RETRY}),
    "rejected, another canary waits": (
        Outcome.REJECTED,
        lambda ledger: waits(ledger, "canary", canary=True),
        CAREFUL,
        set(),
    ),
    "rejected, a run with Canary off waits": (
        Outcome.REJECTED,
        lambda ledger: waits(ledger, "all", canary=False),
        CAREFUL,
        set(),
    ),
    "rejected, another waits, and the campaign has no canary": (
        Outcome.REJECTED,
        lambda ledger: waits(ledger, "canary", canary=True),
        DAG,
        {RETRY},
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_what_badges_offers_the_next_page_does_not_refuse(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    outcome, beside, airflow.dag, offered = CASES[name]
    airflow.told = {REPORT: PASSED | {"canary": True, "left_over": 20}}
    decided(ledger, CANARY, outcome)
    beside(ledger)
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert {each for each in (REST, RETRY) if each in shown} == offered
    for action, button in (("rest", REST), ("retry", RETRY)):
        page = await airflow.page(f"confirm/{action}", "held")
        own = await airflow.page("runs", "held")
        assert (button in own) is (button in offered or (button == REST and "no canary" in name)), "the run's own page"
        if button in offered:
            assert "Not now" not in page
    holds = "a run with Canary on plans nobody" in shown
    assert holds is (", a" in name), "what holds it is said, whether or not the campaign has Canary on"
    if holds and not offered:
        assert "a run with Canary on plans nobody" in await airflow.page("confirm/retry", "held")
    order = replace(CANARY, run_id="next", retry=frozenset({outcome}), canary=airflow.dag.canary)
    planned = plan(ledger, EVERYBODY, order, dry_run=True).planned
    assert bool(planned) is bool(offered), "the run that is offered takes somebody, and one that is not would not"


async def test_a_rest_is_offered_once_the_run_is_over(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary is settled by another run while its own wait sleeps."""
    airflow.dag = CAREFUL
    decided(ledger, CANARY, Outcome.ENROLLED)
    airflow.states = {("spring", "held"): "running"}
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert "20 customers left, and the configuration is proven" in shown
    assert REST not in shown
    airflow.states = {("spring", "held"): "success"}
    assert REST in await asked(airflow, monkeypatch, "badges", {"spring"})


@pytest.mark.parametrize(
    ("dag", "conf", "says", "planned"),
    [
        (CAREFUL, {}, "takes the 20 customers that this one left, as far as nobody has taken them", 20),
        (replace(CAREFUL, customer_cap=15), {}, "takes up to 15 of the 20 customers that this one left", 15),
        (CAREFUL, {"retry_outcomes": ["rejected"]}, "It retries nobody. Customers that this run was told to retry", 0),
    ],
    ids=["all", "a cap", "a retry"],
)
async def test_the_page_of_a_rest_says_whom_its_run_takes(
    ledger: Ledger, airflow: Airflow, dag: CampaignDag, conf: dict[str, Any], says: str, planned: int
) -> None:
    airflow.dag, airflow.facts = dag, replace(airflow.facts, conf=conf)
    airflow.told = {REPORT: PASSED | {"canary": True, "left_over": 20}}
    if conf:
        decided(ledger, run("before", **TEN), Outcome.REJECTED)
    decided(ledger, replace(CANARY, retry=frozenset({Outcome.REJECTED} if conf else ())), Outcome.ENROLLED)
    page = await airflow.page("confirm/rest", "held")
    assert says in page
    (made,) = re.findall(r'data-body="(.*?)" data-then', page, re.DOTALL)
    assert "retry_outcomes" not in made
    taken = plan(ledger, EVERYBODY, run("rest", canary=True, cap=dag.customer_cap, **TEN), dry_run=True)
    assert taken.planned == planned


async def test_a_retry_beside_a_waiting_canary_says_what_it_waits_for_and_hides_the_name(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.dag = CAREFUL
    decided(ledger, CANARY, Outcome.REJECTED)
    waits(ledger, "secret run", canary=False)
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert "the open request of another DAG of this account is not decided yet: until that changes" in shown
    assert "Have the checker decide it." in shown
    assert "secret run" not in shown
    assert "secret run" in await asked(airflow, monkeypatch, "badges", {"spring", "autumn"})


async def test_the_checkers_page_is_led_to_only_while_the_request_is_there(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that its run has not sent, or that is decided already, is not the checker's to decide."""
    airflow.dag, airflow.told = CAREFUL, {REPORT: PASSED | {"waits_for_canary": True, "canary": True}}
    monkeypatch.setattr(run_view, "checker_url", lambda _conn: "https://checker.example/queue")
    (canary,) = requests_of(ledger, plan(ledger, EVERYBODY, replace(CANARY, run_id="canary")))
    plan(ledger, EVERYBODY, CANARY)

    async def shown() -> list[bool]:
        badges = await asked(airflow, monkeypatch, "badges", {"spring"})
        own = await airflow.page("runs", "held")
        return ["Have the checker decide it" in badges, "Have the checker decide it" in own, "checker.example" in own]

    assert await shown() == [False, False, False]
    send(ledger, canary.id)
    see(ledger, canary.id, "p-1", decided=False)
    assert await shown() == [True, True, True]
    see(ledger, canary.id, "p-1")
    assert await shown() == [False, False, False]
