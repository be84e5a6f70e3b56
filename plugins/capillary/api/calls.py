"""Single calls with the account's credential, and reads that are paced, retried and renewed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from random import Random
from types import MappingProxyType
from typing import Final, Protocol, TypeVar

from capillary.api import retries
from capillary.api.classify import ReadVerdict
from capillary.api.credential import TOKEN_PATH, Credential
from capillary.api.errors import PlatformUnavailable, ReplyTooLarge, ReplyUnreadable
from capillary.api.response import Answer, explain, read_answer, read_error, refused
from capillary.api.settings import PlatformSettings
from capillary.api.transport import (
    MAX_BODY,
    ConnectFailed,
    ProxyFailed,
    TlsFailed,
    TooLarge,
    Transport,
    TransportFailed,
)

HTTP_TOO_MANY: Final = 429
#: Bodies above this many bytes are parsed in a thread, so that other triggers of the loop go on.
LARGE_BODY: Final = 262_144
#: Of an answer that took longer nobody knows when its `Date` was written, seconds.
QUICK_S: Final = 30.0
_NO_PARAMS: Final[Mapping[str, str]] = MappingProxyType({})
_TOKEN: Final = "OAuth token"  # noqa: S105 - what is asked for, in words

T = TypeVar("T")


class Pace(Protocol):
    """The call budget of the account, shared by everybody who calls it."""

    async def take(self) -> None:
        """Wait for the account's next call slot and take it."""
        ...

    async def block(self, seconds: float) -> None:
        """Let everybody of the account wait that long from now."""
        ...


