"""The fields of an Airflow connection: how they are read, and how a wrong one is named."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from capillary.api.errors import SettingsInvalid
from capillary.connections.errors import ConnectionInvalid

_YES_OR_NO: Final = {"true": True, "false": False, "on": True, "off": False, "yes": True, "no": False}
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


@contextmanager
def named(conn_id: str) -> Iterator[None]:
    """Name the connection in what is found wrong with its settings when they are used: a file that is not there."""
    try:
        yield
    except ConnectionInvalid:
        raise
    except SettingsInvalid as error:
        raise ConnectionInvalid(
            conn_id=conn_id, field=error.field, problem=error.problem, remedy=error.remedy
        ) from None


def as_switch(value: object) -> object:
    """Return True or False for the words that mean them, as in a connection's URI; anything else as it is."""
    return _YES_OR_NO.get(value.strip().lower(), value) if isinstance(value, str) else value


def as_number(value: object) -> object:
    """Return the number that a text holds; anything else as it is. A whole one is an int, however it is written."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_text(value: object) -> object:
    """Return a whole number's digits, as an id may be written in JSON; anything else as it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a misspelt one is meant for, whatever its case, dashes or prefix; None without one."""
    plain = {_plain(each): each for each in known}
    found = difflib.get_close_matches(_plain(name.rpartition("__")[2]), plain, n=1, cutoff=0.65)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
