"""Why the engine stops, and what to do.

Which of them a retry may end is what they stand under; in brackets the module of one that is raised there alone::

    CapillaryError
      QueryFailed
      TerminalError
        AutoApproved
        BadgeUnfit (preflight)
        BodyChanged
        ColumnMissing (warehouse)
        CommentOpen (query_parameters)
        HistoryUnread
        InvalidId (customer_id)
        LedgerBehind
        LoginRefused
        ParameterInvalid (query_parameters)
        ParameterMissing (query_parameters)
        QueryRefused
        WrongAccount
      TransientError
        HistoryOpen
        ListCutShort
        QueryInterrupted
        ServerChanged
        SubmittingOff
        TooMuchDoubt
"""

from __future__ import annotations

from capillary.errors import CapillaryError, TerminalError, TransientError
from capillary.ledger.server import Change


class SubmittingOff(TransientError):
    """The connection's switch says that nothing may be submitted now."""


class ServerChanged(TransientError):
    """The ledger's database has failed over or was restored: what its last commits had sent may not show yet."""

    def __init__(self, change: Change) -> None:
        self.over_at = change.over_at
        super().__init__(
            "the ledger's database failed over to another server or was restored (found at "
            f"{change.found_at:%Y-%m-%d %H:%M:%S} UTC), so its last commits may be lost, and the platform's list may "
            f"not show yet what they had sent. Nothing is sent before {change.over_at:%Y-%m-%d %H:%M:%S} UTC and "
            "before the list has been read again. There is nothing to do: submit waits by itself"
        )


class TooMuchDoubt(TransientError):
    """As many requests are in doubt as may be in flight; sending more would only add to them."""


class AutoApproved(TerminalError):
    """The platform executed a request that no human has approved."""


class ListCutShort(TransientError):
    """The platform's list of requests could not be read to its end.

    Nothing is sent, because there may be requests that we cannot see.
    """


class HistoryUnread(TerminalError):
    """The platform refuses to list days that a ledger must have seen before it sends anything for the account."""


class HistoryOpen(TransientError):
    """The account's first reading has not finished, or started again; the task waits for it when it is retried."""


class LedgerBehind(TerminalError):
    """The platform holds requests of ours that the ledger does not know."""


class BodyChanged(TerminalError):
    """What the ledger holds for a request is no longer what its key was made from. Nothing was sent."""


class WrongAccount(TerminalError):
    """The connection leads to another account than the one that the run was planned for."""


class QueryFailed(CapillaryError):
    """The warehouse did not give all rows.

    Args:
        reason: its own first line, without parameters and values.
        conn_id: the connection that leads to it.
    """

    remedy = ""

    def __init__(self, *, reason: str, conn_id: str = "warehouse") -> None:
        self.reason = reason
        self.conn_id = conn_id
        super().__init__(f"The query for eligible customers failed: {reason}. {self.remedy.format(conn_id)}.")


class QueryRefused(QueryFailed, TerminalError):
    """The query as it stands cannot be run; nobody was planned."""

    remedy = "Correct the campaign's SQL, or the fields or rights of the connection {}"


class LoginRefused(QueryFailed, TerminalError):
    """The warehouse does not take the connection's login; nobody was planned. More tries might lock the account."""

    remedy = (
        "The warehouse refuses the login of the connection {}. Correct its login and password (or its key or token), "
        "or have the account let in, then clear the task"
    )


class QueryInterrupted(QueryFailed, TransientError):
    """The warehouse was out of reach, busy, or stopped the query; the next try starts from the first row."""

    remedy = "Clear the task once the connection {} answers again"
