"""What goes wrong with the platform: lost replies, errors, slowness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random

from sandbox.faults import FaultKind, Route, When
from tests.fire.agenda import Agenda
from tests.fire.judge import Judged
from tests.fire.stack import HANG_S

#: Seconds between two faults, and between two changes of the latency.
FAULT_PAUSE_S = (2.0, 8.0)
LATENCY_PAUSE_S = (5.0, 20.0)
#: Seconds that every call takes longer, one of them at a time.
LATENCIES_S = (0.0, 0.0, 0.05, 0.3, 1.0)

_ROUTES = {Route.SUBMIT: 6, Route.LIST: 3, Route.GET: 2}
_KINDS: tuple[Mapping[str, object], ...] = (
    {"kind": FaultKind.DROP, "when": When.BEFORE},
    {"kind": FaultKind.DROP, "when": When.AFTER},
    {"kind": FaultKind.RESET, "when": When.AFTER},
    {"kind": FaultKind.TRUNCATED, "when": When.AFTER},
    {"kind": FaultKind.HTML, "when": When.AFTER},
    {"kind": FaultKind.DELAY, "when": When.AFTER, "seconds": 3},
    {"kind": FaultKind.HANG, "when": When.BEFORE, "seconds": HANG_S},
    {"kind": FaultKind.HANG, "when": When.AFTER, "seconds": HANG_S},
    {"kind": FaultKind.STATUS, "when": When.AFTER, "status": 500},
    {"kind": FaultKind.STATUS, "when": When.BEFORE, "status": 502},
    {"kind": FaultKind.STATUS, "when": When.AFTER, "status": 504},
    {"kind": FaultKind.STATUS, "when": When.BEFORE, "status": 503, "code": 4001},
    {"kind": FaultKind.STATUS, "when": When.BEFORE, "status": 429, "retry_after": "2"},
)


class Weather:
    """Puts faults into the sandbox until it is told to clear.

    Args:
        stack: whose sandbox it is.
        agenda: on which it stands.
        random: draws faults and times.
    """

    def __init__(self, stack: Judged, agenda: Agenda, random: Random) -> None:
        self._stack = stack
        self._agenda = agenda
        self._random = random
        self.counts: Counter[str] = Counter()

    def begin(self) -> None:
        """Let it change for the worse."""
        self._agenda.later(self._random.uniform(*FAULT_PAUSE_S), self._fault)
        self._agenda.later(self._random.uniform(*LATENCY_PAUSE_S), self._latency)

    def clear(self) -> None:
        """No fault from now on, and no latency."""
        self._stack.sandbox.delete("/_sandbox/faults").raise_for_status()
        self._stack.sandbox.patch("/_sandbox/switches", json={"latency_s": 0}).raise_for_status()

    def _fault(self) -> None:
        route = self._random.choices(list(_ROUTES), list(_ROUTES.values()))[0]
        kind = self._random.choice(_KINDS)
        waiting = {fault["route"] for fault in self._stack.sandbox.get("/_sandbox/faults").json()}
        # A fault waits for a call: while nobody calls they would heap up, and then nothing would succeed.
        if route not in waiting:
            self._stack.sandbox.post("/_sandbox/faults", json={"route": route, **kind}).raise_for_status()
            self.counts[route] += 1
        self._agenda.later(self._random.uniform(*FAULT_PAUSE_S), self._fault)

    def _latency(self) -> None:
        latency = {"latency_s": self._random.choice(LATENCIES_S)}
        self._stack.sandbox.patch("/_sandbox/switches", json=latency).raise_for_status()
        self._agenda.later(self._random.uniform(*LATENCY_PAUSE_S), self._latency)
