"""Look up an Airflow connection, and tell one that does not exist from one that Airflow could not be asked for.

Airflow's own look-up asks one backend after another, takes every failure for *not here*, and ends with *not found*
(Airflow 3.3.2, `airflow.sdk.execution_time.context._get_connection`). An API server that is away for the seconds of a
roll-out would so end a run for good. On *not found* each backend is asked once more here, and its failure is heard.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

from airflow.sdk import BaseHook, Connection
from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowNotFoundException,
    AirflowRuntimeError,
    AirflowSecretsBackendAccessDenied,
    ErrorType,
)
from airflow.sdk.log import amask_secret, mask_secret
from sqlalchemy.exc import SQLAlchemyError

from capillary.connections.errors import (
    AirflowAway,
    ConnectionDenied,
    ConnectionMissing,
    ConnectionsUnreadable,
    ConnectionUnusable,
)

#: Backends of Airflow's search path that are always there: the environment and its database, directly or by its API.
AIRFLOWS_OWN: Final = frozenset({"EnvironmentVariablesBackend", "MetastoreBackend", "ExecutionAPISecretsBackend"})
_TASK_RUNNER: Final = "airflow.sdk.execution_time.task_runner"


def look_up(conn_id: str) -> Connection:
    """Return a connection, in a task or outside of one; blocks, up to a minute while Airflow's API server is away.

    Raises:
        ConnectionMissing, ConnectionUnusable: there is none, or the environment variable that defines it is broken.
        AirflowAway, ConnectionsUnreadable: it could not be asked for.
        ConnectionDenied: Airflow refuses it to this task.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowSecretsBackendAccessDenied:
        raise ConnectionDenied(conn_id) from None
    except AirflowNotFoundException:
        found: Connection | None = None
    for backend in _secrets_backends():
        found = found or _asked(conn_id, backend)
    supervisor = _supervisor()
    if found is None and supervisor is not None:
        found = _told(conn_id, supervisor.send, _question(conn_id))
        _mask(found)
    elif found is None and os.environ.get("_AIRFLOW_PROCESS_CONTEXT") != "client":
        found = _stored_connection(conn_id)
    if found is None:
        raise _missing(conn_id)
    return found


async def alook_up(conn_id: str) -> Connection:
    """Do what `look_up` does, for triggers: nothing here blocks the event loop."""
    try:
        return await BaseHook.aget_connection(conn_id)
    except AirflowSecretsBackendAccessDenied:
        raise ConnectionDenied(conn_id) from None
    except AirflowNotFoundException:
        found: Connection | None = None
    for backend in _secrets_backends():
        found = found or await asyncio.to_thread(_asked, conn_id, backend)
    supervisor = _supervisor()
    if found is None and supervisor is not None:
        if hasattr(supervisor, "asend"):
            found = await _atold(conn_id, supervisor)
        else:  # the supervisor of `airflow dags test` stands in the same process
            found = _told(conn_id, supervisor.send, _question(conn_id))
        await _amask(found)
    if found is None:
        raise _missing(conn_id)
    return found


def _secrets_backends() -> Iterator[BaseSecretsBackend]:
    """Yield the backends that a company has added to Airflow's own."""
    from airflow.sdk.execution_time.supervisor import (  # noqa: PLC0415 - costs, and is needed on failure alone
        ensure_secrets_backend_loaded,
    )

    for backend in ensure_secrets_backend_loaded():
        if type(backend).__name__ not in AIRFLOWS_OWN:
            yield backend


def _asked(conn_id: str, backend: BaseSecretsBackend) -> Connection | None:
    try:
        found: Connection | None = backend.get_connection(conn_id=conn_id)
    except Exception as error:  # noqa: BLE001 - any client's own; its words may quote an address or a token
        why = type(error).__name__
    else:
        return found
    raise AirflowAway(conn_id, place=f"The secrets backend {type(backend).__name__}", why=why)


def _supervisor() -> Any | None:  # noqa: ANN401 - Airflow's own, of one kind for tasks and of another for triggers
    """Return what carries a task's or a trigger's questions to Airflow; None outside of both.

    The API server's process imports the module too, and has no supervisor in it.
    """
    return getattr(sys.modules.get(_TASK_RUNNER), "SUPERVISOR_COMMS", None)


