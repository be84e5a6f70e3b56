"""The sandbox's platform without HTTP: its nodes, its checker, and replies that are odder than the sandbox's own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from capillary.api.client import MANAGEMENT_PATH
from capillary.api.credential import TOKEN_PATH
from capillary.api.request_workflow import DECIDED, REQUEST_TYPE, REQUEST_WORKFLOW_PATH
from capillary.api.transport import Reply
from sandbox.access import Actor
from sandbox.badge_reads import BadgeReads
from sandbox.badges import GOLD_CIRCLE, Badge
from sandbox.documents import parse
from sandbox.faults import Route
from sandbox.ids import RequestIds
from sandbox.platform import Platform
from sandbox.replies import PlatformError
from sandbox.settings import CHECKER, CLIENT, MAKER, EchoedKey, ListRows, PartialPolicy, SandboxSettings

if TYPE_CHECKING:
    from sandbox.books_schema import RequestRow
    from tests.simulation.shape import Shape
    from tests.simulation.virtual_time import VirtualLoop

#: The till that the connection has from a moment on, in some worlds.
SECOND_TILL: Final = replace(MAKER, username="second-maker", password="second-maker", user_id=75_000_003)
_LIST: Final = f"{REQUEST_WORKFLOW_PATH}/requests"
_OUTPUT: Final = "IntouchAPITask_Output"
_DECISION: Final = "AdminTask_Output"
_UNDECIDED: Final = "AdminTask"
#: What the checker writes, and how it comes from a node with another charset.
_MESSAGE: Final = b'"seen"'
_ODD_MESSAGE: Final = b'"s\xe9en"'


def route_of(method: str, path: str) -> Route:
    """Return the name of a call."""
    if path == TOKEN_PATH:
        return Route.TOKEN
    if path == _LIST:
        return Route.LIST
    if path.startswith(_LIST):
        return Route.GET
    return Route.SUBMIT if method == "POST" else Route.BADGES


@dataclass(frozen=True, slots=True)
class Oddity:
    """What is odd about the output of one request, once it is executed."""

    kind: str
    late_s: float = 0.0
    place: int = 0


#: Oddities that never say more than the truth.
_KINDS: Final = ("missing line", "no id", "late output", "no output", "broken output", "ended status", "empty list")


class PlatformSide:
    """The platform of one world. What it holds is the truth by which the ledger is judged.

    Attributes:
        platform: the sandbox's platform; its books are read by the invariants.
        badges: badge ids by occasion.
        decided_at: when requests were decided, by platform request id.
        approved_late: platform request ids of what was executed without a human, some time after its reply.
        decided_by_human: platform request ids of what the checker decided, or some of the nodes that it passes.
        told: issued ids that some reply has listed without error, by request key and customer.
        read_singly: requests that some single read has shown decided, by platform request id.
    """

    def __init__(self, shape: Shape, rng: Random, loop: VirtualLoop, *, epoch: float) -> None:
        self._shape = shape
        self._rng = rng
        self._loop = loop
        self.platform = Platform(
            SandboxSettings(
                tills=(MAKER, SECOND_TILL, CHECKER),
                timezone=shape.timezone,
                unknown_customers=shape.unknown_customers,
                page_base=shape.page_base,
                auto_approve=shape.auto_approve,
                fail_checks=shape.fail_checks,
                unknown_state="ZoneTask" if shape.extra_node else "",
                partial_policy=PartialPolicy.FAILED if shape.fails_partly else PartialPolicy.APPROVED,
                float_status=rng.random() < 0.2,
                echoed_key=shape.echoed_key,
                auto_approve_after_s=shape.approves_after,
            ),
            clock=lambda: epoch + shape.skew + loop.time(),
        )
        ids = RequestIds()
        ids._clock_sequence, ids._node = 7, 1 << 40  # the same ids for the same seed
        self.platform.workflow._ids = ids
        self._reads = BadgeReads(self.platform)
        occasions = max((run.occasion for run in shape.runs), default=0) + 1
        self.badges = [self._badge(occasion) for occasion in range(occasions)]
        self._enrol_holders()
        self.disturbed = True
        self.decided_at: dict[str, float] = {}
        self.approved_late = set[str]()
        self.decided_by_human = set[str]()
        self.told: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        self.read_singly: set[str] = set()
        self._oddities: dict[str, Oddity | None] = {}

    def _badge(self, occasion: int) -> str:
        badge = Badge(
            badge_id=f"{occasion + 1:024x}",
            name=f"Occasion {occasion}",
            starts=GOLD_CIRCLE.starts,
            expires=GOLD_CIRCLE.expires,
            enrolled_for_days=1 if self._shape.short_badge else None,
        )
        return self.platform.catalogue.save(badge).badge_id

    def _enrol_holders(self) -> None:
        """Some customers hold the badge already, from elsewhere."""
        if self._shape.holders:
            self.platform.engine.issue_bulk(
                {
                    "triggeredBy": {"ownerType": "Loyalty", "referenceId": "elsewhere"},
                    "customers": sorted(self._shape.holders),
                    "requestId": "elsewhere",
                    "badgeMetaId": self.badges[0],
                },
                now=self.platform.clock(),
            )

    def calm(self) -> None:
        """From now on the platform is as the documentation has it."""
        self.disturbed = False
        self.platform.switch(list_lag_s=0.0, list_rows=ListRows.COMPLETE, auto_approve=False, auto_approve_after_s=0.0)

    # Calls --------------------------------------------------------------------------------------------------

    def serve(
        self, method: str, path: str, headers: Mapping[str, str], params: Mapping[str, str], body: object
    ) -> Reply:
        """Answer one call at the moment at which it arrives."""
        lower = {name.lower(): value for name, value in headers.items()}
        route = route_of(method, path)
        if self.disturbed and route is Route.LIST:
            self._choose_node()
        try:
            reply = self._answer(route, path, lower, params, json.dumps(body).encode())
        except PlatformError as error:
            reply = error.reply()
        payload = reply.body
        if route in (Route.GET, Route.LIST) and reply.status == 200:
            payload = self._as_shown(route, payload)
            if route is Route.LIST and self._shape.lean_list:
                payload = _without_details(payload)
            if route is Route.LIST and self._shape.damaged_states and self.disturbed:
                payload = self._with_damaged_states(payload)
            if self._shape.odd_bytes:
                payload = payload.replace(_MESSAGE, _ODD_MESSAGE)
        return Reply(reply.status, {name.lower(): value for name, value in reply.headers}, payload)

    def _answer(self, route: Route, path: str, headers: dict[str, str], params: Mapping[str, str], body: bytes) -> Any:  # noqa: ANN401 - the sandbox's own reply
        platform = self.platform
        if route is Route.TOKEN:
            return platform.access.generate_token(parse(body, code=400))
        if route is Route.BADGES:
            customer, _, badge_id = path.removeprefix(f"{MANAGEMENT_PATH}/").partition("/badge/")
            platform.access.caller(headers)
            return self._reads.enrolments(customer, badge_id, headers, params)
        actor = platform.access.workflow_caller(headers)
        platform.access.check_organisation(headers, needed=route is Route.SUBMIT)
        if route is Route.SUBMIT:
            return platform.workflow.create(actor, REQUEST_TYPE, parse(body, code=2008))
        if route is Route.LIST:
            return platform.workflow.read_list(self._as_asked(params, actor))
        return platform.workflow.read(path.rpartition("/")[2])

    def _as_asked(self, params: Mapping[str, str], actor: Actor) -> Mapping[str, str]:
        """Refuse days that the list does not reach back to; leave out what this caller is not shown, and clip."""
        shape = self._shape
        if shape.list_days:
            params = {**params, **self._clipped(params)}
        if shape.list_reaches:
            oldest = datetime.fromtimestamp(self.platform.clock() - shape.list_reaches, UTC).date()
            if date.fromisoformat(params["startDate"]) < oldest:
                raise PlatformError(2008, "startDate is too old.", reference="startDate")
        if shape.own_rows_only and self.disturbed:
            return {**params, "userId": str(actor.user_id)}
        return params

    def _clipped(self, params: Mapping[str, str]) -> dict[str, str]:
        """Return the days that are shown in place of those that were asked for."""
        shape = self._shape
        today = datetime.fromtimestamp(self.platform.clock(), ZoneInfo(shape.timezone)).date()
        first, last = date.fromisoformat(params["startDate"]), today + timedelta(days=1)
        if "endDate" in params:
            last = date.fromisoformat(params["endDate"])
        more = timedelta(days=shape.list_days - 1)
        if last - first <= more:
            return {}
        return {"endDate": (first + more).isoformat()} if shape.first_days else {"startDate": (last - more).isoformat()}

    def _choose_node(self) -> None:
        """Each call of the list may meet another node, which lags by its own time."""
        rows = ListRows.COMPLETE
        if self._shape.hidden_rows:
            rows = ListRows.HIDES
        elif self._shape.shifting_pages and self._rng.random() < 0.5:
            rows = ListRows.DUPLICATES
        self.platform.switch(list_lag_s=self._rng.choice(self._shape.node_lags), list_rows=rows)

    # What replies show --------------------------------------------------------------------------------------

    def _as_shown(self, route: Route, payload: bytes) -> bytes:
        document = json.loads(payload)
        rows = document["data"] if route is Route.LIST else [document["data"]]
        changed = [self._shown(row, route) for row in rows]  # every row, whatever the others are
        return json.dumps(document).encode() if any(changed) else payload

    def _with_damaged_states(self, payload: bytes) -> bytes:
        document = json.loads(payload)
        for row in document["data"]:
            if self._rng.random() < self._shape.damaged_states:
                row["state"] = f"{row['state'][:-1]}\ufffd"
        return json.dumps(document).encode()

    def _shown(self, row: dict[str, Any], route: Route) -> bool:
        """Change a row as this node and this request's oddity have it; return whether it was changed."""
        decided_at = self.decided_at.get(row["requestId"])
        if decided_at is None:
            return False
        age = self._loop.time() - decided_at
        details = row["details"]
        if self.disturbed and age < self._shape.stale_for and self._rng.random() < 0.5:
            row.update(state=_UNDECIDED, endTime=None)
            for name in (_OUTPUT, _DECISION, "AdminTask-Payload"):
                details.pop(name, None)
            return True
        if row["requestId"] not in self._oddities:
            self._oddities[row["requestId"]] = self._draw_oddity()
        oddity = self._oddities[row["requestId"]]
        changed = oddity is not None and _OUTPUT in details and _apply(oddity, details, age)
        # One lot for each request: it is odd in the same way whenever it is shown.
        lot = Random(f"{self._shape.seed} {row['requestId']}")  # noqa: S311 - chance that can be repeated
        if lot.random() < self._shape.odd_codes:
            changed |= _put_codes(lot, details)
        if route is Route.LIST and lot.random() < self._shape.lean_rows:
            changed |= _make_lean(lot, details)
        end = Random(f"{self._shape.seed} {row['requestId']} ends")  # noqa: S311 - chance that can be repeated
        if end.random() < self._shape.ends_in_mid_call and _OUTPUT in details:
            details[_OUTPUT] = _refused_in_mid_call(end.choice((810, 815, 816, 1026, 1039)))
            return True
        return (self._shape.misplaced_errors and _misplace_errors(end, details)) or changed

    def _draw_oddity(self) -> Oddity | None:
        if self._rng.random() >= self._shape.odd_outputs:
            return None
        return Oddity(
            self._rng.choice(_KINDS), late_s=self._rng.choice((60.0, 600.0, 7200.0)), place=self._rng.randrange(100)
        )

    def note_told(self, route: Route, payload: bytes) -> list[dict[str, Any]]:
        """Remember what a delivered reply says of customers; return its rows."""
        try:
            data = json.loads(payload.decode(errors="replace"))["data"]
        except (ValueError, KeyError, TypeError):
            return []
        rows = [row for row in (data if isinstance(data, list) else [data]) if isinstance(row, dict) and "state" in row]
        rows = [row for row in rows if "details" in row]
        for row in rows:
            details = row["details"]
            if self._shape.echoed_key is not EchoedKey.AS_SENT:
                details["IntouchAPITask-Payload"]["body"]["requestId"] = self._key_of(row["requestId"])
            if route is Route.GET and row["state"] in DECIDED:
                self.read_singly.add(row["requestId"])
            key = details.get("IntouchAPITask-Payload", {}).get("body", {}).get("requestId")
            for line in _lines(details):
                said_well = line.get("error") is None and line.get("status") in (None, "ACTIVE")
                if said_well and line.get("issuedId"):
                    self.told[key, line["customerId"]].add(line["issuedId"])
        return rows

    def _key_of(self, platform_request_id: str) -> str | None:
        """Return the key that a request was sent with, whatever replies show."""
        rows = self.platform.books.requests("platform_request_id = ?", (platform_request_id,), bodies=False)
        return rows[0].request_key if rows else None

    # The checker --------------------------------------------------------------------------------------------

    def arrived(self, row: RequestRow) -> None:
        """A request is new: the checker will get to it, or never does."""
        shape, rng = self._shape, self._rng
        if row.decided:
            self.decided_at[row.platform_request_id] = self._loop.time()
            return
        if shape.approves_after and self.disturbed:
            self._loop.call_later(shape.approves_after + 0.001, self._approved_late, row.platform_request_id)
            return
        if not self.disturbed or rng.random() >= shape.ignore:
            delay = rng.expovariate(1 / shape.decision_mean) if shape.decision_mean and self.disturbed else 1.0
            self._loop.call_later(delay, self.decide, row.platform_request_id)

    def _approved_late(self, platform_request_id: str) -> None:
        self.platform.workflow.execute_late()
        if self.disturbed:
            self.decided_at.setdefault(platform_request_id, self._loop.time())
            self.approved_late.add(platform_request_id)

    def decide(self, platform_request_id: str) -> None:
        """The checker decides one request, on every node it has to pass."""
        decision = "rejected" if self.disturbed and self._rng.random() < self._shape.reject else "approved"
        while True:
            rows = self.platform.books.requests("platform_request_id = ?", (platform_request_id,), bodies=True)
            if not rows or rows[0].decided:
                break
            if not self.platform.decide(rows[0], decision, "seen"):
                raise AssertionError(f"the checker could not decide {platform_request_id}")
            self.decided_by_human.add(platform_request_id)
        self.decided_at.setdefault(platform_request_id, self._loop.time())

    def decide_all(self) -> int:
        """The checker clears his desk; returns how many requests were on it."""
        rows = self.platform.books.requests("decided = 0", bodies=False)
        for row in rows:
            self.decide(row.platform_request_id)
        return len(rows)