class Calls:
    """Makes the calls of one account; `Client` says which. `what` names a call in logs and errors."""

    def __init__(
        self,
        settings: PlatformSettings,
        *,
        transport: Transport,
        pace: Pace,
        sleep: Callable[[float], Awaitable[None]],
        monotonic: Callable[[], float],
        random: Random,
        now: Callable[[], datetime],
        on_secret: Callable[[str], None],
        log: logging.Logger,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._pace = pace
        self._sleep = sleep
        self._monotonic = monotonic
        self._random = random
        self._now = now
        self._log = log
        self.credential = Credential(settings, monotonic=monotonic, on_secret=on_secret)
        self._renewing = asyncio.Lock()
        self._throttle = retries.Throttle(monotonic=monotonic, random=random)
        self._heard: tuple[datetime, float] | None = None

    def platform_now(self) -> datetime | None:
        """Return the platform's clock: the `Date` of its last good answer, and the seconds since; None without one.

        What is not a good answer may be a gateway's, with a clock of its own.
        """
        if self._heard is None:
            return None
        said, heard_at = self._heard
        return said + timedelta(seconds=self._monotonic() - heard_at)

    async def clear(self) -> None:
        """See to a credential that is valid for a while, with retries, and wait for a call slot."""
        await self._retrying(_TOKEN, self._take_slot, attempts=retries.READ_ATTEMPTS)

    async def read(
        self,
        what: str,
        path: str,
        parse: Callable[[Answer], T],
        *,
        params: Mapping[str, str] = _NO_PARAMS,
        absent: frozenset[int] = frozenset(),
        attempts: int = retries.READ_ATTEMPTS,
        at_most: int = MAX_BODY,
    ) -> T | None:
        """GET until `parse` has an answer; None when the platform says by one of the `absent` codes that there is none.

        Raises:
            ReplyTooLarge: the answer has more than `at_most` bytes; not asked for again.
            PlatformUnavailable: no usable answer within the attempts.
            ReplyUnreadable: the last answer could not be parsed.
            CallRefused: refused for good, a second 401 or code 2013 included.
        """
        renewed = False

        async def once() -> T | None:
            nonlocal renewed
            await self._take_slot()
            headers = self.credential.headers()
            if headers is None:
                raise PlatformUnavailable(what=what, reason="the OAuth token ran out before the call")
            answer = await self._ask(what, "GET", path, headers=headers, params=params)
            if answer.size > at_most:
                raise ReplyTooLarge(what=what, reason=f"it has {answer.size:,} bytes", http_status=answer.status)
            if answer.says_there_is_none(absent):
                return None
            if answer.read_verdict is ReadVerdict.GOOD:
                return await _off_the_loop(answer.size, lambda: _parsed(what, answer, parse))
            if answer.read_verdict is ReadVerdict.RENEW:
                self.credential.drop(headers)
                if renewed:
                    raise refused(answer, what=what, reason=self.explain(answer))
                renewed = True
            raise read_error(answer, what=what, reason=self.explain(answer))

        return await self._retrying(what, once, attempts=attempts)

    async def _take_slot(self) -> None:
        """Take the slot last: a renewal takes one of its own, and a slot used late is one call too many."""
        await self._renew_if_due()
        await self._pace.take()
        if self.credential.is_due:  # it ran out while the slot was waited for
            await self._renew_if_due()
            await self._pace.take()

    async def _renew_if_due(self) -> None:
        if not self.credential.is_due:
            return
        async with self._renewing:
            if not self.credential.is_due:
                return
            await self._pace.take()
            asked_at = self._monotonic()
            answer = await self._ask(
                _TOKEN,
                "POST",
                TOKEN_PATH,
                headers={"Accept": "application/json", "Content-Type": "application/json"},
                json_body={"key": self._settings.oauth_key, "secret": self._settings.oauth_secret},
            )
            if answer.read_verdict is ReadVerdict.RENEW:
                raise refused(answer, what=_TOKEN, reason=self.explain(answer))
            if answer.read_verdict is not ReadVerdict.GOOD:
                raise read_error(answer, what=_TOKEN, reason=self.explain(answer))
            self.credential.accept(answer.payload, asked_at=asked_at)

    async def _ask(
        self,
        what: str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str] = _NO_PARAMS,
        json_body: object | None = None,
    ) -> Answer:
        try:
            return await self.call(
                what,
                method,
                path,
                headers=headers,
                timeout_s=self._settings.read_timeout_s,
                params=params,
                json_body=json_body,
            )
        except TooLarge as error:
            raise ReplyTooLarge(what=what, reason=str(error)) from error
        except (ConnectFailed, TransportFailed) as error:
            told = isinstance(error, TlsFailed | ProxyFailed)
            raise PlatformUnavailable(what=what, reason=str(error), told=told) from error

    async def call(
        self,
        what: str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        params: Mapping[str, str] = _NO_PARAMS,
        json_body: object | None = None,
    ) -> Answer:
        """Make exactly one call; HTTP 429 or a `Retry-After` pauses the account.

        The path may hold a customer id: not logged.

        Raises:
            ConnectFailed: nothing left the machine.
            TransportFailed: anything later.
        """
        started_at = self._monotonic()
        reply = await self._transport.call(
            method,
            self._settings.base_url + path,
            headers=headers,
            timeout_s=timeout_s,
            json_body=json_body,
            params=params,
        )
        now = self._now()
        answer = await _off_the_loop(len(reply.body), lambda: read_answer(reply, now=now))
        self._log.debug(
            "%s: HTTP %d after %.2f s, code %s, trace %s",
            what,
            answer.status,
            self._monotonic() - started_at,
            answer.code,
            answer.trace_id,
        )
        is_quick = self._monotonic() - started_at <= QUICK_S
        if answer.platform_time is not None and answer.is_good_status and answer.is_json and is_quick:
            self._heard = answer.platform_time, self._monotonic()
        await self._obey(answer)
        return answer

    async def _obey(self, answer: Answer) -> None:
        """Let the account wait for what the reply asks for, whatever else it says, and after every HTTP 429."""
        if answer.status == HTTP_TOO_MANY:
            pause_s = self._throttle.refused(answer.retry_after_s)
            reason = "calls are limited"
        else:
            self._throttle.answered()
            if not answer.retry_after_s:
                return
            pause_s = answer.retry_after_s
            reason = f"HTTP {answer.status} asks for a pause"
        self._log.warning("%s: %s, everybody waits %.0f s", self._settings.account, reason, pause_s)
        await self._pace.block(pause_s)

    async def _retrying(self, what: str, once: Callable[[], Awaitable[T]], *, attempts: int) -> T:
        retry = retries.retrying(
            what,
            attempts=attempts,
            sleep=self._sleep,
            monotonic=self._monotonic,
            random=self._random,
            log=self._log,
        )
        return await retry(once)

    def explain(self, answer: Answer) -> str:
        """Return the reason of an answer in words that may be logged."""
        expires_at = self._settings.ui_token_expires_at
        return explain(
            answer,
            secrets=(*self._settings.secrets(), *self.credential.secrets()),
            ui_token_expired_at=expires_at if expires_at is not None and expires_at <= self._now() else None,
        )


async def _off_the_loop(size: int, parse: Callable[[], T]) -> T:
    """Parse a large body in a thread, and in pieces there (`capillary.api.json_pieces`): the event loop goes on.

    A page of 100 decided requests of 500 customers has 6 MB and takes 150 ms.
    """
    return await asyncio.to_thread(parse) if size > LARGE_BODY else parse()


def _parsed(what: str, answer: Answer, parse: Callable[[Answer], T]) -> T:
    try:
        return parse(answer)
    except ReplyUnreadable as error:
        raise ReplyUnreadable(
            what=what, reason=error.reason, http_status=answer.status, trace_id=answer.trace_id
        ) from error
