"""Airflow's own database, where this machine reaches it: which pools and variables are there. It is only read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airflow.configuration import conf
from airflow.models.pool import Pool
from airflow.secrets.metastore import MetastoreBackend
from sqlalchemy import Engine, create_engine, make_url, select
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from capillary.check.connections import answers_within

#: How long Airflow's database may take before it counts as out of reach, seconds.
_WITHIN_S: Final = 5.0


class VariableUnknown(Exception):
    """Whether Airflow has a variable cannot be told: its database does not give it."""


@dataclass(frozen=True, slots=True)
class AirflowDatabase:
    """Airflow's database, which has answered; close it.

    Attributes:
        engine: connects to it.
        pools: by name: how many slots.
    """

    engine: Engine
    pools: Mapping[str, int]

    def variable(self, key: str) -> str | None:
        """Return the text of a variable; None where there is none.

        Raises:
            VariableUnknown: the database does not give it, such as without its Fernet key.
        """
        try:
            with Session(self.engine) as session:
                found: str | None = MetastoreBackend().get_variable(key, session=session)
        except Exception as error:  # noqa: BLE001 - a driver's, or that of the key
            raise VariableUnknown(type(error).__name__) from None
        return found

    def close(self) -> None:
        """Close its connections."""
        self.engine.dispose()


def airflow_database() -> AirflowDatabase | None:
    """Return Airflow's database; None where this machine does not reach it, or it was never made."""
    if os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "client":
        return None  # a task's process, which has no business with it
    try:
        url = make_url(conf.get_mandatory_value("database", "sql_alchemy_conn"))
        if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file()):
            return None  # SQLite would make an empty one
        engine = create_engine(url)
    except (ArgumentError, ImportError):
        return None
    (pools,) = answers_within(_WITHIN_S, [("", lambda: _pools(engine))])
    if isinstance(pools, Exception):
        engine.dispose()
        return None
    return AirflowDatabase(engine, pools)


def _pools(engine: Engine) -> Mapping[str, int]:
    with Session(engine) as session:
        return {row.pool: row.slots for row in session.execute(select(Pool.pool, Pool.slots))}
