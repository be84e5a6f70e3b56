from __future__ import annotations

import re
from typing import Any, cast

import pytest
from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.context import OutletEventAccessors
from sqlalchemy import select, update

from capillary.engine.verdict import OnFinding, Policy
from capillary.ledger.plan_id import open_plan
from capillary.ledger.run_wait import run_wait
from capillary.ledger.schema import badge_enrolment, badge_run
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.plan_reference import PlanReference
from capillary.sensors import BadgeRequestSensor
from tests.glue.conftest import BADGE, SQL, Place


def plan(place: Place, run_id: str = "run", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - arguments of operators
    operator = PlanBadgesOperator(task_id="extract", **{"sql": SQL, **BADGE, **changes})
    return operator.execute(place.context(run_id, "extract"))


def submit(place: Place, reference: object, *, clears: int = 0) -> dict[str, Any]:
    context = place.context(task_id="submit", clears=clears)
    return IssueBadgeOperator(task_id="submit", plan=reference).execute(context)


def report(place: Place, reference: object, **policy: Any) -> dict[str, Any]:  # noqa: ANN401 - same
    operator = ReportBadgesOperator(task_id="report", plan=reference, policy=Policy(**policy))
    return operator.execute(place.context(task_id="report"))


def settle(place: Place, reference: object) -> None:
    """Bring the ledger up to date as the sensor does, whatever its verdict."""
    place.sandbox.approve_all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BadgeRequestSensor, "_ended", lambda *_, **__: {})
        BadgeRequestSensor(task_id="wait", plan=reference).execute(place.context(task_id="wait"))


def test_from_the_query_to_a_report_that_adds_up(place: Place) -> None:
    place.customers(*range(1_001, 1_121), 1_001, "not an id")
    reference = plan(place)
    assert (reference["eligible"], reference["duplicates"], reference["invalid"]) == (122, 1, 1)
    assert (reference["planned"], reference["requests"]) == (120, 3)
    assert submit(place, reference) == reference
    settle(place, reference)
    said = report(place, reference)
    assert said["verdict"] == "pass"
    assert said["funnel"] == {
        "eligible": 122,
        "invalid": 1,
        "duplicates": 1,
        "known_before": 0,
        "known_elsewhere": 0,
        "over_cap": 0,
        "planned": 120,
        "enrolled": 120,
        "already_enrolled": 0,
        "rejected": 0,
        "failed": 0,
        "not_accepted": 0,
        "unconfirmed": 0,
        "discarded": 0,
        "open": 0,
    }
    assert place.sent() == list(range(1_001, 1_121))


def test_a_dry_run_counts_and_writes_nothing(place: Place) -> None:
    reference = plan(place, dry_run=True)
    assert reference["badge_run_id"] is None
    assert (reference["planned"], reference["requests"], place.rows()) == (120, 3, 0)
    with pytest.raises(AirflowSkipException, match="dry run"):
        submit(place, reference)
    assert report(place, reference)["sentence"].startswith("Dry run: 120 customers in 3 requests")
    assert place.sandbox.platform.requests() == []


def test_nobody_new_is_skipped_and_green(place: Place) -> None:
    reference = plan(place)
    submit(place, reference)
    again = plan(place, "second")
    assert (again["planned"], again["known_before"]) == (0, 120)
    with pytest.raises(AirflowSkipException, match="nothing was planned"):
        submit(place, again)
    assert report(place, again)["verdict"] == "pass"


def test_the_sum_of_a_plan_leaves_out_what_is_nought(place: Place) -> None:
    place.customers(*range(1_001, 1_121), 1_001, "not an id")
    reference = PlanReference.parse(plan(place))
    assert reference.equation() == "122 eligible = 1 invalid + 1 duplicate + 120 planned"
    again = PlanReference.parse(plan(place, "second"))
    assert again.equation() == "122 eligible = 1 invalid + 1 duplicate + 120 known before + 0 planned"


