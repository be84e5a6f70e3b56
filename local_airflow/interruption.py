"""Ctrl-C and its kin, noticed between steps and never in the middle of one."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from local_airflow.errors import RunInterruptedError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Turns signals into an event that every wait looks at.

    An exception out of a signal handler may strike between the start of a process and the note of its id, and
    leave it behind. So handlers only set a flag here.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        #: Set by a second signal: do not wait for an orderly end.
        self.hurry = threading.Event()

    def install(self) -> None:
        """Take over SIGINT, SIGTERM and SIGHUP, even where the shell had them ignored."""
        for number in SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's signature
        if self._asked.is_set():
            self.hurry.set()
        self._asked.set()

    def ask(self) -> None:
        """Ask to stop, as a signal would."""
        self._asked.set()

    def pause(self, seconds: float) -> None:
        """Wait that long.

        Raises:
            RunInterruptedError: a signal came, before or in the meantime.
        """
        if self._asked.wait(seconds):
            raise RunInterruptedError("interrupted: all that was started has been stopped")
