"""The ledger's address, as an Airflow connection of type sqlite or postgres says it. Nothing of it is dropped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from airflow.sdk import Connection
from sqlalchemy import URL

from capillary.ledger.database import ledger_url
from capillary.ledger.errors import LedgerRefused, ParameterRefused
from capillary.ledger.libpq import checked

#: Extras of Airflow's own Postgres hook, which the ledger does not go through: they change nothing for it.
HARMLESS: Final = frozenset(
    {
        "cursor",  # how that hook hands out its rows
        "sqlalchemy_scheme",  # the ledger's driver is psycopg whatever this says
        "aws_conn_id",  # the next four are read with iam or redshift alone
        "azure_conn_id",
        "cluster-identifier",
        "workgroup-name",
    }
)
#: Those that ask for what a ledger cannot do; off or empty they change nothing.
UNABLE: Final[Mapping[str, tuple[str, str]]] = {
    "iam": ("the ledger takes no cloud tokens in place of a password", "Give the user a password, or a certificate"),
    "redshift": ("Redshift enforces no keys and locks no rows", "Give the ledger PostgreSQL"),
    "redshift-serverless": ("Redshift enforces no keys and locks no rows", "Give the ledger PostgreSQL"),
    "sqlalchemy_query": ("parameters inside it are not read", "Write each of them as an extra of its own"),
}


def ledger_address(connection: Connection, extras: Mapping[str, object]) -> URL:
    """Return the SQLAlchemy URL of a connection.

    Args:
        connection: of type sqlite or postgres.
        extras: its extras. PostgreSQL: the parameters of libpq, all of them; SQLite: none.

    Raises:
        LedgerRefused: another database, or a SQLite file whose place depends on the working directory.
        ParameterRefused: an extra that would not be honoured.
    """
    where = f"Connection {connection.conn_id!r}"
    if connection.conn_type == "sqlite":
        return _of_sqlite(connection, extras, where)
    if connection.conn_type in {"postgres", "postgresql"}:
        return _of_postgresql(connection, extras)
    if connection.conn_type == "capillary":
        raise LedgerRefused(
            f"{where} is of type 'capillary': it leads to the platform, and the ledger cannot live there. Name a "
            "connection of type postgres or sqlite here; commands take the platform's as --capillary-conn-id"
        )
    raise LedgerRefused(
        f"{where} is of type {connection.conn_type!r}, and the ledger cannot live there: it needs keys that are "
        "enforced and rows that lock. Make it postgres, or sqlite on one machine"
    )


def _of_sqlite(connection: Connection, extras: Mapping[str, object], where: str) -> URL:
    path = connection.host or ""
    if not Path(path).is_absolute():
        raise LedgerRefused(
            f"{where} does not name a SQLite file by its whole path, so that every process would keep a "
            "ledger of its own. Write an absolute path into its host"
        )
    for name in extras:
        raise ParameterRefused(name, "a ledger in SQLite takes no extras", "Remove it")
    return URL.create("sqlite", database=path)


def _of_postgresql(connection: Connection, extras: Mapping[str, object]) -> URL:
    for name, (problem, remedy) in UNABLE.items():
        if extras.get(name) not in (None, False, "", "false", "False", {}):
            raise ParameterRefused(name, problem, remedy)
    query = checked({name: value for name, value in extras.items() if name not in HARMLESS | UNABLE.keys()})
    # A folder is a Unix socket's; as the host of a URL it would be read as part of the database's name.
    host = connection.host or None
    if host is not None and host.startswith("/"):
        if query.setdefault("host", host) != host:
            raise ParameterRefused("host", "it is given twice, with different values", "Leave one of the two out")
        host = None
    return ledger_url(
        URL.create(
            "postgresql+psycopg",
            username=connection.login or None,
            password=connection.password or None,
            host=host,
            port=connection.port,
            database=connection.schema or None,
            query=query,
        )
    )
