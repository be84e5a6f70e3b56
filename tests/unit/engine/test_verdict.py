from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from capillary.engine.verdict import Facts, OnFinding, Policy, Verdict, judge
from capillary.ledger.given_back import GivenBack
from capillary.ledger.occasion_now import OccasionNow
from capillary.wrong_fields import FieldsInvalid
from tests.funnels import funnel_of, sound_funnel_of

STRICT = Policy()
LENIENT = Policy(
    tolerated_failure_share=1.0,
    on_rejected=OnFinding.ACCEPT,
    on_auto_approved=OnFinding.ACCEPT,
    on_unconfirmed=OnFinding.ACCEPT,
)
WARNING = Policy(
    tolerated_failure_share=1.0,
    on_rejected=OnFinding.WARN,
    on_auto_approved=OnFinding.WARN,
    on_unconfirmed=OnFinding.WARN,
)


ENDED = "1 customer ended without the badge"


def run(
    *, deadline_passed: bool = False, waiting_reason: str | None = None, known_through: str = "", **counts: int
) -> Facts:
    """A run whose ledger adds up; outcomes are given by their word."""
    return Facts(sound_funnel_of(**counts), deadline_passed, waiting_reason, known_through)


@pytest.mark.parametrize(
    ("occasion", "begins", "stands"),
    [
        (None, "Nothing new", ""),
        (OccasionNow(), "Nothing left to do", ""),
        (OccasionNow(waiting=1_217), "Nothing new", "1,217 customers wait for the checker"),
        (
            OccasionNow(waiting=1, without_badge=507),
            "Nothing new",
            "1 customer waits for the checker and 507 customers ended without the badge",
        ),
        (
            OccasionNow(on_their_way=2, decided=1, without_badge=1),
            "Nothing new",
            f"2 customers are on the way to the checker, 1 customer is decided and not settled yet and {ENDED}",
        ),
    ],
    ids=["not asked for", "everybody has it", "waiting", "two kinds", "three kinds"],
)
def test_a_run_that_found_nobody_new_says_who_does_not_have_the_badge(
    occasion: OccasionNow | None, begins: str, stands: str
) -> None:
    facts = replace(run(eligible=1_319, known_before=1_319), occasion=occasion)
    said = f"{begins}: none of the 1,319 eligible is new on this occasion."
    assert judge(facts, STRICT) == Verdict(
        passed=True, sentence=f"{said} By all runs on it, {stands}." if stands else said
    )


