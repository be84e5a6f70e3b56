"""`python -m local_airflow run|up|clean`: what `make run`, `make up` and `make clean` call."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from sqlalchemy import URL

from local_airflow.airflow_api import AirflowApi
from local_airflow.campaign import CampaignRun, ledger_counting, own_ledger_url, requests_left_open
from local_airflow.checking import check_campaign
from local_airflow.environment import Sources, build_environment
from local_airflow.errors import CampaignUnavailableError, LocalAirflowError, RunInterruptedError
from local_airflow.foreign_books import assert_books_are_of
from local_airflow.home import DAGS, Home
from local_airflow.interruption import Interruption
from local_airflow.metadata import start_metadata
from local_airflow.next_steps import decision, question, shown
from local_airflow.passed_over import tell_passed_over
from local_airflow.ports import (
    LOOPBACK,
    PREFERRED_API_PORT,
    asked_port,
    free_port,
    sandbox_port,
)
from local_airflow.processes import GRACE_S, IDLE_GRACE_S, Processes, end_left_behind
from local_airflow.startup import SandboxOptions, Startup
from local_airflow.unpaused import pause_again

EXIT_CODES = (
    "exit codes: 0 the verdict is pass; 1 it is fail, or the run failed; 2 the campaign cannot be found, "
    "loaded or triggered; 3 a component did not start; 130 interrupted"
)
#: What to do where a canary of an earlier run keeps everybody back.
AFTER_CANARY = "The checker decides on the page that `make up` shows. Once nothing waits there, `make run` again."
CHECKERS = ("automatic", "manual")
#: Columns where stdout is not a terminal: tables of a log need no wrapping.
LOG_COLUMNS = 120

#: How often the processes are looked at while `up` waits, in seconds.
UP_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for; the variables of the Makefile have the same names in capitals."""

    command: str
    campaign: str
    dags_folder: Path
    params: str
    customers: int
    checker: str
    checker_delay: float
    port: int | None
    sandbox_port: int | None


