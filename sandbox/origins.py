"""Which campaign and run made a request: the platform is never told, so the page asks the ledger that knows.

Only the ledger's documented tables are read, by SQL; no code is shared with the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, bindparam, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from sandbox.settings import SettingsError

CONNECT_TIMEOUT_S = 2
ASKED = text(
    "SELECT request.request_key, run.campaign, run.dag_id, run.run_id FROM badge_request AS request "
    "JOIN badge_run AS run ON run.id = request.badge_run_id WHERE request.request_key IN :keys"
).bindparams(bindparam("keys", expanding=True))


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made a request, in Airflow's words. ``dag_id`` differs from ``campaign`` in a DAG written by hand."""

    campaign: str
    dag_id: str
    run_id: str


class Origins:
    """Looks campaigns and runs up in a ledger, which may not be there yet, or not answer.

    Args:
        ledger: SQLAlchemy URL of the ledger, or empty for none. It is only read.

    Raises:
        SettingsError: it is not a URL of a database, or its driver is missing.
    """

    def __init__(self, ledger: str) -> None:
        self._engine = _engine(ledger) if ledger else None

    def of(self, keys: Sequence[str]) -> dict[str, Origin] | None:
        """The origins of those request keys that the ledger knows; None where it cannot be read now."""
        if self._engine is None or not keys:
            return {}
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(ASKED, {"keys": list(keys)})
                return {key: Origin(campaign, dag_id, run_id) for key, campaign, dag_id, run_id in rows}
        except SQLAlchemyError:
            return None


def _engine(ledger: str) -> Engine:
    try:
        url = make_url(ledger)
        if url.get_backend_name() == "sqlite":
            # Read-only, so that a ledger that is not made yet is not made here.
            path = Path(url.database or "").absolute().as_uri()
            return create_engine(f"sqlite:///{path}?mode=ro&uri=true", poolclass=NullPool)
        return create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_TIMEOUT_S})
    except (ArgumentError, ImportError, SQLAlchemyError) as error:
        raise SettingsError(
            f"ledger: not usable ({type(error).__name__}); give a SQLAlchemy URL like sqlite:////path/ledger.db"
        ) from None
