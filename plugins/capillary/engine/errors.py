"""Why the engine stops, and what fixes it."""

from __future__ import annotations

from capillary.errors import TerminalError, TransientError
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
