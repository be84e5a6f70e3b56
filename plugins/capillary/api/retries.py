"""How long to wait before a read is repeated, and how long an account pauses after HTTP 429."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from capillary.api.errors import PlatformUnavailable, ReplyTooLarge, ReplyUnreadable

#: A read is tried this often, and for this long, whichever is first.
READ_ATTEMPTS: Final = 5
READ_BUDGET_S: Final = 120.0
#: The first pause, doubled every time up to the cap, then multiplied by 0.5 to 1 at random.
BACKOFF_FIRST_S: Final = 2.0
BACKOFF_CAP_S: Final = 120.0
_DOUBLINGS: Final = 10  # beyond the cap; keeps the power small


def backoff_s(attempt: int, random: Random) -> float:
    """Return the pause in seconds after the `attempt`-th failure (1 = the first)."""
    full = min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2.0 ** min(attempt - 1, _DOUBLINGS))
    return full * random.uniform(0.5, 1.0)


def retrying(
    what: str,
    *,
    attempts: int,
    sleep: Callable[[float], Awaitable[None]],
    monotonic: Callable[[], float],
    random: Random,
    log: logging.Logger,
) -> AsyncRetrying:
    """Return the one retry decision of this project: call it with what to try.

    Transient errors of a read are repeated until the attempts are used up or the next one would begin after
    `READ_BUDGET_S`; the last error is then raised as it is. A reply that is too large would be so again. A
    `retry_after_s` above 0 replaces the back-off.
    """
    started_at = monotonic()

    def pause(state: RetryCallState) -> float:
        asked = getattr(_error(state), "retry_after_s", None)
        return asked or backoff_s(state.attempt_number, random)

    def stop(state: RetryCallState) -> bool:
        ends_at = monotonic() + state.upcoming_sleep
        return state.attempt_number >= attempts or ends_at - started_at > READ_BUDGET_S

    def tell(state: RetryCallState) -> None:
        log.info(
            "%s: attempt %d of %d failed, next in %.1f s: %s",
            what,
            state.attempt_number,
            attempts,
            state.upcoming_sleep,
            getattr(_error(state), "reason", "no answer"),
        )

    return AsyncRetrying(
        sleep=sleep,
        wait=pause,
        stop=stop,
        before_sleep=tell,
        retry=retry_if_exception(_may_pass),
        reraise=True,
    )


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, PlatformUnavailable | ReplyUnreadable) and not isinstance(error, ReplyTooLarge)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


class Throttle:
    """Turns HTTP 429 into a pause: the platform's own, else a back-off that grows while it goes on.

    Calls in flight together are refused together; they count as one.
    """

    def __init__(self, *, monotonic: Callable[[], float], random: Random) -> None:
        self._monotonic = monotonic
        self._random = random
        self._streak = 0
        self._until = 0.0

    def refused(self, retry_after_s: float | None) -> float:
        """Return how many seconds the account has to pause."""
        now = self._monotonic()
        if self._streak == 0 or now >= self._until:
            self._streak += 1
        pause = retry_after_s or backoff_s(self._streak, self._random)
        self._until = max(self._until, now + pause)
        return pause

    def answered(self) -> None:
        """Note an answer other than 429."""
        self._streak = 0