@pytest.mark.parametrize(
    ("facts", "policy", "passed", "warned", "says"),
    [
        (run(), STRICT, True, False, "the query returned nobody"),
        (run(eligible=40), STRICT, True, False, "none of the 40 eligible is new"),
        (
            run(eligible=40, over_cap=1),
            STRICT,
            True,
            False,
            "Nothing was planned; 1 customer left: a run with the same",
        ),
        (run(waiting_reason="a canary is open"), STRICT, True, False, "Nothing was planned: a canary is open."),
        (run(enrolled=3), STRICT, True, False, "All of 3 customers ended: 3 enrolled."),
        (run(enrolled=1), STRICT, True, False, "All of 1 customer ended: 1 enrolled."),
        (run(enrolled=2, already_enrolled=1), STRICT, True, False, "2 enrolled, 1 already_enrolled."),
        (run(enrolled=3, over_cap=5), STRICT, True, False, "5 customers left over the cap: a run with the same"),
        (run(enrolled=3, deadline_passed=True), STRICT, True, False, "All of 3 customers ended"),
        (run(open=3, requests_open=1), STRICT, False, False, "Not finished, 3 customers in 1 request still open: cle"),
        (run(open=3, requests_open=2, waiting_reason="the account is paused"), STRICT, False, False, "(the account is"),
        (run(open=1, requests_open=1, deadline_passed=True), STRICT, False, False, "The deadline has passed with 1 cu"),
        (run(open=1, requests_open=1), LENIENT, False, False, "Not finished"),
        (run(discarded=2), LENIENT, False, False, "2 customers never sent and given back"),
        (run(enrolled=2, failed=1), STRICT, False, False, "1 of 3 customers failed: see"),
        (run(enrolled=2, not_accepted=1), STRICT, False, False, "1 of 3 customers not accepted: see"),
        (run(enrolled=2, failed=1), WARNING, True, True, "Warning: 1 of 3 customers failed, as tol"),
        (run(failed=1, not_accepted=1), Policy(tolerated_failures=1), False, False, "2 of 2 customers failed or not"),
        (run(enrolled=2, rejected=1), STRICT, False, False, "1 customer rejected by the checker: read"),
        (run(enrolled=2, rejected=1), WARNING, True, True, "Warning: 1 customer rejected"),
        (run(enrolled=2, rejected=1), LENIENT, True, False, "All of 3 customers ended: 2 enrolled, 1 rejected."),
        (run(enrolled=2, unconfirmed=1), STRICT, False, False, "1 customer unconfirmed: look"),
        (run(enrolled=2, unconfirmed=1), WARNING, True, True, "Warning: 1 customer unconfirmed"),
        (run(enrolled=2, unconfirmed=1), LENIENT, True, False, "2 enrolled, 1 unconfirmed."),
        (
            run(enrolled=2, requests_auto_approved=1),
            STRICT,
            False,
            False,
            "1 request approved without a human. Switch auto-approval of ISSUE-BADGE off in",
        ),
        (run(enrolled=2, requests_auto_approved=2), WARNING, True, True, "Warning: 2 requests approved"),
        (run(enrolled=2, requests_auto_approved=2), LENIENT, True, False, "All of 2 customers ended"),
        (run(enrolled=2, canary=True), STRICT, True, False, "All of 2 customers ended"),
        (
            replace(run(enrolled=2, canary=True, over_cap=9), proven=True),
            STRICT,
            True,
            False,
            "The canary passed, 9 customers left: a run with the same occasion",
        ),
        (
            replace(run(enrolled=1, failed=1, canary=True, over_cap=9), proven=True),
            STRICT,
            False,
            False,
            "The configuration is proven all the same: a run under it is not a canary; 9 customers left: a run",
        ),
        (
            replace(run(enrolled=1, unconfirmed=1, canary=True), proven=True),
            STRICT,
            False,
            False,
            "The configuration is proven all the same: a run under it is not a canary.",
        ),
        (
            run(enrolled=2, canary=True, over_cap=9),
            STRICT,
            True,
            False,
            "not proven: with Canary on, a run under it takes at most 10 customers; 9 customers left behind it.",
        ),
        (
            run(already_enrolled=2, canary=True, over_cap=9),
            STRICT,
            True,
            False,
            "not proven: with Canary on, a run under it takes at most 10 customers; 9 customers left behind it.",
        ),
        (
            run(enrolled=2, requests_auto_approved=1, canary=True, over_cap=9),
            LENIENT,
            True,
            False,
            "not proven: with Canary on, a run under it takes at most 10 customers; 9 customers left behind it.",
        ),
        (
            run(enrolled=2, unconfirmed=1, canary=True, over_cap=9),
            LENIENT,
            True,
            False,
            "not proven: with Canary on, a run under it takes at most 10 customers; 9 customers left behind it.",
        ),
        (
            replace(run(open=2, requests_open=1, canary=True, over_cap=9), next_waits_for="this canary is open"),
            STRICT,
            False,
            False,
            "is not proven, and this canary is open: until that changes, a run with Canary on plans nobody; 9",
        ),
        (
            replace(run(rejected=2, canary=True), next_waits_for="another one is open"),
            STRICT,
            False,
            False,
            "is not proven, and another one is open: until that changes, a run with Canary on plans nobody.",
        ),
        (
            replace(run(rejected=2, canary=True), next_waits_for="another one is open", proven=True),
            STRICT,
            False,
            False,
            "proven all the same",
        ),
        (Facts(funnel_of(eligible=3, planned=3, enrolled=2)), LENIENT, False, False, "3 planned, 2 accounted"),
        (Facts(funnel_of(open=1)), LENIENT, False, False, "does not add up: 0 planned, 1 accounted"),
    ],
)
def test_verdict(facts: Facts, policy: Policy, passed: bool, warned: bool, says: str) -> None:
    verdict = judge(facts, policy)

    assert (verdict.passed, verdict.warned) == (passed, warned)
    assert says in verdict.sentence
    assert verdict.sentence.endswith(".")


