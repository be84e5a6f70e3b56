"""What to do about customers that a run gave back unsent, and about auto-approval: one name for its switch everywhere.

A plan of which nothing was sent is made again when the task that planned is cleared; one of which a part was sent is
kept, and what it gave back is for another run.
"""

from __future__ import annotations

from typing import Final

from capillary.ledger.given_back import GivenBack

#: Where the platform's switch is; to be ended by what comes after it.
SWITCH_OFF: Final = "Switch auto-approval of ISSUE-BADGE off in Member Care > Settings > Request workflows"
#: The way out where nobody is to decide.
IF_INTENDED: Final = (
    "If auto-approval is intended, set policy=Policy(on_auto_approved=OnFinding.ACCEPT) and canary=False in the "
    "campaign's file"
)


def to_do(found: GivenBack) -> str:
    """Return what brings customers who were given back to a run that may send them, in sentences."""
    clear = f"clear {' and '.join(found.planned_by)} with Downstream"
    if found.refused and found.is_whole:
        return f"{SWITCH_OFF}, then {clear}."
    if found.refused:
        return (
            f"{SWITCH_OFF}, then start a new run with the same occasion and settings. If that one stops, too, {clear} "
            "there."
        )
    if found.is_whole:
        return f"{clear[0].upper()}{clear[1:]}, which plans again."
    return "Start a new run with the same occasion and settings, which can take them."
