"""The types of what people give: shared by campaigns, operators and the trigger form.

Each is strict, because a value that is taken for another may send: a text is not a number, a number not a boolean, a
text not a list. A type's description says what to give instead; an error ends with it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import date, timedelta
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, PlainValidator, ValidationInfo

from capillary.api.request_workflow import Entity, normalise_owner_type
from capillary.campaign.occasion import OCCASION_LIMIT, Occasion, Token, own_name, zone_of
from capillary.counted import counted
from capillary.engine.remedies import NO_CODE, code_word, may_be_named
from capillary.engine.verdict import Policy
from capillary.ledger.bounds import unstorable
from capillary.ledger.guards import Guards
from capillary.ledger.locked_rows import SHARED_PREFIX
from capillary.ledger.status import RETRYABLE, Outcome
from capillary.missing_value import reads_like_none
from capillary.wrong_fields import FieldsInvalid, FieldValueError, shown

#: Largest number of customers or runs that a field takes.
MOST: Final = 1_000_000_000
#: Longest time that a field takes, days: further on no date could be told.
MOST_DAYS: Final = 365
#: Most customers of one request. The platform documents no maximum.
MOST_PER_REQUEST: Final = 10_000
#: Most requests under way at once.
MOST_IN_FLIGHT: Final = 64
#: Most characters of a person's words about a run.
NOTE_LIMIT: Final = 4_000

_TOKEN: Final = re.compile(rf"\{{({'|'.join(Token)})\}}")


def _printed(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{shown(text)} has signs that do not print")
    if text != text.strip():
        raise ValueError(f"{shown(text)} has blanks at an end")
    return text


def _there(text: str) -> str:
    if reads_like_none(text):
        raise ValueError(f"{shown(text)} is the text that a missing value turns into")
    return text


def kept(text: str) -> str:
    """Return a text that a database keeps."""
    if unstorable(text):
        raise ValueError("it holds a character that no database keeps (NUL, or half of a pair)")
    return text


def _in_our_digits(text: str) -> str:
    if any(sign.isdigit() and not sign.isascii() for sign in text):
        raise ValueError(f"{shown(text)} has digits other than 0 to 9")
    return text


def _within_a_year(seconds: float) -> float:
    if not 0 <= seconds <= MOST_DAYS * 86_400:
        raise ValueError(f"it is {seconds!r} seconds")
    return seconds


def entity_of(value: object) -> Entity:
    """Return the entity that was given, as itself or as a mapping.

    Raises:
        ValueError: it is neither, or an id is missing or wrong; every one is named.
    """
    if isinstance(value, Entity):
        return value
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"it is {shown(value)}")
    try:
        return Entity(**value)
    except FieldsInvalid as error:
        raise ValueError("; ".join(f"{each.name}: {each.problem}" for each in error.wrong)) from None


def _checked_zone(name: str) -> str:
    zone_of(name)
    return name


def _checked_pattern(pattern: str) -> str:
    name = own_name(pattern)
    Occasion(name)
    return name


def _checked_occasion(given: str) -> str:
    """Return an occasion that is resolved, or a badge's own; whether it is this badge's, the plan asks."""
    occasion = given.strip()
    if not occasion:  # a template that came out empty asks for no occasion that lasts forever
        raise FieldValueError("it is blank", "Give a name, or None to share the badge's occasion")
    if re.fullmatch(rf"{SHARED_PREFIX}[0-9a-f]{{24}}", occasion):
        return occasion
    if token := _TOKEN.search(occasion):
        raise FieldValueError(
            f"{shown(occasion)} has the token {token[0]}, which a BadgeCampaign resolves, and an operator does not",
            "Give the occasion's whole name, by a Jinja template where it recurs",
        )
    return own_name(occasion)


def _checked_pattern_or_resolved(given: str) -> str:
    return given if _TOKEN.search(given) else _checked_occasion(given)


def _checked_campaign(given: str) -> str | None:
    name = unicodedata.normalize("NFC", given.strip())
    return _printed(_there(name)) or None


def _checked_outcomes(given: object) -> frozenset[Outcome]:
    if not isinstance(given, list | tuple | set | frozenset):
        raise ValueError(f"it is {shown(given)}")  # noqa: TRY004 - pydantic makes a sentence of a ValueError only
    for word in given:
        if not isinstance(word, str) or word not in RETRYABLE:
            raise ValueError(f"no customer may be planned again after {shown(word)}")
    return frozenset(map(Outcome, given))


def _checked_codes(given: object, info: ValidationInfo) -> frozenset[str]:
    if not isinstance(given, list | tuple | set | frozenset):
        raise ValueError(f"it is {shown(given)}")  # noqa: TRY004 - pydantic makes a sentence of a ValueError only
    codes = frozenset(map(_code_word, given))
    if codes and not info.data.get("retry_outcomes", True):
        raise FieldValueError(
            "without retry_outcomes they choose nobody",
            "Give retry_outcomes, too, or leave the codes out",
        )
    return codes


def _code_word(given: object) -> str:
    """Return a code as the form writes it: 0816, ８１６ and True are none."""
    text = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
    if text == NO_CODE:
        return NO_CODE
    if not isinstance(text, str) or not re.fullmatch("[1-9][0-9]{0,9}", text) or not may_be_named(int(text)):
        raise ValueError(f"{shown(given)} is not a code of the platform")
    return code_word(int(text))


def _none_given(value: object) -> object:
    """Return an empty list for what the form in the UI makes of a list that a person has emptied."""
    return () if value is None else value


def _day_of(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{shown(value)} is not a day") from None


def _checked_note(note: str) -> str | None:
    """Return a person's words; a template that found none gives no note, which is as good as none given."""
    return None if reads_like_none(note) else kept(note) or None


