"""Occasions: the one time at which a customer may get a campaign's badge, and the days that it covers."""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from capillary.errors import TerminalError
from capillary.ledger.locked_rows import SHARED_PREFIX
from capillary.missing_value import reads_like_none
from capillary.wrong_fields import shown
from capillary.zone_names import depends_on_machine

#: Characters of an occasion's name, as the ledger's column `badge_occasion.occasion` takes it.
OCCASION_LIMIT: Final = 200

#: What reads like `badge:`: any case, any blanks, any sign that looks like one of its own.
_LIKE_SHARED: Final = re.compile(r"\s*".join(SHARED_PREFIX))
_BRACED: Final = re.compile(r"\{([^{}]*)\}")
#: Any day shows how long the resolved name is: every token has a fixed length.
_SOME_DAY: Final = date(2026, 1, 1)


class Token(StrEnum):
    """What a pattern may hold in braces, finest first."""

    DAY = "day"  #: 2026-11-23
    WEEK = "week"  #: 2026-W48, the ISO 8601 week, which begins on Monday and may belong to another year
    MONTH = "month"  #: 2026-11


class OccasionInvalid(TerminalError, ValueError):
    """A pattern, zone or day does not give an occasion; the message names the field, the problem and the fix."""

    def __init__(self, *, field: str, problem: str, remedy: str) -> None:
        self.field = field
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{field}: {problem}. {remedy}.")


@dataclass(frozen=True, slots=True)
class ResolvedOccasion:
    """An occasion's name and the local days it covers: from `period_start`, up to and without `period_end`.

    Both are None where the pattern has no token: such an occasion covers all time.
    """

    name: str
    period_start: date | None = None
    period_end: date | None = None


@dataclass(frozen=True, slots=True)
class Occasion:
    """A pattern that names one occasion per day, ISO week or month of a time zone, or one that never ends.

    Attributes:
        pattern: text, where `{day}`, `{week}` and `{month}` stand for the local day, week and month.
        timezone: IANA name of the zone whose days count; default UTC.

    Raises:
        OccasionInvalid: the pattern or the zone cannot be used.
    """

    pattern: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        zone_of(self.timezone)
        if not self.pattern or self.pattern != self.pattern.strip() or not self.pattern.isprintable():
            raise _wrong_pattern(
                f"{shown(self.pattern)} is empty, or has blanks at an end or signs that do not print",
                "Give printable text",
            )
        if any(brace in _BRACED.sub("", self.pattern) for brace in "{}"):
            raise _wrong_pattern(f"{shown(self.pattern)} has a brace without its partner", "Write a token as {month}")
        for word in _BRACED.findall(self.pattern):
            if word not in set(Token):
                near = difflib.get_close_matches(word.strip().casefold(), list(Token), n=1)
                meant = f"Did you mean {{{near[0]}}}? " if near else ""
                tokens = ", ".join(f"{{{token}}}" for token in Token)
                raise _wrong_pattern(f"there is no token {{{word}}}", f"{meant}The tokens are {tokens}")
        length = len(self._name(_SOME_DAY))
        if length > OCCASION_LIMIT:
            raise _wrong_pattern(f"it is {length} characters long", f"Give at most {OCCASION_LIMIT}")

    @property
    def recurs(self) -> bool:
        """Whether there is more than one such occasion."""
        return self.finest is not None

    @property
    def finest(self) -> Token | None:
        """Return the finest token of the pattern; its period is the occasion's. None without tokens."""
        used = set(_BRACED.findall(self.pattern))
        return next((token for token in Token if token in used), None)

    def resolve(self, moment: datetime) -> ResolvedOccasion:
        """Return the occasion of a moment, an aware datetime.

        Raises:
            ValueError: the moment has no time zone.
        """
        if moment.utcoffset() is None:
            raise ValueError(f"{moment.isoformat()} has no time zone: give an aware datetime")
        return self.resolve_day(moment.astimezone(zone_of(self.timezone)).date())

    def resolve_day(self, day: date) -> ResolvedOccasion:
        """Return the occasion of a local day.

        Raises:
            OccasionInvalid: no period ends after that day, in the calendar's last year.
        """
        # A subclass such as pendulum's would reach the database driver, which may not know it.
        day = date(day.year, day.month, day.day)
        name = self._name(day)
        if self.finest is None:
            return ResolvedOccasion(name)
        if day.year == date.max.year:
            raise OccasionInvalid(
                field="occasion_day", problem=f"no period ends after {day}", remedy="Give an earlier day"
            )
        if self.finest is Token.DAY:
            return ResolvedOccasion(name, day, day + timedelta(days=1))
        if self.finest is Token.WEEK:
            monday = day - timedelta(days=day.weekday())
            return ResolvedOccasion(name, monday, monday + timedelta(days=7))
        first = day.replace(day=1)
        return ResolvedOccasion(name, first, (first + timedelta(days=31)).replace(day=1))

    def _name(self, day: date) -> str:
        iso = day.isocalendar()
        words = {
            Token.DAY: day.isoformat(),
            Token.WEEK: f"{iso.year:04}-W{iso.week:02}",
            Token.MONTH: day.isoformat()[:7],
        }
        return _BRACED.sub(lambda braced: words[Token(braced[1])], self.pattern)


def own_name(name: str) -> str:
    """Return an occasion's name that a campaign or an operator gives itself, in Unicode's composed form (NFC).

    An é is one character or two, and looks alike: as two names they would be two occasions. Case stays as it is.

    Raises:
        OccasionInvalid: it could be taken for the occasion that all campaigns of a badge share, or does not fit.
    """
    name = unicodedata.normalize("NFC", name)
    if not name or name != name.strip() or not name.isprintable() or len(name) > OCCASION_LIMIT:
        raise _wrong_pattern(
            f"{shown(name)} is empty, longer than {OCCASION_LIMIT} characters, or has blanks at an end or "
            "signs that do not print",
            "Give printable text",
        )
    if _LIKE_SHARED.match(unicodedata.normalize("NFKC", name).casefold().lstrip()):
        raise _wrong_pattern(
            f"{shown(name)} begins like {SHARED_PREFIX!r}, which names the occasion that campaigns of a badge share",
            "Give another name, or none to share the badge's occasion",
        )
    if reads_like_none(name):
        raise _wrong_pattern(
            f"{name!r} is the text that a missing value turns into, not the name of an occasion",
            "Give a name; to share the badge's occasion, leave the occasion out",
        )
    return name


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name.

    Raises:
        OccasionInvalid: there is none of this name, or what it means depends on the machine.
    """
    if depends_on_machine(name):
        raise OccasionInvalid(
            field="timezone",
            problem=f"what {shown(name)} means depends on the machine, and workers would disagree about the day",
            remedy="Give an IANA name such as Asia/Kolkata",
        )
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no path below the zones' folder; a folder such as Asia
        near = difflib.get_close_matches(name.strip(), available_timezones(), n=1)
        raise OccasionInvalid(
            field="timezone",
            problem=f"{shown(name)} is not a time zone known here",
            remedy=f"{f'Did you mean {near[0]}? ' if near else ''}Give an IANA name such as Asia/Kolkata",
        ) from None


def _wrong_pattern(problem: str, remedy: str) -> OccasionInvalid:
    return OccasionInvalid(field="occasion", problem=problem, remedy=remedy)
