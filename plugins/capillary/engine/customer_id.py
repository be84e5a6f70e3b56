"""Read a value of `customer_id` exactly, or say why it is none."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

from capillary.errors import TerminalError

#: Largest customer id: the platform's and the ledger's ids are signed 64-bit.
MAX_CUSTOMER_ID: Final = 2**63 - 1
#: Characters of a value's shape.
SHAPE_LIMIT: Final = 40

_MAX_DIGITS: Final = len(str(MAX_CUSTOMER_ID))


class Reason(StrEnum):
    """Why a value is not a customer id. The value itself is never repeated."""

    NULL = "null"
    BOOLEAN = "a boolean"
    BYTES = "bytes: cast to bigint in the query"
    FLOAT = "floating point: cast to bigint in the query"
    NOT_FINITE = "not a number"
    FRACTION = "not a whole number"
    EMPTY = "empty text"
    BLANKS = "blanks around it: trim in the query"
    OTHER_DIGITS = "digits other than 0 to 9"
    NOT_DIGITS = "text that is not digits only"
    LEADING_ZEROS = "leading zeros"
    TOO_SMALL = "zero or negative"
    TOO_LARGE = "above 9223372036854775807"
    OTHER_TYPE = "a type that holds no id: cast to bigint in the query"


class InvalidId(TerminalError):
    """A row's value is not a customer id; `reason` says why. Fix the row or the query."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(f"no customer id: {reason}")


def customer_id_of(value: object) -> int:
    """Return the customer id, 1 to 2**63 - 1, exactly: nothing goes through a float.

    Taken are integers, whole Decimals, and text of ASCII digits without sign, blanks or leading zeros.

    Raises:
        InvalidId: anything else.
    """
    if type(value) is int:  # nearly all rows
        number = value
    elif isinstance(value, str):
        number = _from_text(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = int(value)
    elif isinstance(value, Decimal):
        number = _from_decimal(value)
    else:
        raise InvalidId(_unfit_type(value))
    if number < 1:
        raise InvalidId(Reason.TOO_SMALL)
    if number > MAX_CUSTOMER_ID:
        raise InvalidId(Reason.TOO_LARGE)
    return number


def _unfit_type(value: object) -> Reason:
    if value is None:
        return Reason.NULL
    if isinstance(value, bool):
        return Reason.BOOLEAN
    if isinstance(value, float):
        return Reason.FLOAT
    if isinstance(value, bytes | bytearray | memoryview):
        return Reason.BYTES
    return Reason.OTHER_TYPE


def _from_text(value: str) -> int:
    if not value or value.isspace():
        raise InvalidId(Reason.EMPTY)
    if not value.isdigit():
        raise InvalidId(Reason.BLANKS if value.strip().isdigit() else Reason.NOT_DIGITS)
    if not value.isascii():
        raise InvalidId(Reason.OTHER_DIGITS)
    if value[0] == "0" and len(value) > 1:
        raise InvalidId(Reason.LEADING_ZEROS)
    if len(value) > _MAX_DIGITS:
        raise InvalidId(Reason.TOO_LARGE)
    return int(value)


def _from_decimal(value: Decimal) -> int:
    if not value.is_finite():
        raise InvalidId(Reason.NOT_FINITE)
    if value.adjusted() >= _MAX_DIGITS and value > 0:  # before int(), which would write a million digits out
        raise InvalidId(Reason.TOO_LARGE)
    if value <= 0:
        raise InvalidId(Reason.TOO_SMALL)
    if value != value.to_integral_value():
        raise InvalidId(Reason.FRACTION)
    return int(value)


def shape_of(value: object) -> str:
    """Return what a value looks like without saying it, at most 40 characters.

    Text keeps its printable ASCII signs; letters become `a`, digits `9`, all else `?`. Anything but text is
    the name of its type.
    """
    if not isinstance(value, str):
        return type(value).__name__[:SHAPE_LIMIT]
    return "".join(map(_shape, value[:SHAPE_LIMIT]))


def _shape(character: str) -> str:
    if character.isalpha():
        return "a"
    if character.isnumeric():
        return "9"
    return character if character.isascii() and character.isprintable() else "?"
