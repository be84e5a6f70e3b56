"""Tasks as a Kubernetes executor runs them: each in a container of its own, from image and environment alone.

The campaign's tasks go to a queue that no Celery worker serves. Whatever is handed to it is taken out of the broker
and run as that executor's pod runs it: `python -m airflow.sdk.execution_time.execute_workload`, on a root file system
that is read only, with an empty folder for plugins, and without database, broker and keys.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from tests.cluster.cluster import Cluster
from tests.cluster.container import Container
from tests.cluster.services import Service
from tests.fire.campaigns import Campaign

QUEUE: Final = "pods"
CAMPAIGN: Final = Campaign("cluster_pods", 4)
_PAUSE_S: Final = 0.5
_LAST_S: Final = 30.0
_NO_PLUGINS: Final = "/opt/airflow/no-plugins"
#: What a task needs of the worker's environment. It reaches databases through the API server, the ledger by itself.
ENVIRONMENT: Final = frozenset(
    {
        "AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
        "AIRFLOW__CORE__LOAD_EXAMPLES",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT",
        "AIRFLOW_CONN_BADGE_LEDGER",
    }
)


def write_campaign(folder: Path) -> None:
    """Write the campaign whose tasks run in pods."""
    CAMPAIGN.write(folder)
    file = folder / f"{CAMPAIGN.name}.py"
    file.write_text(f"{file.read_text()}for task in dag.tasks:\n    task.queue = {QUEUE!r}\n")


def pod_of(worker: Service, workload: str) -> Service:
    """The service of one pod.

    Args:
        worker: whose image, network and folder for logs it has.
        workload: what the executor hands over, JSON.
    """
    environment = {name: value for name, value in worker.environment.items() if name in ENVIRONMENT}
    return replace(
        worker,
        name="pod",
        command=("python", "-m", "airflow.sdk.execution_time.execute_workload", "--json-string", workload),
        environment={**environment, "AIRFLOW__CORE__PLUGINS_FOLDER": _NO_PLUGINS},
        waits_for={},
        health=None,
        restart="no",
        read_only=True,
    )


def writable(cluster: Cluster) -> list[str]:
    """Which of some folders, all of them the user's own, a pod can write to: its temporary folder and logs alone."""
    worker = cluster.containers.one("airflow-worker").container.service
    tried = "for each in /opt/airflow /home/airflow /tmp /opt/airflow/logs; do touch $each/tried && echo $each; done"
    pod = replace(pod_of(worker, ""), name="touch", entrypoint=("/bin/sh", "-c"), command=(tried,))
    touch = cluster.containers.run_beside(pod)
    cluster.until(lambda: not touch.is_running, "a pod has tried to write", 60)
    said = (cluster.containers.logs / f"{touch.name}.log").read_text()
    return [line for line in said.splitlines() if line.startswith("/") and " " not in line]


class Pods:
    """Runs what is queued, one pod for each task, while it is entered.

    Args:
        cluster: whose broker and API server they use.
        tell: takes one line for each pod.

    Attributes:
        ended: exit codes by the pod's name.
    """

    def __init__(self, cluster: Cluster, tell: Callable[[str], None]) -> None:
        self.ended: dict[str, int] = {}
        self._cluster = cluster
        self._tell = tell
        self._running: list[Container] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        # A task's state is told before its process ends.
        deadline = time.monotonic() + _LAST_S
        while self._running and time.monotonic() < deadline:
            self._reap()
            time.sleep(_PAUSE_S)
        for pod in self._running:
            pod.kill()

    def _serve(self) -> None:
        while not self._over.wait(_PAUSE_S):
            self._reap()
            if workload := self._take():
                pod = pod_of(self._cluster.containers.one("airflow-worker").container.service, workload)
                self._running.append(self._cluster.containers.run_beside(pod))

    def _reap(self) -> None:
        for pod in [pod for pod in self._running if not pod.is_running]:
            self._running.remove(pod)
            self.ended[pod.name] = pod.exit_code if pod.exit_code is not None else -1
            self._tell(f"{pod.name} ended with {pod.exit_code}")

    def _take(self) -> str | None:
        """The next workload of the queue, out of Celery's message."""
        asked = self._cluster.containers.one("redis").container.inside(["redis-cli", "--raw", "LPOP", QUEUE])
        if asked is None:
            return None
        said, _ = asked.communicate(timeout=30)
        with suppress(ValueError, KeyError, TypeError):
            (workload,), *_ = json.loads(base64.b64decode(json.loads(said)["body"]))
            return str(workload)
        return None
