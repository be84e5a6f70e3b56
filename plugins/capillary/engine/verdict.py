"""Pass or fail of a run, and the sentence that says what to do. Pure: counts and a policy in, words out.

How one customer ended is decided in `outcomes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, PlainValidator, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from capillary.counted import counted
from capillary.engine.given_back import IF_INTENDED, SWITCH_OFF, to_do
from capillary.engine.next_run import TAKES, canary_now
from capillary.ledger.given_back import GivenBack
from capillary.ledger.occasion_now import OccasionNow
from capillary.ledger.reports import Funnel
from capillary.ledger.status import Outcome
from capillary.wrong_fields import explained, fields_of, shown

#: Behind it a sentence names campaigns, to its end.
KNOWN_THROUGH: Final = " known through other campaigns of the badge: "
#: What is said of customers whom nothing was sent for.
GIVEN_BACK: Final = "never sent and given back:"


class OnFinding(StrEnum):
    """What a campaign makes of something that may be a fault."""

    FAIL = "fail"  #: the run fails
    WARN = "warn"  #: the run passes and says so
    ACCEPT = "accept"  #: the run passes


def _on_finding_of(given: object) -> OnFinding:
    if not isinstance(given, str) or given not in set(OnFinding):
        raise ValueError(f"it is {shown(given)}")
    return OnFinding(given)


#: An `OnFinding`, or its text.
OnFindingOrText: TypeAlias = Annotated[
    OnFinding,
    PlainValidator(_on_finding_of),
    Field(description="OnFinding.FAIL, OnFinding.WARN or OnFinding.ACCEPT, or its text: 'fail', 'warn' or 'accept'"),
]


@checked_dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Policy:
    """What a campaign takes as a pass.

    Up to so many customers may end as failed or not accepted: the number `tolerated_failures`, or the share
    `tolerated_failure_share` of those planned, whichever is more. Default: none. The others take an `OnFinding`
    or its text.

    Raises:
        FieldsInvalid: a field cannot be used; every one is named.
    """

    tolerated_failures: Annotated[
        int, Field(ge=0, description="a whole number of customers; a share belongs in tolerated_failure_share")
    ] = 0
    tolerated_failure_share: Annotated[
        float,
        Field(ge=0, le=1, allow_inf_nan=False, description="a share of the planned customers, 0.0 to 1.0"),
    ] = 0.0
    on_rejected: OnFindingOrText = OnFinding.FAIL
    on_auto_approved: OnFindingOrText = OnFinding.FAIL
    on_unconfirmed: OnFindingOrText = OnFinding.FAIL

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 - pydantic's
        return explained("Policy(…)", fields_of(cls), lambda: handler(given))

    def tolerates(self, failures: int, planned: int) -> bool:
        """Return whether so many failures pass; a share is taken exactly, 0.29 of 100 being 29."""
        share = Decimal(str(self.tolerated_failure_share)) * planned
        return failures <= self.tolerated_failures or failures <= share


@dataclass(frozen=True, slots=True)
class Facts:
    """What is judged: the counts of one run, and what no count says.

    Attributes:
        funnel: where the run's customers went.
        deadline_passed: whether the checker's time is over.
        waiting_reason: one clause without full stop: why nothing was planned, or what holds the open ones up.
        known_through: the other campaigns that have taken the funnel's `known_elsewhere`; empty: not asked for.
        occasion: where the customers of its occasion stand; None: not asked for.
        proven: whether the ledger holds the plan's configuration as proven, by this run or another one. It is so after
            one request that a human approved, with somebody enrolled and nobody unconfirmed, however the run ends.
        next_waits_for: one clause without full stop: which request keeps a run with *Canary* on from planning anybody
            while the configuration is not proven, of this run or another one; None where none does.
        given_back: how the funnel's `discarded` may be sent after all; None: not asked for.
    """

    funnel: Funnel
    deadline_passed: bool = False
    waiting_reason: str | None = None
    known_through: str = ""
    occasion: OccasionNow | None = None
    proven: bool = False
    next_waits_for: str | None = None
    given_back: GivenBack | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`passed`, and what to do.

    Attributes:
        passed: whether the run succeeds.
        sentence: what happened, and what to do.
        warned: it passed by a policy of `warn`, or with tolerated failures.
        canary_passed: it was a canary that planned somebody, and its configuration is proven.
    """

    passed: bool
    sentence: str
    warned: bool = False
    canary_passed: bool = False