def _question(conn_id: str) -> Any:  # noqa: ANN401 - Airflow's own
    from airflow.sdk.execution_time.comms import GetConnection  # noqa: PLC0415 - needed on failure alone

    return GetConnection(conn_id=conn_id)


def _told(conn_id: str, send: Any, question: Any) -> Connection | None:  # noqa: ANN401 - Airflow's own
    """Ask the supervisor, whose failures are not taken for an absence here."""
    try:
        answer = send(question)
    except Exception as error:  # noqa: BLE001 - the supervisor's socket may be gone, too
        failure = error
    else:
        return _understood(conn_id, answer)
    raise _away(conn_id, failure) from None


async def _atold(conn_id: str, supervisor: Any) -> Connection | None:  # noqa: ANN401 - Airflow's own
    try:
        answer = await supervisor.asend(_question(conn_id))
    except Exception as error:  # noqa: BLE001 - same
        failure = error
    else:
        return _understood(conn_id, answer)
    raise _away(conn_id, failure) from None


def _understood(conn_id: str, answer: Any) -> Connection | None:  # noqa: ANN401 - Airflow's own
    """Return the connection that an answer holds; None where Airflow says that it knows none."""
    from airflow.sdk.execution_time.comms import ConnectionResult, ErrorResponse  # noqa: PLC0415 - as above

    if isinstance(answer, ConnectionResult):
        return Connection(**answer.model_dump(exclude={"type"}, by_alias=True))
    if isinstance(answer, ErrorResponse):
        if answer.error is ErrorType.CONNECTION_NOT_FOUND:
            return None
        raise _away(conn_id, AirflowRuntimeError(answer))
    raise AirflowAway(conn_id, place=_API_SERVER, why="no answer")


_API_SERVER: Final = "Airflow's API server"


def _away(conn_id: str, error: Exception) -> AirflowAway | ConnectionDenied:
    """Return what a failed question means. The supervisor tells an HTTP status, or the exception of its client."""
    if not isinstance(error, AirflowRuntimeError):
        return AirflowAway(conn_id, place=_API_SERVER, why=type(error).__name__)
    if error.error.error is ErrorType.PERMISSION_DENIED:
        return ConnectionDenied(conn_id)
    detail = error.error.detail or {}
    status = detail.get("status_code")
    why = f"HTTP {status}" if status else detail.get("exception_type") or error.error.error.value
    return AirflowAway(conn_id, place=_API_SERVER, why=str(why))


def _mask(connection: Connection | None) -> None:
    """Mask what Airflow's own look-up masks."""
    for secret in (connection.password, connection.extra) if connection else ():
        if secret:
            mask_secret(secret)


async def _amask(connection: Connection | None) -> None:
    for secret in (connection.password, connection.extra) if connection else ():
        if secret:
            await amask_secret(secret)


def _missing(conn_id: str) -> ConnectionMissing | ConnectionUnusable:
    """Return what it is that Airflow finds no connection: one in the environment that cannot be read counts as none."""
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if os.environ.get(variable):
        return ConnectionUnusable(
            f"The environment variable {variable} is neither JSON nor a URI that can be read; its port must be a "
            'number. Write it like {"conn_type": "postgres", "host": "…"}.'
        )
    return ConnectionMissing(conn_id)


def _stored_connection(conn_id: str) -> Connection | None:
    """Return the connection from Airflow's database: outside a task, Airflow's own look-up leaves it out."""
    from airflow.secrets.metastore import MetastoreBackend  # noqa: PLC0415 - needs a database: commands alone
    from cryptography.fernet import InvalidToken  # noqa: PLC0415 - same

    names = ("conn_id", "conn_type", "host", "schema", "login", "password", "port", "extra")
    try:
        stored = MetastoreBackend().get_connection(conn_id)
        return None if stored is None else Connection(**{name: getattr(stored, name) for name in names})
    except (SQLAlchemyError, AirflowException, InvalidToken) as error:
        raise ConnectionsUnreadable(conn_id, error) from None
