"""Who looks, and what Airflow lets them see and do: every route asks here before anything else.

Airflow mounts a plugin's application without any check of its own: a route that does not ask is open to everybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Request, status

from capillary.ledger.attention import Matter

#: What Airflow asks of whoever lists runs, for all of these pages.
_MAY_SEE_RUNS: Final = requires_access_dag("GET", DagAccessEntity.RUN)


class NothingToSee(HTTPException):
    """The user may read no DAG at all."""

    def __init__(self) -> None:
        super().__init__(status.HTTP_403_FORBIDDEN, "You may read none of Airflow's DAGs.")


@dataclass(frozen=True, slots=True)
class Reader:
    """A user of Airflow.

    Attributes:
        user: as Airflow's auth manager knows them.
        dag_ids: the DAGs that they may read.
    """

    user: BaseUser
    dag_ids: frozenset[str]

    @property
    def name(self) -> str:
        """Return the name as Airflow's audit log has it."""
        return self.user.get_name()

    def may_see(self, matter: Matter) -> bool:
        """Return whether a matter is about a DAG of theirs; one of an account without any, only who may stop it."""
        if matter.dag_ids:
            return not self.dag_ids.isdisjoint(matter.dag_ids)
        return self.may_stop(None)

    def may_trigger(self, dag_id: str) -> bool:
        """Return whether Airflow would take a new run of this DAG from them."""
        return self._may(dag_id, DagAccessEntity.RUN, method="POST")

    def may_clear(self, dag_id: str) -> bool:
        """Return whether Airflow would clear a task of this DAG for them."""
        return self._may(dag_id, DagAccessEntity.TASK_INSTANCE, method="PUT")

    def may_read_xcoms(self, dag_id: str) -> bool:
        """Return whether they may read what this DAG's tasks have returned."""
        return self._may(dag_id, DagAccessEntity.XCOM, method="GET")

    def may_stop(self, conn_id: str | None) -> bool:
        """Return whether they may edit a connection: who may change where we send may stop us sending."""
        team = Connection.get_team_name(conn_id) if conn_id else None
        details = ConnectionDetails(conn_id=conn_id, team_name=team)
        return get_auth_manager().is_authorized_connection(method="PUT", details=details, user=self.user)

    def may_stop_any(self, conn_ids: Iterable[str]) -> str | None:
        """Return the first of these connections that they may edit."""
        return next((each for each in conn_ids if self.may_stop(each)), None)

    def _may(self, dag_id: str, entity: DagAccessEntity, *, method: str) -> bool:
        details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
        return get_auth_manager().is_authorized_dag(
            method=method,  # type: ignore[arg-type] # one of Airflow's words
            access_entity=entity,
            details=details,
            user=self.user,
        )


def reader(request: Request, user: GetUserDep) -> Reader:
    """Return who looks. 401 for nobody; 403 for a user who may see no runs, those of this DAG, or no DAG at all."""
    _MAY_SEE_RUNS(request, user)
    readable = frozenset(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))
    asked = request.path_params.get("dag_id")
    if asked is not None and asked not in readable:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "You may not read this DAG, or Airflow does not know it.")
    if not readable:
        raise NothingToSee
    return Reader(user, readable)


#: Every page takes it.
ReaderDep = Annotated[Reader, Depends(reader)]


def assert_from_here(request: Request) -> None:
    """Refuse what another site's page asks for with the user's own cookie (403).

    Browsers say where a call comes from in ``Sec-Fetch-Site`` and ``Origin``. A program says neither, and must then
    give its token, which no other site can.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        foreign = not request.headers.get("authorization", "").lower().startswith("bearer ")
    else:
        foreign = site not in {None, "same-origin"} or (
            origin is not None and urlsplit(origin).netloc != request.headers.get("host")
        )
    if foreign:
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, "Only Airflow's own pages may ask for this, or a program with its token."
        )


FromHereDep = Depends(assert_from_here)
