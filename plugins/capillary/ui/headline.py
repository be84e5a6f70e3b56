"""The one sentence that stands over a run: how it ended, or what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from capillary.counted import counted
from capillary.ledger.run_page import RunView
from capillary.ledger.run_wait import RunWait
from capillary.ui.aftermath import NOTHING, After, ended_of
from capillary.ui.airflow_facts import RunFacts
from capillary.ui.failed_tasks import FailedTask
from capillary.ui.page_words import for_a_page
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
    """What stands over a run.

    Attributes:
        tone: how urgent it is.
        word: how it stands.
        sentence: the same; of a run that is over, what was kept when it ended.
        now: what became of that since, and what to do now; empty where the sentence is true as it is.
    """

    tone: Tone
    word: str
    sentence: str
    now: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What else is known of a run at this moment.

    Attributes:
        dry: it only counts, whatever becomes of it.
        queued: why Airflow has not started it; empty where it has, or nobody knows.
        once_on: what else starts once its paused DAG is turned on; empty where nothing does.
        looks: what its task `wait` does about the platform's list; empty where it sleeps.
        after: what became of it since it ended.
    """

    dry: bool = False
    queued: str = ""
    once_on: str = ""
    looks: str = ""
    after: After = NOTHING


#: How a sentence of a passing run begins that a policy lets pass with a warning (`capillary.engine.verdict`).
_WARNED: Final = "Warning: "


#: Nothing else is known.
_NOTHING: Final = Beside()
_FAILED: Final = "Failed"
_HELD: Final = "Held back"
_DELETED: Final = "Deleted in Airflow"
_ENDED: Final = "Ended"
#: Of these runs nothing was kept that could be of then.
_NOT_TOLD: Final = frozenset({_DELETED, _ENDED})
_WAITS: Final = "Waits for the checker"
_IN_DOUBT: Final = "In doubt"
_SUBMITTING: Final = "Submitting"
_SETTLING: Final = "Settling"
#: Said of requests whose answer nobody has yet.
_DOUBTFUL: Final = "being sent, or in doubt: sent without a clear answer."
_RUNNING: Final = "Running"
#: What a person has to know first, of parts of a run that stand differently.
_FIRST: Final = (_WAITS, _IN_DOUBT, _SUBMITTING, _SETTLING, _RUNNING)


def headline(
    facts: RunFacts | None,
    view: RunView | None,
    report: Mapping[str, Any] | None,
    failed: FailedTask | None = None,
    beside: Beside = _NOTHING,
) -> Headline:
    """Return a run in one sentence, and what became of it since.

    Args:
        facts: what Airflow knows of it; None where it was deleted there.
        view: what the ledger knows of it; None where it has planned nothing.
        report: what its task `report` has returned; None where it has not, or its reader may not see that.
        failed: the first task of it that failed; None where none has.
        beside: what else is known at this moment.
    """
    over = facts is None or facts.is_over
    if over:
        return _as_of_now(_over(facts, view, report, failed, beside), failed, beside.after)
    assert facts is not None  # noqa: S101 - for the type: without facts it is over
    if view is not None:
        again = f"Airflow has it queued. {beside.queued}" if facts.state == "queued" else ""
        return replace(_under_way(view), now=again or beside.looks)
    if facts.state == "queued":
        return Headline(Tone.CALM, "Queued", beside.queued or "Airflow has not started it.", beside.once_on)
    if beside.dry:
        return Headline(Tone.CALM, _RUNNING, "It counts the customers of a live run. A dry run plans nobody.")
    return Headline(Tone.CALM, _RUNNING, "It has not planned anybody yet.")


def _over(
    facts: RunFacts | None,
    view: RunView | None,
    report: Mapping[str, Any] | None,
    failed: FailedTask | None,
    beside: Beside,
) -> Headline:
    """Return what was kept of a run when it ended."""
    if report is None:
        return _ended(facts, view, failed, beside)
    verdict = _verdict(report)
    if verdict.word == _FAILED and failed and failed.said:  # the verdict counts, and does not say why
        verdict = replace(verdict, sentence=f"{verdict.sentence} {_why(failed)}")
    return _with_parts(verdict, view)


def _as_of_now(said: Headline, failed: FailedTask | None, after: After) -> Headline:
    """Return it with what became since: what was kept is then told as of the moment when the run ended."""
    sentence = f"When it ended: {said.sentence}" if after.aged and said.word not in _NOT_TOLD else said.sentence
    now = " ".join(filter(None, (said.now, failed.now if failed else "", after.sentence)))
    if said.word == _HELD and after.held_over:
        return Headline(Tone.CALM if after.done else Tone.WARN, "Was held back", sentence, now)
    return replace(said, sentence=sentence, now=now)


def _with_parts(verdict: Headline, view: RunView | None) -> Headline:
    """Say of a run that has planned for several accounts or occasions that its report speaks of one plan."""
    parts = by_part(view) if view else {}
    if len(parts) < 2:
        return verdict
    stand = counted(len(parts), "part", "stands", "stand")
    more = f"This is what its task report says of one plan; {stand} under this run's id, each below."
    return replace(verdict, sentence=f"{verdict.sentence} {more}")