def judge(facts: Facts, policy: Policy) -> Verdict:
    """Return the run's verdict. What fails it comes first in the sentence, then what it warns of."""
    funnel = facts.funnel
    if funnel.accounted != funnel.planned:
        return Verdict(
            passed=False,
            sentence=f"The ledger does not add up: {funnel.planned:,} planned, {funnel.accounted:,} accounted for. "
            "Stop sending (python -m capillary stop), and run python -m capillary ledger check --deep.",
        )
    if funnel.planned == 0:
        return Verdict(passed=True, sentence=_nothing_planned(facts))
    refused = _refused(facts, policy)
    problems = _unfinished(facts, refused)
    warnings: list[str] = []
    for finding, sentence in _doubtful_endings(funnel, policy, remedy_told=refused is not None):
        if finding is OnFinding.FAIL:
            problems.append(sentence)
        elif finding is OnFinding.WARN:
            warnings.append(f"Warning: {sentence}")
    sentences = [*(problems or [_ended_well(funnel)]), *warnings]
    if funnel.over_cap or (funnel.canary and problems):
        sentences.append(_rest(facts, passed=not problems))
    return Verdict(
        passed=not problems,
        sentence=" ".join(sentences),
        warned=bool(warnings) and not problems,
        canary_passed=funnel.canary and facts.proven and not problems,
    )


def _nothing_planned(facts: Facts) -> str:
    funnel = facts.funnel
    if facts.waiting_reason:
        return f"Nothing was planned: {facts.waiting_reason}."
    if funnel.over_cap:
        return f"Nothing was planned; {counted(funnel.over_cap, 'customer')} left: {TAKES}."
    if funnel.eligible == 0:
        return "Nothing left to do: the query returned nobody."
    if facts.occasion == OccasionNow():
        sentence = f"Nothing left to do: none of the {funnel.eligible:,} eligible is new on this occasion."
    else:
        sentence = f"Nothing new: none of the {funnel.eligible:,} eligible is new on this occasion."
    if stands := _without_badge(facts.occasion):
        sentence += f" By all runs on it, {stands}."
    if funnel.known_elsewhere and facts.known_through:
        known = counted(funnel.known_elsewhere, "customer")
        sentence += f" {known}{KNOWN_THROUGH}{facts.known_through}."
    return sentence


def _without_badge(occasion: OccasionNow | None) -> str:
    """Say where those of an occasion stand who do not have the badge; empty where there are none, or nobody asked."""
    if occasion is None:
        return ""
    stands = [
        counted(customers, "customer", *verbs)
        for customers, verbs in (
            (occasion.waiting, ("waits for the checker", "wait for the checker")),
            (occasion.on_their_way, ("is on the way to the checker", "are on the way to the checker")),
            (occasion.decided, ("is decided and not settled yet", "are decided and not settled yet")),
            (occasion.without_badge, ("ended without the badge", "ended without the badge")),
        )
        if customers
    ]
    return " and ".join([*([", ".join(stands[:-1])] if stands[1:] else []), *stands[-1:]])


def _refused(facts: Facts, policy: Policy) -> GivenBack | None:
    """Return what was given back under an auto-approval that keeps the next run from sending it; None elsewhere."""
    found = facts.given_back
    return found if found and found.refused and policy.on_auto_approved is OnFinding.FAIL else None


