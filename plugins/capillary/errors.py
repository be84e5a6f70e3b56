"""The one question every error answers: may it be tried again?"""

from __future__ import annotations


class CapillaryError(Exception):
    """Root of this project's errors. The message ends with what to do."""


class TransientError(CapillaryError):
    """The same call may succeed later."""


class TerminalError(CapillaryError):
    """Trying again cannot help before a person has changed something."""


def named(error: CapillaryError) -> str:
    """Return an error's name and its sentence: by the name a person finds it in docs/runbook.md."""
    return f"{type(error).__name__}: {error}"
