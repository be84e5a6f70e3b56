"""The request workflow: create, decide, read one, list.

A request passes its approval nodes (normally AdminTask alone) and is then executed against the badge engine,
in the same transaction as its decision. ``reference/issue-badge-enrol-customers-for-badges``,
``reference/approve-or-reject-a-request``, ``reference/get-request-info``, ``reference/get-all-requests``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import formatdate
from uuid import uuid4

from sandbox.access import Access, Actor
from sandbox.badge_engine import BadgeEngine, BulkReply
from sandbox.books import Books
from sandbox.books_schema import NewRequest, RequestRow
from sandbox.documents import child
from sandbox.echo import echoed
from sandbox.ids import RequestIds
from sandbox.payloads import (
    APPROVED,
    REJECTED,
    TASK,
    Decision,
    check_type,
    is_callable,
    members,
    read_decision,
    read_submission,
    read_task,
)
from sandbox.replies import PlatformError, Reply, dumps
from sandbox.request_list import read_page
from sandbox.settings import PartialPolicy, SandboxSettings

ADMIN_TASK, FAILED = "AdminTask", "failed"


class Workflow:
    """The platform's workflow service. Every change is committed before its reply is returned."""

    def __init__(
        self,
        books: Books,
        engine: BadgeEngine,
        access: Access,
        settings: Callable[[], SandboxSettings],
        clock: Callable[[], float],
    ) -> None:
        self._books = books
        self._engine = engine
        self._access = access
        self._settings = settings
        self._clock = clock
        self._ids = RequestIds()

    def create(self, actor: Actor, request_type: str, document: dict[str, object]) -> Reply:
        """Takes a request, and parks it on its first approval node, or executes it where none is needed."""
        settings = self._settings()
        check_type(request_type)
        bypass = settings.external_service_bypass and actor.external
        if not actor.may_make and not bypass:
            raise PlatformError(2001)
        submission = read_submission(document)
        now = self._clock()
        new = NewRequest(
            platform_request_id=str(self._ids.next(now)),
            request_type=request_type,
            state=settings.unknown_state or ADMIN_TASK,
            started=now,
            start_time=self._local(now),
            user_id=actor.user_id,
            user_name=actor.user_name,
            entity=submission.entity,
            request_key=submission.request_key,
            badge_id=submission.badge_id,
            customers=submission.customers,
            payload=dumps(submission.task),
        )
        with self._books.transaction():
            row = self._books.add_request(new)
            if settings.auto_approve or bypass:
                self._execute(row, steps="", message=None)
                row = self._row(row.platform_request_id)
        return self._one(row)

    def decide(self, actor: Actor, request_type: str, document: dict[str, object]) -> Reply:
        """Takes a checker's decision; an approved request is executed before the reply."""
        check_type(request_type)
        if not actor.may_check:
            raise PlatformError(2001)
        given = read_decision(document)
        with self._books.transaction():
            row = self._row(given.request_id)
            if row.request_type != request_type:
                raise PlatformError(2007)
            if row.decided:
                raise PlatformError(2002)
            if row.state != given.action:
                raise PlatformError(2007)
            if self._settings().four_eyes and row.user_id == actor.user_id:
                raise PlatformError(2001, "The maker of a request cannot check it.")
            self._take(row, given)
            return self._one(self._row(given.request_id))

    def _take(self, row: RequestRow, given: Decision) -> None:
        made: dict[str, object] = {"ValidateCheckerAccess_Output": True} if row.state == ADMIN_TASK else {}
        made[f"{row.state}-Payload"] = {"actionDecision": given.decision, "actionMessage": given.message}
        made[f"{row.state}_Output"] = given.decision
        steps = row.steps + members(made)
        if given.decision == REJECTED:
            self._end(row, state=REJECTED, steps=steps, message=given.message)
        elif row.state == ADMIN_TASK:
            self._execute(row, steps=steps, message=given.message)
        else:
            self._books.move_request(row.platform_request_id, state=ADMIN_TASK, steps=steps)

    def execute_late(self) -> None:
        """Executes with no human check what has waited ``auto_approve_after_s``."""
        after_s = self._settings().auto_approve_after_s
        if after_s:
            for row in self.due(self._clock() - after_s, limit=1_000):
                with self._books.transaction():
                    if not (waiting := self._row(row.platform_request_id)).decided:
                        self._execute(waiting, steps="", message=None)

    def read(self, request_id: str) -> Reply:
        """One request; the default access group may read all of them."""
        self.execute_late()
        try:
            row = self._row(request_id)
        except PlatformError as error:
            raise PlatformError(error.code, status=404) from error
        return self._one(row)

    def read_list(self, parameters: Mapping[str, str]) -> Reply:
        """A page of the requests."""
        self.execute_late()
        page = read_page(self._books, self._settings(), parameters, now=self._clock())
        pagination = {
            "totalElements": page.total_elements,
            "totalPages": page.total_pages,
            "numberOfElements": len(page.rows),
            "number": page.number,
        }
        rows = b",".join(self._rendered(row, listed=True) for row in page.rows)
        return Reply(200, b'{"data":[%b],"pagination":%b}' % (rows, dumps(pagination)))

    def due(self, arrived_before: float, limit: int) -> list[RequestRow]:
        """The oldest undecided requests that arrived before a moment, without their bodies."""
        return self._books.requests(
            "decided = 0 AND started <= ?", (arrived_before,), order="started, seq", limit=limit, bodies=False
        )

    def decide_row(self, row: RequestRow, decision: str, message: str) -> Reply:
        """Decides a request on the node it is parked on, as the sandbox's own checker."""
        payload = {f"{row.state}-Payload": {"actionDecision": decision, "actionMessage": message}}
        document: dict[str, object] = {
            "requestId": row.platform_request_id,
            "actionName": row.state,
            "payload": payload,
        }
        return self.decide(self._access.checker(), row.request_type, document)

    def _execute(self, row: RequestRow, *, steps: str, message: str | None) -> None:
        outcome = self._wrapped_call(read_task(row.payload))
        state = FAILED
        if outcome is not None:
            self._books.save_output(
                row.platform_request_id,
                status=outcome.reply.status,
                headers=self._wrapped_headers(),
                body=outcome.reply.body,
                enrolled=outcome.enrolled,
                refused=outcome.refused,
            )
            partial = outcome.refused and self._settings().partial_policy is PartialPolicy.FAILED
            state = APPROVED if outcome.reply.status < 300 and not partial else FAILED
        self._end(row, state=state, steps=steps, message=message)

    def _wrapped_call(self, task: dict[str, object]) -> BulkReply | None:
        """Replays the inner call with the inner credential; nothing where it cannot be made at all."""
        if not is_callable(task):
            return None
        headers = {name.lower(): str(value) for name, value in (child(task, "headers") or {}).items()}
        try:
            self._access.caller(headers)
        except PlatformError as error:
            return BulkReply(error.reply())
        return self._engine.issue_bulk(child(task, "body") or {}, now=self._clock())

    def _wrapped_headers(self) -> str:
        headers = {
            "Date": [formatdate(self._clock(), usegmt=True)],
            "Content-Type": ["application/json"],
            "Transfer-Encoding": ["chunked"],
            "Connection": ["keep-alive"],
            "X-CAP-REQUEST-ID": [str(uuid4())],
            "X-Frame-Options": ["DENY"],
        }
        return dumps(headers).decode()

    def _end(self, row: RequestRow, *, state: str, steps: str, message: str | None) -> None:
        now = self._clock()
        self._books.end_request(
            row.platform_request_id,
            state=state,
            steps=steps,
            message=message,
            ended=now,
            end_time=self._local(now),
        )

    def _row(self, request_id: str) -> RequestRow:
        rows = self._books.requests("platform_request_id = ?", (request_id,), bodies=True)
        if not rows:
            raise PlatformError(2007)
        return rows[0]

    def _one(self, row: RequestRow) -> Reply:
        return Reply(200, b'{"data":%b}' % self._rendered(row))

    def _rendered(self, row: RequestRow, *, listed: bool = False) -> bytes:
        """A request as every reply shows it. Its payload and its output are bytes that were JSON already."""
        settings = self._settings()
        output = b""
        dropped = settings.drop_output or (listed and settings.list_drops_output)
        if row.output_status is not None and not dropped:
            status = float(row.output_status) if settings.float_status else row.output_status
            output = b',"IntouchAPITask_Output":{"status":%b,"headers":%b,"body":%b}' % (
                str(status).encode(),
                (row.output_headers or "{}").encode(),
                row.output_body,
            )
        head = dumps(
            {
                "requestId": row.platform_request_id,
                "userId": row.user_id,
                "userName": row.user_name,
                "requestType": row.request_type.lower(),
                "state": row.state,
                "startTime": row.start_time,
                "endTime": row.end_time,
            }
        )
        details = b'{"%b":%b,"ValidateMakerAccess_Output":true,"ValidatePayload_Output":%b%b%b}' % (
            TASK.encode(),
            echoed(row.payload, settings.echoed_key),
            b"false" if settings.fail_checks else b"true",
            row.steps.encode(),
            output,
        )
        return b'%b,"details":%b}' % (head[:-1], details)

    def _local(self, at: float) -> str:
        moment = datetime.fromtimestamp(at, self._settings().zone)
        return moment.replace(tzinfo=None).isoformat(timespec="seconds")