def test_wait_says_who_waits_since_when(place: Place) -> None:
    reference = plan(place)
    submit(place, reference)
    plan_id = PlanReference.parse(reference).plan_id
    assert plan_id is not None
    with place.ledger.read() as tx:
        said = run_wait(tx, open_plan(tx, plan_id)).sentence()
    since = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.fullmatch(
        rf"3 requests: 3 with 120 customers waiting for the checker since {since}, 0 in doubt, 0 decided, "
        "0 settled",
        said,
    )
    settle(place, reference)
    with place.ledger.read() as tx:
        said = run_wait(tx, open_plan(tx, plan_id)).sentence()
    assert said == "3 requests: 0 waiting for the checker, 0 in doubt, 0 decided, 3 settled"


def test_what_a_failed_canary_says_of_the_next_run_is_what_that_run_does(place: Place) -> None:
    """Of two requests one is approved, which proves the configuration, and one rejected, which fails the run."""
    place.customers(*range(1_001, 1_121))
    canary = plan(place, canary=True, customers_per_request=5)
    submit(place, canary)
    place.sandbox.reject(place.request_keys()[0], "wrong tier")
    settle(place, canary)
    with pytest.raises(
        AirflowFailException, match="proven all the same: a run under it is not a canary; 110 customers left"
    ) as e:
        report(place, canary)
    assert "5 customers rejected" in str(e.value)
    assert plan(place, "next", canary=True)["planned"] == 110


