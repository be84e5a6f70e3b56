"""Lost and garbled replies: each fault on each call, 500 customers, judged by the platform's books."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any, Final

from sandbox.faults import FaultKind, Route
from sandbox.settings import CLIENT, ListRows
from tests.crashes.drive import at_rest, to_the_end
from tests.crashes.installation import LATER_S, Installation
from tests.crashes.installation_factory import InstallationFactory
from tests.crashes.job import RETRIED, Task
from tests.crashes.judge import faults_of
from tests.crashes.planted import Plant

CUSTOMERS: Final = range(70_001, 70_501)
SIZE: Final = 100
IN_FLIGHT: Final = 4
#: Longer than the client waits for any reply here, seconds.
PAST_THE_TIMEOUT_S: Final = 1.5
#: How often a repeated fault comes: fewer than the attempts of a read.
REPEATED: Final = 3


class Call(StrEnum):
    """Which call is hit. Always after the platform has done what it asked for."""

    SUBMIT = "submit"
    LIST = "list"
    GET = "get"
    TOKEN_AND_BADGE = "token and badge"


#: What comes in place of the reply.
REPLIES: Final[Mapping[str, dict[str, Any]]] = {
    "dropped": {"kind": FaultKind.DROP},
    "reset in the body": {"kind": FaultKind.RESET},
    "hangs past the timeout": {"kind": FaultKind.HANG, "seconds": PAST_THE_TIMEOUT_S},
    "500": {"kind": FaultKind.STATUS, "status": 500},
    "502": {"kind": FaultKind.STATUS, "status": 502},
    "504": {"kind": FaultKind.STATUS, "status": 504},
    "200 with HTML": {"kind": FaultKind.HTML},
    "truncated JSON": {"kind": FaultKind.TRUNCATED},
    #: An id that was used before: for a POST that was carried out. A read gets what an overloaded node says.
    "809 or 503": {"kind": FaultKind.STATUS, "status": 400, "code": 809},
}
_OVERLOADED: Final = {"kind": FaultKind.STATUS, "status": 503}
_OAUTH: Final = {"oauth_key": CLIENT.key, "oauth_secret": CLIENT.secret}


@dataclass(frozen=True, slots=True)
class LostReply:
    """One case.

    Attributes:
        call: the call that is hit.
        reply: what comes in place of its reply.
        times: on how many calls in a row.
    """

    call: Call
    reply: str
    times: int = 1

    def __str__(self) -> str:
        return f"{self.call}: {self.reply}" + (f", {self.times} times" if self.times > 1 else "")


def every_case(*, repeated: bool) -> list[LostReply]:
    """Return the 36 cases, or those in which the fault comes again and again."""
    return [LostReply(call, reply, REPEATED if repeated else 1) for call, reply in product(Call, REPLIES)]


def play(factory: InstallationFactory, case: LostReply, *, plant: Plant | None = None) -> list[str]:
    """Run a campaign from plan to report under the fault; return the broken promises."""
    extras = _OAUTH if case.call is Call.TOKEN_AND_BADGE else {}
    options: dict[str, object] = {"customers_per_request": SIZE, "in_flight": IN_FLIGHT}
    with factory.installation(CUSTOMERS, platform=extras, options=options) as installation:
        installation.plant = plant
        installation.begin()
        _hit(installation, case, Call.TOKEN_AND_BADGE)
        plan = at_rest(installation, Task.PLAN).value
        for call in (Call.SUBMIT, Call.LIST, Call.TOKEN_AND_BADGE):
            _hit(installation, case, call)
        submitted = at_rest(installation, Task.SUBMIT, plan=plan)
        if submitted.how in RETRIED:
            return [f"submit does not come to rest: {submitted.said}"]
        installation.clock.jump(LATER_S)
        for call in (Call.LIST, Call.GET, Call.TOKEN_AND_BADGE):
            _hit(installation, case, call)
        if case.call is Call.GET:
            # What the list does not show is read one by one.
            installation.sandbox.switch(list_rows=ListRows.HIDES)
        at_rest(installation, Task.WAIT, plan=plan)
        installation.sandbox.switch(list_rows=ListRows.COMPLETE)
        faults = to_the_end(installation, {"run 1": plan})
        left = [str(fault.route) for fault in installation.sandbox.platform.faults.waiting()]
        return [*faults, *faults_of(installation), *(f"the fault on {route} was never met" for route in left)]


def _hit(installation: Installation, case: LostReply, call: Call) -> None:
    if case.call is not call:
        return
    fault = REPLIES[case.reply]
    if call is not Call.SUBMIT and fault.get("code") is not None:
        fault = _OVERLOADED
    routes = [Route.TOKEN, Route.BADGES] if call is Call.TOKEN_AND_BADGE else [Route(call)]
    installation.sandbox.platform.faults.clear()
    for route in routes:
        if route is not Route.BADGES or not installation.ended:
            installation.sandbox.fault(route, times=case.times, **fault)
