"""A campaign from its file to its verdict, in an Airflow that is played."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from capillary.ledger.reports import RunProgress
from local_airflow import campaign as campaign_module
from local_airflow.airflow_api import AirflowApi, ApiSilentError, RunState
from local_airflow.campaign import CampaignRun
from local_airflow.errors import CampaignUnavailableError, LocalAirflowError, RunInterruptedError
from local_airflow.follow import FinishedRun, LiveDisplay, PlainDisplay, display_for, follow
from local_airflow.home import Home
from local_airflow.unpaused import pause_again
from tests.local_airflow.played_airflow import LATER, PlayedAirflow, PlayedRun, quick, report, stages


def new_console() -> Console:
    return Console(file=io.StringIO(), width=100, record=True, markup=False, highlight=False, soft_wrap=True)


def no_counts(dag_id: str, run_id: str) -> RunProgress:
    return RunProgress()


def campaign_in(
    airflow: PlayedAirflow,
    console: Console,
    home: Home,
    pause: Callable[[float], None] = lambda _: None,
    left_open: int = 0,
) -> CampaignRun:
    return CampaignRun(
        airflow.client(),
        "gold_tier",
        console=console,
        counting=no_counts,
        home=home,
        left_open=lambda: left_open,
        pause=pause,
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def console() -> Console:
    return new_console()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign_module, "LOAD_LIMIT_S", 0.05)
    monkeypatch.setattr(campaign_module, "LOAD_REST_S", 0.0)


def test_a_passing_run_is_triggered_followed_and_reported(console: Console, home: Home) -> None:
    airflow = PlayedAirflow(runs=[quick(report())])
    assert campaign_in(airflow, console, home).run({"note": "first"})
    assert airflow.triggered == [{"note": "first"}]
    assert airflow.pools == {"capillary"}
    text = console.export_text()
    assert "PASS the sentence of a pass" in text
    assert "34.0 s from the first task's start to the last one's end" in text


def test_after_a_canary_the_rest_is_run(console: Console, home: Home) -> None:
    first = quick(report(canary=True, canary_passed=True, left_over=1_217))
    airflow = PlayedAirflow(runs=[first, quick(report(), run_id="manual__2")])
    assert campaign_in(airflow, console, home).run({})
    assert len(airflow.triggered) == 2
    assert "left 1,217: a second run follows" in console.export_text()


def test_the_campaign_is_unpaused_for_its_run_alone(console: Console, home: Home) -> None:
    airflow = PlayedAirflow(runs=[quick(report())])
    assert campaign_in(airflow, console, home).run({})
    assert airflow.switched == [("gold_tier", "unpaused"), ("gold_tier", "paused")]
    assert not home.to_pause.exists()


def test_what_a_person_has_unpaused_stays_so(console: Console, home: Home) -> None:
    airflow = PlayedAirflow(runs=[quick(report())], paused=set())
    assert campaign_in(airflow, console, home).run({})
    assert ("gold_tier", "paused") not in airflow.switched


def test_an_interrupted_run_leaves_its_campaign_paused(console: Console, home: Home) -> None:
    def interrupt(_: float) -> None:
        raise RunInterruptedError("interrupted")

    airflow = PlayedAirflow(runs=[PlayedRun([stages("running", None, None, None)] * 5, None)])
    with pytest.raises(RunInterruptedError):
        campaign_in(airflow, console, home, interrupt).run({})
    assert airflow.paused == {"gold_tier"}


def test_what_a_killed_run_left_unpaused_the_next_start_pauses(home: Home) -> None:
    airflow = PlayedAirflow(paused=set())
    pause_again(airflow.client(), home)
    assert airflow.switched == [], "nobody left anything"
    home.to_pause.write_text("gold_tier")
    pause_again(airflow.client(), home)
    assert airflow.paused == {"gold_tier"}
    assert not home.to_pause.exists()


def test_a_campaign_that_is_gone_is_not_paused_for_ever(home: Home) -> None:
    airflow = PlayedAirflow(dags={})
    home.to_pause.write_text("gold_tier")
    pause_again(airflow.client(), home)
    assert not home.to_pause.exists()


@pytest.mark.parametrize(
    ("left_open", "paused", "says"),
    [
        (1, set(), "1 request of an earlier run is open: badge_upkeep looks first"),
        (1_200, set(), "1,200 requests of earlier runs are open"),
        (0, set(), None),
        (1, {"badge_upkeep"}, None),
    ],
    ids=["one", "many", "nothing left", "paused by a person"],
)
def test_what_failed_runs_left_is_looked_at_before_the_run(
    left_open: int, paused: set[str], says: str | None, console: Console, home: Home
) -> None:
    """No schedule starts badge_upkeep here: an open canary would keep everybody back forever."""
    airflow = PlayedAirflow(
        runs=[quick(report())], dags={"gold_tier": LATER, "badge_upkeep": LATER}, paused={"gold_tier"} | paused
    )
    assert campaign_in(airflow, console, home, left_open=left_open).run({})
    assert airflow.triggered == ([{"upkeep": True}, {}] if says else [{}])
    assert (says or "") in console.export_text()


@pytest.mark.parametrize(
    "returned",
    [
        report(canary=True, canary_passed=True),
        report(left_over=5),
        report(verdict="fail", canary=True, left_over=5),
        report(canary=True, left_over=5),
        report(canary=True, waits_for_canary=True, left_over=5),
    ],
    ids=["nobody left", "no canary", "failed canary", "not proven", "another run's canary"],
)
def test_there_is_no_second_run_otherwise(returned: dict[str, object], console: Console, home: Home) -> None:
    airflow = PlayedAirflow(runs=[quick(returned)])
    ended = campaign_in(airflow, console, home).run({})
    assert ended is not None
    assert ended.passed is (returned["verdict"] == "pass")
    assert len(airflow.triggered) == 1
    assert "came through" not in console.export_text()


def test_a_failed_verdict_is_no_success_even_if_the_run_is_one(console: Console, home: Home) -> None:
    ended = campaign_in(PlayedAirflow(runs=[quick(report(verdict="fail"))]), console, home).run({})
    assert ended is not None
    assert not ended.passed
    assert "FAIL the sentence of a fail" in console.export_text()


def test_a_failed_run_names_the_task_and_shows_the_end_of_its_log(console: Console, home: Home) -> None:
    run = PlayedRun([stages("success", "failed", "upstream_failed", "upstream_failed")], None, state="failed")
    assert not campaign_in(PlayedAirflow(runs=[run]), console, home).run({})
    text = console.export_text()
    assert "the task submit failed" in text
    assert "OccasionTaken: another badge" in text
    assert "::group::" not in text


def test_a_failed_report_still_shows_its_funnel(console: Console, home: Home) -> None:
    run = quick(report(verdict="fail"), state="failed")
    assert not campaign_in(PlayedAirflow(runs=[run]), console, home).run({})
    assert "Funnel" in console.export_text()


def test_a_dag_without_a_report_is_refused(console: Console, home: Home) -> None:
    with pytest.raises(CampaignUnavailableError, match="give a campaign"):
        campaign_in(PlayedAirflow(runs=[quick(None)]), console, home).run({})


def test_a_run_that_was_interrupted_is_followed_to_its_end_first(console: Console, home: Home) -> None:
    before = quick(None, run_id="manual__before", state="failed")
    airflow = PlayedAirflow(runs=[quick(report())], unfinished=[before])
    assert campaign_in(airflow, console, home).run({})
    assert before.look == 1
    assert "following manual__before first" in console.export_text()


def test_parameters_that_airflow_refuses_are_told(console: Console, home: Home) -> None:
    airflow = PlayedAirflow(refuse_trigger="cap: 'many' is not of type 'integer'")
    with pytest.raises(CampaignUnavailableError, match=r"PARAMS=.*'many' is not of type") as caught:
        campaign_in(airflow, console, home).run({"cap": "many"})
    assert caught.value.exit_code == 2


def test_it_waits_until_the_file_was_loaded_anew(console: Console, home: Home) -> None:
    airflow = PlayedAirflow(dags={"gold_tier": datetime(2026, 1, 1, tzinfo=UTC)})
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            airflow.dags["gold_tier"] = LATER

    campaign_in(airflow, console, home, pause).await_loaded()
    assert len(pauses) == 3


def test_an_import_error_of_the_campaign_is_shown(console: Console, home: Home) -> None:
    airflow = PlayedAirflow(import_errors=[("/dags/gold_tier.py", "ValueError: owner_type: say Loyalty")])
    with pytest.raises(CampaignUnavailableError, match=r"fix /dags/gold_tier\.py\nValueError: owner_type"):
        campaign_in(airflow, console, home).await_loaded()


def test_an_import_error_of_another_file_does_not_matter(console: Console, home: Home) -> None:
    campaign = campaign_in(PlayedAirflow(import_errors=[("other.py", "ValueError")]), console, home)
    assert campaign.await_loaded() is None, "it comes back, and raises nothing"  # type: ignore[func-returns-value]


@pytest.mark.usefixtures("impatient")
def test_an_unknown_campaign_is_told_with_those_there_are(console: Console, home: Home) -> None:
    airflow = PlayedAirflow(
        dags={"monthly_streak": LATER, "vip": LATER, "gone": datetime(2026, 1, 1, tzinfo=UTC)},
        import_errors=[("broken.py", "SyntaxError")],
    )
    with pytest.raises(
        CampaignUnavailableError,
        match=r"no campaign gold_tier\. Set CAMPAIGN to one of: monthly_streak, vip\..*broken\.py",
    ):
        campaign_in(airflow, console, home).await_loaded()


def test_an_interruption_ends_the_following(console: Console, home: Home) -> None:
    def interrupt(_: float) -> None:
        raise RunInterruptedError("interrupted")

    run = PlayedRun([stages("running", None, None, None)] * 5, None)
    with pytest.raises(RunInterruptedError):
        campaign_in(PlayedAirflow(runs=[run]), console, home, interrupt).run({})


def followed(console: Console, display: LiveDisplay | PlainDisplay) -> FinishedRun:
    run = PlayedRun(
        [
            stages("running", None, None, None),
            stages("success", "running", None, None),
            stages("success", "success", "deferred", None),
            stages("success", "success", "deferred", None),
            stages("success", "success", "success", "success"),
        ],
        None,
    )
    counts = iter(
        [
            RunProgress(),
            RunProgress(requests=3, planned=2, sending=1),
            RunProgress(requests=3, waiting=3),
            RunProgress(requests=3, waiting=1, decided=1, settled=1),
            RunProgress(requests=3, settled=3),
        ]
    )
    return follow(
        PlayedAirflow(runs=[run]).client(),
        "gold_tier",
        run.run_id,
        display=display,
        counting=lambda *_: next(counts),
        between_looks=lambda: None,
    )


def test_plain_lines_tell_each_change_once(console: Console) -> None:
    finished = followed(console, PlainDisplay(console))
    assert finished.state is RunState.SUCCESS
    assert console.export_text().splitlines() == [
        "extract_eligible_customers: running",
        "extract_eligible_customers: success",
        "submit: running",
        "3 requests: 2 to send, 1 being sent, 0 waiting for the checker, 0 decided, 0 settled",
        "submit: success",
        "wait: deferred",
        "3 requests: 3 waiting for the checker, 0 decided, 0 settled",
        "3 requests: 1 waiting for the checker, 1 decided, 1 settled",
        "wait: success",
        "report: success",
        "3 requests: 0 waiting for the checker, 0 decided, 3 settled",
    ]


def test_the_live_table_ends_with_the_last_state() -> None:
    console = Console(file=io.StringIO(), width=100, record=True, force_terminal=True)
    assert isinstance(display_for(console), LiveDisplay)
    followed(console, LiveDisplay(console))
    text = console.export_text()
    assert "wait" in text
    assert "3 requests: 0 waiting for the checker, 0 decided, 3 settled" in text
    assert isinstance(display_for(new_console()), PlainDisplay)


def test_health_needs_an_answer() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if len(asked) < 2:
            asked.append(request.url.path)
            raise httpx.ConnectError("refused")
        return httpx.Response(
            200,
            json={
                "metadatabase": {"status": "healthy"},
                "dag_processor": {
                    "status": "unhealthy",
                    "latest_dag_processor_heartbeat": "2026-11-23T09:00:00+00:00",
                },
                "triggerer": {"status": None, "latest_triggerer_heartbeat": None},
            },
        )

    asked: list[str] = []
    api = AirflowApi("http://airflow.example", transport=httpx.MockTransport(answer))
    assert api.components() == []
    assert api.components() == []
    database, processor, triggerer = api.components()
    assert database.healthy
    assert (processor.name, processor.healthy) == ("dag-processor", False)
    assert processor.heartbeat == datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert not triggerer.healthy


def test_an_api_that_stops_answering_is_told_without_its_token() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "hidden-word"})
        raise httpx.ReadTimeout("late")

    api = AirflowApi("http://airflow.example", transport=httpx.MockTransport(answer))
    with pytest.raises(LocalAirflowError, match=r"does not answer \(ReadTimeout\)") as caught:
        api.run_state("gold_tier", "manual__1")
    assert "hidden-word" not in str(caught.value)


def test_a_busy_api_is_asked_again_and_a_dead_one_given_up(console: Console) -> None:
    played = PlayedAirflow(runs=[quick(report())])
    silent = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal silent
        if silent:
            silent -= 1
            raise httpx.ReadTimeout("late")
        return played.answer(request)

    api = AirflowApi("http://airflow.example", transport=httpx.MockTransport(answer))
    run_id = played.runs[0].run_id
    assert api.run_state("gold_tier", run_id) is RunState.SUCCESS

    def look() -> FinishedRun:
        display = PlainDisplay(console)
        return follow(api, "gold_tier", run_id, display=display, counting=no_counts, between_looks=lambda: None)

    silent = 4
    assert look().state is RunState.SUCCESS
    silent = 5
    with pytest.raises(ApiSilentError):
        look()


def test_the_first_failed_task_is_the_one_to_show(console: Console) -> None:
    airflow = PlayedAirflow(runs=[PlayedRun([stages("failed", "failed", None, None)], None, state="failed")])
    tasks = airflow.client().tasks("gold_tier", airflow.runs[0].run_id)
    run = FinishedRun("gold_tier", "x", RunState.FAILED, tuple(reversed(tasks)))
    assert run.failed_task is not None
    assert run.failed_task.task_id == "extract_eligible_customers"
    assert run.duration_s == timedelta(seconds=14).total_seconds()
    assert FinishedRun("gold_tier", "x", RunState.FAILED, ()).duration_s is None
