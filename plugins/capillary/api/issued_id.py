"""The platform's id of an enrolment, told apart from what programs write where they have none."""

from __future__ import annotations

from typing import Final

from capillary.api.json_fields import identifier

#: Ids of the documented examples have 24 characters; no word for *none* has so many without a blank.
_LONGER_THAN_WORDS: Final = 20
#: Words for *none*, in lower case and without anything but letters and digits.
_NONE: Final = frozenset(
    {
        *("null", "none", "nil", "undefined", "void", "empty", "blank", "missing", "absent", "nothing", "unset"),
        *("na", "nan", "notavailable", "notapplicable", "notissued", "notfound", "notset", "unknown", "invalid"),
        *("false", "true", "no", "yes", "error", "failed", "failure", "tbd", "todo", "string", "objectidnull"),
    }
)


def issued_id(value: object) -> str | None:
    """Return an id that may be one, or None.

    None are: words for *none* in any case and between any signs (`null`, `<None>`, `N/A`), what holds no letter or
    digit (`-`, blanks), zeros in any dress (`0`, `0.0`, `0x0`, a zero UUID, 24 zeros), all f (the UUID of RFC 9562
    that stands for nothing), and negative numbers.
    """
    word = identifier(value)
    if word is None:
        return None
    if len(word) >= _LONGER_THAN_WORDS and word.isalnum() and word.strip("0fF"):
        return word  # nearly all of a page that holds tens of thousands
    bare = "".join(filter(str.isalnum, word)).lower()
    says_nothing = not bare.removeprefix("0x").strip("0") or not bare.strip("f")
    return None if says_nothing or bare in _NONE or _is_negative(word) else word


def _is_negative(word: str) -> bool:
    return word.startswith(("-", "\N{MINUS SIGN}")) and word[1:].strip().replace(".", "", 1).isdecimal()
