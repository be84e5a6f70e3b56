"""The faults: each strikes the third request, after the platform has accepted and committed it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sandbox.faults import FaultKind, Route
from sandbox.server import RunningSandbox

#: How long the platform would keep the caller waiting that is about to be killed, seconds.
HANG_S: Final = 600.0
_BEFORE: Final = 2


class Fault(StrEnum):
    """What becomes of the third request's reply, as the table names it."""

    DROPPED = "reply dropped"
    STATUS_500 = "HTTP 500 after the commit"
    KILLED = "kill -9 after the commit, run again"


def arm(sandbox: RunningSandbox, fault: Fault) -> None:
    """Let the third POST of a request end so."""
    # Two that change nothing: faults are used up first in, first out.
    sandbox.fault(Route.SUBMIT, FaultKind.DELAY, seconds=0, times=_BEFORE)
    if fault is Fault.DROPPED:
        sandbox.fault(Route.SUBMIT, FaultKind.DROP)
    elif fault is Fault.STATUS_500:
        sandbox.fault(Route.SUBMIT, FaultKind.STATUS, status=500)
    else:
        # No reply comes before the caller is killed.
        sandbox.fault(Route.SUBMIT, FaultKind.HANG, seconds=HANG_S)
