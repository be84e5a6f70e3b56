"""What a check found, in a form that sorts, counts and prints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a finding means for the next run."""

    FAILS = "fails"  #: a run would fail, or would never be made
    BEWARE = "beware"  #: a run would pass, and yet somebody should look
    NOT_CHECKED = "not checked"  #: nobody can tell before the run; never counted as passed
    OK = "ok"  #: looked at, and right


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        verdict: what it means.
        where: the file, with the campaign where it has one; or the connection.
        about: what of it, such as `query`; empty for all of it.
        words: what is so, and where it is wrong what to do; a line for each wrong field, where there are several.
        trace: lines that stand below it, such as an import error as a whole.
    """

    verdict: Verdict
    where: str
    about: str
    words: str
    trace: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: {self.about}" if self.about else self.where
        first, *others = self.words.splitlines() or [""]
        return "\n    ".join([f"{self.verdict}: {place}: {first}", *others, *self.trace.splitlines()])
