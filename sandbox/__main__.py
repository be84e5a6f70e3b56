"""The sandbox's command: ``python -m sandbox --help``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from sandbox.server import PortTakenError, serve
from sandbox.settings import CHECKER, CLIENT, MAKER, CheckerMode, SandboxSettings, SettingsError, Till


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is interrupted; returns the exit code: 0, or 2 where a choice is not usable."""
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(level=chosen.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        maker = _maker(chosen.till)
        settings = SandboxSettings(
            organisation=chosen.organisation,
            tills=(maker, CHECKER),
            clients=(replace(CLIENT, acts_as=maker.username),),
            books=chosen.books,
            ledger=chosen.ledger or os.environ.get("SANDBOX_LEDGER", ""),
            timezone=chosen.timezone,
            checker=chosen.checker,
            delay_s=chosen.delay,
            reject_every=chosen.reject_every,
            unknown_every=chosen.unknown_every,
            auto_approve=chosen.auto_approve,
            calls_per_minute=chosen.calls_per_minute,
            page_limit=chosen.page_limit,
            page_base=chosen.page_base,
            list_lag_s=chosen.list_lag,
            latency_s=chosen.latency,
        )
        serve(settings, host=chosen.host, port=chosen.port, log_level=chosen.log_level)
    except (SettingsError, PortTakenError) as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 2
    return 0


def _maker(given: str) -> Till:
    """The maker's till by the login that was given; the OAuth client acts as it, whatever it is called."""
    username, _, password = given.partition(":")
    if username == CHECKER.username:
        raise SettingsError(f"till: {username} is the checker's; give another name")
    return replace(MAKER, username=username, password=password)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="A stand-in for the loyalty platform: its workflow, its badges, a checker's page at /.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=0, help="port to listen on; 0 for a free one")
    add("--books", default=":memory:", metavar="FILE", help="SQLite file that outlives the process")
    add(
        "--ledger",
        metavar="URL",
        help="the checker's page names campaign and run by this ledger; default: the variable SANDBOX_LEDGER",
    )
    add("--checker", default="manual", choices=[str(mode) for mode in CheckerMode], help="who decides")
    add("--delay", type=float, default=0, metavar="SECONDS", help="automatic checker: after so long")
    add(
        "--reject-every",
        type=int,
        default=0,
        metavar="N",
        help="automatic checker: reject each N-th; 0: none",
    )
    add("--unknown-every", type=int, default=0, metavar="N", help="ids divisible by N are unknown; 0: none")
    add(
        "--till",
        default=f"{MAKER.username}:{MAKER.password}",
        metavar="USER:PASSWORD",
        help="the maker's login",
    )
    add("--organisation", type=int, default=100458, help="organisation id")
    add("--timezone", default="Asia/Kolkata", help="the cluster's zone")
    add("--calls-per-minute", type=int, default=0, metavar="N", help="answer 429 above; 0: no limit")
    add("--auto-approve", action="store_true", help="execute requests with no human check")
    add("--page-limit", type=int, default=20, metavar="ROWS", help="rows of a list page without limit")
    add("--page-base", type=int, default=0, choices=(0, 1), help="PageNo of the first page")
    add("--list-lag", type=float, default=0, metavar="SECONDS", help="new requests show in the list later")
    add("--latency", type=float, default=0, metavar="SECONDS", help="added to every call")
    add("--log-level", default="warning", choices=["debug", "info", "warning", "error", "critical"])
    return parser


if __name__ == "__main__":
    sys.exit(main())
