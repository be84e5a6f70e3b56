"""What the ledger refuses, and what mends it."""

from __future__ import annotations

from capillary.errors import CapillaryError, TerminalError


class LedgerRefused(TerminalError):
    """The database behind the connection cannot keep the ledger's promises."""


class SchemaBehind(TerminalError):
    """The ledger's tables are missing or of another version than the code."""


class OccasionTaken(TerminalError):
    """The occasion belongs to another badge or another campaign."""


class OrganisationElsewhere(TerminalError):
    """The ledger knows the account's organisation under another address. Nothing was written."""


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
