"""A client that answers by script, with a sender on it, a real ledger in a file and a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import cast

from sqlalchemy import Row, func, select

from capillary.api.client import Client
from capillary.api.errors import CallRefused, PlatformUnavailable, ReplyUnreadable
from capillary.api.request_workflow import IssueBadgeRequest, Page, WorkflowRequest
from capillary.api.settings import PlatformSettings
from capillary.engine.runtime import Runtime
from capillary.engine.send import Sender
from capillary.ledger.database import Ledger
from capillary.ledger.plan import Plan
from capillary.ledger.plan_id import PlanId
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from tests.unit.ledger.orders import ORDER, SPEC, plan, plan_id

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SETTINGS = PlatformSettings(
    base_url="https://platform.example",
    organisation_id="100",
    login="till.one",
    password="password",
    cluster_timezone="Asia/Kolkata",
    visibility_lag_s=100,
    post_timeout_s=30,
)
LEASE = timedelta(hours=6)

Answer = WorkflowRequest | Exception | Callable[[IssueBadgeRequest], Awaitable[WorkflowRequest]]


def row(platform_request_id: str, key: str | None, state: str = "AdminTask", *, human: bool = False) -> WorkflowRequest:
    """A request as the platform shows it."""
    return WorkflowRequest(
        platform_request_id=platform_request_id,
        request_type="ISSUE-BADGE",
        state=state,
        request_key=key,
        customers=None,
        badge_id=None,
        human_decided=human,
        checker_message=None,
        created_at=None,
        execution=None,
    )


@dataclass
class ScriptedClient:
    """What a sender works with, and what it did.

    Attributes:
        answers: to POSTs, in order; after the last one every POST is accepted as ``p-<number>``.
        listed: rows of the platform's list, in one page.
        refuses: looks at the first and the last day of a call of the list.
        refused_reads: platform request ids of which a single read is refused.
        refused_with: the HTTP status of that.
        unreadable_reads: platform request ids of which a single read gets no answer that can be read.
        failing_reads: HTTP statuses of single reads that fail after all retries, by platform request id.
        unlisted: rows that single reads alone find.
        lean: the list shows neither keys nor customers nor badges; single reads do.
        whole: what single reads show in place of rows of the list, by platform request id.
        taken: what POSTs were answered, which single reads find as well.
        misread_types: types whose filter matches no row, whatever is listed.
        cut_short: readings of the list that claim more rows than they show; `cut_short_of`: of this type.
        events: calls in their order: ``clear``, ``asked``, ``post <key>``, ``list``.
        lists: since when, and of which type, the list was asked for.
        most_at_once: POSTs that were under way together.
        second: of the sender's monotonic clock; the ledger's `now` continues with its sleeps.
        platform_ahead: the platform's clock less the ledger's; None: its replies do not say it.
    """

    ledger: Ledger
    now: list[datetime]
    settings: PlatformSettings = SETTINGS
    answers: list[Answer] = field(default_factory=list)
    listed: list[WorkflowRequest] = field(default_factory=list)
    unlisted: list[WorkflowRequest] = field(default_factory=list)
    taken: list[WorkflowRequest] = field(default_factory=list)
    whole: dict[str, WorkflowRequest] = field(default_factory=dict)
    refuses: Callable[[date, date | None], bool] = lambda _first, _last: False
    refused_reads: set[str] = field(default_factory=set)
    refused_with: int = 404
    unreadable_reads: set[str] = field(default_factory=set)
    failing_reads: dict[str, int] = field(default_factory=dict)
    lean: bool = False
    misread_types: frozenset[str] = frozenset()
    cut_short: int = 0
    cut_short_of: str | None = None
    events: list[str] = field(default_factory=list)
    lists: list[tuple[date, str | None]] = field(default_factory=list)
    posts: list[IssueBadgeRequest] = field(default_factory=list)
    numbered: int = 0
    under_way: int = 0
    most_at_once: int = 0
    second: float = 0.0
    submitting: bool = True
    platform_ahead: timedelta | None = None

    # The client -----------------------------------------------------------------------------------------------

    async def clear_to_send(self) -> None:
        self.events.append("clear")

    async def submit(self, request: IssueBadgeRequest) -> WorkflowRequest:
        self.events.append(f"post {request.key}")
        self.posts.append(request)
        self.numbered += 1
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        answer = self.answers.pop(0) if self.answers else row(f"p-{self.numbered}", request.key)
        await asyncio.sleep(0)
        self.under_way -= 1
        if isinstance(answer, Exception):
            raise answer
        taken = answer if isinstance(answer, WorkflowRequest) else await answer(request)
        self.taken.append(taken)
        return taken

    async def list_requests(
        self,
        *,
        page: int,
        start_date: date,
        end_date: date | None = None,
        request_type: str | None = None,
        **_: object,
    ) -> Page:
        self.events.append("list")
        if page > 0:
            return Page((), 0, page, total_pages=1, total_elements=len(self.listed))
        self.lists.append((start_date, request_type))
        if self.refuses(start_date, end_date):
            raise CallRefused(what="list of requests", reason="these days are not listed", http_status=400)
        more = 1 if self.cut_short and request_type == self.cut_short_of else 0
        self.cut_short -= more
        rows = (
            []
            if request_type in self.misread_types
            else [
                replace(each, request_key=None, customers=None, badge_id=None) if self.lean else each
                for each in self.listed
            ]
        )
        return Page(tuple(rows), 0, page, total_pages=1, total_elements=len(rows) + more)

    def platform_now(self) -> datetime | None:
        return None if self.platform_ahead is None else self.now[0] + self.platform_ahead

    async def read_request(self, platform_request_id: str, *, attempts: int = 5) -> WorkflowRequest | None:
        assert attempts > 0
        self.events.append(f"read {platform_request_id}")
        if platform_request_id in self.refused_reads:
            status = self.refused_with
            raise CallRefused(what="one request", reason=f"the platform answered HTTP {status}", http_status=status)
        if (failing := self.failing_reads.get(platform_request_id)) is not None:
            raise PlatformUnavailable(what="one request", reason="the platform failed", http_status=failing)
        if platform_request_id in self.unreadable_reads:
            raise ReplyUnreadable(what="one request", reason="it is missing")
        rows = [*self.whole.values(), *self.listed, *self.unlisted, *self.taken]
        return next((each for each in rows if each.platform_request_id == platform_request_id), None)

    # The test -------------------------------------------------------------------------------------------------

    @property
    def sender(self) -> Sender:
        """One sender; its monotonic clock is `second`."""

        async def may_submit() -> bool:
            self.events.append("asked")
            return self.submitting

        async def sleep(seconds: float) -> None:
            self.second += seconds
            self.now[0] += timedelta(seconds=seconds)

        runtime = Runtime(sleep=sleep, monotonic=lambda: self.second, random=Random(1))  # noqa: S311 - no secret
        return Sender(self.ledger, cast("Client", self), runtime, may_submit)

    def plan(
        self, customers: Iterable[int], run_id: str = "first", *, size: int = 3, campaign: str = ORDER.campaign
    ) -> Plan:
        """Plan customers for this client's account; every campaign has an occasion of its own."""
        order = replace(
            ORDER,
            run_id=run_id,
            campaign=campaign,
            occasion=ORDER.occasion if campaign == ORDER.campaign else campaign,
            spec=replace(SPEC, account=self.settings.account),
            customers_per_request=size,
        )
        return plan(self.ledger, customers, order)

    def plan_id(self, badge_run_id: int | None) -> PlanId:
        """Return what a task holds of a plan."""
        return plan_id(self.ledger, badge_run_id)

    def requests(self) -> list[Row[tuple[object, ...]]]:
        """Return all requests in the order of their ids."""
        return self._rows(select(badge_request).order_by(badge_request.c.id))

    def statuses(self) -> list[str]:
        """Return the status of every request in the order of their ids."""
        return [each.status for each in self.requests()]

    def outcomes(self) -> dict[str | None, int]:
        """Count the customers by outcome."""
        column = badge_enrolment.c.outcome
        return {
            each.outcome: each.customers
            for each in self._rows(select(column, func.count().label("customers")).group_by(column))
        }

    def sightings(self) -> list[Row[tuple[object, ...]]]:
        """Return all sightings by their platform request id."""
        return self._rows(select(badge_sighting).order_by(badge_sighting.c.platform_request_id))

    def alive_until(self, badge_run_id: int | None) -> datetime:
        """Return the end of a run's lease."""
        (run,) = self._rows(select(badge_run.c.alive_until).where(badge_run.c.id == badge_run_id))
        until: datetime = run.alive_until
        return until

    def write(self, statement: object) -> None:
        """Execute one statement on the ledger."""
        with self.ledger.write() as tx:
            tx.conn.execute(statement)  # type: ignore[call-overload]

    def _rows(self, statement: object) -> list[Row[tuple[object, ...]]]:
        with self.ledger.read() as tx:
            return list(tx.conn.execute(statement).all())  # type: ignore[call-overload]
