"""What a person can do next, as lines to copy into a shell of the checkout."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from local_airflow.environment import Sources
from local_airflow.home import CHECKOUT, Home
from local_airflow.ports import LOOPBACK


def question(home: Home, sources: Sources) -> str:
    """The command that asks the ledger what happened to a customer.

    The sample ledger is named by its URL: no connection leads to it from a shell. With a ledger of one's own the shell
    has the variable `AIRFLOW_CONN_BADGE_LEDGER` that `make` was given.
    """
    words = [shown(Path(sys.executable)), "-m", "capillary", "customer", "4711"]
    if not sources.own_ledger:
        words += ["--url", f"sqlite:///{shown(home.ledger_db)}"]
    return f"what happened to customer 4711: {shlex.join(words)}"


def decision(sandbox_port: int) -> str:
    """Who decides where the sandbox's checker is manual, and where."""
    return (
        f"you are the checker: approve or reject each request at http://{LOOPBACK}:{sandbox_port}/. The run notices "
        "within a minute, after a long wait within fifteen"
    )


def shown(path: Path) -> str:
    """A path as it is typed in the checkout: relative where it lies below."""
    return str(path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path)
