"""A run that starts now, as Airflow would describe it to a task: what templates are rendered with before any run."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Never, cast
from uuid import uuid4

from airflow.sdk import DAG, BaseOperator, Context, DagRunState, TaskInstanceState
from airflow.sdk.api.datamodels._generated import DagRun, DagRunType, TIRunContext
from airflow.sdk.definitions._internal.types import NOTSET
from airflow.sdk.definitions.asset import BaseAsset
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.context import ConnectionAccessor, VariableAccessor
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.log import mask_secret

from capillary.check.airflow_database import AirflowDatabase, VariableUnknown
from capillary.connections.errors import ConnectionMissing
from capillary.connections.lookup import look_up

_NOT_AT_HAND: Final = "Airflow's database is not available here"
#: A name that nobody but Airflow has while a task runs: what asks for it needs the running task's process.
_SUPERVISOR: Final = "SUPERVISOR_COMMS"


class KnownWhenItRuns(Exception):
    """What a template names is known when its task runs."""


class VariableMissing(Exception):
    """Airflow has no such variable."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"there is no Airflow variable {key!r}. Create it under Admin, Variables, with `airflow variables set "
            f"{key} …`, or in the environment variable AIRFLOW_VAR_{key.upper()}"
        )


@dataclass(frozen=True, slots=True)
class SampleRun:
    """A run that starts now.

    Attributes:
        database: Airflow's; None where it is not at hand.
        files_only: nothing but the environment is asked for variables and connections.
        now: when it starts, and its logical date.
    """

    database: AirflowDatabase | None = None
    files_only: bool = False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __str__(self) -> str:
        return f"rendered as for a run of {self.now:%Y-%m-%d %H:%M} UTC with the default of each parameter"

    def context(self, task: BaseOperator, dag: DAG) -> Context:
        """Return what Airflow hands to a task.

        It is a run by the DAG's schedule: that of an asset has no logical date.

        Raises:
            ParamValidationError: a parameter has no default, or one that its own schema refuses.
        """
        is_by_asset = isinstance(dag.schedule, BaseAsset | list | tuple | set)
        date = None if is_by_asset else self.now
        run = DagRun.model_construct(
            dag_id=dag.dag_id,
            run_id=f"check__{self.now.isoformat()}",
            logical_date=date,
            data_interval_start=date,
            data_interval_end=date,
            run_after=self.now,
            start_date=self.now,
            end_date=None,
            run_type=_run_type(dag, is_by_asset=is_by_asset),
            state=DagRunState.RUNNING,
            conf={} if dag.schedule is not None else _GivenWhenTriggered(),
            consumed_asset_events=[],
            partition_key=None,
        )
        ti = RuntimeTaskInstance.model_construct(
            id=uuid4(),
            task_id=task.task_id,
            dag_id=dag.dag_id,
            run_id=run.run_id,
            try_number=1,
            dag_version_id=uuid4(),
            map_index=-1,
            task=task,
            bundle_instance=None,
            _ti_context_from_server=TIRunContext.model_construct(
                dag_run=run, task_reschedule_count=0, max_tries=task.retries
            ),
            max_tries=task.retries,
            start_date=self.now,
            state=TaskInstanceState.RUNNING,
        )
        context = cast("dict[str, Any]", dict(ti.get_template_context()))
        context["var"] = {"json": _Variables(self, is_json=True), "value": _Variables(self, is_json=False)}
        context["conn"] = _Connections(self)
        if is_by_asset:
            context["triggering_asset_events"] = _OfAssets()
        return cast("Context", context)


def asks_the_supervisor(error: BaseException) -> bool:
    """Return whether an error says that a running task alone could be told, such as another task's output."""
    return isinstance(error, ImportError | NameError | AttributeError) and _SUPERVISOR in str(error)


def _run_type(dag: DAG, *, is_by_asset: bool) -> DagRunType:
    if is_by_asset:
        return DagRunType.ASSET_TRIGGERED
    return DagRunType.MANUAL if dag.schedule is None else DagRunType.SCHEDULED


class _GivenWhenTriggered(dict[str, Any]):
    """The conf of a run that somebody will trigger."""

    def __missing__(self, key: str) -> Never:
        raise KnownWhenItRuns(f"dag_run.conf[{key!r}] is given when a run is triggered")


class _OfAssets:
    """The events that will have triggered a run."""

    def __getattr__(self, name: str) -> Never:
        if name.startswith("__"):
            raise AttributeError(name)
        raise KnownWhenItRuns("triggering_asset_events")

    def __getitem__(self, _: object) -> Never:
        raise KnownWhenItRuns("triggering_asset_events")

    def __str__(self) -> Never:
        raise KnownWhenItRuns("triggering_asset_events")

    __iter__ = __len__ = __str__


class _Variables(VariableAccessor):
    """Airflow's variables, those of its database included, which Airflow's own asks for in a running task alone."""

    def __init__(self, run: SampleRun, *, is_json: bool) -> None:
        super().__init__(deserialize_json=is_json)
        self._run = run

    def __getattr__(self, key: str) -> Any:  # noqa: ANN401 - whatever the variable holds
        if key.startswith("__"):
            raise AttributeError(key)
        return self._found(key)

    def get(self, key: str, default: Any = NOTSET) -> Any:  # noqa: ANN401 - same
        try:
            return self._found(key)
        except VariableMissing:
            return default

    def _found(self, key: str) -> Any:  # noqa: ANN401 - same
        if not self._run.files_only or f"AIRFLOW_VAR_{key.upper()}" in os.environ:
            try:
                return super().__getattr__(key)
            except AirflowRuntimeError as error:
                if error.error.error is not ErrorType.VARIABLE_NOT_FOUND:
                    raise
        if self._run.database is None:
            raise KnownWhenItRuns(f"the variable {key!r}: {_NOT_AT_HAND}")
        try:
            text = self._run.database.variable(key)
        except VariableUnknown as error:
            raise KnownWhenItRuns(f"the variable {key!r}: Airflow's database does not give it ({error})") from None
        if text is None:
            raise VariableMissing(key)
        mask_secret(text, key)
        return json.loads(text) if self._deserialize_json else text


class _Connections(ConnectionAccessor):
    """Airflow's connections, those of its database included."""

    def __init__(self, run: SampleRun) -> None:
        self._run = run

    def __getattr__(self, conn_id: str) -> Any:  # noqa: ANN401 - a connection
        if conn_id.startswith("__"):
            raise AttributeError(conn_id)
        return self._found(conn_id)

    def get(self, conn_id: str, default_conn: Any = None) -> Any:  # noqa: ANN401 - same
        try:
            return self._found(conn_id)
        except ConnectionMissing:
            return default_conn

    def _found(self, conn_id: str) -> Any:  # noqa: ANN401 - same
        if self._run.files_only and f"AIRFLOW_CONN_{conn_id.upper()}" not in os.environ:
            raise KnownWhenItRuns(f"the connection {conn_id!r}: no connection is asked")
        if self._run.database is not None:
            return look_up(conn_id)
        try:
            return super().__getattr__(conn_id)
        except AirflowNotFoundException:
            raise KnownWhenItRuns(f"the connection {conn_id!r}: {_NOT_AT_HAND}") from None


def without_value(task: BaseOperator, dag: DAG) -> list[str]:
    """Return the parameters without a default: whoever triggers a run gives them."""
    both = [params for params in (dag.params, task.params) if isinstance(params, ParamsDict)]
    declared = [(name, params.get_param(name)) for params in both for name in params]
    return list(dict.fromkeys(name for name, param in declared if not param.has_value))
