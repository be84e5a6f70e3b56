"""What a page says will start once a paused DAG is on: the matter on Badges, and the orders that turn it on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from capillary.ledger.database import Ledger
from capillary.ui.airflow_facts import CampaignDag
from capillary.ui.once_on import once_on
from tests.unit.ledger.orders import run
from tests.unit.ui.run_pages import DAG, Airflow, asked, ended

NOW = datetime(2026, 11, 27, 6, 48, tzinfo=UTC)
TICK = datetime(2026, 11, 27, 6, tzinfo=UTC)
PAUSED = replace(DAG, paused=True)
DAILY = replace(PAUSED, due_at=TICK + timedelta(days=1))


@pytest.mark.parametrize(
    ("dag", "words"),
    [
        (PAUSED, ""),
        (replace(PAUSED, by_assets=True), "Once it is on, it also runs when its assets are updated."),
        (
            replace(DAILY, by_assets=True),
            (
                "Once it is on, it also runs by its schedule, next at 2026-11-28 06:00 UTC. It also runs when its "
                "assets are updated."
            ),
        ),
        (DAILY, "Once it is on, it also runs by its schedule, next at 2026-11-28 06:00 UTC."),
        (
            replace(DAILY, catchup=True),
            "Once it is on, it also runs by its schedule, next at 2026-11-28 06:00 UTC.",
        ),
        (
            replace(PAUSED, due_at=TICK),
            "Once it is on, a live run of its schedule starts at once: it was due at 2026-11-27 06:00 UTC.",
        ),
        (
            replace(PAUSED, due_at=NOW, live=False),
            "Once it is on, a dry run of its schedule starts at once: it was due at 2026-11-27 06:48 UTC.",
        ),
        (
            replace(PAUSED, due_at=TICK, catchup=True),
            (
                "Once it is on, live runs of its schedule start at once, one for every time that it has missed since "
                "2026-11-27 06:00 UTC."
            ),
        ),
    ],
    ids=[
        "by hand",
        "assets",
        "to come or assets",
        "to come",
        "catchup, to come",
        "missed",
        "due now, not live",
        "catchup",
    ],
)
def test_it_is_said_from_what_airflow_has_worked_out(dag: CampaignDag, words: str) -> None:
    assert once_on(dag, NOW) == words


@pytest.mark.parametrize(
    ("dag", "words"),
    [
        (PAUSED, "what was sent before is still read and settled.<"),
        (
            replace(PAUSED, due_at=TICK - timedelta(days=99)),
            'and settled. Once it is on, a live run of its schedule starts at once: it was due at <time datetime="2026',
        ),
        (
            replace(PAUSED, due_at=datetime(2126, 1, 1, 6, tzinfo=UTC)),
            'and settled. Once it is on, it also runs by its schedule, next at <time datetime="2126-01-01T06:00',
        ),
    ],
    ids=["by hand", "missed", "to come"],
)
async def test_the_matter_says_it(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, dag: CampaignDag, words: str
) -> None:
    airflow.dag = dag
    assert words in await asked(airflow, monkeypatch, "badges", {"spring"})


@pytest.mark.parametrize(
    ("dag", "words"),
    [
        (PAUSED, ["and the run would wait. </span>"]),
        (
            replace(PAUSED, due_at=datetime(2026, 1, 1, 6, tzinfo=UTC)),
            ["a live run of its schedule starts at once: it was due at <time", "2026-01-01 06:00:00 UTC</time>."],
        ),
        (
            replace(PAUSED, due_at=datetime(2126, 1, 1, 6, tzinfo=UTC)),
            ["it also runs by its schedule, next at <time", "2126-01-01 06:00:00 UTC</time>."],
        ),
    ],
    ids=["by hand", "missed", "to come"],
)
async def test_an_order_that_turns_the_dag_on_says_it(
    ledger: Ledger, airflow: Airflow, dag: CampaignDag, words: list[str]
) -> None:
    ended(ledger, run("first"), range(1, 4))
    airflow.dag = dag
    shown = await airflow.page("confirm/retry")
    for each in words:
        assert each in shown
    airflow.dag = replace(dag, paused=False)
    assert "Turn the DAG on" not in await airflow.page("confirm/retry")
