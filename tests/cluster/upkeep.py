"""Years of upkeep in some minutes, under runs that wait: clean, restart, new key, dump and restore, down and up.

Each by the commands of docs/deployment.md, as they stand there. What is forgotten by the restore is brought back, and
in the end every customer is in exactly one request.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet
from sqlalchemy import func, select, text

from capillary.ledger.schema import badge_request
from tests.cluster.cluster import START_LIMIT_S, Cluster
from tests.cluster.manual import CommandFailed, block, told, words
from tests.fire.campaigns import UPKEEP, Campaign
from tests.fire.judge import Judgement, judge

#: Waits through all of it; is forgotten by the restore; plans after the restore.
KEPT: Final = Campaign("cluster_kept", 11)
FORGOTTEN: Final = Campaign("cluster_forgotten", 12)
LATER: Final = Campaign("cluster_later", 13)
CAMPAIGNS: Final = (KEPT, FORGOTTEN, LATER)
_REQUESTS: Final = 3
_RUN: Final = "upkeep"
_LIMIT_S: Final = 600.0
#: What the manual has stopped while a dump is restored.
_AT_WORK: Final = ("airflow-scheduler", "airflow-worker", "airflow-triggerer")


@dataclass(slots=True)
class Upkeep:
    """What came of it.

    Attributes:
        seconds: of each step, in order.
        broken: what does not hold, in sentences.
        judgement: by the books, of these campaigns.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    judgement: Judgement | None = None