def _verdict(report: Mapping[str, Any]) -> Headline:
    sentence = for_a_page(str(report.get("sentence", "")))
    if report.get("verdict") != "pass":
        return Headline(Tone.BAD, _FAILED, sentence)
    if report.get("dry_run"):
        return Headline(Tone.CALM, "Dry run", sentence)
    if report.get("waits_for_canary"):
        return Headline(Tone.WARN, _HELD, sentence)
    if _WARNED in sentence:
        return Headline(Tone.WARN, "Passed with a warning", sentence)
    return Headline(Tone.GOOD, "Passed", sentence)


def _ended(facts: RunFacts | None, view: RunView | None, failed: FailedTask | None, beside: Beside) -> Headline:
    if facts is None:
        return Headline(Tone.CALM, _DELETED, "Airflow does not know this run any more; the ledger does.")
    if facts.state != "failed":
        return Headline(Tone.CALM, _ENDED, "Its report is not there, or you may not read it.")
    why = _why(failed) if failed else "No task of it has failed: look at the run in Airflow."
    if view is None:
        what = "A dry run plans nobody" if beside.dry else "It has planned nobody"
        return Headline(Tone.BAD, _FAILED, f"{what}. {why}")
    advised = bool(failed and failed.now) or beside.after.aged
    now = _unjudged(view, advised=advised)
    return Headline(Tone.BAD, _FAILED, f"Its report has given no verdict. {why}", now)


def _unjudged(view: RunView, *, advised: bool) -> str:
    """Return how a run stands whose tasks have failed before its report: the ledger goes on without them.

    Args:
        view: what the ledger knows.
        advised: what to do now is said already.
    """
    funnel = view.funnel
    if funnel.open:
        said, to_do = _under_way(view).sentence, "Then clear the task that failed, and those after it."
    elif any(funnel.outcomes.values()):
        said, to_do = f"Now {ended_of(funnel)}.", "Clear the task that failed, and those after it: report judges it."
    elif funnel.discarded:
        said = f"Now {counted(funnel.discarded, 'customer', 'is', 'are')} given back unsent."
        to_do = "Correct what failed, then trigger a new run with the same occasion and settings, which takes them."
    else:
        return ""
    return said if advised else f"{said} {to_do}"


def _why(failed: FailedTask) -> str:
    if not failed.said:
        return f"Task {failed.task_id} failed; its log says why."
    end = "" if failed.said.endswith((".", "!", "?")) else "."
    return f"Task {failed.task_id}: {failed.said}{end}"


def _under_way(view: RunView) -> Headline:
    """Return how a run stands: of several parts, that which a person has to know first, and each in a sentence."""
    stands = {name: _stands([plan.wait for plan in plans]) for name, plans in by_part(view).items()}
    if len(stands) == 1:
        return next(iter(stands.values()))
    first = min(stands.values(), key=lambda each: _FIRST.index(each.word))
    return replace(first, sentence=" ".join(f"{name}: {each.sentence}" for name, each in stands.items()))


def _stands(waits: Sequence[RunWait]) -> Headline:
    undecided = sum(each.undecided for each in waits)
    decided = sum(each.decided for each in waits)
    in_doubt = sum(each.in_doubt for each in waits)
    unsent = sum(each.unsent for each in waits)
    of_unsent = sum(each.unsent_customers for each in waits)
    if undecided:
        customers = sum(each.undecided_customers for each in waits)
        verb = "waits" if customers == 1 else "wait"
        sentence = (
            f"{counted(customers, 'customer')} in {counted(undecided, 'request')} {verb} for the checker. Nobody is "
            "enrolled before a human has decided on the platform."
        )
        if unsent:
            more = counted(unsent, "more request")
            verb = "is" if unsent == 1 else "are"
            sentence += f" {more} with {counted(of_unsent, 'customer')} {verb} not sent yet."
        if in_doubt:
            sentence += f" {counted(in_doubt, 'more request', 'is', 'are')} {_DOUBTFUL}"
        if decided:
            verb = counted(decided, "more request", "is", "are")
            sentence += f" {verb} decided; their customers are open until the list is read next."
        return Headline(Tone.WAIT, _WAITS, sentence)
    if in_doubt and not unsent:
        return Headline(Tone.WARN, _IN_DOUBT, f"{counted(in_doubt, 'request', 'is', 'are')} {_DOUBTFUL}")
    if unsent:
        verb = "is" if unsent == 1 else "are"
        sentence = f"{counted(unsent, 'request')} with {counted(of_unsent, 'customer')} {verb} not sent yet."
        if in_doubt:
            sentence += f" {counted(in_doubt, 'more request', 'is', 'are')} {_DOUBTFUL}"
        return Headline(Tone.CALM, _SUBMITTING, sentence)
    if decided:
        sentence = f"{counted(decided, 'request', 'is', 'are')} decided and not settled yet."
        return Headline(Tone.CALM, _SETTLING, sentence)
    return Headline(Tone.CALM, _RUNNING, "Every request is settled; the report comes next.")