@pytest.mark.parametrize(
    ("facts", "passed"),
    [
        (replace(run(enrolled=2, canary=True, over_cap=9), proven=True), True),
        (replace(run(enrolled=2, canary=True), proven=True), True),
        (replace(run(enrolled=2, over_cap=9), proven=True), False),
        (run(already_enrolled=2, canary=True, over_cap=9), False),
        (run(canary=True, over_cap=9, waiting_reason="a canary is open"), False),
        (replace(run(enrolled=1, failed=1, canary=True), proven=True), True),
    ],
    ids=["rest left", "no rest", "no canary", "not proven", "planned no", "a failure that is tolerated"],
)
def test_a_canary_passed_where_its_run_did_and_its_configuration_is_proven(facts: Facts, passed: bool) -> None:
    assert judge(facts, LENIENT).canary_passed is passed


def test_a_failed_canary_did_not_pass() -> None:
    failed = replace(run(enrolled=2, failed=1, canary=True, over_cap=9), proven=True)
    assert not judge(failed, STRICT).canary_passed


@pytest.mark.parametrize(
    ("ends", "said", "retry"),
    [
        ({"failed": 1}, "1 of 3 customers failed", "outcome failed"),
        ({"not_accepted": 1}, "1 of 3 customers not accepted", "outcome not_accepted"),
        (
            {"failed": 1, "not_accepted": 2},
            "3 of 5 customers failed or not accepted",
            "outcomes failed and not_accepted",
        ),
    ],
    ids=["failed", "not accepted", "both"],
)
def test_only_the_kinds_that_are_there_are_named(ends: dict[str, Any], said: str, retry: str) -> None:
    sentence = judge(run(enrolled=2, **ends), STRICT).sentence
    assert sentence == f"{said}: see the codes in the report, fix the cause, then retry {retry}."


def test_a_warning_comes_after_what_ended() -> None:
    said = judge(run(enrolled=1_207, failed=10), WARNING).sentence
    assert said.startswith("All of 1,217 customers ended: 1,207 enrolled, 10 failed. Warning: 10 of 1,217 customers")


def test_what_fails_the_run_comes_before_what_it_warns_of() -> None:
    facts = run(open=1, requests_open=1, enrolled=1, rejected=1, unconfirmed=1)

    verdict = judge(facts, Policy(on_unconfirmed=OnFinding.WARN))

    order = [verdict.sentence.index(part) for part in ("Not finished", "1 customer rejected", "Warning: 1 customer un")]
    assert order == sorted(order)
    assert not verdict.passed
    assert not verdict.warned