def _unfinished(facts: Facts, refused: GivenBack | None) -> list[str]:
    funnel = facts.funnel
    problems: list[str] = []
    if funnel.open:
        held = f" ({facts.waiting_reason})" if facts.waiting_reason else ""
        still = f"{counted(funnel.open, 'customer')} in {counted(funnel.requests_open, 'request')} still open"
        if facts.deadline_passed:
            problems.append(
                f"The deadline has passed with {still}{held}: have the checker decide, then clear wait; "
                "nothing is lost, and nothing is sent again."
            )
        elif funnel.discarded:  # the task that failed has nothing left to send
            problems.append(f"Not finished, {still}{held}: badge_upkeep settles what is decided.")
        else:
            problems.append(
                f"Not finished, {still}{held}: clear the task that failed; it continues from here. Until then "
                "badge_upkeep settles what is decided."
            )
    if funnel.discarded and refused is not None:
        problems.append(
            f"{counted(funnel.discarded, 'customer')} never sent and given back: submit is refused, because the "
            f"platform has executed a request of this account without a human's approval. {to_do(refused)}"
        )
    elif funnel.discarded:
        problems.append(
            f"{counted(funnel.discarded, 'customer')} never sent and given back: fix what stopped submit. A run with "
            "the same occasion and settings can take them."
        )
    return problems


def _doubtful_endings(funnel: Funnel, policy: Policy, *, remedy_told: bool) -> list[tuple[OnFinding, str]]:
    """Return what may be a fault, each with what the policy makes of it.

    Args:
        funnel: where the run's customers went.
        policy: of the campaign.
        remedy_told: what to do about auto-approval is said already.
    """
    endings: list[tuple[OnFinding, str]] = []
    kinds = [each for each in (Outcome.FAILED, Outcome.NOT_ACCEPTED) if funnel.outcomes[each]]
    failures = sum(funnel.outcomes[each] for each in kinds)
    unconfirmed = funnel.outcomes[Outcome.UNCONFIRMED]
    rejected = funnel.outcomes[Outcome.REJECTED]
    if funnel.requests_auto_approved:
        endings.append(
            (
                policy.on_auto_approved,
                (
                    f"{counted(funnel.requests_auto_approved, 'request')} approved without a human"
                    f"{'' if remedy_told else f'. {SWITCH_OFF}. {IF_INTENDED}'}."
                ),
            )
        )
    if unconfirmed:
        endings.append(
            (
                policy.on_unconfirmed,
                (
                    f"{counted(unconfirmed, 'customer')} unconfirmed: look at them on the platform, or retry outcome "
                    "unconfirmed, which skips customers who already hold the badge."
                ),
            )
        )
    if failures:
        tolerated = policy.tolerates(failures, funnel.planned)
        endings.append(
            (
                OnFinding.WARN if tolerated else OnFinding.FAIL,
                (
                    f"{failures:,} of {counted(funnel.planned, 'customer')} "
                    f"{' or '.join(each.replace('_', ' ') for each in kinds)}"
                    f"{', as tolerated' if tolerated else ''}: see the codes in the report, fix the cause, "
                    f"then retry outcome{'' if len(kinds) == 1 else 's'} {' and '.join(kinds)}."
                ),
            )
        )
    if rejected:
        endings.append(
            (
                policy.on_rejected,
                (
                    f"{counted(rejected, 'customer')} rejected by the checker: read the checker's message (python -m "
                    "capillary failed), and retry outcome rejected once its reason is gone."
                ),
            )
        )
    return endings


def _ended_well(funnel: Funnel) -> str:
    ended = ", ".join(f"{funnel.outcomes[outcome]:,} {outcome}" for outcome in Outcome if funnel.outcomes[outcome])
    return f"All of {counted(funnel.planned, 'customer')} ended: {ended}."


def _rest(facts: Facts, *, passed: bool) -> str:
    """Say what becomes of those that this run left out."""
    funnel = facts.funnel
    left = counted(funnel.over_cap, "customer")
    if not funnel.canary:
        return f"{left} left over the cap: {TAKES}."
    if facts.proven:
        if passed:
            return f"The canary passed, {left} left: {TAKES}."
        rest = f"; {left} left: {TAKES}" if funnel.over_cap else ""
        return f"The configuration is proven all the same: a run under it is not a canary{rest}."
    behind = f"; {left} left behind it" if funnel.over_cap else ""
    return f"{canary_now(facts.next_waits_for)}{behind}."
