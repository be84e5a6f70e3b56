"""The one client of the platform: single POSTs that are never repeated, and patient, paced reads.

Time, sleep, randomness, pace and transport come from outside, so that a simulation can drive it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from random import Random
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from capillary.api import retries
from capillary.api.badges import Badge, Issual, parse_badge, parse_issuals
from capillary.api.calls import Calls, Pace
from capillary.api.errors import InDoubt, NotTaken, ReplyUnreadable, Unauthorized
from capillary.api.request_workflow import (
    REQUEST_TYPE,
    REQUEST_WORKFLOW_PATH,
    IssueBadgeRequest,
    Page,
    WorkflowRequest,
    id_in,
    parse_page,
    parse_request,
    post_body,
)
from capillary.api.response import Answer, PostError, post_error
from capillary.api.settings import PlatformSettings
from capillary.api.transport import MAX_BODY, ConnectFailed, Transport, TransportFailed
from capillary.counted import counted

BADGE_PATH: Final = "/api_gateway/v1/badges/badgeMeta"
MANAGEMENT_PATH: Final = "/api_gateway/v1/badges/management"
#: The connection's test is for a person who waits.
CHECK_ATTEMPTS: Final = 2
#: Most bytes of a list page of more than one row: what a larger one becomes when it is parsed, some 70,000 customers,
#: costs the triggerer's event loop 100 ms on a busy machine as it is collected and dropped.
LARGEST_PAGE: Final = 8 * 1024 * 1024
#: Codes that say that there is nothing: unknown request id, badge or enrolment, customer not found.
_NO_REQUEST: Final = frozenset({404, 2007})
_NO_BADGE: Final = frozenset({404, 1054})
_NO_ENROLMENT: Final = frozenset({404, 1026})
_LOG: Final = logging.getLogger("capillary.client")


class Client:
    """Speaks to one account. Use as an async context manager, which closes the transport."""

    def __init__(
        self,
        settings: PlatformSettings,
        *,
        transport: Transport,
        pace: Pace,
        sleep: Callable[[float], Awaitable[None]],
        monotonic: Callable[[], float],
        random: Random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_secret: Callable[[str], None] = lambda _: None,
        log: logging.Logger = _LOG,
    ) -> None:
        """Take `on_secret`, which is told every new OAuth token so that logs can mask it."""
        self.settings = settings
        self._transport = transport
        self._now = now
        self._calls = Calls(
            settings,
            transport=transport,
            pace=pace,
            sleep=sleep,
            monotonic=monotonic,
            random=random,
            now=now,
            on_secret=on_secret,
            log=log,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._transport.close()

    # Submitting ---------------------------------------------------------------------------------------------

    async def clear_to_send(self) -> None:
        """Wait for a call slot, then see to a credential that is valid for 60 s or more.

        Raises:
            PlatformUnavailable: no OAuth token could be had after the retries.
            CallRefused: the OAuth key or secret is refused.
        """
        await self._calls.clear()

    async def submit(self, request: IssueBadgeRequest) -> WorkflowRequest:
        """Send exactly one POST, without pace and without retry, and return the request it became.

        A reply with another key than ours is in doubt here: whether that key was made from ours, the ledger tells.
        Call `clear_to_send` before the request is claimed in the ledger. A cancellation in mid-call is passed
        on and leaves the request in doubt.

        Raises:
            NotTaken: certainly not taken (`RateLimited`, `Unauthorized` among them).
            InDoubt: it may have been taken.
            RequestRefused: refused for its own content.
            EverythingRefused: every request would be refused.
        """
        headers = self._calls.credential.headers()
        if headers is None:
            raise Unauthorized(reason="there is no valid OAuth token", request_key=request.key)
        body = post_body(request, authorization=self.settings.inner_authorization)
        try:
            answer = await self._calls.call(
                "submit",
                "POST",
                f"{REQUEST_WORKFLOW_PATH}/{REQUEST_TYPE}",
                headers=headers,
                timeout_s=self.settings.post_timeout_s,
                json_body=body,
            )
        except ConnectFailed as error:
            raise NotTaken(reason=str(error), request_key=request.key) from error
        except TransportFailed as error:
            raise InDoubt(reason=str(error), request_key=request.key) from error
        taken = _taken(answer)
        if taken is None:
            refusal = self._not_accepted(answer, request.key)
            if isinstance(refusal, Unauthorized):
                self._calls.credential.drop(headers)
            if isinstance(refusal, InDoubt):
                refusal.platform_request_id = id_in(answer.payload)
            raise refusal
        if taken.request_key is not None and taken.request_key != request.key:
            raise InDoubt(
                reason="the answer is about another request",
                request_key=request.key,
                http_status=answer.status,
                trace_id=answer.trace_id,
                platform_request_id=taken.platform_request_id,
                answered=taken,
            )
        return taken

    def _not_accepted(self, answer: Answer, request_key: str) -> PostError:
        """Return the error of an answer to a POST; a refusal that shows a request all the same proves nothing."""
        reason = self._calls.explain(answer)
        error = post_error(answer, reason=reason, request_key=request_key)
        if isinstance(error, InDoubt) or id_in({"data": answer.data}) in {None, request_key}:
            return error
        return InDoubt(
            reason=f"{reason}, and yet the answer names a request",
            request_key=request_key,
            http_status=answer.status,
            code=answer.code,
            trace_id=answer.trace_id,
        )

    # Reading ------------------------------------------------------------------------------------------------

    def platform_now(self) -> datetime | None:
        """Return the platform's clock, by the `Date` of its last good answer; None while none had one."""
        return self._calls.platform_now()

    async def read_request(
        self, platform_request_id: str, *, attempts: int = retries.READ_ATTEMPTS
    ) -> WorkflowRequest | None:
        """Return one request, or None when the platform does not know the id.

        Raises, like every read, PlatformUnavailable and ReplyUnreadable after retries, CallRefused at once.
        """
        path = f"{REQUEST_WORKFLOW_PATH}/requests/{quote(platform_request_id, safe='')}"
        return await self._calls.read(
            "one request",
            path,
            lambda a: parse_request(a.data, asked_for=platform_request_id),
            absent=_NO_REQUEST,
            attempts=attempts,
        )

    async def list_requests(
        self,
        *,
        page: int,
        start_date: date,
        end_date: date | None = None,
        request_type: str | None = None,
        limit: int | None = None,
    ) -> Page:
        """Return one page of the list, oldest first; the first page is 0 whatever the platform counts from.

        `start_date` and `end_date` are days of the cluster's time zone; whether the platform includes them it does
        not say. Without `end_date` the list goes on to now. `request_type` is upper-case with hyphens. `limit` is the
        most rows of a page, the connection's `page_size` when it is not given; pages of another limit have other
        numbers.

        Raises:
            ReplyTooLarge: the page has more than `LARGEST_PAGE` bytes; a page of one row may have 64 MiB.
        """
        return await self._list(
            page=page, start_date=start_date, end_date=end_date, request_type=request_type, limit=limit
        )

    async def _list(
        self,
        *,
        page: int,
        start_date: date,
        request_type: str | None,
        end_date: date | None = None,
        limit: int | None = None,
        attempts: int = retries.READ_ATTEMPTS,
    ) -> Page:
        limit = limit or self.settings.page_size
        params = {
            "sortBy": "startDate",
            "sortOrder": "asc",
            "startDate": start_date.isoformat(),
            "limit": str(limit),
            "PageNo": str(page + self.settings.page_base),
        }
        if end_date is not None:
            params["endDate"] = end_date.isoformat()
        if request_type is not None:
            params["requestType"] = request_type
        listed = await self._calls.read(
            "list of requests",
            f"{REQUEST_WORKFLOW_PATH}/requests",
            lambda a: parse_page(a.payload),
            params=params,
            attempts=attempts,
            at_most=MAX_BODY if limit == 1 else LARGEST_PAGE,
        )
        if listed is None:
            raise ReplyUnreadable(what="list of requests", reason="it is missing")
        return listed

    async def read_badge(self, badge_id: str) -> Badge | None:
        """Return the badge's definition, or None when the organisation has no such badge."""
        zone = ZoneInfo(self.settings.cluster_timezone)
        return await self._calls.read(
            "badge",
            f"{BADGE_PATH}/{quote(badge_id, safe='')}",
            lambda a: parse_badge(a.data, asked_for=badge_id, cluster_timezone=zone),
            absent=_NO_BADGE,
        )

    async def read_issuals(self, customer_id: int, badge_id: str) -> tuple[Issual, ...]:
        """Return the customer's enrolments for the badge, ended ones too; none for an unknown customer."""
        issuals = await self._calls.read(
            "enrolments",
            f"{MANAGEMENT_PATH}/{customer_id}/badge/{quote(badge_id, safe='')}",
            lambda a: parse_issuals(
                a.data,
                customer_id=customer_id,
                badge_id=badge_id,
                cluster_timezone=ZoneInfo(self.settings.cluster_timezone),
            ),
            params={"includeStatistics": "true"},
            absent=_NO_ENROLMENT,
        )
        return issuals or ()

    async def check(self) -> str:
        """Make one cheap read, and say in a sentence what answered.

        Raises what a read raises; each names what to correct.
        """
        today = self._now().astimezone(ZoneInfo(self.settings.cluster_timezone)).date()
        page = await self._list(page=0, start_date=today, request_type=REQUEST_TYPE, limit=1, attempts=CHECK_ATTEMPTS)
        settings = self.settings
        sentences = [
            f"{settings.account} answered {'OAuth' if settings.uses_oauth else 'the till'}",
            f"{counted(page.total_elements, f'{REQUEST_TYPE} request')} since {today}",
            f"submitting is {'on' if settings.submitting else 'off'}",
        ]
        if settings.environment:
            sentences.append(f"environment {settings.environment}")
        if settings.proxy:
            sentences.append(f"through the proxy {urlsplit(settings.proxy).netloc.rpartition('@')[2]}")
        if settings.verify is False:
            sentences.append("TLS certificates are NOT verified")
        if settings.sends_in_clear:
            sentences.append("credentials cross the network UNENCRYPTED")
        if (expires_at := settings.ui_token_expires_at) is not None:
            verb = "expires" if expires_at > self._now() else "EXPIRED"
            sentences.append(f"the UI token {verb} {expires_at:%Y-%m-%d %H:%M} UTC")
        return "; ".join(sentences) + "."


def _taken(answer: Answer) -> WorkflowRequest | None:
    """Return the request of a good answer to a POST, None when it names none."""
    if not answer.is_good_status:
        return None
    try:
        return parse_request(answer.data)
    except ReplyUnreadable:
        return None
