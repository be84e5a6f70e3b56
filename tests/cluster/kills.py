"""Which container is killed, by `kill -9` of its first process; its restart policy starts it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final

from tests.cluster.cluster import Cluster
from tests.fire.agenda import Agenda

#: How likely each service is. What stands for the outside world (platform, warehouse) lives on.
WEIGHTS: Final = {
    "airflow-worker": 6,
    "airflow-scheduler": 3,
    "airflow-triggerer": 3,
    "airflow-apiserver": 3,
    "airflow-dag-processor": 1,
    "postgres": 2,
    "redis": 2,
}
#: Seconds between two kills: a container takes 5 to 30 to be at work again.
PAUSE_S: Final = (6.0, 24.0)


class ContainerKiller:
    """Kills at random until it has killed so many.

    Args:
        cluster: whose containers die.
        agenda: on which it stands.
        random: draws the victims and the times.
        kills: how many.
        tell: takes one line for each kill.
    """

    def __init__(
        self, cluster: Cluster, agenda: Agenda, random: Random, kills: int, tell: Callable[[str], None]
    ) -> None:
        self._cluster = cluster
        self._agenda = agenda
        self._random = random
        self._left = kills
        self._tell = tell
        self.counts: Counter[str] = Counter()

    @property
    def is_over(self) -> bool:
        """Whether nobody dies any more and everything is up again."""
        return self._left <= 0 and all(member.is_up for member in self._cluster.containers)

    def begin(self) -> None:
        """Let the first one die after a pause."""
        self._agenda.later(self._random.uniform(*PAUSE_S), self._next)

    def _next(self) -> None:
        if self._left <= 0:
            return
        service = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        running = [each for each in self._cluster.containers.members[service] if each.container.is_running]
        if running:
            victim = self._random.choice(running).container
            victim.kill()
            self._left -= 1
            self.counts[service] += 1
            self._tell(f"killed {victim.name}")
        self._agenda.later(self._random.uniform(*PAUSE_S), self._next)