def upkeep(cluster: Cluster, variables: dict[str, str], tell: Callable[[str], None]) -> Upkeep:
    """Do it over a cluster in which nothing is under way, and judge.

    Args:
        cluster: with `CAMPAIGNS` and the housekeeping in its image.
        variables: what .env holds.
        tell: takes one line for each step.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _Year(cluster, variables, Path(folder), tell).passed()


class _Year:
    def __init__(self, cluster: Cluster, variables: dict[str, str], folder: Path, tell: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._key = variables["AIRFLOW_FERNET_KEY"]
        self._folder = folder
        self._tell = tell
        self._came = Upkeep()

    def passed(self) -> Upkeep:
        cluster = self._cluster
        for campaign in CAMPAIGNS:
            cluster.warehouse.grow(campaign, _REQUESTS)
        cluster.sandbox.delete("/_sandbox/faults").raise_for_status()
        cluster.switch(checker="manual")
        cluster.await_campaigns([UPKEEP, *(campaign.name for campaign in CAMPAIGNS)])
        for step in (
            self._a_run_waits,
            self._clean,
            self._restart,
            self._new_key,
            self._dump_and_restore,
            self._bring_back,
            self._decide,
        ):
            began = time.monotonic()
            step()
            name = step.__name__.strip("_").replace("_", " ")
            self._came.seconds[name] = time.monotonic() - began
            self._tell(f"{name} ({self._came.seconds[name]:.0f} s)")
        self._came.judgement = judge(cluster, {campaign.name for campaign in CAMPAIGNS})
        self._came.broken += self._came.judgement.broken
        return self._came

    def _manual(self, commands: str, **put_in: str) -> str:
        return told(commands, self._cluster.containers, self._folder, put_in)

    def _submitted(self, campaign: Campaign) -> None:
        self._cluster.trigger(campaign.name, _RUN)
        self._cluster.until(
            lambda: self._waits(campaign) and self._cluster.sent(campaign) == _REQUESTS,
            f"{campaign.name} waits for the checker",
            _LIMIT_S,
        )

    def _waits(self, campaign: Campaign) -> bool:
        return self._cluster.task(campaign.name, "wait")[0] == "deferred"

    def _assert(self, holds: bool, sentence: str) -> None:
        if not holds:
            self._came.broken.append(sentence)

    def _a_run_waits(self) -> None:
        self._submitted(KEPT)

    def _clean(self) -> None:
        """By the manual's age nothing of the run goes; then all that the tasks handed on goes, whatever its age."""
        command = block("docker compose exec airflow-scheduler airflow db clean")
        self._manual(command)
        self._assert(self._handed_on() > 0, "db clean at the manual's age has taken the XComs of a run that waits")
        self._manual(command, **{"30 days ago": "tomorrow", "db clean": "db clean --tables xcom"})
        self._assert(self._handed_on() == 0, "db clean has left the XComs, which it was to take")
        self._assert(self._waits(KEPT), "db clean: the run does not wait any more")

    def _handed_on(self) -> int:
        with self._cluster.airflow.connect() as conn:
            found = conn.execute(text("SELECT count(*) FROM xcom WHERE dag_id = :dag"), {"dag": KEPT.name})
            return int(found.scalar_one())

    def _restart(self) -> None:
        self._cluster.restart()

    def _new_key(self) -> None:
        """Airflow's connections are read by the new key alone in the end; down and up, twice, are part of it."""
        new = Fernet.generate_key().decode()
        self._cluster.down_and_up(AIRFLOW_FERNET_KEY=f"{new},{self._key}")
        said = self._manual(block("docker compose exec -T airflow-scheduler python - <<'PYTHON'"))
        self._assert("written with the first key" in said, f"the new key: it printed {said[-200:]!r}")
        self._manual(block("docker compose exec airflow-scheduler env"), **{"KEY=new": f"KEY={new}"})
        self._cluster.down_and_up(AIRFLOW_FERNET_KEY=new)

    def _dump_and_restore(self) -> None:
        """A dump, then requests that it does not know, then the dump is restored by the manual's steps."""
        known = self._known()
        self._manual(block("docker compose exec -T postgres pg_dump"))
        self._submitted(FORGOTTEN)
        self._cluster.containers.stop(_AT_WORK)
        self._manual(words("docker compose exec -T postgres pg_restore"))
        self._cluster.reopen_ledger()
        self._assert(self._known() == known, f"the restored ledger has {self._known()} requests, and had {known}")
        self._cluster.containers.start(_AT_WORK, START_LIMIT_S)

    def _known(self) -> int:
        with self._cluster.ledger.read() as tx:
            return int(tx.conn.execute(select(func.count()).select_from(badge_request)).scalar_one())

    def _bring_back(self) -> None:
        """A run that plans after the restore sends nothing before the forgotten requests are back."""
        cluster = self._cluster
        cluster.trigger(LATER.name, _RUN)
        held = {"deferred", "up_for_retry", "failed"}
        cluster.until(lambda: cluster.task(LATER.name, "submit")[0] in held, f"{LATER.name}: submit is held", _LIMIT_S)
        self._assert(cluster.sent(LATER) == 0, "a restored ledger has sent before what it forgot was back")
        day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
        command = f"docker compose exec airflow-scheduler {words('python -m capillary ledger import --dags')}"
        try:
            said = self._manual(command, **{"<day of the backup>": day})
        except CommandFailed as error:
            self._came.broken.append(f"the import: {error}")
            return
        self._assert(f"{_REQUESTS} requests with" in said, f"the import said {said[-300:]!r}")

    def _decide(self) -> None:
        """The checker decides: runs that wait end well, the forgotten run fails, and the housekeeping settles it."""
        cluster = self._cluster
        began = time.monotonic()
        cluster.until(lambda: self._is_sent_or_ended(LATER), f"{LATER.name} is sent", _LIMIT_S)
        if not cluster.sent(
            LATER
        ):  # its submit ended with LedgerBehind before the import, and its report gave all back
            cluster.api.clear_with_downstream(LATER.name, _RUN, "extract_eligible_customers")
        cluster.until(lambda: cluster.sent(LATER) == _REQUESTS, f"{LATER.name} is sent", _LIMIT_S)
        self._tell(f"{LATER.name} is sent {time.monotonic() - began:.0f} s after the import")
        cluster.switch(checker="automatic", delay_s=1)
        cluster.sandbox.post("/_sandbox/approve-all").raise_for_status()
        wanted = [(KEPT.name, _RUN), (LATER.name, _RUN), (FORGOTTEN.name, _RUN)]
        cluster.until(
            lambda: all(cluster.run_states().get(each) in {"success", "failed"} for each in wanted),
            "all runs have ended",
            _LIMIT_S,
        )
        cluster.until(lambda: not self._open(), "every request is settled", _LIMIT_S)
        states = [cluster.run_states()[each] for each in wanted]
        self._assert(states == ["success", "success", "failed"], f"the runs ended as {states}")

    def _is_sent_or_ended(self, campaign: Campaign) -> bool:
        ended = self._cluster.run_states().get((campaign.name, _RUN)) in {"success", "failed"}
        return ended or self._cluster.sent(campaign) == _REQUESTS

    def _open(self) -> int:
        with self._cluster.ledger.read() as tx:
            unsettled = select(func.count()).where(badge_request.c.status != "settled")
            return int(tx.conn.execute(unsettled).scalar_one())
