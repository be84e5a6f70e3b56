"""Why a connection cannot be used, and what to do.

Which of them a retry may end is what they stand under; in brackets the module of one that is raised there alone::

    CapillaryError
      TerminalError
        ConnectionMissing
        ConnectionUnusable
        SettingsInvalid
          ConnectionInvalid
      TransientError
        AirflowAway
        ConnectionDenied
        ConnectionsUnreadable
"""

from __future__ import annotations

from capillary.api.errors import SettingsInvalid
from capillary.errors import TerminalError, TransientError


class ConnectionMissing(TerminalError):
    """Airflow knows no connection of this id: every place was asked, and answered."""

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        super().__init__(
            f"There is no Airflow connection {conn_id!r}. Create it under Admin, Connections, "
            f"with `airflow connections add {conn_id} …`, "
            f"or in the environment variable AIRFLOW_CONN_{conn_id.upper()}."
        )


class ConnectionUnusable(TerminalError):
    """The connection is of a kind that cannot do what is asked of it, or cannot be read."""


class AirflowAway(TransientError):
    """A place where Airflow looks for connections does not answer: whether the connection exists is not known.

    Args:
        conn_id: the connection.
        place: what does not answer, in words that begin a sentence.
        why: the kind of the failure, without its words, which may quote an address.
    """

    def __init__(self, conn_id: str, *, place: str, why: str) -> None:
        self.conn_id = conn_id
        super().__init__(
            f"{place} does not answer ({why}), so connection {conn_id!r} cannot be read now. Nothing is wrong with "
            f"the connection. The task is retried; if this happens again, check {place[0].lower()}{place[1:]}."
        )


class ConnectionDenied(TransientError):
    """Airflow refuses the connection to this task, or does not accept the task's own token any more."""

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        super().__init__(
            f"Airflow refuses connection {conn_id!r} to this task (HTTP 401 or 403). A retry gets a new token; if "
            "this happens again, check the team of the connection and of the DAG, and at [api_auth] jwt_secret, which "
            "must be "
            "the same for the API server and the scheduler."
        )


class ConnectionsUnreadable(TransientError):
    """Airflow's database, where a command looks for connections, does not give them."""

    def __init__(self, conn_id: str, error: Exception) -> None:
        kind = type(getattr(error, "orig", None) or error).__name__
        super().__init__(
            f"Airflow's database does not give connection {conn_id!r} ({kind}). Migrate it with `airflow db migrate`, "
            "or look at its address and FERNET_KEY, or define the connection in the environment variable "
            f"AIRFLOW_CONN_{conn_id.upper()}."
        )


class ConnectionInvalid(SettingsInvalid):
    """A field of a connection is missing or wrong; names the connection and its form's field."""

    def __init__(self, *, conn_id: str, field: str, problem: str, remedy: str) -> None:
        super().__init__(field=field, problem=problem, remedy=remedy)
        self.conn_id = conn_id
        self.args = (f"Connection {conn_id!r}, field {field!r}: {problem}. {remedy}.",)
