"""What can end a local run early. Every message ends with what to do; `exit_code` is the process's."""

from __future__ import annotations


class LocalAirflowError(Exception):
    """Root of what ends a local run early."""

    exit_code = 3


class ComponentFailedError(LocalAirflowError):
    """A process did not start, or died."""

    def __init__(self, name: str, *, reason: str, log: str, tail: str) -> None:
        self.name = name
        self.tail = tail
        shown = f"\n{tail}" if tail else " (its log is empty)"
        super().__init__(f"{name}: {reason}. The end of {log}:{shown}")


class PortTakenError(LocalAirflowError):
    """A port that was asked for belongs to somebody else."""


class AlreadyRunningError(LocalAirflowError):
    """Another local Airflow of this checkout is running."""


class CampaignUnavailableError(LocalAirflowError):
    """The campaign cannot be found, loaded or triggered."""

    exit_code = 2


class RunInterruptedError(LocalAirflowError):
    """A person or the system asked to stop."""

    exit_code = 130
