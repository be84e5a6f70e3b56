"""The one sentence that stands over a run: how it ended, or what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from capillary.counted import counted
from capillary.ledger.run_page import RunView
from capillary.ledger.run_wait import RunWait
from capillary.ui.airflow_facts import RunFacts
from capillary.ui.run_parts import by_part


class Tone(StrEnum):
    """How urgent something is: a class of the style sheet. The words beside it say the same."""

    GOOD = "good"  #: it ended well
    BAD = "bad"  #: it failed
    WAIT = "wait"  #: a human decides
    WARN = "warn"  #: it passed, and somebody should look
    CALM = "calm"  #: nothing to look at


@dataclass(frozen=True, slots=True)
class Headline:
    """What stands over a run: a word, and a sentence."""

    tone: Tone
    word: str
    sentence: str


#: How a sentence of a passing run begins that a policy lets pass with a warning (`capillary.engine.verdict`).
_WARNED: Final = "Warning: "


_WAITS: Final = "Waits for the checker"
_IN_DOUBT: Final = "In doubt"
_SUBMITTING: Final = "Submitting"
_SETTLING: Final = "Settling"
_RUNNING: Final = "Running"
#: What a person has to know first, of parts of a run that stand differently.
_FIRST: Final = (_WAITS, _IN_DOUBT, _SUBMITTING, _SETTLING, _RUNNING)


def headline(facts: RunFacts | None, view: RunView | None, report: Mapping[str, Any] | None) -> Headline:
    """Return a run in one sentence.

    Args:
        facts: what Airflow knows of it; None where it was deleted there.
        view: what the ledger knows of it; None where it has planned nothing.
        report: what its task `report` has returned; None where it has not, or its reader may not see that.
    """
    over = facts is None or facts.is_over
    if over and report is not None:
        return _with_parts(_verdict(report), view)
    if over:
        return _ended(facts, view)
    assert facts is not None  # noqa: S101 - for the type: without facts it is over
    if view is None:
        if facts.state == "queued":
            return Headline(
                Tone.CALM, "Queued", "Airflow has not started it: its DAG is paused, or too many runs are active."
            )
        return Headline(Tone.CALM, _RUNNING, "It has not planned anybody yet.")
    return _under_way(view)


def _with_parts(verdict: Headline, view: RunView | None) -> Headline:
    """Say of a run that has planned for several accounts or occasions that its report speaks of one plan."""
    parts = by_part(view) if view else {}
    if len(parts) < 2:
        return verdict
    stand = counted(len(parts), "part", "stands", "stand")
    more = f"This is what its task report says of one plan; {stand} under this run's id, each below."
    return replace(verdict, sentence=f"{verdict.sentence} {more}")


def _verdict(report: Mapping[str, Any]) -> Headline:
    sentence = str(report.get("sentence", ""))
    if report.get("verdict") != "pass":
        return Headline(Tone.BAD, "Failed", sentence)
    if report.get("dry_run"):
        return Headline(Tone.CALM, "Dry run", sentence)
    if report.get("waits_for_canary"):
        return Headline(Tone.WARN, "Held by a canary", sentence)
    if _WARNED in sentence:
        return Headline(Tone.WARN, "Passed with a warning", sentence)
    return Headline(Tone.GOOD, "Passed", sentence)


def _ended(facts: RunFacts | None, view: RunView | None) -> Headline:
    if facts is None:
        return Headline(Tone.CALM, "Deleted in Airflow", "Airflow does not know this run any more; the ledger does.")
    if facts.state == "failed":
        what = "It has planned nobody" if view is None else "Its report has given no verdict"
        return Headline(Tone.BAD, "Failed", f"{what}: read the log of the task that failed.")
    return Headline(Tone.CALM, "Ended", "Its report is not there, or you may not read it.")


def _under_way(view: RunView) -> Headline:
    """Return how a run stands: of several parts, that which a person has to know first, and each in a sentence."""
    stands = {name: _stands([plan.wait for plan in plans]) for name, plans in by_part(view).items()}
    if len(stands) == 1:
        return next(iter(stands.values()))
    first = min(stands.values(), key=lambda each: _FIRST.index(each.word))
    return replace(first, sentence=" ".join(f"{name}: {each.sentence}" for name, each in stands.items()))


def _stands(waits: Sequence[RunWait]) -> Headline:
    undecided = sum(each.undecided for each in waits)
    if undecided:
        customers = sum(each.undecided_customers for each in waits)
        verb = "waits" if customers == 1 else "wait"
        sentence = (
            f"{counted(customers, 'customer')} in {counted(undecided, 'request')} {verb} for the checker. Nobody is "
            "enrolled before a human has decided on the platform."
        )
        return Headline(Tone.WAIT, _WAITS, sentence)
    in_doubt = sum(each.in_doubt for each in waits)
    unsent = sum(each.unsent for each in waits)
    decided = sum(each.decided for each in waits)
    if in_doubt and not unsent:
        sentence = f"{counted(in_doubt, 'request', 'is', 'are')} being sent, or in doubt: sent without a clear answer."
        return Headline(Tone.WARN, _IN_DOUBT, sentence)
    if unsent or in_doubt:
        return Headline(Tone.CALM, _SUBMITTING, f"{counted(unsent, 'request', 'is', 'are')} not sent yet.")
    if decided:
        sentence = f"{counted(decided, 'request', 'is', 'are')} decided and not settled yet."
        return Headline(Tone.CALM, _SETTLING, sentence)
    return Headline(Tone.CALM, _RUNNING, "Every request is settled; the report comes next.")
