"""What became of everybody, by the platform's books and not by the contender's word."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from measure.faults.fault import Fault
from measure.faults.scene import CUSTOMERS, Scene


class Said(StrEnum):
    """How the contender itself says it ended."""

    OK = "ok"  #: all is well
    FAILED = "failed"  #: something failed, although everybody is in a request
    STOPPED = "stopped"  #: it gave up before everybody was


@dataclass(frozen=True, slots=True)
class Cell:
    """One contender under one fault.

    Attributes:
        fault: which.
        twice: customers in more than one request.
        lost: customers in none.
        said: what the contender reported.
    """

    fault: Fault
    twice: int
    lost: int
    said: Said

    def __str__(self) -> str:
        """Return it as the table shows it."""
        return f"{self.twice:,} twice, {self.lost:,} lost, {self.said}"


def judge(scene: Scene, *, ended_well: bool) -> Cell:
    """Read the books.

    Args:
        scene: after the contender has ended.
        ended_well: what the contender said.
    """
    requests = Counter(customer for request in scene.sandbox.platform.requests() for customer in request.customers)
    lost = sum(customer not in requests for customer in CUSTOMERS)
    said = Said.OK if ended_well else Said.STOPPED if lost else Said.FAILED
    return Cell(scene.fault, sum(times > 1 for times in requests.values()), lost, said)
