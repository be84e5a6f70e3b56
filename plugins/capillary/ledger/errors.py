"""What the ledger refuses, and what mends it."""

from __future__ import annotations

from sqlalchemy import URL

from capillary.errors import CapillaryError, TerminalError


def place_of(url: URL) -> str:
    """Return where the database is, without who is asking: a password may hide in the query, too."""
    return URL.create(url.get_backend_name(), host=url.host, port=url.port, database=url.database).render_as_string()


class LedgerRefused(TerminalError):
    """The database behind the connection cannot keep the ledger's promises."""


class SchemaBehind(TerminalError):
    """The ledger's tables are of another version than the code."""


class LedgerMissing(TerminalError):
    """There is no ledger where one is looked for. Nothing but `ledger create` makes one."""

    def __init__(self, seen: str) -> None:
        super().__init__(
            f"{seen}: the ledger was lost, or its connection (host, database, search path) leads elsewhere. Restore "
            "it, or correct the connection badge_ledger. Only where there has never been a ledger, make one: "
            "python -m capillary ledger create"
        )


class OccasionTaken(TerminalError):
    """The occasion belongs to another badge or another campaign."""


class GuardRefused(TerminalError):
    """A guard of the campaign says that this plan is not what its author had in mind. Nothing was written."""


class PlanUnknown(TerminalError, LookupError):
    """The ledger has no such plan."""

    def __init__(self, badge_run_id: int) -> None:
        self.badge_run_id = badge_run_id
        super().__init__(
            f"the ledger has no plan {badge_run_id} (badge_run.id): it was planned anew, or the ledger was restored or "
            "emptied. Clear the task that plans, which makes a new one, or restore the ledger"
        )


class LedgerBroken(CapillaryError):
    """A count that must hold does not. The transaction was rolled back."""
