"""What the ledger refuses, and what to do.

Which of them a retry may end is what they stand under; in brackets the module of one that is raised there alone::

    CapillaryError
      LedgerBroken
      TerminalError
        CopyRefused
        ErasureRefused (erase)
        GuardRefused
        LedgerMissing
        LedgerRefused
          ParameterRefused
        OccasionTaken
        OrganisationElsewhere
        PlanUnknown
        SchemaBehind
        Stopped
        ValueUnfit
      TransientError
        LedgerMoved
        LedgerUnavailable
        RequestGone
        SchemaDiffers
        StagingFailed (staging)
"""

from __future__ import annotations

from capillary.errors import CapillaryError, TerminalError, TransientError


class LedgerRefused(TerminalError):
    """The database behind the connection cannot keep the ledger's promises."""


class LedgerUnavailable(TransientError):
    """The ledger's database cannot be reached, or takes no writes. It may be back at the next try."""


class SchemaBehind(TerminalError):
    """The ledger's tables are missing, or from before the first release."""


class SchemaDiffers(TransientError):
    """The ledger's tables have another version than the code, as during an update. It passes."""


class LedgerMoved(TransientError):
    """The ledger was copied into another database. It passes once the connection leads there."""

    def __init__(self, moved_at: str, place: str) -> None:
        super().__init__(
            f"this ledger was moved to {place} on {moved_at} and is not used any more: change connection badge_ledger "
            "to that database. Where it has no ledger, or an empty one that somebody created since, the move was "
            "interrupted: run the same `python -m capillary ledger copy` again, which names what to drop first. Create "
            "no ledger there"
        )


class CopyRefused(TerminalError):
    """The ledger cannot be copied now. Nothing was copied."""


class ValueUnfit(TerminalError):
    """A name or a person's words cannot be kept as they are. Nothing was written."""


class LedgerMissing(TerminalError):
    """There is no ledger in this database. Only a person makes one: `ledger create`, or `ledger copy`."""

    def __init__(self, seen: str) -> None:
        super().__init__(
            f"{seen}: the ledger was lost, or its connection (host, database, search path) leads elsewhere. Restore "
            "it, or correct connection badge_ledger. Only if there has never been a ledger, create one: "
            "python -m capillary ledger create"
        )


class OccasionTaken(TerminalError):
    """The occasion belongs to another badge or another campaign."""


class OrganisationElsewhere(TerminalError):
    """The ledger knows the account's organisation under another address. Nothing was written."""


class GuardRefused(TerminalError):
    """A guard of the campaign says that this plan is not what its author had in mind. Nothing was written."""


class Stopped(TerminalError):
    """A person has stopped sending. Nothing is planned, claimed or sent again until somebody resumes it."""

    def __init__(self, stops: str, *, resume: str) -> None:
        super().__init__(
            f"sending is stopped: {stops}. To allow sending again, run "
            f"{resume}; then trigger a new run; it takes the customers that were given back"
        )


class PlanUnknown(TerminalError, LookupError):
    """The ledger has no such plan, or gave its number to another one after a restore."""

    def __init__(self, badge_run_id: int) -> None:
        self.badge_run_id = badge_run_id
        super().__init__(
            f"the ledger has no plan {badge_run_id} (badge_run.id): the run was planned again, or the ledger "
            "was restored or emptied. Clear the task that plans to make a new plan, or restore the ledger"
        )


class RequestGone(TransientError, LookupError):
    """A request left the ledger while the platform's word on it was written down."""

    def __init__(self, request_id: int) -> None:
        super().__init__(
            f"request {request_id} (badge_request.id) left the ledger while a reply about it was recorded: it was "
            "given back, or the ledger was restored. Nothing was recorded. Retry the task; it reads the platform's "
            "list again"
        )


class LedgerBroken(CapillaryError):
    """A count in the ledger is wrong. The transaction was rolled back."""


class ParameterRefused(LedgerRefused):
    """A parameter of the connection would not be honoured as it stands. The value is never repeated.

    Attributes:
        name: the parameter.
        problem: what is wrong with it.
        remedy: what to write in its place.
    """

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        self.name = name
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"the ledger's address, parameter {name!r}: {problem}. {remedy}")
