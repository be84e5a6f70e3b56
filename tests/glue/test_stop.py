"""The emergency stop as tasks meet it, and the commands that set and release it."""

from __future__ import annotations

import getpass
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from airflow.sdk.configuration import clear_secrets_backends_cache
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from sqlalchemy import insert, select, text, update

from capillary.__main__ import main
from capillary.commands import stop as stop_command
from capillary.engine import runtime
from capillary.engine.send import Sender, Sending
from capillary.ledger import stops
from capillary.ledger.database import Ledger
from capillary.ledger.errors import ValueUnfit
from capillary.ledger.migrate import create
from capillary.ledger.revision import REVISIONS
from capillary.ledger.schema import badge_request, badge_run, badge_scan, badge_stop
from capillary.ledger.stops import Scope
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from capillary.upkeep import BadgeUpkeepOperator
from sandbox.faults import Route
from tests.glue.conftest import BADGE, SQL, Place

Said = Callable[[], tuple[str, str]]


def plan(place: Place, run_id: str = "run", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - arguments of operators
    operator = PlanBadgesOperator(task_id="extract", **{"sql": SQL, **BADGE, **changes})
    return operator.execute(place.context(run_id, "extract"))


def submit(place: Place, reference: object) -> dict[str, Any]:
    return IssueBadgeOperator(task_id="submit", plan=reference).execute(place.context(task_id="submit"))


def account(place: Place) -> str:
    with place.ledger.read() as tx:
        found: str | None = tx.conn.execute(select(badge_run.c.account)).scalars().first()
    return found or f"{urlsplit(place.sandbox.url).netloc}/100458"


def stop(place: Place, campaign: str = "") -> None:
    stops.stop(place.ledger, Scope(account(place), campaign), by="ann", reason="wrong tier")


def resume(place: Place, campaign: str = "") -> None:
    stops.resume(place.ledger, Scope(account(place), campaign), by="ann")


def elsewhere(place: Place, account: str, campaign: str) -> str:
    """Have the ledger know an account that no connection leads to, and return it."""
    with place.ledger.write() as tx:
        tx.conn.execute(insert(badge_scan).values(account=account, leased_until=tx.now, leased_by="a reader"))
        stops._make(tx, account, campaign)
    return account


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What the commands printed on standard output and standard error since the last call, without the log."""

    def read() -> tuple[str, str]:
        printed = capsys.readouterr()
        return re.sub(r"(?m)^\d{4}-\d\d-\d\dT.*\n", "", printed.out), printed.err

    return read


# The tasks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("campaign", ["", "vip"])
def test_a_stopped_run_ends_without_retries_and_its_customers_are_planned_after_the_stop(
    place: Place, campaign: str
) -> None:
    reference = plan(place)
    stop(place, campaign)
    with pytest.raises(AirflowFailException, match=r"sending is stopped: .* by ann at .* UTC \(wrong tier\)"):
        submit(place, reference)
    assert place.sandbox.platform.requests() == []
    assert sum(place.sandbox.platform.calls[route] for route in (Route.LIST, Route.SUBMIT)) == 0
    assert place.outcomes() == {}
    resume(place, campaign)
    assert submit(place, reference) == reference, "nothing is left of it to send"
    assert place.sandbox.platform.requests() == []
    again = plan(place, "second")
    assert again["planned"] == 120
    submit(place, again)
    assert place.sent() == list(range(1_001, 1_121))


def test_the_stop_holds_though_the_connection_comes_from_the_environment(
    place: Place,
) -> None:
    reference = plan(place)
    place.platform(submitting=True)
    stop(place)
    with pytest.raises(AirflowFailException, match="sending is stopped"):
        submit(place, reference)
    assert place.sent() == []


def test_a_stop_in_mid_run_leaves_what_was_sent_to_the_checker_and_gives_the_rest_back(place: Place) -> None:
    place.customers(*range(1_001, 1_301))
    reference = plan(place)

    sent, send = [0], Sender.send

    async def stopped_at_the_third(*arguments: Any, **named: Any) -> Sending:  # noqa: ANN401 - the method's own
        sent[0] += 1
        if sent[0] == 3:
            stop(place)
        return await send(*arguments, **named)

    place.monkeypatch.setattr(Sender, "send", stopped_at_the_third)
    with pytest.raises(AirflowFailException, match="sending is stopped"):
        IssueBadgeOperator(task_id="submit", plan=reference, in_flight=1).execute(place.context(task_id="submit"))
    assert place.statuses() == {"waiting": 2}
    assert place.outcomes() == {None: 100}
    waiting = BadgeRequestSensor(task_id="wait", plan=reference)
    with pytest.raises(TaskDeferred):
        waiting.execute(place.context(task_id="wait"))
    place.sandbox.approve_all()
    for task in (waiting, ReportBadgesOperator(task_id="report", plan=reference)):
        with pytest.raises(AirflowFailException, match="200 customers never sent and given back"):
            task.execute(place.context())
    assert place.outcomes() == {"enrolled": 100}
    resume(place)
    assert plan(place, "second")["planned"] == 200


def test_a_submit_that_the_platform_lets_wait_ends_soon_after_the_stop(place: Place) -> None:
    reference = plan(place)
    place.sandbox.fault("submit", "status", when="before", status=429, retry_after="45", times=1)
    place.monkeypatch.setattr(runtime, "LOOK_EVERY_S", 0.2)
    stopping = threading.Timer(1.5, stop, [place])
    stopping.start()
    begun = time.monotonic()
    with pytest.raises(AirflowFailException, match="sending is stopped"):
        submit(place, reference)
    stopping.join()
    assert 1.0 < time.monotonic() - begun < 15
    assert (place.sent(), place.outcomes()) == ([], {})


def test_upkeep_reads_and_settles_under_a_stop_and_sends_nothing_again(place: Place) -> None:
    reference = plan(place)
    place.sandbox.fault("submit", "drop", when="before", times=1)
    submit(place, reference)
    assert place.statuses() == {"sending": 1, "waiting": 2}
    with place.ledger.write() as tx:
        tx.conn.execute(
            update(badge_request)
            .where(badge_request.c.status == "sending")
            .values(doubt_from=tx.now - timedelta(hours=2))
        )
    stop(place)
    place.sandbox.approve_all()
    posts = place.sandbox.platform.calls[Route.SUBMIT]
    assert BadgeUpkeepOperator(task_id="keep_house").execute(place.context()) == 2
    assert place.statuses() == {"sending": 1, "settled": 2}
    assert place.sandbox.platform.calls[Route.SUBMIT] == posts
    resume(place)
    BadgeUpkeepOperator(task_id="keep_house").execute(place.context())
    assert place.statuses() == {"waiting": 1, "settled": 2}
    assert place.sent() == list(range(1_001, 1_121))


@pytest.mark.parametrize("campaign", ["", "vip"])
def test_a_live_run_is_not_planned_under_a_stop_and_its_query_does_not_run(place: Place, campaign: str) -> None:
    stop(place, campaign)
    with pytest.raises(AirflowFailException, match="sending is stopped"):
        plan(place, sql="SELECT customer_id FROM a_table_that_is_not_there")
    assert place.outcomes() == {}
    assert plan(place, dry_run=True)["planned"] == 120


def test_by_hand_nothing_is_planned_or_sent_under_a_stop(place: Place) -> None:
    stop(place, "vip")
    with pytest.raises(AirflowFailException, match="sending is stopped"):
        IssueBadgeOperator(task_id="issue", customers=[5, "6"], **BADGE).execute(place.context())
    assert (place.sent(), place.outcomes()) == ([], {})
    IssueBadgeOperator(task_id="issue", customers=[5, "6"], campaign="other", **(BADGE | {"occasion": "o"})).execute(
        place.context()
    )
    assert place.sent() == [5, 6]


# The warning ------------------------------------------------------------------------------------------------


def test_submit_says_that_the_forms_switch_has_no_effect_on_a_connection_of_the_environment(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = plan(place)
    capsys.readouterr()
    submit(place, reference)
    assert (
        "connection 'capillary' comes from the environment variable AIRFLOW_CONN_CAPILLARY: the switch Submitting of "
        "Airflow's form has no effect on it. To stop sending: python -m capillary stop"
    ) in capsys.readouterr().out


def test_submit_names_a_secrets_backend_that_holds_the_connection(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    reference = plan(place)
    file = tmp_path / "connections.json"
    settings = {"organisation_id": "100458", "calls_per_minute": 60_000, "visibility_lag_s": 0}
    facts = {"conn_type": "capillary", "host": place.sandbox.url, "login": "sandbox-maker", "password": "sandbox-maker"}
    file.write_text(json.dumps({"capillary": facts | {"extra": settings}}))
    place.monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "airflow.secrets.local_filesystem.LocalFilesystemBackend")
    place.monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps({"connections_file_path": str(file)}))
    place.monkeypatch.delenv("AIRFLOW_CONN_CAPILLARY")
    request.addfinalizer(clear_secrets_backends_cache)
    clear_secrets_backends_cache()
    capsys.readouterr()
    submit(place, reference)
    assert (
        "connection 'capillary' comes from the secrets backend LocalFilesystemBackend: the switch"
        in capsys.readouterr().out
    )
    assert len(place.sent()) == 120


# The commands -----------------------------------------------------------------------------------------------


def test_stop_says_what_is_stopped_what_may_still_leave_and_how_to_go_on(place: Place, said: Said) -> None:
    plan(place)
    name = account(place)
    with place.ledger.write() as tx:
        first = tx.conn.execute(select(badge_request.c.id).order_by(badge_request.c.id)).scalars().first()
        tx.conn.execute(
            update(badge_request)
            .where(badge_request.c.id == first)
            .values(status="sending", last_sent_at=tx.now, first_sent_at=tx.now)
        )
    assert main(["stop", "--reason", "wrong tier", "--by", "ann"]) == 0
    out, err = said()
    first_line, second, *rest = out.splitlines()
    assert first_line.startswith(f"stop: stopped: every campaign of {name} by ann at ")
    assert first_line.endswith(" UTC (wrong tier)")
    assert second == "stop: waiting for claims that are open; the stop holds, also if you end this command now"
    assert rest == [
        "stop: no process claims another request of it",
        f"  requests of every campaign of {name}:",
        "    1 claimed before and not answered yet: each may still leave for 5 s",
        "    0 in doubt: looked for on the platform, not sent again",
        "    0 with the checker: may still be approved, and are settled as usual",
        "    2 not sent: their runs give them back",
        (
            "  NOT stopped: accounts that run here for the first time from now on; stop these beforehand with "
            "--capillary-conn-id and --even-unknown"
        ),
        f"  to go on: python -m capillary resume --account {name}; it sends nothing by itself",
    ]
    assert err == ""
    with place.ledger.read() as tx:
        assert [(each.scope, each.stopped_by) for each in stops.in_force(tx)] == [(Scope(name), "ann")]


def test_stop_of_one_campaign_leaves_the_others(place: Place, said: Said) -> None:
    plan(place)
    other = plan(place, "second", campaign="other", occasion="o")
    assert main(["stop", "--campaign", "vip", "--reason", "wrong tier"]) == 0
    assert "stop: stopped: campaign 'vip' of " in said()[0]
    submit(place, other)
    assert place.sent() == list(range(1_001, 1_121))
    with place.ledger.read() as tx:
        assert tx.conn.execute(select(badge_stop.c.stopped_by).where(badge_stop.c.campaign == "vip")).scalar_one() == (
            getpass.getuser()
        )


def test_a_name_that_the_ledger_does_not_know_stops_nothing_and_it_names_what_it_knows(
    place: Place, said: Said
) -> None:
    plan(place)
    name = account(place)
    for arguments, what in (
        (["--campaign", "vpi"], f"campaign 'vpi' of {name}"),
        (["--account", "https://Nowhere.example:443/1"], "account nowhere.example/1"),
    ):
        assert main(["stop", "--reason", "wrong tier", *arguments]) == 1
        out, err = said()
        assert out == ""
        assert err == (
            f"stop: the ledger does not know {what}. The ledger knows {name} (vip). Correct the name, or add "
            "--even-unknown to stop it before its first run; nothing was stopped by this command\n"
        )
    assert main(["stop", "--reason", "wrong tier", "--campaign", "vpi", "--all"]) == 1
    assert said()[1] == (
        f"stop: the ledger knows no campaign 'vpi'. The ledger knows {name} (vip); nothing was stopped by this "
        "command\n"
    )
    with place.ledger.read() as tx:
        assert stops.in_force(tx) == ()


def test_what_is_not_known_yet_is_stopped_when_asked_for(place: Place, said: Said) -> None:
    arguments = ["--campaign", "vip", "--reason", "not before Monday", "--even-unknown", "--by", "ann"]
    assert main(["stop", *arguments]) == 0
    with pytest.raises(AirflowFailException, match="not before Monday"):
        plan(place)


@pytest.mark.parametrize("text", ["100", "eu.api.example", "https://eu.api.example", "eu.api.example/", "a b/1", "//1"])
def test_what_can_be_no_account_is_refused_whatever_else_is_said(place: Place, said: Said, text: str) -> None:
    assert main(["stop", "--account", text, "--reason", "night", "--even-unknown"]) == 1
    out, err = said()
    assert out == ""
    assert err.startswith(f"stop: {text!r} names no account: ")
    assert err.endswith("; nothing was stopped by this command\n")
    with place.ledger.read() as tx:
        assert stops.in_force(tx) == ()


def test_an_account_in_another_spelling_is_the_one_that_runs(place: Place, said: Said) -> None:
    plan(place)
    host = urlsplit(place.sandbox.url)
    known = elsewhere(place, "eu.api.example/Org", "gold")
    for spelling, name in (
        (f"HTTP://{host.netloc}//000100458", account(place)),
        ("https://EU.api.example:443/org", known),
    ):
        assert main(["stop", "--account", spelling, "--reason", "night", "--even-unknown"]) == 0
        assert f"stop: stopped: every campaign of {name} by " in said()[0]
        assert main(["resume", "--account", spelling]) == 0
        said()


def test_a_typing_error_that_was_stopped_is_no_account_of_the_ledger_and_can_be_resumed(
    place: Place, said: Said
) -> None:
    plan(place)
    wrong = ["--account", "eu.api.exmaple/100"]
    assert main(["stop", *wrong, "--reason", "night", "--even-unknown"]) == 0
    assert main(["stop", *wrong, "--reason", "night"]) == 1
    assert f"The ledger knows {account(place)} (vip)." in said()[1]
    assert main(["resume", *wrong]) == 0
    assert main(["stop", *wrong, "--reason", "night"]) == 1


def test_a_stop_that_an_earlier_version_wrote_as_it_was_typed_can_be_resumed(place: Place) -> None:
    stops.stop(place.ledger, Scope("https://EU.api.example/100"), by="ann", reason="night")
    assert main(["resume", "--account", "https://EU.api.example/100"]) == 0


@pytest.mark.parametrize("word", [[], ["--all"]])
def test_where_nothing_is_named_every_account_of_the_ledger_and_of_the_connection_is_stopped(
    place: Place, said: Said, word: list[str]
) -> None:
    other = elsewhere(place, "elsewhere.example/7", "gold")
    assert main(["stop", *word, "--reason", "night", "--by", "ann"]) == 0
    out = said()[0]
    for name in (account(place), other):
        assert f"stop: stopped: every campaign of {name} by ann at " in out
    with place.ledger.read() as tx:
        assert {each.scope for each in stops.in_force(tx)} == {Scope(account(place)), Scope(other)}
    with pytest.raises(AirflowFailException, match="sending is stopped"):
        plan(place)
    assert main(["resume"]) == 1
    assert said()[1].startswith("resume: say what to resume: --account, --capillary-conn-id or --campaign, or --all")
    with place.ledger.read() as tx:
        assert len(stops.in_force(tx)) == 2
    assert main(["resume", "--all"]) == 0
    with place.ledger.read() as tx:
        assert stops.in_force(tx) == ()


@pytest.mark.parametrize("selector", ["account", "connection", "campaign"])
def test_a_stop_that_names_something_says_which_accounts_go_on(place: Place, said: Said, selector: str) -> None:
    plan(place)
    other = elsewhere(place, "elsewhere.example/7", "gold")
    stops.stop(place.ledger, Scope(elsewhere(place, "held.example/7", "gold")), by="ann", reason="night")
    arguments = {
        "account": ["--account", account(place)],
        "connection": ["--capillary-conn-id", "capillary"],
        "campaign": ["--campaign", "vip"],
    }[selector]
    assert main(["stop", *arguments, "--reason", "night"]) == 0
    assert f"\n  NOT stopped: {other} (no campaign)\n" in said()[0]


def test_an_account_that_cannot_be_stopped_keeps_no_other_from_it(place: Place, said: Said) -> None:
    plan(place)
    broken = elsewhere(place, "broken.example/7", "gold")
    order = stops.order_stop

    def refuse(ledger: Ledger, scope: Scope, *, by: str, reason: str) -> stops.Stop:
        if scope.account == broken:
            raise ValueUnfit("no")
        return order(ledger, scope, by=by, reason=reason)

    place.monkeypatch.setattr(stop_command, "order_stop", refuse)
    assert main(["stop", "--reason", "night"]) == 1
    out, err = said()
    assert f"stop: stopped: every campaign of {account(place)} by " in out
    assert f"\n  NOT stopped: every campaign of {broken}: no\n" in err
    assert "nothing was stopped" not in out + err


def test_a_stop_that_was_released_while_it_waited_is_told_and_ends_with_1(place: Place, said: Said) -> None:
    plan(place)
    name = account(place)

    def resumed_meanwhile(ledger: Ledger, scope: Scope) -> None:
        stops.resume(ledger, scope, by="bob")

    place.monkeypatch.setattr(stop_command, "await_claims", resumed_meanwhile)
    assert main(["stop", "--reason", "night", "--by", "ann"]) == 1
    out, err = said()
    assert "no process claims" not in out + err
    assert err.splitlines()[0] == "stop: somebody resumed while this command waited: run it again to stop what it names"
    assert re.fullmatch(f"  every campaign of {re.escape(name)}: released by bob at .* UTC", err.splitlines()[1])
    assert err.splitlines()[2] == "  nothing is stopped now"


def test_a_stop_that_was_released_and_ordered_again_is_anothers(place: Place, said: Said) -> None:
    plan(place)

    def stopped_again(ledger: Ledger, scope: Scope) -> None:
        stops.resume(ledger, scope, by="bob")
        stops.order_stop(ledger, scope, by="cid", reason="still wrong")

    place.monkeypatch.setattr(stop_command, "await_claims", stopped_again)
    assert main(["stop", "--reason", "night", "--by", "ann"]) == 1
    err = said()[1]
    assert "UTC, stopped again by cid\n" in err
    assert f"\n  still stopped: every campaign of {account(place)} by cid at " in err


def test_a_stop_works_where_the_ledger_is_of_another_version(place: Place, said: Said) -> None:
    reference = plan(place)
    name = account(place)
    with place.ledger.write() as tx:
        tx.conn.execute(text("UPDATE badge_ledger_version SET version_num = '9999'"))
        tx.conn.execute(text("ALTER TABLE badge_run RENAME COLUMN account TO whose"))
    # Its submissions are noted in the stop's own table.
    with place.ledger.write() as tx:
        stops._make(tx, name, "vip")
    assert main(["stop", "--reason", "night"]) == 0
    out = said()[0]
    assert f"stop: stopped: every campaign of {name} by " in out
    assert "\n  its requests could not be counted (OperationalError)\n" in out
    assert main(["stopped"]) == 0
    with place.ledger.write() as tx:
        tx.conn.execute(text("ALTER TABLE badge_run RENAME COLUMN whose TO account"))
        tx.conn.execute(text("UPDATE badge_ledger_version SET version_num = :newest"), {"newest": REVISIONS[-1]})
    with pytest.raises(AirflowFailException, match="sending is stopped"):
        submit(place, reference)


def test_every_failure_of_a_stop_says_that_nothing_was_stopped(place: Place, said: Said, tmp_path: Path) -> None:
    assert main(["stop", "--url", f"sqlite:///{tmp_path}/none.db", "--reason", "night"]) == 1
    assert said()[1].endswith("; nothing was stopped by this command\n")
    place.monkeypatch.delenv("AIRFLOW_CONN_CAPILLARY")
    assert main(["stop", "--reason", "night"]) == 1
    err = said()[1]
    assert "the ledger knows no account yet" in err
    assert "There is no Airflow connection 'capillary'" in err
    assert err.endswith("; nothing was stopped by this command\n")


def test_where_the_connection_cannot_be_read_the_ledgers_accounts_are_stopped(place: Place, said: Said) -> None:
    plan(place)
    name = account(place)
    place.monkeypatch.delenv("AIRFLOW_CONN_CAPILLARY")
    assert main(["stop", "--reason", "night"]) == 0
    out = said()[0]
    assert f"stop: stopped: every campaign of {name} by " in out
    assert "NOT stopped, unless it is named above: the account of connection 'capillary'. There is no Airflow" in out
    assert main(["stop", "--reason", "night", "--campaign", "vip"]) == 1
    err = said()[1]
    assert f"Or give --account or --all. The ledger knows {name} (vip)" in err
    assert main(["stop", "--reason", "night", "--account", name]) == 0


def test_with_the_ledgers_address_and_the_account_no_airflow_is_needed(
    place: Place, tmp_path: Path, said: Said
) -> None:
    plan(place)
    name = account(place)
    for conn_id in ("CAPILLARY", "BADGE_LEDGER"):
        place.monkeypatch.delenv(f"AIRFLOW_CONN_{conn_id}")
    place.monkeypatch.setitem(sys.modules, "capillary.hooks", None)
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert main(["stop", "--url", url, "--account", name, "--reason", "night"]) == 0
    assert main(["stopped", "--url", url]) == 0
    assert main(["resume", "--url", url, "--account", name]) == 0


def test_resume_says_that_it_sends_nothing_and_what_is_still_stopped(place: Place, said: Said) -> None:
    plan(place)
    name = account(place)
    assert main(["stop", "--reason", "night", "--by", "ann"]) == 0
    assert main(["stop", "--reason", "tier", "--by", "bob", "--campaign", "vip"]) == 0
    said()
    assert main(["resume", "--account", name, "--by", "ann"]) == 0
    out = said()[0]
    assert f"resume: resumed: every campaign of {name} by ann at " in out
    assert f"\n  still stopped: campaign 'vip' of {name} by bob at " in out
    assert "this alone sends nothing" in out
    assert place.sent() == []
    assert main(["resume", "--account", name, "--by", "ann"]) == 1
    assert f"resume: every campaign of {name} was not stopped under this name" in said()[1]
    assert main(["resume", "--campaign", "vip"]) == 0


def test_stopped_lists_every_stop(place: Place, said: Said) -> None:
    plan(place)
    assert main(["stopped"]) == 0
    assert said()[0] == "stopped: nothing is stopped\n"
    stop(place, "vip")
    stop(place)
    assert main(["stopped"]) == 0
    lines = said()[0].splitlines()
    assert [line.split(" by ")[0] for line in lines] == [
        f"stopped: every campaign of {account(place)}",
        f"  campaign 'vip' of {account(place)}",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--reason", " "],
        ["--reason", "x" * 501],
        ["--reason", "two\nlines"],
        ["--reason", "a broken \udcff byte"],
        ["--reason", "r", "--by", "x" * 201],
        ["--reason", "r", "--by", ""],
        ["--reason", "r", "--campaign", "x" * 201],
        ["--reason", "r", "--account", "x" * 256],
        ["--reason", "r", "--account", "a", "--all"],
        [],
    ],
)
def test_what_no_column_takes_is_refused_before_anything_is_written(place: Place, wrong: list[str]) -> None:
    plan(place)
    with pytest.raises(SystemExit) as refused:
        main(["stop", *wrong])
    assert refused.value.code == 2
    with place.ledger.read() as tx:
        assert stops.in_force(tx) == ()


def test_a_machine_whose_user_has_no_name_asks_for_one(place: Place, said: Said) -> None:
    plan(place)

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 50000")

    place.monkeypatch.setattr(getpass, "getuser", nobody)
    assert main(["stop", "--reason", "night"]) == 1
    assert (
        said()[1]
        == "stop: this machine's user has no name; say who you are with --by; nothing was stopped by this command\n"
    )
    assert main(["stop", "--reason", "night", "--by", "ann"]) == 0


# Another ledger than the usual one ---------------------------------------------------------------------------


@pytest.fixture
def other_ledger(place: Place, tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger behind connection `badge_ledger_test`; connection `capillary_test` leads to another account."""
    url = f"sqlite:///{tmp_path}/other.db"
    with Ledger(url, new=True) as empty:
        create(empty.engine)
    place.connect("badge_ledger_test", conn_type="sqlite", host=f"{tmp_path}/other.db")
    place.connect("capillary_test", **place.sandbox_connection(organisation_id="200"))
    with Ledger(url) as ledger:
        yield ledger


def on_test(place: Place) -> dict[str, Any]:
    return plan(place, capillary_conn_id="capillary_test", ledger_conn_id="badge_ledger_test", preflight=False)


def stopped_in(ledger: Ledger) -> set[Scope]:
    with ledger.read() as tx:
        return {each.scope for each in stops.in_force(tx)}


OTHER: Final = ["--conn-id", "badge_ledger_test"]


@pytest.mark.parametrize("word", [[], ["--all"]])
def test_a_ledger_without_a_run_does_not_stop_the_account_of_the_usual_one(
    place: Place, other_ledger: Ledger, said: Said, word: list[str]
) -> None:
    assert main(["stop", *OTHER, *word, "--reason", "night"]) == 1
    out, err = said()
    assert out == ""
    assert err == (
        "stop: the ledger of connection 'badge_ledger_test' knows no account yet, and nothing tells which connection "
        "of the platform goes with it. Name it: --capillary-conn-id ID --even-unknown; nothing was stopped by this "
        "command\n"
    )
    assert stopped_in(other_ledger) == set()
    named = ["--capillary-conn-id", "capillary_test", "--even-unknown"]
    assert main(["stop", *OTHER, *named, "--reason", "night"]) == 0
    with pytest.raises(AirflowFailException, match="sending is stopped"):
        on_test(place)


def test_a_ledger_with_runs_stops_what_they_were_planned_by_and_not_the_account_of_the_usual_one(
    place: Place, other_ledger: Ledger, said: Said
) -> None:
    on_test(place)
    here = urlsplit(place.sandbox.url).netloc
    place.connect("capillary_test", **place.sandbox_connection(organisation_id="201"))
    assert main(["stop", *OTHER, "--reason", "night"]) == 0
    assert stopped_in(other_ledger) == {Scope(f"{here}/200"), Scope(f"{here}/201")}, "of then, and of now"
    assert stopped_in(place.ledger) == set()
    said()
    assert main(["resume", *OTHER, "--all"]) == 0
    place.monkeypatch.delenv("AIRFLOW_CONN_CAPILLARY_TEST")
    assert main(["stop", *OTHER, "--reason", "night"]) == 0
    out = said()[0]
    assert "NOT stopped, unless it is named above: the account of connection 'capillary_test'. There is no" in out
    assert "'capillary'" not in out


def test_a_campaign_of_another_ledger_is_of_the_account_of_its_runs(
    place: Place, other_ledger: Ledger, said: Said
) -> None:
    named = [*OTHER, "--campaign", "vip"]
    assert main(["stop", *named, "--reason", "night", "--even-unknown"]) == 1
    assert "the runs in the ledger of connection 'badge_ledger_test' name 0 connections of the platform" in said()[1]
    on_test(place)
    assert main(["stop", *named, "--reason", "night"]) == 0
    assert stopped_in(other_ledger) == {Scope(f"{urlsplit(place.sandbox.url).netloc}/200", "vip")}
    assert main(["resume", *named]) == 0
    assert stopped_in(other_ledger) == set()


def test_the_usual_ledger_without_a_run_stops_the_account_of_connection_capillary(place: Place, said: Said) -> None:
    assert main(["stop", "--reason", "night"]) == 0
    assert stopped_in(place.ledger) == {Scope(account(place))}


def test_the_platforms_connection_in_place_of_the_ledgers_is_refused_by_name(place: Place, said: Said) -> None:
    assert main(["stop", "--conn-id", "capillary", "--reason", "night"]) == 1
    err = said()[1]
    assert (
        "Connection 'capillary' is of type 'capillary': it leads to the platform, and the ledger cannot live there"
        in err
    )
    assert "--capillary-conn-id" in err
    assert err.endswith("; nothing was stopped by this command\n")
