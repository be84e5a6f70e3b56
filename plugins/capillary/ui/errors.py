"""Why a page cannot be shown now, and what to do.

Which of them may pass by themselves is what they stand under::

    CapillaryError
      TerminalError
        NoConnection
        RowUnreadable
      TransientError
        LedgerBusy
        LedgerSilent
"""

from __future__ import annotations

from capillary.errors import TerminalError, TransientError


class LedgerBusy(TransientError):
    """Every place is taken: four pages look into the ledger, or wait for it."""


class LedgerSilent(TransientError):
    """The ledger did not answer in time."""


class NoConnection(TerminalError):
    """The API server knows no connection to the ledger; the workers may know one."""

    def __init__(self, conn_id: str) -> None:
        super().__init__(
            f"The API server knows no connection {conn_id!r}. Give its process the environment variable "
            f"AIRFLOW_CONN_{conn_id.upper()}, as the workers have it, and restart it; or create the connection "
            "under Admin, Connections."
        )


class RowUnreadable(TerminalError):
    """A row of the ledger holds a word or a date that this version does not know."""

    def __init__(self, error: str) -> None:
        super().__init__(
            f"The ledger holds a row that this version cannot read ({error}): it was changed by hand, or written by "
            "another version. Run python -m capillary ledger check --deep, which looks at every row."
        )
