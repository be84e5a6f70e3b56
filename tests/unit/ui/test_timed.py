"""A moment in a sentence that is made for a page is shown as every other moment: in the user's zone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from capillary.api.settings import PlatformSettings
from capillary.engine.first_reading import first_reading_calls
from capillary.ledger import history
from capillary.ledger.database import Ledger
from capillary.ledger.stops import Scope, order_stop
from capillary.plan_preview import PREVIEW
from capillary.ui.airflow_facts import EXTRACT, REPORT
from capillary.ui.rendering import timed
from tests.unit.api.scripted import settings
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, see, send
from tests.unit.ui.run_pages import DRY, FACTS, PASSED, TEN, Airflow, asked, ended
from tests.unit.ui.test_plan_view import TOLD

NINE = '<time datetime="2026-11-27T06:49:00.000+00:00">2026-11-27 06:49:00 UTC</time>'


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("", ""),
        ("Nothing <b> happened.", "Nothing &lt;b&gt; happened."),
        ("sent 2026-11-27 06:49 UTC, is", f"sent {NINE}, is"),
        ("a 2026-11-27 06:49 UTC & 2026-11-27 06:49 UTC", f"a {NINE} &amp; {NINE}"),
        ("2026-02-31 06:49 UTC", "2026-02-31 06:49 UTC"),
        ("2026-11-27 06:49 CET, 12026-11-27 06:49 UTC", "2026-11-27 06:49 CET, 12026-11-27 06:49 UTC"),
    ],
    ids=["nothing", "escaped", "one", "two", "no such day", "no moment"],
)
def test_a_moment_in_a_sentence_becomes_one_of_the_page(sentence: str, shown: str) -> None:
    assert str(timed(sentence)) == shown


async def test_sentences_of_this_moment_are_timed_and_kept_ones_say_utc(ledger: Ledger, airflow: Airflow) -> None:
    ended(ledger, run("first", **TEN), range(1, 3))
    kept = "Warning: seen 2026-11-27 06:49 UTC."
    airflow.told = {REPORT: PASSED | {"sentence": kept}}
    order_stop(ledger, Scope(SPEC.account), by="bob", reason="b")
    shown = await airflow.page("runs")
    assert kept in shown, "as it was kept"
    assert "by bob at <time datetime=" in shown, "why nothing is ordered"


async def test_a_matter_of_a_canary_is_timed(ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    (canary,) = requests_of(ledger, plan(ledger, range(1, 31), run("canary", canary=True, **TEN)))
    send(ledger, canary.id)
    plan(ledger, range(1, 31), run("held", canary=True, **TEN))
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert "it waits: the canary of spring, run canary, sent <time datetime=" in shown


FIRST = "The next live run of this account also reads the platform’s request list once, before it sends anything: "


async def test_a_dry_run_says_that_the_first_live_run_reads_the_list(ledger: Ledger, airflow: Airflow) -> None:
    airflow.told = {REPORT: DRY, EXTRACT: {PREVIEW: TOLD.to_xcom()}}
    assert FIRST not in await airflow.page("runs"), "nobody here knows the account"
    airflow.platform = settings()
    assert f"{FIRST}at least 61 calls more." in await airflow.page("runs")
    with ledger.write() as tx:
        history.take_as_read(tx, airflow.platform.account, airflow.platform.sender, since=tx.now.date())
    assert FIRST not in await airflow.page("runs")


def test_the_calls_of_a_first_reading_are_of_thirty_days_each(ledger: Ledger) -> None:
    platform: PlatformSettings = settings()
    with ledger.read() as tx:
        assert first_reading_calls(tx, platform) == 61, "five years and a day"


async def test_a_run_that_waits_shows_when_the_list_was_read_and_that_it_is_looked_at(
    ledger: Ledger, airflow: Airflow
) -> None:
    (request,) = requests_of(ledger, plan(ledger, range(1, 4)))
    send(ledger, request.id)
    see(ledger, request.id, "p-1", decided=False)
    airflow.facts = replace(FACTS, state="running", started_at=datetime(2026, 11, 27, tzinfo=UTC))
    quiet = await airflow.page("runs")
    assert "Waits for the checker" in quiet
    assert "looks at the platform" not in quiet
    airflow.waits = "running"
    assert "Its task wait looks at the platform at this moment." in await airflow.page("runs")
    airflow.waits = "queued"
    assert "Its task wait is about to look at the platform." in await airflow.page("runs")
