"""Numbers with what they count, as people read them."""

from __future__ import annotations


def counted(number: int, noun: str, verb: str = "", verb_of_many: str = "") -> str:
    """Return `1 request`, `1,217 customers` or `1 request is`: noun and verb in their number, thousands apart.

    Args:
        number: how many.
        noun: in the singular; its plural ends with an s.
        verb: what follows it for one; default: nothing.
        verb_of_many: what follows it for any other number; default: nothing.
    """
    said = f"{number:,} {noun}{'' if number == 1 else 's'}"
    follows = verb if number == 1 else verb_of_many
    return f"{said} {follows}" if follows else said
