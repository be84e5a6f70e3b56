"""Calls between a process and the platform, and what goes wrong with them.

A call leaves, arrives, is answered, and the answer comes back: each leg takes time and may be lost. What has left
arrives whatever becomes of its sender.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from capillary.api.transport import ConnectFailed, Reply, TooLarge, TransportFailed
from sandbox.faults import Route
from sandbox.replies import CODES, error_body
from tests.simulation.platform_side import route_of
from tests.simulation.processes import CURRENT
from tests.simulation.wire import Post, PostAnswer

if TYPE_CHECKING:
    from tests.simulation.shape import Shape
    from tests.simulation.world import World

_NO_PARAMS: Final[Mapping[str, str]] = MappingProxyType({})
_HTML: Final = b"<html><head><title>Please sign in</title></head></html>"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What happens to one call.

    Attributes:
        kind: the fault; empty for none.
        out_s: seconds until it arrives.
        back_s: seconds until the answer is back.
        hold_s: seconds for which the sender stands still before the first byte leaves (broken worlds only).
        quick: a loss shows at once and not by the timeout.
    """

    kind: str = ""
    out_s: float = 0.05
    back_s: float = 0.05
    hold_s: float = 0.0
    quick: bool = True


#: Faults of any call: the platform never sees the first four, and has done its work before the others.
_BEFORE: Final = ("refused connection", "lost", "busy", "limited", "status before", "unauthorized")
_AFTER: Final = ("lost reply", "html", "truncated", "status after", "slow")
_OF_POSTS: Final = (
    "lost",
    "lost",
    "lost",
    "lost reply",
    "lost reply",
    "slow",
    "late",
    "no id",
    "809",
    "2008",
    "2001",
    "status after",
)


