"""Signs that something went wrong for a customer, in places of the bulk call's line that no page names.

The pages put a customer's error under `error`. A platform may put it elsewhere, or say it by a flag. Such a line proves
no enrolment; neither does it refuse one, since what the field means was nowhere read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from capillary.api.codes import LINE_REFUSALS
from capillary.api.json_fields import boolean, integer

#: What the pages show in a line (`reference/enrol-customers-for-badges`); `error` and `errors` are read elsewhere.
LINE_FIELDS: Final = frozenset(
    {"customerId", "issuedId", "status", "error", "errors", "expiresOn", "expiresOnISO", "issuedOn", "issuedOnISO"}
)

#: Names of fields that speak of something wrong: any value says so but null, false, 0 and what is empty.
_WRONG: Final = re.compile(
    r"error|fail|(?<!de)fault|reject|refus|denied|revoked|cancel+ed|exception|invalid|skipped|ignored"
)
#: Names of flags that are false where something went wrong.
_RIGHT: Final = re.compile(r"succe|^(is|was|has)?(ok|valid|active|issued|enrolled|accepted|processed|done)$")
#: Names of codes of an end: 0, and 200 and its like, are good news.
_CODE: Final = re.compile(r"^(error|err|fault|result|response|return|http|status|httpstatus)?code$|^httpstatus$")
_GOOD_CODES: Final = range(200, 300)


def is_without_trouble(line: Mapping[str, object]) -> bool:
    """Return whether no field of a line beside the documented ones says that something went wrong."""
    return not any(name not in LINE_FIELDS and _is_trouble(_letters(name), value) for name, value in line.items())


def _letters(name: str) -> str:
    return "".join(filter(str.isalpha, name)).lower()


def _is_trouble(name: str, value: object) -> bool:
    if _CODE.search(name):
        return _is_bad_code(value)
    if name in ("warning", "warnings"):
        return _names_a_refusal(value)
    if _WRONG.search(name):
        return not _says_no(value)
    return bool(_RIGHT.search(name)) and value is not None and _says_no(value)


def _says_no(value: object) -> bool:
    """Return whether a value is null, false, 0, empty, or a text that says as much."""
    if isinstance(value, str):
        return value.strip().lower() in {"", "0", "false", "no", "none", "null", "n"}
    return not value or boolean(value) is False


def _is_bad_code(value: object) -> bool:
    code = integer(value)
    if code is not None:
        return code != 0 and code not in _GOOD_CODES
    return not _says_no(value) and not (isinstance(value, str) and value.strip().lower() in {"ok", "success"})


def _names_a_refusal(warnings: object) -> bool:
    """Return whether a warning is a refusal's code: the others accompany a good line (`900`, claimed already)."""
    entries = warnings if isinstance(warnings, list) else [warnings]
    codes = [integer(entry.get("code") if isinstance(entry, dict) else entry) for entry in entries]
    return any(code in LINE_REFUSALS for code in codes if code is not None)