def _without_details(payload: bytes) -> bytes:
    document = json.loads(payload)
    for row in document["data"]:
        row["details"] = {}
    return json.dumps(document).encode()


def _apply(oddity: Oddity, details: dict[str, Any], age: float) -> bool:
    if oddity.kind in ("late output", "no output"):
        if oddity.kind == "late output" and age >= oddity.late_s:
            return False
        del details[_OUTPUT]
        return True
    if oddity.kind == "broken output":
        details[_OUTPUT] = {"status": 502, "headers": {}, "body": "<html>Bad Gateway</html>"}
        return True
    lines = _lines(details)
    if not lines:
        return False
    if oddity.kind == "empty list":
        lines.clear()
        return True
    line = lines[oddity.place % len(lines)]
    if oddity.kind == "missing line":
        lines.remove(line)
    elif line.get("error") is None:
        line.update({"issuedId": None} if oddity.kind == "no id" else {"status": "REVOKED"})
    return True


def _put_codes(lot: Random, details: dict[str, Any]) -> bool:
    """Give lines of the enrolled an error: a code that refuses nothing, or one that does beside an issued id."""
    lines = [line for line in _lines(details) if line.get("error") is None and line.get("issuedId")]
    for line in lines:
        code = lot.choice((0, 200, 500, 503, 7777, 816, None))
        line["error"] = {"code": code, "message": "?", "reference": None}
        if code != 816 and line["customerId"] % 2:
            line["issuedId"] = None
    return bool(lines)