class Faults:
    """Draws the fault of each call; ends with the world's disturbed part."""

    def __init__(self, shape: Shape, rng: Random) -> None:
        self._shape = shape
        self._rng = rng
        self.on = True
        self.failed_over = False

    def draw(self, route: Route, now: float) -> Disturbance:
        """Return what happens to a call that starts now."""
        rng, shape = self._rng, self._shape
        if not self.on:
            return Disturbance()
        out_s, back_s = rng.uniform(0.01, 0.4), rng.uniform(0.01, 0.4)
        for begins, ends, kind in shape.storms:
            if begins <= now < ends and rng.random() < 0.8:
                word = {"429": "limited", "busy": "busy", "down": "refused connection", "500": "status before"}[kind]
                return Disturbance(word, out_s, back_s)
        hold_s = 0.0
        if route is Route.SUBMIT and rng.random() < shape.late_posts:
            hold_s = rng.choice((0.0, rng.uniform(30, 3 * 3600.0)))
            if not hold_s:
                out_s = rng.uniform(shape.post_timeout, 4 * 3600.0)
                return Disturbance("late", out_s, back_s)
        if route is Route.SUBMIT and shape.late_refusals and rng.random() < (0.85 if self.failed_over else 0.6):
            # Refusals that come late, and doubts that they may meet once the numbers are another one's.
            kind = "lost" if self.failed_over else rng.choice(("limited", "busy", "2008"))
            return Disturbance(kind, out_s, back_s)
        if rng.random() >= shape.fault * (2 if route is Route.SUBMIT else 1):
            return Disturbance("", out_s, back_s, hold_s)
        kind = rng.choice(_OF_POSTS if route is Route.SUBMIT and rng.random() < 0.6 else _BEFORE + _AFTER)
        if kind in ("late", "slow"):
            # A slow commit of somebody stops the whole world, this call's arrival too: leave room for it.
            most = shape.post_timeout * (0.7 if shape.slow_commit else 0.999)
            out_s = rng.uniform(0, most) if kind == "late" else out_s
            back_s = rng.uniform(0, 2 * shape.post_timeout) if kind == "slow" else back_s
        return Disturbance(kind, out_s, back_s, hold_s, quick=rng.random() < 0.5)

    def spoilt(self, kind: str, reply: Reply, now: datetime) -> Reply:  # noqa: PLR0911 - one for each fault
        """Return what is left of a reply."""
        rng = self._rng
        match kind:
            case "html":
                return Reply(200, self._pause(now), _HTML)
            case "truncated":
                return Reply(reply.status, reply.headers, reply.body[: len(reply.body) // 2])
            case "no id":
                return Reply(200, {}, rng.choice((b"{}", b'{"data":{}}', b'{"data":null}', b'{"data":{"state":"x"}}')))
            case "status after" | "status before":
                status = rng.choice((500, 502, 504))
                return Reply(status, self._pause(now), rng.choice((_HTML, b"", error_body(500, "Internal."))))
            case "limited":
                return Reply(429, self._retry_after(now), error_body(429, "Too many requests."))
            case "busy" | "unauthorized" | "809" | "2008" | "2001":
                code = {"busy": 4001, "unauthorized": 401}.get(kind) or int(kind)
                return Reply(CODES[code].status, self._pause(now), error_body(code, CODES[code].message))
            case _:
                return reply

    def _pause(self, now: datetime) -> dict[str, str]:
        return self._retry_after(now) if self._shape.asks_for_pauses else {}

    def _retry_after(self, now: datetime) -> dict[str, str]:
        seconds = self._rng.choice((1, 5, 30, 120))
        until = datetime.fromtimestamp(now.timestamp() + seconds, UTC)
        return self._rng.choice(
            (
                {},
                {"retry-after": str(seconds)},
                {"retry-after": format_datetime(until, usegmt=True), "date": format_datetime(now, usegmt=True)},
                {"retry-after": "soon"},
                {"retry-after": "-7"},
            )
        )


#: Answers of a gateway that has not let the call through.
_GATEWAY: Final = frozenset({"busy", "limited", "status before", "unauthorized", "2008", "2001"})


class SimulatedTransport:
    """`capillary.api.transport.Transport` of one process."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def close(self) -> None:
        """Nothing is open."""

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        json_body: object | None = None,
        params: Mapping[str, str] = _NO_PARAMS,
    ) -> Reply:
        """Make one call."""
        world, process = self._world, CURRENT.get()
        world.mishaps.crash_point("before a call")
        path = world.path_of(url)
        route = route_of(method, path)
        fate = world.faults.draw(route, world.now)
        # The budget is judged where the call begins: a machine that freezes behind that keeps none of its promises.
        world.wire.call_starts(route)
        if fate.hold_s:
            world.note(f"{process.name if process else '?'} stands still for {fate.hold_s:.0f} s before it sends")
            await asyncio.sleep(fate.hold_s)
        asked = world.now
        post = None
        if route is Route.SUBMIT and isinstance(json_body, dict):
            post = world.wire.post_starts(json_body, process, held=fate.hold_s > 0)
            world.note(f"{process.name if process else '?'} sends {post.key} {fate.kind}")
        if fate.kind == "refused connection":
            if post is not None:
                post.lost, post.answer = True, PostAnswer.NOT_TAKEN
            await asyncio.sleep(fate.out_s)
            world.mishaps.crash_point("after a call")
            raise ConnectFailed("no connection to the platform")
        flight = _Flight(world, fate, post, asyncio.get_running_loop().create_future())
        flight.leave(method, path, dict(headers), dict(params), json_body, timeout_s)
        try:
            reply = await flight.answer
        finally:
            await world.mishaps.thaw(odds=8.0 if post is not None else 1.0)
        world.mishaps.crash_point("after a call")
        if asked_for := _pause_s(reply):
            world.wire.told_to_wait(process, asked_for)
        rows = world.platform_side.note_told(route, reply.body) if reply.status == 200 else []
        if process is not None and not process.auto_approved_seen:
            process.auto_approved_seen = any(world.wire.is_approved_meanwhile(row, process) for row in rows)
        if post is not None:
            taken = rows[0]["requestId"] if rows and "requestId" in rows[0] else None
            world.wire.answered(post, reply.status, _codes(reply.body), taken)
            if taken and process is not None and world.platform_side.platform.settings.auto_approve:
                process.auto_approved_seen = True
        elif route is Route.LIST and reply.status == 200:
            world.wire.page_read(process, asked, rows, reply.body)
        return reply


class _Flight:
    """One call under way."""

    def __init__(self, world: World, fate: Disturbance, post: Post | None, answer: asyncio.Future[Reply]) -> None:
        self._world = world
        self._fate = fate
        self._post = post
        self.answer = answer

    def leave(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        params: dict[str, str],
        body: object,
        timeout_s: float,
    ) -> None:
        """Let the call go; it arrives even if nobody waits for it any more."""
        loop, fate = self._world.loop, self._fate
        loop.call_later(fate.out_s, self._arrive, method, path, headers, params, body)
        loop.call_later(timeout_s, self._fail, "the platform did not answer in time")

    def _arrive(self, method: str, path: str, headers: dict[str, str], params: dict[str, str], body: object) -> None:
        world, fate = self._world, self._fate
        reply = Reply(200, {}, b"")
        if fate.kind == "lost" or fate.kind in _GATEWAY:
            if self._post is not None:
                self._post.lost = True
        else:
            reply = world.platform_side.serve(method, path, headers, params, body)
            said = {"date": format_datetime(world.platform_now, usegmt=True)}
            reply = Reply(reply.status, {**said, **reply.headers}, reply.body)
            if self._post is not None:
                self._accepted(self._post, reply)
                if self._is_delivered_again(self._post):
                    self._stands_there(world.platform_side.serve(method, path, headers, params, body), self._post)
        if fate.kind in ("lost", "lost reply"):
            if fate.quick:
                world.loop.call_later(fate.back_s, self._fail, "the connection was reset")
            return
        at_most = world.shape.largest_page if int(params.get("limit", 1)) > 1 else 0
        if at_most and len(reply.body) > at_most:
            world.loop.call_later(fate.back_s, self._fail, "the answer is too large", TooLarge)
            return
        reply = world.faults.spoilt(fate.kind, reply, world.platform_now)
        world.loop.call_later(fate.back_s, self._succeed, reply)

    def _accepted(self, post: Post, reply: Reply) -> None:
        if reply.status != 200:
            post.lost = True
            return
        post.platform_request_id = self._stands_there(reply, post)

    def _is_delivered_again(self, post: Post) -> bool:
        """Return whether a gateway delivers it a second time; drawn apart, so that other worlds stay as they are."""
        share, seed = self._world.shape.doubled_posts, self._world.shape.seed
        return not post.lost and Random(f"{seed} {post.key} {post.started}").random() < share  # noqa: S311 - no secret

    def _stands_there(self, reply: Reply, post: Post) -> str:
        """Tell the checker of a request that has arrived; return its platform request id."""
        world = self._world
        platform_request_id = str(json.loads(reply.body)["data"]["requestId"])
        world.note(f"{post.key} is on the platform")
        rows = world.platform_side.platform.books.requests(
            "platform_request_id = ?", (platform_request_id,), bodies=False
        )
        world.platform_side.arrived(rows[0])
        world.books.check_arrival(post.badge_id, post.customers)
        return platform_request_id

    def _fail(self, words: str, kind: type[TransportFailed] = TransportFailed) -> None:
        if not self.answer.done():
            self.answer.set_exception(kind(words))

    def _succeed(self, reply: Reply) -> None:
        if not self.answer.done():
            self.answer.set_result(reply)


def _pause_s(reply: Reply) -> float:
    """Return the seconds for which a reply asks in its `Retry-After`, as the platform means it; 0 for none."""
    said = reply.headers.get("retry-after", "")
    if said.isdigit():
        return float(said)
    if not said.endswith("GMT"):
        return 0.0
    return (parsedate_to_datetime(said) - parsedate_to_datetime(reply.headers["date"])).total_seconds()


def _codes(body: bytes) -> frozenset[int]:
    try:
        document: Any = json.loads(body)
    except ValueError:
        return frozenset()
    errors = document.get("errors") if isinstance(document, dict) else None
    return frozenset(error["code"] for error in errors) if isinstance(errors, list) else frozenset()
