"""A sentence made for a log, as a page says it: what is a command there, or a field of the form, is a button here."""

from __future__ import annotations

import re
from typing import Final

#: Commands that a page stands in for; whatever else a sentence tells to run has no button.
_COMMAND: Final = re.compile(r"(?: \((?:[^()`]* )?`?python -m capillary (?:stop|resume|failed|waiting)\b[^()]*\))")
_OUTCOMES: Final = re.compile(r"\bretry outcomes? ([a-z_]+(?: and [a-z_]+)*)")


def for_a_page(sentence: str) -> str:
    """Return a sentence of a run, or of its failed task, without commands in brackets, and with outcomes in words."""
    said = _COMMAND.sub("", sentence)
    return _OUTCOMES.sub(lambda found: f"retry the {found[1].replace(' and ', ' and the ').replace('_', ' ')}", said)