def parse(arguments: Sequence[str] | None) -> Options:
    """Read the command line; what it leaves out comes from the environment, then from the defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m local_airflow", description="Real Airflow on one machine.", epilog=EXIT_CODES
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="run|up|clean")
    run = commands.add_parser("run", help="run one campaign from extract to report and stop", epilog=EXIT_CODES)
    up = commands.add_parser("up", help="keep Airflow's UI and the sandbox's checker page running until Ctrl-C")
    commands.add_parser("clean", help="remove .airflow: Airflow's database, the samples, the logs")
    for parser_of, checker in ((run, "automatic"), (up, "manual")):
        parser_of.add_argument("--dags-folder", default=_variable("DAGS_FOLDER", str(DAGS)), metavar="PATH")
        parser_of.add_argument(
            "--customers",
            type=int,
            default=_variable("CUSTOMERS", "5000"),
            help="size of the example warehouse (5000)",
        )
        parser_of.add_argument(
            "--checker",
            choices=CHECKERS,
            default=_variable("CHECKER", checker),
            help=f"who decides in the sandbox ({checker})",
        )
        parser_of.add_argument(
            "--checker-delay",
            type=float,
            default=_variable("CHECKER_DELAY", "2"),
            metavar="SECONDS",
            help="the automatic checker decides so long after a request arrived (2)",
        )
        parser_of.add_argument("--port", type=int, default=_variable("PORT", None), help="of Airflow's UI")
        parser_of.add_argument("--sandbox-port", type=int, default=_variable("SANDBOX_PORT", None))
    run.add_argument("--campaign", default=_variable("CAMPAIGN", "gold_tier"), help="gold_tier by default")
    run.add_argument("--params", default=_variable("PARAMS", "{}"), metavar="JSON", help="the run's parameters")
    options = parser.parse_args(arguments)
    if getattr(options, "checker", "manual") not in CHECKERS:
        parser.error(f"CHECKER is {options.checker}: choose {' or '.join(CHECKERS)}")
    return Options(
        command=options.command,
        campaign=getattr(options, "campaign", ""),
        dags_folder=Path(getattr(options, "dags_folder", DAGS)).expanduser().resolve(),
        params=getattr(options, "params", "{}"),
        customers=getattr(options, "customers", 0),
        checker=getattr(options, "checker", "manual"),
        checker_delay=getattr(options, "checker_delay", 0.0),
        port=getattr(options, "port", None),
        sandbox_port=getattr(options, "sandbox_port", None),
    )


class LocalAirflow:
    """One call of the command.

    Args:
        options: what was asked for.
        home: where everything is kept.
        console: for people.
        interruption: ends it early.
    """

    def __init__(self, options: Options, *, home: Home, console: Console, interruption: Interruption) -> None:
        self._options = options
        self._home = home
        self._console = console
        self._interruption = interruption
        self._processes = Processes(home.processes, home.process_logs)

    def execute(self) -> int:
        """Do it. Returns the exit code; whatever was started has ended by then."""
        with self._home.lock():
            for name in end_left_behind(self._home.processes):
                self._console.print(f"ended {name}, left behind by a run that was killed")
            if self._options.command == "clean":
                return self._clean()
            grace_s = GRACE_S
            try:
                code = self._start_and(self._run if self._options.command == "run" else self._stay_up)
                grace_s = IDLE_GRACE_S if self._options.command == "run" else GRACE_S
                return code
            finally:
                if self._processes.pids():
                    with self._console.status("stopping what was started"):
                        self._processes.stop(self._interruption.hurry, grace_s)

    def _start_and(self, then: Callable[[AirflowApi, dict[str, str], Sources], int]) -> int:
        began = time.monotonic()
        options = self._options
        sources = Sources.of(os.environ)
        if not options.dags_folder.is_dir():
            raise CampaignUnavailableError(f"DAGS_FOLDER is {options.dags_folder}: there is no such directory")
        api_port = self._api_port()
        port = None if sources.own_platform else sandbox_port(self._home, options.sandbox_port)
        built = partial(
            build_environment,
            os.environ,
            home=self._home,
            secrets=self._home.secrets(),
            dags_folder=options.dags_folder,
            api_port=api_port,
            sandbox_port=port,
            schedules=options.command == "up",
        )
        environment = built()
        if port is not None:
            self._home.remember_sandbox_port(port)
            if self._home.sandbox_books.exists():
                assert_books_are_of(self._ledger(environment, sources), self._home.sandbox_books)
        tell_passed_over(environment, folder=options.dags_folder, campaign=options.campaign, console=self._console)
        if sources.sample_customers_on_own_platform:
            self._console.print(
                "AIRFLOW_CONN_CAPILLARY is yours and the warehouse is the example: its invented customers go "
                "to your platform. Set AIRFLOW_CONN_WAREHOUSE for real ones.",
                style="yellow",
            )
        if options.command == "run":
            with self._console.status(f"checking the campaign {options.campaign}"):
                check_campaign(
                    self._processes,
                    environment,
                    campaign=options.campaign,
                    dags_folder=options.dags_folder,
                    pause=self._interruption.pause,
                )
        metadata = start_metadata(self._home, self._processes, os.environ, pause=self._interruption.pause)
        if metadata.sentence:
            self._console.print(metadata.sentence, style="yellow")
        environment = built(metadata_url=metadata.url)
        startup = Startup(
            home=self._home,
            environment=environment,
            sources=sources,
            processes=self._processes,
            interruption=self._interruption,
            console=self._console,
        )
        startup.prepare(
            sandbox_port=port,
            sandbox=SandboxOptions(options.checker_delay if options.checker == "automatic" else None),
            customers=options.customers,
        )
        with AirflowApi(f"http://{LOOPBACK}:{api_port}") as api:
            startup.start_airflow(api, before_scheduling=lambda: pause_again(api, self._home))
            self._console.print(
                f"Airflow ready at http://{LOOPBACK}:{api_port}/ after {time.monotonic() - began:.0f} s",
            )
            return then(api, environment, sources)

    def _api_port(self) -> int:
        asked = self._options.port
        if asked is not None:
            return asked_port(asked, variable="PORT")
        return free_port() if self._options.command == "run" else asked_port(PREFERRED_API_PORT, variable="PORT")

    def _run(self, api: AirflowApi, environment: dict[str, str], sources: Sources) -> int:
        conf = _parameters(self._options.params)
        ledger = self._ledger(environment, sources)
        campaign = CampaignRun(
            api,
            self._options.campaign,
            console=self._console,
            counting=ledger_counting(ledger),
            home=self._home,
            left_open=lambda: requests_left_open(ledger),
            pause=self._pause,
        )
        campaign.await_loaded()
        if self._options.checker == "manual" and not sources.own_platform and (port := self._home.sandbox_port()):
            self._console.print(decision(port), style="bold")
        report = campaign.run(conf)
        kept = "your own" if sources.own_ledger else shown(self._home.ledger_db)
        self._console.print(
            f"ledger: {kept}; logs: {shown(self._home.task_logs)}; `make up` shows the run in Airflow's UI",
        )
        self._console.print(question(self._home, sources))
        if report is None or not report.passed:
            return 1
        if report.waits_for_canary:
            # Last, where nobody overlooks it: the run is green, and did nothing.
            self._console.print(f"nobody was submitted. {report.sentence} {AFTER_CANARY}", style="bold yellow")
        return 0

    def _ledger(self, environment: dict[str, str], sources: Sources) -> URL | str:
        return own_ledger_url(environment) if sources.own_ledger else f"sqlite:///{self._home.ledger_db}"

    def _stay_up(self, api: AirflowApi, _: dict[str, str], sources: Sources) -> int:
        for dag in api.dags():
            if dag.paused and (runs := api.unfinished_manual_runs(dag.dag_id)):
                self._console.print(f"{dag.dag_id} is paused and has not ended {runs[0]}: unpause it, and it goes on")
        self._console.print(f"what needs a person, every campaign and run: {api.url}/plugin/badges", style="bold")
        self._console.print(
            "running until Ctrl-C. A campaign is paused until you unpause or trigger it in the UI; from then on it "
            "also runs by its schedule",
            style="bold",
        )
        self._console.print(question(self._home, sources))
        # Being interrupted is how it ends: nothing has failed then.
        with suppress(RunInterruptedError):
            while True:
                self._pause(UP_LOOK_S)
        return 0

    def _pause(self, seconds: float) -> None:
        self._interruption.pause(seconds)
        self._processes.check()

    def _clean(self) -> int:
        shutil.rmtree(self._home.directory)
        self._console.print(f"removed {shown(self._home.directory)}")
        return 0


def main(arguments: Sequence[str] | None = None, *, home: Home | None = None) -> int:
    """Run the command and return its exit code; a failure is one sentence on stderr."""
    options = parse(arguments)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = LOG_COLUMNS
    home = home or Home()
    interruption = Interruption()
    interruption.install()
    try:
        if options.command == "run":
            _parameters(options.params)
        home.create()
        return LocalAirflow(options, home=home, console=console, interruption=interruption).execute()
    except LocalAirflowError as error:
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(str(error))
        return error.exit_code


def _parameters(text: str) -> dict[str, object]:
    try:
        parameters = json.loads(text or "{}")
    except ValueError as error:
        raise CampaignUnavailableError(f"PARAMS is not JSON ({error}): write PARAMS='{{\"canary\": false}}'") from error
    if not isinstance(parameters, dict):
        raise CampaignUnavailableError("PARAMS must be a JSON object: write PARAMS='{\"canary\": false}'")
    return parameters


def _variable(name: str, default: str | None) -> str | None:
    """A variable as make hands it down: unset and empty are the same."""
    return os.environ.get(name) or default


if __name__ == "__main__":
    sys.exit(main())
