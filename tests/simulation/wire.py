"""What really went over the wire, and the rules of sending: judged at each call, without asking the ledger.

Seconds are virtual. A POST is *dead* when it was lost on the way or refused; it is *on its way* until it arrives.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from capillary.ledger.pace import SLOT_GRACE_S, START_WITHIN_S
from sandbox.faults import Route
from tests.simulation.shape import Mode

if TYPE_CHECKING:
    from tests.simulation.processes import Process
    from tests.simulation.shape import Shape
    from tests.simulation.world import World

#: Without a control an hour must pass: docs/design.md, "Confirmed absence".
WITHOUT_CONTROL_S: Final = 3600.0
#: The first accepted request of a task is read so long after its reply, before a second goes out.
LOOKED_AT_AFTER_S: Final = 5.0
#: The switch is asked before the claim; the POST starts within this, or not at all.
SEND_WITHIN_S: Final = 5.0
#: The ledger's times are rounded to microseconds.
_ROUNDING_S: Final = 1e-3
#: Codes and statuses by which the platform says that it has not taken a request: docs/api.md.
_NOT_TAKEN_STATUSES: Final = frozenset({401, 403, 413, 429})
_NOT_TAKEN_CODES: Final = frozenset({2001, 2008, 4001})


class PostAnswer(StrEnum):
    """What a sender was told of a POST."""

    NOTHING = "nothing"  #: no answer, or none that can be trusted
    TAKEN = "taken"  #: a request id
    NOT_TAKEN = "not taken"  #: certainly not taken, or refused


@dataclass(eq=False, slots=True)
class Post:
    """One POST of a request."""

    key: str
    customers: frozenset[int]
    badge_id: str
    process: Process | None
    started: float
    held: bool
    lost: bool = False
    platform_request_id: str | None = None
    answer: PostAnswer = PostAnswer.NOTHING

    @property
    def on_its_way(self) -> bool:
        """Whether it may still arrive."""
        return not self.lost and self.platform_request_id is None and self.answer is not PostAnswer.NOT_TAKEN


@dataclass(frozen=True, slots=True)
class PageRead:
    """One page of the list that came back to its reader."""

    process: Process | None
    asked: float
    keys: frozenset[str]
    ids: frozenset[str]
    is_last: bool


class Wire:
    """Everything that was sent in one world."""

    def __init__(self, world: World, shape: Shape) -> None:
        self._world = world
        self._shape = shape
        self.posts: list[Post] = []
        self._by_key: defaultdict[str, list[Post]] = defaultdict(list)
        self._by_customer: defaultdict[tuple[str, int], list[Post]] = defaultdict(list)
        self._pages: deque[PageRead] = deque(maxlen=2_000)
        self._starts: deque[float] = deque()
        self._blocked_until = 0.0
        self._block_noted = 0.0
        self._told: list[tuple[Process | None, float, float]] = []
        self._off_since: float | None = None
        self._stopped_since: dict[int | None, float] = {}
        self._set_back_at: float | None = None

    # What the world tells -----------------------------------------------------------------------------------

    def switched(self, *, on: bool) -> None:
        """The operator turned the connection's switch."""
        self._off_since = None if on else self._world.now

    def stopped(self, occasion: int | None) -> None:
        """A person has stopped an occasion's campaign, or the whole account, and the command has returned."""
        self._stopped_since.setdefault(occasion, self._world.now)

    def resumed(self, occasion: int | None) -> None:
        """A person releases it."""
        self._stopped_since.pop(occasion, None)

    def stopped_occasions(self) -> tuple[int | None, ...]:
        """Return what is stopped: an occasion each, None for the whole account."""
        return tuple(self._stopped_since)

    def is_stopped(self, occasion: int) -> bool:
        """Tell whether a person has stopped an occasion's campaign, by itself or with the account."""
        return self._stop_of(occasion) is not None

    def _stop_of(self, occasion: int) -> float | None:
        since = [self._stopped_since[each] for each in (None, occasion) if each in self._stopped_since]
        return min(since, default=None)

    def set_back(self) -> None:
        """The ledger was set back, and has forgotten the calls of the last minute: those are not counted any more."""
        self._set_back_at = self._world.now
        self._starts.clear()
        self._blocked_until = 0.0
        self._told.clear()

    def told_to_wait(self, process: Process | None, seconds: float) -> None:
        """A reply that a process has in hand asks for a pause: from the platform's side, whatever is made of it."""
        self._told.append((process, self._world.now, self._world.now + seconds))
        self._world.note(f"{process.name if process else '?'} is told to wait {seconds:.0f} s")

    def slot_taken(self, process: Process | None, asked: float) -> None:
        """Judge a call's slot: who was told to wait before he asked for it takes none within the pause: I5."""
        now = self._world.now
        self._told = [each for each in self._told if each[2] > now]
        for told, at, until in self._told:
            # Of others, too, once he who was told is alive a moment later: he had the time to tell them.
            lives = told is process or (told is not None and told.alive and now - at > SLOT_GRACE_S)
            if lives and at <= asked and until - now > _ROUNDING_S:
                self._world.breach("I5", f"a slot was taken {until - now:.1f} s before the pause was over")

    def blocked(self, seconds: float, *, told_at: float) -> None:
        """The account's pace was told to wait so long from `told_at` on, and the ledger holds it by now."""
        self._blocked_until = max(self._blocked_until, told_at + seconds)
        self._block_noted = self._world.now
        self._world.note(f"everybody waits {seconds:.3f} s")

    def is_approved_meanwhile(self, row: Mapping[str, Any], process: Process) -> bool:
        """Tell whether a row shows that a request of the process's run was executed without a human, since it began."""
        if process.plan is None or row["state"] not in ("approved", "failed") or "AdminTask_Output" in row["details"]:
            return False
        if not row["details"]:  # a list without details says nothing of a human
            return False
        key = row["details"]["IntouchAPITask-Payload"]["body"].get("requestId")
        if self._world.platform_side.decided_at.get(row["requestId"], 0.0) < process.begun:
            return False
        own = self._world.ledger.rows(
            "SELECT 1 FROM badge_request q JOIN badge_run r ON r.id = q.badge_run_id "  # noqa: S608 - a key and a token of ours
            f"WHERE q.request_key = '{key}' AND r.token = '{process.plan.token}'"
        )
        return bool(own)

    def page_read(self, process: Process | None, asked: float, rows: list[dict[str, Any]], body: bytes) -> None:
        """A page of the list reached its reader."""
        pagination = json.loads(body.decode(errors="replace"))["pagination"] if rows else {"number": 0, "totalPages": 0}
        is_last = pagination["number"] + 1 >= pagination["totalPages"]
        keys = (row["details"].get("IntouchAPITask-Payload", {}).get("body", {}).get("requestId") for row in rows)
        ids = frozenset(row["requestId"] for row in rows)
        self._pages.append(PageRead(process, asked, frozenset(key for key in keys if key), ids, is_last))

    def answered(self, post: Post, status: int, codes: frozenset[int], platform_request_id: str | None) -> None:
        """The sender got an answer."""
        if platform_request_id is not None:
            post.answer = PostAnswer.TAKEN
        elif (status in _NOT_TAKEN_STATUSES or codes & _NOT_TAKEN_CODES) and 809 not in codes:
            post.answer = PostAnswer.NOT_TAKEN

    # The rules ----------------------------------------------------------------------------------------------

    def call_starts(self, route: Route) -> None:
        """Judge the account's budget: I5."""
        now, shape = self._world.now, self._shape
        if not shape.real_pace:
            return
        self._starts.append(now)
        while self._starts[0] <= now - 60.0:
            self._starts.popleft()
        if len(self._starts) > shape.calls_per_minute:
            self._world.breach("I5", f"{len(self._starts)} calls in 60 s, {shape.calls_per_minute} are allowed")
        # Who had his slot before goes on: a read at once, a POST once it is claimed.
        under_way = SLOT_GRACE_S + (START_WITHIN_S if route is Route.SUBMIT else 0.0)
        if (
            now < self._blocked_until
            and now - self._block_noted > under_way
            and self._blocked_until - now > _ROUNDING_S
        ):
            self._world.breach("I5", f"a {route} call went out though the account has to wait")

    def post_starts(self, body: Mapping[str, Any], process: Process | None, *, held: bool) -> Post:
        """Judge one POST before it goes out: I1, I4, and who may send."""
        inner = body["payload"]["IntouchAPITask-Payload"]["body"]
        post = Post(
            inner["requestId"],
            frozenset(inner["customers"]),
            inner["badgeMetaId"],
            process,
            self._world.now,
            held,
        )
        if self._off_since is not None and self._world.now > self._off_since + SEND_WITHIN_S and not held:
            self._world.breach("switch", f"{post.key} was sent {self._world.now - self._off_since:.0f} s after it")
        self._judge_plan(post)
        stopped_at = self._stop_of(self._world.platform_side.badges.index(post.badge_id))
        if stopped_at is not None and self._world.now > stopped_at + SEND_WITHIN_S and not held:
            self._world.breach("stop", f"{post.key} was sent {self._world.now - stopped_at:.0f} s after the stop")
        if self._shape.mode is not Mode.RESTORED:
            self._judge_owner(post)
            for earlier in self._by_key[post.key]:
                self._judge_same_key(earlier, post)
        self._judge_after_late_approval(post)
        first = next(iter(self._by_key[post.key]), None)
        self._world.who_decides.judge(post, first, within_s=SEND_WITHIN_S)
        if self._shape.lost_for and self._set_back_at is not None:
            for earlier in self._by_key[post.key]:
                self._judge_after_loss(earlier, post)
        for customer in sorted(post.customers):
            for earlier in self._by_customer[post.badge_id, customer]:
                if earlier.key != post.key:
                    self._judge_other_key(earlier, post, customer)
            self._by_customer[post.badge_id, customer].append(post)
        self._by_key[post.key].append(post)
        self.posts.append(post)
        return post

    def _judge_plan(self, post: Post) -> None:
        """No trigger sends. A number may be another plan's after a restore: its token says whose request was sent."""
        if post.process is not None and post.process.name.startswith("trigger"):
            self._world.breach("owner", f"{post.process.name} sent {post.key}: a trigger never sends")
        mine = post.process.plan if post.process is not None else None
        found = self._world.ledger.rows(
            "SELECT r.token, q.resends FROM badge_request q JOIN badge_run r ON r.id = q.badge_run_id "  # noqa: S608 - a key of ours
            f"WHERE q.request_key = '{post.key}'"
        )
        if mine is not None and found and not found[0][1] and found[0][0] != mine.token:
            self._world.breach("owner", f"{post.key} was sent for a plan that had the number of its own before")

    def _judge_after_late_approval(self, post: Post) -> None:
        """Before a second new request the first accepted one was read, which had been executed without a human."""
        looked = 0 < self._shape.approves_after < LOOKED_AT_AFTER_S
        if not looked or post.process is None or self._by_key[post.key]:
            return
        for earlier in self.posts:
            approved = earlier.platform_request_id in self._world.platform_side.approved_late
            if approved and earlier.process is post.process and earlier.answer is PostAnswer.TAKEN:
                self._world.breach("auto-approval", f"{post.key} was sent after {earlier.key} was approved by itself")

    def _judge_after_loss(self, earlier: Post, post: Post) -> None:
        """A request of before the loss stands on the platform under this key, and was not rejected."""
        if earlier.platform_request_id is None or earlier.started > (self._set_back_at or 0.0):
            return
        if self._world.books.state_of(earlier.platform_request_id) != "rejected":
            self._world.breach("I1", f"{post.key} was sent again after the ledger that knew it was lost")

    def _judge_owner(self, post: Post) -> None:
        """The first send of a request is its own run's; any run and the upkeep may send again."""
        found = self._world.ledger.rows(
            f"SELECT badge_run_id, resends FROM badge_request WHERE request_key = '{post.key}'"  # noqa: S608 - a key of ours
        )
        if not found:
            self._world.breach("I2", f"{post.key} was sent, and the ledger does not hold it")
        badge_run_id, resends = found[0]
        if not resends and post.process is not None and post.process.auto_approved_seen:
            self._world.breach("auto-approval", f"{post.key} was sent by a process that had seen an auto-approval")
        if not resends and post.process is not None and post.process.badge_run_id != badge_run_id:
            self._world.breach("owner", f"{post.process.name} sent {post.key}, which run {badge_run_id} had planned")

    def _judge_same_key(self, earlier: Post, post: Post) -> None:
        if earlier.customers != post.customers:
            self._world.breach("I4", f"{post.key} was used again for other customers")
        if earlier.answer is PostAnswer.NOT_TAKEN:
            return
        if self._shape.mode is Mode.STRICT:
            if earlier.platform_request_id is not None:
                self._world.breach("I4", f"{post.key} was sent again though it stands on the platform")
            if earlier.on_its_way:
                self._world.breach("I4", f"{post.key} was sent again while it was on its way")
        elif earlier.answer is PostAnswer.TAKEN and self._was_written_down(earlier) and not post.held:
            self._world.breach("I4", f"{post.key} was sent again though the platform had said that it has it")
        if earlier.held or post.held:
            return
        judged_from = earlier.started + self._shape.post_timeout + self._shape.visibility_lag
        if post.started < judged_from:
            self._world.breach(
                "I4", f"{post.key} was sent again {judged_from - post.started:.0f} s before absence could be judged"
            )
        elif not self._shows_absence(earlier, post, judged_from):
            self._world.breach("I4", f"{post.key} was sent again on a reading without a control")

    def _was_written_down(self, post: Post) -> bool:
        """Tell whether the sender lived to record the answer."""
        seen = self._world.ledger.rows("SELECT platform_request_id FROM badge_sighting")
        return (post.platform_request_id,) in seen

    def _shows_absence(self, earlier: Post, post: Post, judged_from: float) -> bool:
        pages = [page for page in self._pages if page.process is post.process and page.asked >= judged_from]
        if not any(page.is_last for page in pages):
            return False
        for page in pages:
            if page.asked > judged_from + WITHOUT_CONTROL_S:
                return True
            for key in page.keys:
                # A send that was certainly not taken is none: the plan may have been made anew since.
                sent = [each.started for each in self._by_key.get(key, ()) if each.answer is not PostAnswer.NOT_TAKEN]
                if sent and sent[0] > earlier.started + self._shape.post_timeout:
                    return True
                # The row shows one send of several: the one that it came from.
                shown = [each.started for each in self._by_key.get(key, ()) if each.platform_request_id in page.ids]
                if shown and max(shown) > earlier.started + self._shape.post_timeout:
                    return True
        return False

    def _judge_other_key(self, earlier: Post, post: Post, customer: int) -> None:
        """The same customer under another key: only when nothing of the earlier request can come to life."""
        if earlier.answer is PostAnswer.NOT_TAKEN:
            return
        facts = f"a customer went out under {post.key} while {earlier.key}"
        if earlier.platform_request_id is None:
            judged_from = earlier.started + self._shape.post_timeout + self._shape.visibility_lag
            if earlier.on_its_way:
                self._world.breach("I4", f"{facts} was on its way")
            elif post.started < judged_from and not earlier.held:
                self._world.breach("I4", f"{facts} was in doubt")
            return
        if not self._world.books.is_decided(earlier.platform_request_id):
            self._world.breach("I1", f"{facts} waited for the checker")
        elif self._world.books.is_enrolled(post.badge_id, customer, earlier.key):
            self._world.breach("I1", f"{facts} had enrolled him")
