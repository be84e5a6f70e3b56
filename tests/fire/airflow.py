"""Airflow's REST API as people use it, through outages of its server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from local_airflow.airflow_api import AirflowApi, ApiSilentError, RequestRejectedError


class FireApi(AirflowApi):
    """`AirflowApi` with what people do to runs and tasks."""

    def trigger_as(self, dag_id: str, run_id: str) -> None:
        """Start a run under a given id; one that is there already is what was asked for."""
        body = {"logical_date": None, "dag_run_id": run_id}
        try:
            self._call("POST", f"/dags/{dag_id}/dagRuns", body=body, what=f"trigger {dag_id}")
        except RequestRejectedError as error:
            if error.status != 409:
                raise

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks of a run, whatever their state, and nothing downstream of them."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": list(task_ids), "only_failed": False}
        self._call("POST", f"/dags/{dag_id}/clearTaskInstances", body=body, what=f"clear {', '.join(task_ids)}")

    def clear_with_downstream(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task and all that comes after it, which is what Airflow's own button proposes."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "only_failed": False,
            "include_downstream": True,
        }
        self._call("POST", f"/dags/{dag_id}/clearTaskInstances", body=body, what=f"clear {task_id} and downstream")

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task as success or failed."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}"
        self._call("PATCH", path, body={"new_state": state}, what=f"mark {task_id} as {state}")

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run as success or failed."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
        self._call("PATCH", path, body={"state": state}, what=f"mark the run as {state}")

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run; one that is gone already is what was asked for."""
        try:
            self._call("DELETE", f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}", what="delete the run")
        except RequestRejectedError as error:
            if error.status != 404:
                raise

    def pause(self, dag_id: str) -> None:
        """Let no task of it be started."""
        self._call("PATCH", f"/dags/{dag_id}", body={"is_paused": True}, what=f"pause {dag_id}")

    def _call(self, method: str, path: str, *, what: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        try:
            return super()._call(method, path, what=what, body=body)
        except httpx.TransportError as error:  # while it logs in
            raise ApiSilentError(f"Airflow's API server does not answer when asked to {what}") from error

    @staticmethod
    def _checked(reply: httpx.Response, *, what: str) -> dict[str, Any]:
        return {} if reply.status_code == 204 else AirflowApi._checked(reply, what=what)
