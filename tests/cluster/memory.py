"""How much memory the cluster takes at most: every process of this PID namespace but this program."""

from __future__ import annotations

import os
import threading
import time
from typing import Final, Self

import psutil  # type: ignore[import-untyped]  # its stubs are a package that nothing else here needs

_PAUSE_S: Final = 3.0
_MIB: Final = 2**20


class Memory:
    """Looks every few seconds while it is entered.

    Attributes:
        peak_pss: MiB at most; what processes share is counted once.
        peak_rss: MiB at most; what they share is counted for each.
        peak_at_s: seconds after it was entered, of the former.
    """

    def __init__(self) -> None:
        self.peak_pss = 0
        self.peak_rss = 0
        self.peak_at_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        began = time.monotonic()
        while not self._over.wait(_PAUSE_S):
            pss = rss = 0
            for process in psutil.process_iter():
                if process.pid == os.getpid():
                    continue
                try:
                    memory = process.memory_full_info()
                except psutil.Error:
                    continue
                pss, rss = pss + memory.pss, rss + memory.rss
            if pss // _MIB > self.peak_pss:
                self.peak_pss, self.peak_at_s = pss // _MIB, time.monotonic() - began
            self.peak_rss = max(self.peak_rss, rss // _MIB)
