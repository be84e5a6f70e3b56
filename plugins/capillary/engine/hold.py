"""What a submitting task does while doubt keeps its requests back: it reads the list again, and then goes away.

Waiting is not a failure. Within the task the list is read for up to `IN_TASK_S`, since most of what was lost shows
there after seconds. What takes longer is waited for elsewhere (`Waits`), where it holds no worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from capillary.counted import counted
from capillary.engine.doubt import Resolved, resolve_doubt
from capillary.engine.next_batch import NextBatch
from capillary.engine.send import Sender
from capillary.engine.watch import watch_in_turn

#: Longest wait within the task, seconds, since something was accepted last.
IN_TASK_S: Final = 60.0
#: A shorter wait than this is not worth going away for, seconds: a trigger is quiet for as long after a deferral.
WORTH_LEAVING_S: Final = 30.0
_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 15.0
_GROWTH: Final = 1.5


@dataclass(frozen=True, slots=True)
class Waits:
    """A submitting task has done what it could for now, and is to go on later.

    Attributes:
        why: in a sentence.
        until: go on then at the latest, by the ledger's clock; None: as soon as the platform's list can be read.
        may_end_early: whether what others read may let more requests go out before.
    """

    why: str
    until: datetime | None
    may_end_early: bool = False


class Hold:
    """One wait within a task, from the last acceptance on."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._reader = f"submit {sender.runtime.random.getrandbits(48):012x}"
        self._begun_s: float | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._has_looked = False

    def is_due(self, here: NextBatch) -> bool:
        """Return whether to look again before anything more goes out."""
        return not here.batch or (here.is_narrow and not self._has_looked)

    def sent(self, *, accepted: bool) -> None:
        """Something went out: look again before the next wait, which begins again where it was accepted."""
        self._has_looked = False
        if accepted:
            self._begun_s, self._pause_s = None, _FIRST_PAUSE_S

    def leaves(self, here: NextBatch) -> Waits | None:
        """Return what to wait for elsewhere, or None as long as it is waited for here."""
        if here.batch or self._waited_s() < IN_TASK_S or _left_s(here) <= WORTH_LEAVING_S:
            return None
        until = here.until or here.now + timedelta(seconds=IN_TASK_S)
        return Waits(
            f"{counted(here.in_doubt, 'request', 'is', 'are')} in doubt; submit continues when the platform's list "
            f"shows what became of them, or when their absence can be judged ({until:%Y-%m-%d %H:%M:%S} UTC)",
            until,
            may_end_early=True,
        )

    async def look(self, here: NextBatch, *, stop_on_auto_approval: bool, told: int) -> Resolved:
        """Wait a little, then read the list: find what shows by now, and send again what is confirmed absent.

        The other arguments are as `resolve_doubt` takes them.
        """
        self._waited_s()
        pause_s = min(self._pause_s, _left_s(here) + 0.001)
        self._pause_s = min(self._pause_s * _GROWTH, _LONGEST_PAUSE_S)
        await self._sender.runtime.sleep(pause_s)
        self._has_looked = True
        if here.due or _left_s(here) <= pause_s:
            return await resolve_doubt(
                self._sender, stop_on_auto_approval=stop_on_auto_approval, told=told, more_follow=True
            )
        await watch_in_turn(
            self._sender.ledger,
            self._sender.client,
            self._sender.runtime,
            reader=self._reader,
            older_than=timedelta(seconds=pause_s / 2),
            settle=True,
        )
        return Resolved()

    def _waited_s(self) -> float:
        now_s = self._sender.runtime.monotonic()
        if self._begun_s is None:
            self._begun_s = now_s
        return now_s - self._begun_s


def _left_s(here: NextBatch) -> float:
    return float("inf") if here.until is None else (here.until - here.now).total_seconds()