@pytest.mark.parametrize(
    ("policy", "failures", "planned", "passes"),
    [
        (Policy(), 0, 100, True),
        (Policy(), 1, 100, False),
        (Policy(tolerated_failures=5), 5, 100, True),
        (Policy(tolerated_failures=5), 6, 100, False),
        (Policy(tolerated_failures=1), 100, 100, False),
        (Policy(tolerated_failure_share=0.05), 5, 100, True),
        (Policy(tolerated_failure_share=0.05), 6, 100, False),
        (Policy(tolerated_failure_share=1.0), 100, 100, True),
        (Policy(tolerated_failure_share=1), 100, 100, True),
        (Policy(tolerated_failure_share=0.29), 29, 100, True),  # 0.29 * 100 is 28.999999999999996
        (Policy(tolerated_failures=2, tolerated_failure_share=0.05), 5, 100, True),
        (Policy(tolerated_failures=2, tolerated_failure_share=0.05), 2, 10, True),
        (Policy(tolerated_failures=2, tolerated_failure_share=0.05), 3, 10, False),
    ],
    ids=str,
)
def test_a_number_or_a_share_of_failures_is_tolerated(
    policy: Policy, failures: int, planned: int, passes: bool
) -> None:
    assert policy.tolerates(failures, planned) is passes


@pytest.mark.parametrize(
    ("field", "wrong", "remedy"),
    [
        *[
            ("tolerated_failures", wrong, "a share belongs in tolerated_failure_share")
            for wrong in (-1, 0.1, 1.0, "1", None, True, float("nan"), b"1")
        ],
        *[
            ("tolerated_failure_share", wrong, "Give a share of the planned customers, 0.0 to 1.0")
            for wrong in (-0.1, 1.1, 5, float("nan"), float("inf"), "0.1", None, True)
        ],
    ],
)
def test_a_tolerance_that_is_neither_is_refused(field: str, wrong: Any, remedy: str) -> None:  # noqa: ANN401 - wrong
    with pytest.raises(FieldsInvalid) as caught:
        Policy(**{field: wrong})
    said = str(caught.value)
    assert said.startswith(f"Policy(…), {field}: it should be ")
    assert remedy in said


@pytest.mark.parametrize("name", ["on_rejected", "on_auto_approved", "on_unconfirmed"])
def test_a_policy_takes_a_word_and_its_text(name: str) -> None:
    for word in OnFinding:
        text: Any = {name: str(word)}
        assert getattr(Policy(**text), name) is word
    for wrong in ("Warn", "", True, None, 1, b"warn"):
        given: Any = {name: wrong}
        with pytest.raises(FieldsInvalid, match=rf"Policy\(…\), {name}: it is .*: 'fail', 'warn' or 'accept'"):
            Policy(**given)


WHOLE = GivenBack(customers=9, is_whole=True, planned_by=("extract_eligible_customers",), refused=True)
PART = replace(WHOLE, is_whole=False)
OFF = "Switch auto-approval of ISSUE-BADGE off in Member Care > Settings > Request workflows"
REFUSED = (
    "9 customers never sent and given back: submit is refused, because the platform has executed a request of this "
    "account without a human's approval."
)


def test_a_run_that_is_refused_for_anothers_auto_approval_names_the_task_to_clear() -> None:
    refused = judge(replace(run(discarded=9), given_back=WHOLE), STRICT)
    assert refused.sentence == f"{REFUSED} {OFF}, then clear extract_eligible_customers with Downstream."
    otherwise = "9 customers never sent and given back: fix what stopped submit. A run with the same occasion and"
    allowed = replace(WHOLE, refused=False)
    assert judge(replace(run(discarded=9), given_back=allowed), STRICT).sentence.startswith(otherwise)
    assert judge(replace(run(discarded=9), given_back=WHOLE), LENIENT).sentence.startswith(otherwise)


def test_the_run_of_an_auto_approved_request_is_told_once_what_to_do_and_not_to_clear_what_has_nothing_to_send() -> (
    None
):
    counts = run(open=5, requests_open=1, requests_auto_approved=1, discarded=9)
    assert judge(replace(counts, given_back=PART), STRICT).sentence == (
        "Not finished, 5 customers in 1 request still open: badge_upkeep settles what is decided. "
        f"{REFUSED} {OFF}, then start a new run with the same occasion and settings. If that one stops, too, clear "
        "extract_eligible_customers with Downstream there. 1 request approved without a human."
    )
