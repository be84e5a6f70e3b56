"""States that read as if a request were over and are none that the platform's pages name: they wait, and are told.

A state is read strictly: `Approved` may be a node of a workflow that has not executed anything. But a request whose end
has another spelling would wait forever without a word.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from capillary.api.outside_text import on_one_line
from capillary.api.request_workflow import DECIDED, is_decided
from capillary.counted import counted

#: In lower case, letters alone.
_ENDS: Final = frozenset(
    {
        *DECIDED,
        *("success", "successful", "succeeded", "failure", "error", "complete", "completed", "done", "finished"),
        *("closed", "ended", "executed", "processed", "declined", "denied", "refused", "cancelled", "canceled"),
        *("expired", "withdrawn", "revoked", "aborted", "terminated", "deleted", "archived", "autoapproved"),
    }
)

_LOG: Final = logging.getLogger("capillary.watch")


def reads_as_over(state: str) -> bool:
    """Return whether a state that counts as waiting reads as if the request were over."""
    return not is_decided(state) and "".join(filter(str.isalpha, state)).lower() in _ENDS


def tell(account: str, states: Iterable[str]) -> None:
    """Tell a person of requests that wait in such states, by the states of all."""
    odd = [state for state in states if reads_as_over(state)]
    if odd:
        _LOG.warning(
            "%s of %s %s in a state whose name sounds final (%s) but is none of %s, so %s: ask the platform's "
            "support whether the request moves on from there",
            counted(len(odd), "request"),
            account,
            "is" if len(odd) == 1 else "are",
            ", ".join(sorted({f"'{on_one_line(state)}'" for state in odd})[:5]),
            ", ".join(sorted(DECIDED)),
            "it counts as waiting" if len(odd) == 1 else "they count as waiting",
        )
