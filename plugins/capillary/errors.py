"""The one question every error answers: may it be tried again?"""

from __future__ import annotations


class CapillaryError(Exception):
    """Root of this project's errors. The message ends with what to do."""


class TransientError(CapillaryError):
    """The same call may succeed later."""


class TerminalError(CapillaryError):
    """Trying again cannot help before a person has changed something."""
