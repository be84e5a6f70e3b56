"""The account's call budget, as the client asks for it: kept in the ledger, shared by every process."""

from __future__ import annotations

from functools import partial
from typing import Final

from capillary.engine.runtime import Runtime
from capillary.ledger import pace
from capillary.ledger.database import Ledger


class LedgerPace:
    """Call slots of one account (`capillary.api.calls.Pace`)."""

    def __init__(self, ledger: Ledger, account: str, *, calls_per_minute: int, runtime: Runtime) -> None:
        self._ledger: Final = ledger
        self._account: Final = account
        self._calls_per_minute: Final = calls_per_minute
        self._runtime: Final = runtime

    async def take(self) -> None:
        """Wait for a slot. One that passed unused, or that a 429 fell upon, is dropped for another."""
        is_another = False
        while True:
            asked_at = self._runtime.monotonic()
            wait_s = await self._runtime.ledger_call(partial(self._take_slot, is_another=is_another))
            is_another = True
            remaining_s = asked_at + wait_s - self._runtime.monotonic()
            if remaining_s > 0:
                await self._runtime.sleep(remaining_s)
                if await self._runtime.ledger_call(self._is_blocked):
                    continue
            if self._runtime.monotonic() - (asked_at + wait_s) <= pace.SLOT_GRACE_S:
                return

    async def block(self, seconds: float) -> None:
        """Let everybody of the account wait."""

        def write() -> None:
            with self._ledger.write() as tx:
                pace.block(tx, self._account, seconds=seconds)

        await self._runtime.ledger_call(write)

    def _take_slot(self, *, is_another: bool) -> float:
        with self._ledger.write() as tx:
            limit = self._calls_per_minute
            return pace.take_slot(tx, self._account, calls_per_minute=limit, is_another=is_another)

    def _is_blocked(self) -> bool:
        with self._ledger.read() as tx:
            return pace.is_blocked(tx, self._account)
