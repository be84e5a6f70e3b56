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
from airflow.api_fastapi.auth.managers.models.batch_apis import IsAuthorizedDagRequest
from airflow.api_fastapi.auth.managers.models.resource_details import (
    AccessView,
    ConnectionDetails,
    DagAccessEntity,
    DagDetails,
)
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Request, status

from capillary.ledger.matters import Matter

#: What a browser leaves out of an address.
_PORTS: Final = {"http": 80, "https": 443}


class NothingToSee(HTTPException):
    """The user may read no DAG's runs at all."""

    def __init__(self) -> None:
        super().__init__(status.HTTP_403_FORBIDDEN, "You may not read the runs of any of Airflow's DAGs.")


@dataclass(frozen=True, slots=True)
class Reader:
    """A user of Airflow.

    Attributes:
        user: as Airflow's auth manager knows them.
        dag_ids: the DAGs that they may read, and whose runs they may read.
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

    def may_see_import_errors(self) -> bool:
        """Return whether Airflow shows them its import errors."""
        return get_auth_manager().is_authorized_view(access_view=AccessView.IMPORT_ERRORS, user=self.user)

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
    """Return who looks. 401 for nobody; 403 for a user who may not read this DAG's runs, or those of any DAG.

    Only the route says which DAG it is about: Airflow's own dependency takes a ``?dag_id=`` for it, and would answer
    for that DAG while the page shows others.
    """
    dag_ids = _with_runs(user, get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))
    asked = request.path_params.get("dag_id")
    if asked is not None and asked not in dag_ids:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "You may not read this DAG's runs, or Airflow has no such DAG.")
    if not dag_ids:
        raise NothingToSee
    return Reader(user, dag_ids)


def _with_runs(user: BaseUser, dag_ids: Iterable[str]) -> frozenset[str]:
    """Return those of the DAGs whose runs the user may read: asked at once, and one by one where some are not."""
    ids = sorted(dag_ids)
    teams = DagModel.get_dag_id_to_team_name_mapping(ids)
    questions: dict[str, IsAuthorizedDagRequest] = {
        each: {
            "method": "GET",
            "access_entity": DagAccessEntity.RUN,
            "details": DagDetails(id=each, team_name=teams.get(each)),
        }
        for each in ids
    }
    may = get_auth_manager().batch_is_authorized_dag
    if may(list(questions.values()), user=user):
        return frozenset(ids)
    return frozenset(each for each, question in questions.items() if may([question], user=user))


#: Every page takes it.
ReaderDep = Annotated[Reader, Depends(reader)]


def assert_from_here(request: Request) -> None:
    """Refuse what another site's page asks for with the user's own cookie (403).

    Browsers say where a call comes from in ``Sec-Fetch-Site`` and ``Origin``. A program says neither, and must then
    give its token, which no other site can. A proxy may have put its own name into ``Host``: then Airflow's
    ``[api] base_url`` says where its pages are.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        foreign = not request.headers.get("authorization", "").lower().startswith("bearer ")
    else:
        foreign = site not in {None, "same-origin"} or (origin is not None and not _is_ours(origin, request))
    if foreign:
        raise HTTPException(
            status.HTTP_403_FORBIDDEN,
            "Only Airflow's own pages may ask for this, or a program with its token. If this is Airflow's own page, "
            "its proxy hides its name: set [api] base_url to the address in the browser.",
        )


def _is_ours(origin: str, request: Request) -> bool:
    said = _site(origin)
    if said is None:
        return False
    scheme = said[0]
    by_host = _site(f"{scheme}://{request.headers.get('host', '')}")
    return said in {by_host, _site(conf.get("api", "base_url", fallback="") or "")}


def _site(address: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an address; None where it names no host."""
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, port


def assert_logged_as_sent(request: Request) -> None:
    """Refuse a body or an address that Airflow's audit log would not have as it is carried out (415, 422).

    The log mixes the query with the body, and reads the body of a content type in small letters alone.
    """
    types = request.headers.getlist("content-type")
    if [each.split(";", 1)[0].strip().lower() for each in types] != ["application/json"]:
        raise HTTPException(
            status.HTTP_415_UNSUPPORTED_MEDIA_TYPE, "Send the order as JSON, with Content-Type: application/json."
        )
    if request.url.query:
        raise HTTPException(
            status.HTTP_422_UNPROCESSABLE_CONTENT, "Say everything in the body: this address takes no query."
        )
    headers = request.scope["headers"]  # the very list that `request.headers` reads
    headers[:] = [(name, b"application/json" if name == b"content-type" else value) for name, value in headers]


FromHereDep = Depends(assert_from_here)
#: Stands before Airflow's own dependency that writes the audit log.
LoggedAsSentDep = Depends(assert_logged_as_sent)