def _seconds(value: object) -> object:
    if not isinstance(value, timedelta | int | float):
        raise ValueError(f"it is {shown(value)}")  # noqa: TRY004 - pydantic makes a sentence of a ValueError only
    return value.total_seconds() if isinstance(value, timedelta) else value


Flag: TypeAlias = Annotated[bool, Field(description="True or False")]
Count: TypeAlias = Annotated[int, Field(ge=1, le=MOST, description=f"a whole number from 1 to {MOST:,}")]
Cap: TypeAlias = Annotated[Count | None, Field(description=f"1 to {counted(MOST, 'customer')}, or None for all")]
PerRequest: TypeAlias = Annotated[
    int,
    Field(
        ge=1,
        le=MOST_PER_REQUEST,
        description=f"1 to {counted(MOST_PER_REQUEST, 'customer')}; one request is one approval by a human",
    ),
]
InFlight: TypeAlias = Annotated[
    int, Field(ge=1, le=MOST_IN_FLIGHT, description=f"1 to {MOST_IN_FLIGHT} requests under way at once")
]
PollInterval: TypeAlias = Annotated[
    float, Field(ge=10, le=3600, allow_inf_nan=False, description="10 to 3,600 seconds between the first polls")
]
Span: TypeAlias = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=MOST_DAYS))]
#: What a Span is; its field goes on with what it is for.
SPAN: Final = f"a timedelta above 0, of at most {MOST_DAYS} days"
#: As Airflow's sensors take it: a timedelta or seconds; None for Airflow's default. In seconds.
Seconds: TypeAlias = Annotated[
    Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_seconds), AfterValidator(_within_a_year)] | None,
    Field(description=f"a timedelta, or seconds, of 0 to {MOST_DAYS} days"),
]
BadgeId: TypeAlias = Annotated[
    str, Field(pattern="^[0-9a-f]{24}$", description="24 digits 0 to 9 and a to f, as on the badge's own page")
]
OwnerType: TypeAlias = Annotated[
    str,
    AfterValidator(normalise_owner_type),
    Field(description="the module on whose behalf the badge is issued, such as Loyalty"),
]
Reference: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=255, description="the owner's id within its module, as text"),
    AfterValidator(_there),
    AfterValidator(_printed),
    AfterValidator(_in_our_digits),
]
EntityOrMapping: TypeAlias = Annotated[
    Entity | Mapping[str, str],
    PlainValidator(entity_of),
    Field(description=f"an Entity of {', '.join(each.name for each in fields(Entity))}, each as text"),
]
Zone: TypeAlias = Annotated[str, AfterValidator(_checked_zone)]
#: May hold tokens, which a run resolves.
Pattern: TypeAlias = Annotated[str, AfterValidator(_checked_pattern)]
#: An operator's, which no run resolves.
OccasionName: TypeAlias = Annotated[str, AfterValidator(_checked_occasion)]
#: A campaign's task's: a pattern until a run has resolved it.
PatternOrName: TypeAlias = Annotated[str, AfterValidator(_checked_pattern_or_resolved)]
CampaignName: TypeAlias = Annotated[
    Annotated[str, Field(max_length=OCCASION_LIMIT), AfterValidator(_checked_campaign)] | None,
    Field(description=f"a name of at most {OCCASION_LIMIT} characters, or leave it out for the DAG's id"),
]
Outcomes: TypeAlias = Annotated[
    Collection[str], PlainValidator(_checked_outcomes), Field(description=f"some of {', '.join(RETRYABLE)}, as a list")
]
Codes: TypeAlias = Annotated[
    Collection[int | str],
    PlainValidator(_checked_codes),
    Field(description=f"codes of the platform such as 1039, {NO_CODE} for an ending without a code, as a list"),
]
#: The same of the trigger form.
OutcomesOrNone: TypeAlias = Annotated[Outcomes, BeforeValidator(_none_given)]
CodesOrNone: TypeAlias = Annotated[Codes, BeforeValidator(_none_given)]
Day: TypeAlias = Annotated[
    Annotated[date, BeforeValidator(_day_of)] | None, Field(description="a day such as 2026-11-23, or nothing")
]
Note: TypeAlias = Annotated[
    Annotated[str, Field(max_length=NOTE_LIMIT), AfterValidator(_checked_note)] | None,
    Field(description=f"a text of at most {NOTE_LIMIT} characters, or nothing"),
]
SoundGuards: TypeAlias = Annotated[InstanceOf[Guards], Field(description="Guards(…), where None switches one off")]
SoundPolicy: TypeAlias = Annotated[InstanceOf[Policy], Field(description="Policy(…)")]
Words: TypeAlias = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(_printed), AfterValidator(_there)]
ConnId: TypeAlias = Annotated[Words, Field(description="the id of an Airflow connection")]