def test_a_run_that_waits_for_a_canary_says_whose_and_since_when(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.customers(*range(1_001, 1_121))
    canary = plan(place, canary=True)
    behind = plan(place, "behind", canary=True)
    assert (canary["planned"], behind["planned"]) == (10, 0)
    capsys.readouterr()
    said = report(place, behind)
    assert said["sentence"].startswith(
        "Nothing was planned: the canary of vip, run run, not sent yet, is not decided yet: look at its run"
    )
    assert re.search(r"\[warning *\] Nothing was planned: the canary of vip", capsys.readouterr().out), "it is green"
    submit(place, canary)
    said = report(place, behind)
    assert (said["verdict"], said["waits_for_canary"], said["canary_passed"]) == ("pass", True, False)
    assert re.search(
        r"run run, sent \d{4}-\d\d-\d\d \d\d:\d\d UTC, is not decided yet: have the checker decide it\.$",
        said["sentence"],
    )
    settle(place, canary)
    assert "the configuration is proven now, and a run with the same" in report(place, behind)["sentence"]
    said = report(place, canary)
    assert (said["waits_for_canary"], said["canary_passed"]) == (False, True)


def test_a_run_that_found_nobody_new_says_who_waits_or_ended_without_the_badge(place: Place) -> None:
    submit(place, plan(place))
    said = report(place, plan(place, "again"))
    eligible = said["funnel"]["eligible"]
    planned = said["funnel"]["known_before"]
    assert said["verdict"] == "pass"
    assert said["sentence"] == (
        f"Nothing new: none of the {eligible} eligible is new on this occasion. By all runs on it, {planned} customers "
        "wait for the checker."
    )


def test_a_campaign_without_an_occasion_shares_its_badges_and_the_report_says_through_whom(
    place: Place,
) -> None:
    submit(place, plan(place, occasion=None, campaign="vip"))
    place.customers(*range(1_001, 1_123))
    copy = plan(place, "copy", occasion=None, campaign="vip copy")
    assert (copy["planned"], copy["known_before"], copy["known_elsewhere"]) == (2, 120, 120)
    submit(place, copy)
    settle(place, copy)
    said = report(place, copy)
    assert (said["funnel"]["known_before"], said["funnel"]["known_elsewhere"]) == (120, 120)
    assert said["known_through"] == "vip"
    assert place.sent() == list(range(1_001, 1_123))
    keys = {key.rpartition(".")[0] for key in place.request_keys()}
    assert keys == {"cb1.vip", "cb1.vip-copy"}
    none = plan(place, "none", occasion=None, campaign="third")
    assert report(place, none)["sentence"] == (
        "Nothing left to do: none of the 122 eligible is new on this occasion. "
        "122 customers known through other campaigns of the badge: vip, vip copy."
    )
    dry = plan(place, "dry", occasion=None, campaign="third", dry_run=True)
    assert report(place, dry)["known_through"] == "vip, vip copy"


def test_by_hand_a_badge_is_shared_with_its_campaigns(place: Place) -> None:
    by_hand = {key: value for key, value in BADGE.items() if key != "occasion"}
    plan(place, occasion=None, campaign="vip")
    issue = IssueBadgeOperator(task_id="submit", customers=[1_001, 7], campaign="by hand", **by_hand)
    reference = issue.execute(place.context("by hand"))
    assert (reference["planned"], reference["known_elsewhere"], reference["known_through"]) == (1, 1, "vip")
    assert place.sent() == [7]


def test_an_occasion_of_ones_own_is_shared_by_word_only(place: Place) -> None:
    plan(place, campaign="vip")
    with pytest.raises(AirflowFailException, match=r"belongs to campaign 'vip'.*shared_occasion=True"):
        plan(place, "second", campaign="other")
    shared = plan(place, "second", campaign="other", shared_occasion=True)
    assert (shared["planned"], shared["known_elsewhere"]) == (0, 120)


def test_an_occasion_in_composed_and_in_decomposed_letters_is_one(place: Place) -> None:
    submit(place, plan(place, campaign="caf\u00e9", occasion="caf\u00e9"))
    again = plan(place, "again", campaign="cafe\u0301", occasion="cafe\u0301")
    assert (again["planned"], again["known_before"], again["known_elsewhere"]) == (0, 120, 0)
    with pytest.raises(AirflowFailException, match="belongs to campaign 'caf\u00e9'"):
        plan(place, "other", campaign="other", occasion="cafe\u0301")
    assert place.sent() == list(range(1_001, 1_121))


@pytest.mark.parametrize("note", [None, "", "None", " null"])
def test_a_note_that_a_template_found_empty_is_none(place: Place, note: str | None) -> None:
    plan(place, note=note)
    with place.ledger.read() as tx:
        assert tx.conn.execute(select(badge_run.c.note)).scalar_one() is None


def test_clearing_extract_keeps_the_plan_once_something_was_sent(place: Place) -> None:
    reference = plan(place)
    submit(place, reference)
    place.customers(7, 8, 9)
    assert plan(place) == reference
    assert submit(place, reference) == reference
    assert place.sent() == list(range(1_001, 1_121))


def test_clearing_extract_plans_anew_before_that(place: Place) -> None:
    plan(place)
    place.customers(7, 8, 9)
    assert plan(place)["planned"] == 3
    assert place.outcomes() == {None: 3}


def test_customers_without_a_query(place: Place) -> None:
    with pytest.raises(
        AirflowFailException, match=r"1 of 3 are not customer ids \(text that is not digits only at 2\)"
    ):
        IssueBadgeOperator(task_id="issue", customers=[5, "6", "x"], **BADGE)
    reference = IssueBadgeOperator(task_id="issue", customers=[5, "6"], **BADGE).execute(place.context(task_id="issue"))
    assert (reference["planned"], place.sent()) == (2, [5, 6])
    IssueBadgeOperator(task_id="issue", customers=[5, "6"], **BADGE).execute(place.context(task_id="issue"))
    assert place.sent() == [5, 6]


def test_more_customers_than_belong_into_a_dag_file(place: Place) -> None:
    with pytest.raises(AirflowFailException, match=r"1001 are more than 1000.*query"):
        IssueBadgeOperator(task_id="issue", customers=list(range(1, 1_002)), **BADGE).execute(place.context())
    assert place.rows() == 0


def test_the_switch_stops_sending_and_lets_the_retry_go_on(place: Place) -> None:
    reference = plan(place)
    place.platform(submitting=False)
    with pytest.raises(AirflowException, match="switched off") as stopped:
        submit(place, reference)
    assert not isinstance(stopped.value, AirflowFailException)
    assert place.sandbox.platform.requests() == []
    place.platform()
    submit(place, reference)
    assert place.sent() == list(range(1_001, 1_121))


def test_auto_approval_stops_before_the_second_request(place: Place) -> None:
    place.sandbox.switch(auto_approve=True)
    reference = plan(place)
    with pytest.raises(AirflowFailException, match=r"without a human's approval"):
        submit(place, reference)
    assert len(place.sandbox.platform.requests()) == 1
    with pytest.raises(AirflowFailException, match=r"1 request approved without a human"):
        report(place, reference)
    assert place.pushed.values["return_value"]["funnel"]["discarded"] == 70
    assert place.statuses() == {"waiting": 1}


def test_a_submit_that_is_cleared_after_its_run_gave_all_back_says_what_to_clear(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.sandbox.switch(auto_approve=True)
    for run_id in ("first", "second"):
        reference = plan(place, run_id)
        with pytest.raises(AirflowFailException, match=r"without a human's approval"):
            submit(place, reference)
        with pytest.raises(AirflowFailException, match="given back"):
            report(place, reference)
    capsys.readouterr()
    sent = len(place.sandbox.platform.requests())
    submit(place, reference, clears=1)
    said = capsys.readouterr().out
    refused = (
        "Switch auto-approval of ISSUE-BADGE off in Member Care > Settings > Request workflows, then clear extract "
    )
    assert len(place.sandbox.platform.requests()) == sent, "nothing was left to send"
    assert "70 customers of this plan were given back unsent, and this task sends nothing to them. " + refused in said
    given_back = "70 customers never sent and given back: submit is refused, because .* with Downstream.$"
    with pytest.raises(AirflowFailException, match=given_back):
        BadgeRequestSensor(task_id="wait", plan=reference).execute(place.context(task_id="wait"))
    with pytest.raises(AirflowFailException, match=given_back):
        report(place, reference)
    place.sandbox.switch(auto_approve=False)
    again = plan(place, "second")
    submit(place, again, clears=2)
    settle(place, again)
    assert report(place, again)["funnel"]["enrolled"] == 70, "clearing the planning task is what helps"
    submit(place, again, clears=3)
    assert "given back" not in capsys.readouterr().out.rpartition("requests: ")[2]


@pytest.mark.parametrize("still_on", [False, True])
def test_the_run_after_an_auto_approval_sends_once_it_is_cleared_from_its_planning_task_on(
    place: Place, still_on: bool
) -> None:
    place.sandbox.switch(auto_approve=True)
    first = plan(place, "first")
    with pytest.raises(AirflowFailException, match="then start a new run for those left; if it stops, too"):
        submit(place, first)
    with pytest.raises(AirflowFailException):
        report(place, first)
    place.sandbox.switch(auto_approve=still_on)
    second = plan(place, "second")
    with pytest.raises(AirflowFailException, match="then clear the run's planning task with Downstream"):
        submit(place, second)
    with pytest.raises(AirflowFailException, match="given back"):
        report(place, second)
    assert len(place.sandbox.platform.requests()) == 1, "nobody was told yet: nothing of it was sent"
    again = plan(place, "second")
    assert again["planned"] == 70
    with pytest.raises(AirflowFailException, match="then clear the run's planning task with Downstream"):
        submit(place, again)
    assert len(place.sandbox.platform.requests()) == 1, "a retry is no clear"
    if still_on:
        with pytest.raises(AirflowFailException, match="executed 1 request"):
            submit(place, again, clears=1)
        assert len(place.sandbox.platform.requests()) == 2
        return
    submit(place, again, clears=1)
    settle(place, again)
    assert report(place, again)["funnel"]["enrolled"] == 70
    assert place.sent() == list(range(1_001, 1_121))


def test_a_task_with_customers_of_its_own_sends_nothing_at_airflows_retry_after_an_auto_approval(place: Place) -> None:
    """Its worker died before Airflow heard that it had failed; it plans again, and sends only once a person clears."""
    place.sandbox.switch(auto_approve=True)
    issue = IssueBadgeOperator(
        task_id="submit", customers=[*range(1_001, 1_051)], **(BADGE | {"customers_per_request": 5})
    )
    for clears, requests in ((0, 1), (0, 1), (0, 1), (1, 2), (1, 2)):
        with pytest.raises(AirflowFailException, match="without a human's approval"):
            issue.execute(place.context(task_id="submit", clears=clears))
        assert len(place.sandbox.platform.requests()) == requests


def test_auto_approval_may_be_accepted(place: Place) -> None:
    place.sandbox.switch(auto_approve=True)
    reference = plan(place)
    IssueBadgeOperator(task_id="submit", plan=reference, on_auto_approved="accept").execute(place.context())
    settle(place, reference)
    assert report(place, reference, on_auto_approved=OnFinding.ACCEPT)["funnel"]["enrolled"] == 120


def test_a_rejection_fails_the_report_and_is_told_in_full(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    reference = plan(place)
    submit(place, reference)
    place.sandbox.reject(place.request_keys()[0], "wrong tier")
    settle(place, reference)
    with pytest.raises(AirflowFailException, match=r"50 customers rejected by the checker"):
        report(place, reference)
    said = place.pushed.values["return_value"]
    assert (said["verdict"], said["funnel"]["rejected"], said["funnel"]["enrolled"]) == ("fail", 50, 70)
    remedy = "read the checker's message, and retry when its reason is gone"
    assert f"50 customers rejected: the platform gave no code; {remedy}" in capsys.readouterr().out
    assert said["failures"] == [
        {"outcome": "rejected", "code": None, "meaning": "the platform gave no code", "customers": 50}
    ]


def test_the_rejected_are_planned_again_when_asked_for(place: Place) -> None:
    reference = plan(place)
    submit(place, reference)
    for key in place.request_keys():
        place.sandbox.reject(key)
    settle(place, reference)
    assert plan(place, "second")["planned"] == 0
    again = plan(place, "third", retry_outcomes=["rejected"])
    assert again["planned"] == 120
    submit(place, again)
    settle(place, again)
    assert report(place, again)["funnel"]["enrolled"] == 120


def test_the_unconfirmed_are_planned_again_only_without_the_badge(place: Place) -> None:
    place.customers(1, 2)
    submit(place, enrolled := plan(place, "first"))
    settle(place, enrolled)
    place.customers(3, 4)
    submit(place, rejected := plan(place, "second"))
    place.sandbox.reject(place.request_keys()[1])
    settle(place, rejected)
    with place.ledger.write() as tx:
        tx.conn.execute(update(badge_enrolment).values(outcome="unconfirmed", issued_id=None))
    place.customers(1, 2, 3, 4)
    again = plan(place, "third", retry_outcomes=["unconfirmed"])
    assert (again["planned"], again["known_before"]) == (2, 2)
    submit(place, again)
    assert place.sent() == [1, 2, 3, 3, 4, 4]


def test_a_passing_run_updates_its_asset_and_a_dry_one_does_not(place: Place) -> None:
    asset, events = Asset(name="badges_vip", uri="capillary://badges/vip"), OutletEventAccessors()
    for dry_run in (True, False):
        reference = plan(place, dry_run=dry_run)
        if not dry_run:
            submit(place, reference)
            settle(place, reference)
        operator = ReportBadgesOperator(task_id="report", plan=reference, asset=asset)
        operator.execute(cast("Context", {**place.context(), "outlet_events": events}))
        added = events[AssetAlias("badges_vip")].asset_alias_events
        assert len(added) == (0 if dry_run else 1)
    assert added[0].extra["enrolled"] == 120


def test_a_report_without_a_plan_fails(place: Place) -> None:
    with pytest.raises(AirflowFailException, match=r"no plan was handed over"):
        report(place, None)


def test_a_plan_of_an_emptied_ledger_is_named(place: Place) -> None:
    reference = {**plan(place), "badge_run_id": 4_711}
    for task in (submit, report):
        with pytest.raises(AirflowFailException, match=r"the ledger has no plan 4711"):
            task(place, reference)


def test_another_accounts_connection_is_refused(place: Place) -> None:
    reference = plan(place)
    place.platform(organisation_id="7")
    with pytest.raises(AirflowFailException, match=r"planned for .*/100458.*leads to .*/7"):
        submit(place, reference)
    assert place.sandbox.platform.requests() == []
