"""A verdict as a page says it: what a log tells as a command or a field of the trigger form has a button here."""

from __future__ import annotations

import re
from typing import Final

_COMMAND: Final = re.compile(r" \(python -m capillary [^)]*\)")
_OUTCOMES: Final = re.compile(r"\bretry outcomes? ([a-z_]+(?: and [a-z_]+)*)")


def for_a_page(sentence: str) -> str:
    """Return a sentence of a run's verdict without commands in brackets, and with the outcomes in words."""
    said = _COMMAND.sub("", sentence)
    return _OUTCOMES.sub(lambda found: f"retry the {found[1].replace(' and ', ' and the ').replace('_', ' ')}", said)
