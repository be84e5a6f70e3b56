"""After an auto-approval in the ledger nothing is sent until a person clears a run, or a human decides again."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.processes import Process
    from tests.simulation.wire import Post
    from tests.simulation.world import World


class WhoDecides:
    """Judges every POST by what the ledger held before it, what the checker did, and which runs were cleared."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._noticed: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._refused: dict[int, tuple[int, frozenset[str]]] = {}

    def notice(self) -> None:
        """Note when the ledger was first found to hold each auto-approval, by account."""
        held = self._world.ledger.rows(
            "SELECT o.account, s.platform_request_id FROM badge_sighting s "
            "JOIN badge_request q ON q.id = s.request_id JOIN badge_occasion o ON o.id = q.occasion_id "
            "WHERE s.auto_approved AND s.terminal_seen_at IS NOT NULL"
        )
        for account, platform_request_id in held:
            self._noticed[account].setdefault(platform_request_id, self._world.now)

    def refused(self, badge_run_id: int, clears: int) -> None:
        """A run of this number ended because of an auto-approval: whoever clears it has been told."""
        self.notice()
        known = frozenset(each for held in self._noticed.values() for each in held)
        self._refused[badge_run_id] = clears, known

    def judge(self, post: Post, first: Post | None, *, within_s: float) -> None:
        """Break the world where a POST that is about to go out should have been kept back.

        Args:
            post: that one.
            first: the first one of its request, if it is not that.
            within_s: how long after its claim a POST may go out.
        """
        self.notice()
        account = self._account_of(post.key)
        held = {each: at for each, at in self._noticed[account].items() if at < self._world.now - within_s}
        if not held or post.held:
            return
        newest = max(held.values())
        if first is not None and first.started > newest:
            return
        if any(each.started > newest for each in self._world.wire.posts if self._is_decided_by_human(each)):
            return
        if self._is_cleared(post.process, frozenset(held)):
            return
        self._world.breach("auto-approval", f"{post.key} was sent though the ledger holds an auto-approval that stands")

    def _is_cleared(self, process: Process | None, held: frozenset[str]) -> bool:
        clears, known = self._refused.get(process.badge_run_id or 0, (None, frozenset())) if process else (None, held)
        return process is not None and clears is not None and process.clears > clears and held <= known

    def _is_decided_by_human(self, post: Post) -> bool:
        return post.platform_request_id in self._world.platform_side.decided_by_human

    def _account_of(self, key: str) -> str:
        found = self._world.ledger.rows(
            "SELECT o.account FROM badge_request q JOIN badge_occasion o ON o.id = q.occasion_id "  # noqa: S608 - a key of ours
            f"WHERE q.request_key = '{key}'"
        )
        return str(found[0][0]) if found else ""