def _refused_in_mid_call(code: int) -> dict[str, Any]:
    """Return the answer of a call that has enrolled its customers and ends as a whole with an error all the same."""
    errors = [{"code": code, "message": "?", "reference": None}]
    return {"status": 400, "headers": {}, "body": {"data": None, "errors": errors, "warnings": None}}


def _misplace_errors(lot: Random, details: dict[str, Any]) -> bool:
    """Show the errors of refused customers in places that no page names, beside what looks like an issued id."""
    lines = [line for line in _lines(details) if (line.get("error") or {}).get("code") == 1026]
    for line in lines:
        line.update(error=None, status="ACTIVE", issuedId=lot.choice(("PENDING", f"{line['customerId']:024x}")))
        line.update(lot.choice(({"success": False}, {"errorCode": 1026}, {"warnings": [{"code": 1026}]})))
    return bool(lines)


def _make_lean(lot: Random, details: dict[str, Any]) -> bool:
    """Leave out of a row of the list, or cut, what a single read shows."""
    if _OUTPUT not in details:
        return False
    kind, lines = lot.choice(("no output", "no body", "no lines", "first lines", "no ids", "text")), _lines(details)
    if kind == "no output":
        del details[_OUTPUT]
    elif kind in ("no body", "text"):
        body = None if kind == "no body" else json.dumps(details[_OUTPUT]["body"])[:-9]
        details[_OUTPUT] = {**details[_OUTPUT], "body": body}
    elif kind == "no ids":
        for line in [line for line in lines if line.get("error") is None]:
            line["issuedId"] = lot.choice((None, 0, "null"))
    else:
        del lines[0 if kind == "no lines" else len(lines) // 2 :]
    return True


def _lines(details: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of the bulk call's answer; an empty list where there is none."""
    body = (details.get(_OUTPUT) or {}).get("body")
    data = body.get("data") if isinstance(body, dict) else None
    lines = data.get("issuedBadges") if isinstance(data, dict) else None
    return lines if isinstance(lines, list) else []


#: The logins that worlds use.
TILL: Final = replace(MAKER)
OAUTH: Final = CLIENT
