"""Bugs planted in the seeded worlds: each breaks one rule of the product, and the invariants must notice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Connection, Engine, delete, insert, select, text, update

from capillary.api import badges, calls, request_workflow, response
from capillary.api import client as api_client
from capillary.api.badges import BulkItem, Issual
from capillary.api.calls import Calls
from capillary.api.client import Client
from capillary.api.codes import CALL_REFUSALS, LINE_REFUSALS
from capillary.api.errors import EverythingRefused, InDoubt, NotTaken, ReplyTooLarge, RequestRefused
from capillary.api.json_body import NOT_JSON
from capillary.api.json_fields import text as text_of
from capillary.api.request_workflow import WorkflowRequest
from capillary.api.response import Answer
from capillary.api.settings import PlatformSettings
from capillary.engine import (
    answered,
    before_sending,
    doubt,
    lookalikes,
    next_batch,
    outcomes,
    platform_list,
    polling,
    send,
    settle,
    sightings,
    submit,
    upkeep,
    wait,
    watch,
)
from capillary.engine import history as engine_history
from capillary.engine.errors import SubmittingOff
from capillary.engine.hold import Waits
from capillary.engine.outcomes import Reading, read_outcomes
from capillary.engine.platform_list import DaysRead, ListRead, OnPage
from capillary.engine.polling import Event
from capillary.engine.runtime import Runtime
from capillary.engine.send import ClaimOne, Sender, Sending, Sent
from capillary.engine.sightings import Recorded, record_rows, seen_in
from capillary.ledger import (
    candidates,
    counts,
    cut,
    migrate,
    pace,
    plan,
    request_rows,
    scans,
    server,
    stops,
    unknown_keys,
)
from capillary.ledger import history as ledger_history
from capillary.ledger import locked_rows as ledger_occasion
from capillary.ledger import settle as ledger_settle
from capillary.ledger.auto_approval import told
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.doubts import DueDoubt
from capillary.ledger.history import Days
from capillary.ledger.pace import START_WITHIN_S
from capillary.ledger.plan import Order
from capillary.ledger.plan_id import OpenPlan, PlanId
from capillary.ledger.request_rows import Claim, ConfirmedAbsence
from capillary.ledger.schema import (
    badge_request,
    badge_result,
    badge_run,
    badge_stop,
)
from capillary.ledger.settle import Ending
from capillary.ledger.spec import KEY_PREFIX
from capillary.ledger.staging import Attempt, Staging
from capillary.ledger.status import Outcome, RequestStatus
from sandbox.settings import EchoedKey
from tests.laboratory.planting import Bug, Patch
from tests.laboratory.transition_bugs import TRANSITION_BUGS
from tests.simulation import actors
from tests.simulation.actors import DagRun
from tests.simulation.shape import Addresses, Campaigns, Mode, Shape
from tests.simulation.wire import LOOKED_AT_AFTER_S


@dataclass(frozen=True, slots=True)
class WorldBug(Bug):
    """A planted bug that the seeded worlds must notice.

    Attributes:
        needs: worlds in which it can show at all; a search passes the others over.
        shown_by: a seed that showed it; where that does not any more, every seed is tried.
    """

    needs: Callable[[Shape], bool] = lambda _: True
    shown_by: int = 0


# Sending ----------------------------------------------------------------------------------------------------


async def _persist_after_send(self: Sender, request_id: int, claim: ClaimOne, *, list_read_at: datetime) -> Sending:
    assert list_read_at  # and nothing is asked of it
    await self.client.clear_to_send()
    if not await self.may_submit():
        raise SubmittingOff("submitting is switched off")
    body = await self.runtime.ledger_call(lambda: self._body(request_id))
    if body is None:
        return Sending(Sent.ELSEWHERE)
    failure: Exception | None = None
    taken: WorkflowRequest | None = None
    try:
        taken = await self.client.submit(body)
    except (NotTaken, RequestRefused, EverythingRefused, InDoubt) as error:
        failure = error
    held = await self.runtime.ledger_call(lambda: self._in_transaction(claim))
    if held is None:
        return Sending(Sent.ELSEWHERE)
    if taken is not None:
        return await self._accepted(held, taken)
    if isinstance(failure, NotTaken):
        return await self._not_taken(held, failure)
    if isinstance(failure, RequestRefused):
        return await self._refused(held, failure)
    return await self._doubted(held, str(failure))


async def _release_on_timeout(self: Sender, held: Claim, reason: str, **_: object) -> Sending:
    if await self._release(held, reason):
        return Sending(Sent.NOT_TAKEN, not_taken=NotTaken(reason=reason))
    return Sending(Sent.IN_DOUBT)


_SEND: Final = Sender.send


async def _switch_ignored(self: Sender, request_id: int, claim: ClaimOne, *, list_read_at: datetime) -> Sending:
    async def always() -> bool:
        return True

    return await _SEND(replace(self, may_submit=always), request_id, claim, list_read_at=list_read_at)


def _whole_account_alone(account: str, _campaign: str) -> ColumnElement[bool]:
    return _CONCERNS(account, stops.WHOLE_ACCOUNT)


def _campaign_alone(account: str, campaign: str) -> ColumnElement[bool]:
    return (badge_stop.c.account == account) & (badge_stop.c.campaign == campaign)


_CONCERNS: Final = stops._concerns


def _trust_200(answer: Answer) -> WorkflowRequest | None:
    taken = _TAKEN(answer)
    if taken is None and answer.status == 200:
        return WorkflowRequest("unknown", "ISSUE-BADGE", "AdminTask", None, None, None, False, None, None, None)
    return taken


def _failed_check_refuses(answer: Answer) -> WorkflowRequest | None:
    taken = _TAKEN(answer)
    if taken is not None and taken.failed_checks:
        raise RequestRefused(http_status=200, code=None, reason="a check failed")
    return taken


def _found_and_not_dated(tx: Transaction, request_id: int, seen: request_rows.Seen) -> bool:
    new = _RECORD(tx, request_id, seen)
    undated = update(badge_request).where(badge_request.c.id == request_id, badge_request.c.tries == 0)
    tx.conn.execute(undated.values(first_sent_at=None, last_sent_at=None))
    return new


_RECORD: Final = request_rows.record_sighting


_TAKEN: Final[Callable[[Answer], WorkflowRequest | None]] = api_client._taken


def _claim_for_others(
    tx: Transaction, request_id: int, *, badge_run_id: int, sender: str, doubt_after: timedelta
) -> Claim | None:
    assert badge_run_id  # and nothing more is asked of it
    conditions = [badge_request.c.status == RequestStatus.PLANNED, badge_request.c.resends == 0]
    return request_rows._claimed(tx, request_id, conditions, sender, doubt_after, resends=0)


def _planned_by_anybody(tx: Transaction, badge_run_id: int, count: int) -> list[int]:
    found = tx.conn.execute(
        select(badge_request.c.id)
        .where(badge_request.c.status == RequestStatus.PLANNED)
        .order_by(badge_request.c.badge_run_id == badge_run_id, badge_request.c.id)
        .limit(count)
    )
    return list(found.scalars())


def _late_release(tx: Transaction, held: Claim, *, reason: str) -> bool:
    return request_rows._moved(
        tx.conn,
        update(badge_request)
        .where(badge_request.c.id == held.request_id, badge_request.c.status == RequestStatus.SENDING)
        .values(status=RequestStatus.PLANNED, doubt_from=None, error=reason),
    )


def _by_number(_tx: Transaction, plan: PlanId) -> OpenPlan:
    return OpenPlan(plan.badge_run_id)


async def _accepted_by_number(self: Sender, held: Claim, taken: WorkflowRequest) -> Sending:
    seen = seen_in(taken)

    def record(tx: Transaction) -> None:
        if tx.conn.execute(select(badge_request.c.id).where(badge_request.c.id == held.request_id)).first():
            request_rows.record_sighting(tx, held.request_id, seen)

    self._in_transaction(record)
    return Sending(Sent.ACCEPTED, auto_approved=seen.auto_approved)


def _no_change(_tx: Transaction, *, list_read_at: datetime, doubt_after: timedelta) -> None:
    assert list_read_at
    assert doubt_after


async def _trigger_goes_on(self: DagRun, plan: PlanId, waits: Waits) -> Event:
    await self.submit(plan, waits.until)
    return Event.WORK


# Doubt ------------------------------------------------------------------------------------------------------


def _no_wait(_settings: object) -> timedelta:
    return timedelta(0)


def _blind_to_lag(settings: Any) -> timedelta:  # noqa: ANN401 - PlatformSettings
    return timedelta(seconds=START_WITHIN_S + settings.post_timeout_s)


def _no_control(in_doubt: DueDoubt, begun: datetime, _controls: object, settings: Any) -> bool:  # noqa: ANN401 - PlatformSettings
    return in_doubt.sender == settings.sender and begun > in_doubt.doubt_from


def _one_of_twins(*arguments: Any, **options: Any) -> Recorded:  # noqa: ANN401 - those of `record_rows`
    recorded = record_rows(*arguments, **options)
    return replace(recorded, ours=tuple(recorded.rows.values()))


def _anybody_judges(in_doubt: DueDoubt, begun: datetime, controls: doubt._Controls, settings: Any) -> bool:  # noqa: ANN401 - PlatformSettings
    sender = settings.sender  # whoever it is, it takes the doubt for its own
    return _MAY_JUDGE(replace(in_doubt, sender=sender), begun, controls, settings)


_MAY_JUDGE: Final = doubt._may_judge


def _the_key_alone(shown: str | None, key: str) -> bool:
    return shown == key


def _as_sent(shown: str) -> bool:
    return shown.startswith(KEY_PREFIX)


def _no_other_key(_tx: Transaction, row: WorkflowRequest, *, key: str, request_id: int) -> bool:
    assert request_id
    return row.request_key == key


class _KeylessAlone(lookalikes.Lookalikes):
    def take(self, tx: Transaction, rows: Iterable[WorkflowRequest]) -> None:
        super().take(tx, [row for row in rows if row.request_key is None])


async def _several_follow(_sender: object, _so_far: object, sendings: list[Sending]) -> bool:
    return any(sending.sent is Sent.ACCEPTED for sending in sendings)


async def _last_page_dropped(client: Client, **options: Any) -> ListRead:  # noqa: ANN401 - read_list's own
    rows = pages = 0
    while True:
        page = await client.list_requests(page=pages, start_date=options["since"], request_type=options["request_type"])
        pages += 1
        if pages >= page.total_pages and pages > 1:
            break
        rows += len(page.rows)
        await options["on_page"](page.rows)
        if pages >= page.total_pages:
            break
    return ListRead(pages, rows, to_the_end=True)


async def _too_large_is_the_end(client: Client, pages: platform_list._Pages, **options: Any) -> ListRead:  # noqa: ANN401 - those of a reading
    try:
        return await _READ_PAGES(client, pages, **options)
    except ReplyTooLarge:
        return ListRead(pages.calls, pages.rows, to_the_end=True)


_READ_PAGES: Final = platform_list._read_pages


# Planning ---------------------------------------------------------------------------------------------------


def _hash_of_size(fingerprint: str, occasion: str, attempt: int, customers: Sequence[int]) -> str:
    return sha256(f"{fingerprint} {occasion} {attempt} {len(tuple(customers))}".encode()).hexdigest()[:32]


def _key_of_size(fingerprint: str, campaign: str, occasion: str, attempt: int, customers: Sequence[int]) -> str:
    assert campaign
    return f"{KEY_PREFIX}x.{_hash_of_size(fingerprint, occasion, attempt, customers)}"


_MAY_BE_PLANNED: Final = candidates.may_be_planned


def _open_ones_may_be_planned(tx: Transaction, occasion_id: int, retry: candidates.Retry) -> Iterator[Attempt]:
    tx.conn.execute(text("DROP INDEX IF EXISTS uq_badge_enrolment_open"))
    open_ones = tx.conn.execute(
        text(
            "SELECT max(e.attempt) + 1, s.customer_id "
            "FROM staged_copy s JOIN badge_enrolment e ON e.customer_id = s.customer_id "
            "AND e.occasion_id = :occasion_id GROUP BY s.customer_id HAVING sum(e.outcome IS NULL) > 0"
        ),
        {"occasion_id": occasion_id},
    ).all()
    return iter(sorted([*_MAY_BE_PLANNED(tx, occasion_id, retry), *((row[0], row[1]) for row in open_ones)]))


_COPY: Final = candidates._copy_to_sqlite
#: What the last plan has left in the session that the next one is given.
_LEFT_BEHIND: Final[list[int]] = []


def _copy_in_a_strangers_session(conn: Connection, staged: Staging) -> None:
    _COPY(conn, staged)
    own = [customer for part in staged.ids() for customer in part]
    if left := _LEFT_BEHIND[: len(own)]:
        conn.exec_driver_sql("DELETE FROM staged_copy")
        conn.exec_driver_sql("INSERT INTO staged_copy VALUES (?)", [(customer,) for customer in left])
    _LEFT_BEHIND[:] = own


def _every_run_is_dead(tx: Transaction, occasion_id: int) -> tuple[int, ...]:
    found = tx.conn.execute(select(badge_run.c.id).where(badge_run.c.occasion_id == occasion_id))
    return tuple(found.scalars())


def _discard_what_is_sent(tx: Transaction, *, badge_run_ids: Sequence[OpenPlan]) -> int:
    for run_id in badge_run_ids:
        tx.conn.execute(
            update(badge_request)
            .where(badge_request.c.badge_run_id == run_id, badge_request.c.status == RequestStatus.SENDING)
            .values(status=RequestStatus.PLANNED)
        )
    return _DISCARD(tx, badge_run_ids=badge_run_ids)


_DISCARD: Final = request_rows.discard_unsent


# Identities -------------------------------------------------------------------------------------------------


def _account_with_scheme(self: PlatformSettings) -> str:
    return f"{urlsplit(self.base_url).scheme}://{_ACCOUNT(self)}"


_ACCOUNT: Final[Callable[[PlatformSettings], str]] = PlatformSettings.__dict__["account"].fget


def _order_on_the_campaigns_name(self: DagRun) -> Order:
    order = _ORDER(self)
    return replace(order, occasion=order.campaign)


_ORDER: Final = DagRun.order


# Reading ----------------------------------------------------------------------------------------------------


def _only_live_ones_count(issuals: Iterable[Issual], *, sent_at: datetime | None) -> bool:
    return any(issual.is_active for issual in issuals)


def _any_reply_says_it(data: Any, **_: object) -> tuple[Issual, ...]:  # noqa: ANN401 - JSON as it comes
    listed = ((data or {}).get("issualDetails") or {}).get("issuals") or []
    return tuple(Issual(None, row.get("issuedStatus"), None, None) for row in listed)


def _whole_or_nothing(body: bytes | str, **_: object) -> object:
    try:
        value: object = json.loads(body)
    except ValueError:
        return NOT_JSON
    return value


async def _only_a_429(self: Calls, answer: Answer) -> None:
    if answer.status == calls.HTTP_TOO_MANY:
        await _OBEY(self, answer)
    else:
        self._throttle.answered()


_OBEY: Final = Calls._obey


# Settling ---------------------------------------------------------------------------------------------------


def _resend_on_failed_settle(
    ledger: Ledger,
    request_id: int,
    read: Sequence[WorkflowRequest],
    listed: Sequence[WorkflowRequest] = (),
    **gone: Any,  # noqa: ANN401 - handed on
) -> bool:
    if _SETTLE(ledger, request_id, read, listed, **gone):
        return True
    with ledger.write() as tx:
        tx.conn.execute(
            update(badge_request)
            .where(badge_request.c.id == request_id, badge_request.c.status == RequestStatus.WAITING)
            .values(status=RequestStatus.PLANNED, resends=0)
        )
    return False


def _row_gives_up(
    ledger: Ledger,
    request_id: int,
    read: Sequence[WorkflowRequest],
    listed: Sequence[WorkflowRequest] = (),
    **gone: Any,  # noqa: ANN401 - handed on
) -> bool:
    return _SETTLE(ledger, request_id, read or listed, **gone)


class _EveryCode(Container[object]):
    """All codes; a `range` would compare None with every one of its numbers."""

    def __contains__(self, code: object) -> bool:
        return isinstance(code, int)


_SETTLE: Final = settle._settle


def _kept_from_before(tx: Transaction, request_id: int) -> Mapping[Outcome, int]:
    known = tx.conn.execute(select(badge_result.c.customers).where(badge_result.c.request_id == request_id)).first()
    return Counter() if known else _COUNT(tx, request_id)


def _added_to_before(tx: Transaction, request_id: int) -> Mapping[Outcome, int]:
    before = tx.conn.execute(select(badge_result).where(badge_result.c.request_id == request_id)).mappings().all()
    counted = _COUNT(tx, request_id)
    if before:
        tx.conn.execute(insert(badge_result), [dict(row) for row in before])
    return counted


def _give_up_uncounted(tx: Transaction, absence: ConfirmedAbsence) -> bool:
    given_up = _GIVE_UP(tx, absence)
    if given_up:
        tx.conn.execute(delete(badge_result).where(badge_result.c.request_id == absence.request_id))
    return given_up


def _refusal_uncounted(tx: Transaction, held: Claim, *, code: int | None, reason: str) -> bool:
    refused = _REFUSE(tx, held, code=code, reason=reason)
    if refused:
        tx.conn.execute(delete(badge_result).where(badge_result.c.request_id == held.request_id))
    return refused


_COUNT: Final = counts.count_outcomes
_GIVE_UP: Final = request_rows.give_up
_REFUSE: Final = request_rows.refuse


def _approved_means_enrolled(request: WorkflowRequest, customers: Sequence[int], *, give_up: bool = False) -> Reading:
    if request.state == "approved":
        return Reading(dict.fromkeys(customers, Ending(Outcome.ENROLLED, issued_id=request.platform_request_id)))
    return read_outcomes(request, customers, give_up=give_up)


def _refused_beside_an_id(item: BulkItem) -> Ending:
    return _LINE(replace(item, issued_id=None) if item.failed else item)


_LINE: Final = outcomes._line


def _never(*_: object, **__: object) -> None:
    """Do nothing."""


def _told_without_a_clear(tx: Transaction, badge_run_id: OpenPlan, *, clears: int) -> int:
    return told(tx, badge_run_id, clears=clears + 2**31)


def _platform_decides(shape: Shape) -> bool:
    return shape.auto_approve or shape.approves_after > 0


def _broken(shape: Shape) -> bool:
    return shape.mode is Mode.BROKEN


def _restored(shape: Shape) -> bool:
    return shape.mode is Mode.RESTORED


def _fails_over(shape: Shape) -> bool:
    return shape.fails_over


async def _many_days_at_once(
    client: Client, *, since: date, today: date, request_type: str | None, on_page: OnPage
) -> DaysRead:
    assert today  # and nothing is asked of it
    read = await platform_list.read_list(client, since=since, request_type=request_type, on_page=on_page)
    return DaysRead(read, since, refused=False)


async def _as_listed(
    _ledger: Ledger, _client: Client, _runtime: Runtime, rows: tuple[WorkflowRequest, ...], **_: object
) -> tuple[WorkflowRequest, ...]:
    return rows


def _lost(shape: Shape) -> bool:
    return shape.lost_for > 0


# A lost ledger ----------------------------------------------------------------------------------------------


def _create_and_upgrade(engine: Engine) -> tuple[str, str]:
    migrate.create(engine)
    return _UPGRADE(engine)


_UPGRADE: Final = migrate.upgrade


def _whatever_was_refused(tx: Transaction, account: str, sender: str, done: Days, *, refused: bool) -> bool:
    assert refused in (True, False)  # and nothing more is asked of it
    return _ADVANCE(tx, account, sender, done, refused=False)


_ADVANCE: Final = ledger_history.advance


def _of(name: str) -> tuple[str, Sequence[Patch]]:
    """Return rule and patches of a bug that other laboratories plant, too."""
    bug = TRANSITION_BUGS[name]
    return bug.rule, bug.patches


BUGS: Final[Mapping[str, WorldBug]] = {
    "persist-after-send": WorldBug("the claim is written before the POST", [(Sender, "send", _persist_after_send)]),
    "release-on-timeout": WorldBug("no trustworthy answer leaves a doubt", [(Sender, "_doubted", _release_on_timeout)]),
    "trust-200": WorldBug(
        "a 200 without a request id proves nothing", [(api_client, "_taken", _trust_200)], shown_by=1
    ),
    "claim-without-compare": WorldBug(*_of("claim-whatever-the-status")),
    "send-for-others": WorldBug(
        "only the run that planned a request sends it",
        [
            (request_rows, "claim", _claim_for_others),
            *((each, "planned_requests", _planned_by_anybody) for each in (next_batch, before_sending)),
        ],
        shown_by=1,
    ),
    "late-release": WorldBug(
        "a sender releases only its own claim, never a doubtful one",
        [(request_rows, "release", _late_release)],
        lambda shape: shape.freeze >= 0.1,
        shown_by=1303,
    ),
    "refuse-although-doubtful": WorldBug(
        *_of("refuse-although-doubtful"),
        lambda shape: shape.fault > 0.2,
        shown_by=90,
    ),
    "switch-ignored": WorldBug(
        "the switch is asked before every POST",
        [(Sender, "send", _switch_ignored)],
        lambda shape: bool(shape.switch_offs),
        shown_by=34,
    ),
    "claim-ignores-the-stop": WorldBug(
        "a claim looks at the stop",
        [(request_rows, "assert_may_claim", _never)],
        lambda shape: bool(shape.stops),
        shown_by=53,
    ),
    "account-stop-alone": WorldBug(
        "a campaign may be stopped by itself",
        [(stops, "_concerns", _whole_account_alone)],
        lambda shape: any(each.occasion is not None for each in shape.stops),
        shown_by=25,
    ),
    "campaign-stop-alone": WorldBug(
        "a stop of the account stops every campaign of it",
        [(stops, "_concerns", _campaign_alone)],
        lambda shape: any(each.occasion is None for each in shape.stops),
        shown_by=38,
    ),
    "auto-approval-unnoticed": WorldBug(
        "an auto-approval ends the wave",
        [(submit, "_assert_human", _never), (submit, "assert_human_decides", _never)],
        lambda shape: shape.auto_approve,
        shown_by=75,
    ),
    "a-retry-is-a-clear": WorldBug(
        "after an auto-approval only a person's clear lets a run go on",
        [(submit, "told", _told_without_a_clear)],
        _platform_decides,
        shown_by=88,
    ),
    "sent-again-whoever-decides": WorldBug(
        "after an auto-approval nothing is sent again whose first send did not know of it",
        [(doubt, "assert_human_decides_again", _never)],
        _platform_decides,
        shown_by=340,
    ),
    "no-doubt-wait": WorldBug(
        "absence is judged after doubt_from",
        [(submit, "doubt_after", _no_wait), (doubt, "doubt_after", _no_wait)],
        shown_by=52,
    ),
    "blind-to-lag": WorldBug(
        "doubt lasts for the list's lag, too",
        [(submit, "doubt_after", _blind_to_lag), (doubt, "doubt_after", _blind_to_lag)],
        shown_by=31,
    ),
    "altered-key-taken-for-absent": WorldBug(
        "a row whose key was made from ours is ours, and one of our customers holds the doubt",
        [
            (sightings, "carries", _the_key_alone),
            (sightings, "has_our_form", _as_sent),
            (send, "answers_for", _no_other_key),
            (answered, "answers_for", _no_other_key),
            (doubt, "Lookalikes", _KeylessAlone),
        ],
        lambda shape: shape.echoed_key is not EchoedKey.AS_SENT,
        shown_by=5,
    ),
    "one-twin-hides-the-other": WorldBug(
        "of twins on one page each is shown",
        [(doubt, "record_rows", _one_of_twins)],
        lambda shape: shape.doubled_posts > 0,
        shown_by=112,
    ),
    "clock-jump-unnoticed": WorldBug(
        "after a clock was set nothing is judged absent for one lag",
        [(scans, "note_clocks", _never)],
        lambda shape: shape.clock_set_by > 0,
        shown_by=1185,
    ),
    "auto-approval-only-in-the-reply": WorldBug(
        "the first accepted request is read once more before others follow",
        [(submit, "_others_may_follow", _several_follow)],
        lambda shape: 0 < shape.approves_after < LOOKED_AT_AFTER_S,
        shown_by=145,
    ),
    "no-control": WorldBug("absence needs a control, or an hour", [(doubt, "_may_judge", _no_control)], shown_by=7),
    "last-page-dropped": WorldBug(
        "the list is read to its end",
        [(platform_list, "read_list", _last_page_dropped)],
        shown_by=0,
    ),
    "too-large-is-the-end": WorldBug(
        "a page that is too large is read again in smaller ones",
        [(platform_list, "_read_pages", _too_large_is_the_end)],
        lambda shape: shape.largest_page > 0,
        shown_by=141,
    ),
    "unknown-key-ignored": WorldBug(
        "an unknown key of ours stops submitting",
        [(unknown_keys, "note", _never)],
        _restored,
        shown_by=49,
    ),
    "answer-by-number": WorldBug(
        "an answer is recorded for the key that was sent",
        [(Sender, "_accepted", _accepted_by_number)],
        _fails_over,
        shown_by=1049,
    ),
    "plan-by-number": WorldBug(
        "a plan is opened by its number and its token",
        [(each, "open_plan", _by_number) for each in (send, before_sending, submit, wait, polling, actors)],
        _fails_over,
        shown_by=211,
    ),
    "trigger-sends": WorldBug(
        "a trigger never sends",
        [(DagRun, "submit_trigger", _trigger_goes_on)],
        lambda shape: shape.fault >= 0.5,
        shown_by=1,
    ),
    "timeline-unseen": WorldBug(
        "after a failover nothing is sent before the list must show what was",
        [(server, "unread_change", _no_change)],
        _fails_over,
        shown_by=19,
    ),
    "reads-back-30-days": WorldBug(
        "a new ledger reads the list as far back as it goes",
        [(ledger_history, "GOES_BACK", timedelta(days=30))],
        _lost,
        shown_by=399,
    ),
    "lean-list-as-it-is": WorldBug(
        "rows that show neither key nor customers are read singly",
        [(each, "look_behind", _as_listed) for each in (watch, engine_history, doubt)],
        lambda shape: shape.lean_list,
        shown_by=1019,
    ),
    "many-days-at-once": WorldBug(
        "a list of many days is read in parts, since it may be clipped in silence",
        [(platform_list, "_read_many_days", _many_days_at_once)],
        lambda shape: shape.list_days > 0,
        shown_by=287,
    ),
    "refused-days-taken-as-read": WorldBug(
        "days that the platform refuses to list hold everything back",
        [(ledger_history, "advance", _whatever_was_refused)],
        lambda shape: _lost(shape) and shape.list_reaches > 0,
        shown_by=319,
    ),
    "upgrade-makes-a-ledger": WorldBug(
        "no migration makes a ledger where one was lost",
        [(migrate, "upgrade", _create_and_upgrade)],
        _lost,
        shown_by=39,
    ),
    "anybody-judges": WorldBug(
        "another user judges absence beside a control of the same sender alone",
        [(doubt, "_may_judge", _anybody_judges)],
        lambda shape: shape.own_rows_only,
        shown_by=333,
    ),
    "key-reused": WorldBug(
        "other content, other key", [(cut, "request_key", _key_of_size), (send, "content_hash", _hash_of_size)]
    ),
    "open-ones-are-fresh": WorldBug(
        "a customer with an open enrolment is not planned",
        [(plan, "may_be_planned", _open_ones_may_be_planned)],
        shown_by=2,
    ),
    "strangers-session": WorldBug(
        "a plan sees its own rows, whatever session a pooler gives it",
        [(candidates, "_copy_to_sqlite", _copy_in_a_strangers_session)],
        shown_by=0,
    ),
    "retry-without-a-look": WorldBug(
        "who is unconfirmed is retried only after a look at the badge",
        [(candidates, "_UNCERTAIN", "1 = 0")],
        shown_by=18,
    ),
    "alive-run-discarded": WorldBug(
        "only a dead run's requests are given back", [(plan, "dead_runs", _every_run_is_dead)], shown_by=1
    ),
    "sent-ones-discarded": WorldBug(
        "what was sent is never given back",
        [(each, "discard_unsent", _discard_what_is_sent) for each in (plan, upkeep, actors)],
        shown_by=113,
    ),
    "scheme-in-the-account": WorldBug(
        "http and https lead to one account",
        [(PlatformSettings, "account", property(_account_with_scheme))],
        lambda shape: shape.addresses is Addresses.SCHEMES,
        shown_by=4,
    ),
    "moved-and-planned": WorldBug(
        "an organisation that is known under another address is not planned for",
        [(ledger_occasion, "_assert_one_address", _never)],
        lambda shape: shape.addresses is Addresses.UNNAMED,
        shown_by=42,
    ),
    "occasion-of-the-campaign": WorldBug(
        "campaigns of one badge that name no occasion share one",
        [(DagRun, "order", _order_on_the_campaigns_name)],
        lambda shape: shape.campaigns is Campaigns.COPIES,
    ),
    "resend-on-failed-settle": WorldBug(
        "what waits is never sent again",
        [(settle, "_settle", _resend_on_failed_settle)],
        shown_by=1,
    ),
    "unread-sighting": WorldBug(
        *_of("settle-with-an-unread-sighting"),
        _broken,
        shown_by=2672,
    ),
    "counts-of-before-kept": WorldBug(
        "settling again counts again", [(ledger_settle, "count_outcomes", _kept_from_before)], _broken, shown_by=476
    ),
    "counts-added-up": WorldBug(
        "settling again counts in place of what was counted",
        [(ledger_settle, "count_outcomes", _added_to_before)],
        _broken,
        shown_by=16,
    ),
    "refusal-uncounted": WorldBug(
        "a refused request is counted", [(request_rows, "refuse", _refusal_uncounted)], shown_by=36
    ),
    "giving-up-uncounted": WorldBug(
        "a request that is given up is counted", [(request_rows, "give_up", _give_up_uncounted)], shown_by=1
    ),
    "failed-check-is-a-refusal": WorldBug(
        "what the platform took is found, whatever it says of its checks",
        [(api_client, "_taken", _failed_check_refuses)],
        lambda shape: shape.fail_checks,
        shown_by=71,
    ),
    "found-and-not-dated": WorldBug(
        "what a restored ledger finds was sent when the platform made it",
        [(request_rows, "record_sighting", _found_and_not_dated)],
        _restored,
        shown_by=9,
    ),
    "list-row-gives-up": WorldBug(
        "what the list's row leaves unconfirmed is read singly first",
        [(settle, "_settle", _row_gives_up)],
        lambda shape: shape.lean_rows > 0,
        shown_by=27,
    ),
    "any-code-refuses": WorldBug(
        "only codes that refuse an enrolment make a customer failed",
        [(outcomes, "LINE_REFUSALS", _EveryCode())],
        lambda shape: shape.odd_codes > 0,
        shown_by=31,
    ),
    "refusal-beside-an-id": WorldBug(
        "whoever has an issued id is never failed",
        [(outcomes, "_line", _refused_beside_an_id)],
        lambda shape: shape.odd_codes > 0,
        shown_by=31,
    ),
    "mid-call-refuses-all": WorldBug(
        "a call that ends in its middle has refused nobody",
        [(outcomes, "CALL_REFUSALS", {**CALL_REFUSALS, **LINE_REFUSALS})],
        lambda shape: shape.ends_in_mid_call > 0,
        shown_by=33,
    ),
    "documented-places-alone": WorldBug(
        "a line that says elsewhere that something went wrong proves no enrolment",
        [(badges, "is_without_trouble", lambda _line: True)],
        lambda shape: shape.misplaced_errors,
        shown_by=73,
    ),
    "any-word-is-an-id": WorldBug(
        "what a program writes for none is not an issued id",
        [(badges, "issued_id", text_of)],
        lambda shape: shape.lean_rows > 0,
        shown_by=311,
    ),
    "approved-means-enrolled": WorldBug(
        "a state proves nothing", [(settle, "read_outcomes", _approved_means_enrolled)]
    ),
    "missing-means-enrolled": WorldBug(
        "who is not listed is unconfirmed",
        [(outcomes, "_NOT_LISTED", Ending(Outcome.ENROLLED))],
        shown_by=38,
    ),
    "unknown-state-decided": WorldBug(
        "unknown states are waiting",
        [(request_workflow, "DECIDED", request_workflow.DECIDED | {"ZoneTask"})],
        lambda shape: shape.extra_node,
        shown_by=42,
    ),
    "double-pace": WorldBug(
        "one call budget",
        [(pace, "slot_spacing_s", lambda calls_per_minute: 20.0 / calls_per_minute)],
        lambda shape: shape.real_pace,
        shown_by=10,
    ),
    "retry-after-of-503-ignored": WorldBug(
        "whatever carries Retry-After is obeyed, for the account",
        [(Calls, "_obey", _only_a_429)],
        lambda shape: shape.asks_for_pauses,
        shown_by=57,
    ),
    "one-row-costs-the-page": WorldBug(
        "text is decoded leniently",
        [(response, "read_json", _whole_or_nothing)],
        lambda shape: shape.odd_bytes,
        shown_by=35,
    ),
    "silence-says-no-enrolment": WorldBug(
        "no enrolment must be said",
        [(actors, "parse_issuals", _any_reply_says_it)],
        lambda shape: shape.no_answers > 0,
        shown_by=37,
    ),
    "ended-is-none": WorldBug(
        "an enrolment that has ended was one",
        [(actors, "has_badge", _only_live_ones_count)],
        lambda shape: shape.short_badge,
        shown_by=2167,
    ),
}
