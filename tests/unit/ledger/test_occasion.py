"""Who may plan on an occasion, and under which account: two names of one thing never make it two."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import select

from capillary.ledger.database import Ledger
from capillary.ledger.errors import GuardRefused, OccasionTaken, OrganisationElsewhere
from capillary.ledger.locked_rows import locked_occasion, occasion_of_badge
from capillary.ledger.plan import Order, Plan, commit_plan
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.questions import customer_history
from capillary.ledger.reports import funnel
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.schema import badge_occasion, badge_run
from capillary.ledger.staging import staging
from capillary.ledger.status import Outcome
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import (
    NO_GUARDS,
    SPEC,
    customers_of,
    open_twice,
    plan,
    requests_of,
    run,
    send,
    settle_as,
    snapshot,
)

SHARED = occasion_of_badge(SPEC.badge_id)


def of(campaign: str, run_id: str = "first", **changes: object) -> Order:
    """Return the order of a campaign that names no occasion."""
    return run(run_id, dag_id=campaign, campaign=campaign, occasion=SHARED, **changes)


def at(account: str, run_id: str = "moved", **changes: object) -> Order:
    """Return the order of a connection to another account."""
    return run(run_id, spec=replace(SPEC, account=account), **changes)


def give_back(ledger: Ledger, made: Plan) -> None:
    with ledger.write() as tx:
        discard_unsent(tx, badge_run_ids=[OpenPlan(made.badge_run_id or 0)])


# One organisation, two addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "remedy"),
    [
        ("new.example/100", "write 'platform.example' into the connection's field Account address"),
        ("platform.example:8443/100", "write 'platform.example' into the connection's field Account address"),
        ("platform.example/test/100", "write 'platform.example' into the connection's field Account address"),
    ],
)
def test_an_organisation_known_under_another_address_is_refused_with_both_names(
    ledger: Ledger, account: str, remedy: str
) -> None:
    plan(ledger, [1])
    before = snapshot(ledger)
    for dry_run in (False, True):
        with pytest.raises(OrganisationElsewhere) as refused:
            plan(ledger, [1], at(account), dry_run=dry_run)
        assert f"as account 'platform.example/100', and the connection leads to {account!r}" in str(refused.value)
        assert remedy in str(refused.value)
        assert str(refused.value).endswith("such as a test system, give it a ledger of its own")
    assert snapshot(ledger) == before


def test_an_organisation_in_other_capitals_is_refused_and_told_to_be_written_as_before(ledger: Ledger) -> None:
    plan(ledger, [1], at("platform.example/Acme"))
    with pytest.raises(OrganisationElsewhere, match="write the organisation id as 'Acme'"):
        plan(ledger, [1], at("platform.example/ACME", "second"))


@pytest.mark.parametrize("account", ["platform.example/1000", "new.example/10", "platform.example/100/200"])
def test_another_organisation_is_another_account(ledger: Ledger, account: str) -> None:
    plan(ledger, [1])
    assert plan(ledger, [1], at(account)).planned == 1


def test_another_badge_or_campaign_at_the_other_address_is_refused_too(ledger: Ledger) -> None:
    plan(ledger, [1])
    other = replace(SPEC, account="new.example/100", badge_id="0" * 24)
    with pytest.raises(OrganisationElsewhere):
        plan(ledger, [2], run("second", spec=other, campaign="other", occasion="other"))


def test_what_was_planned_by_mistake_and_given_back_binds_no_address(ledger: Ledger) -> None:
    give_back(ledger, plan(ledger, [1], at("mistake.example/100")))
    assert plan(ledger, [1]).planned == 1
    with pytest.raises(OrganisationElsewhere):
        plan(ledger, [2], at("mistake.example/100", "again"))


def test_what_was_sent_binds_the_address_even_when_it_is_settled(ledger: Ledger) -> None:
    for row in requests_of(ledger, plan(ledger, [1])):
        settle_as(ledger, row.id, Outcome.REJECTED)
    with pytest.raises(OrganisationElsewhere):
        plan(ledger, [2], at("new.example/100"))


def test_an_import_is_held_to_the_address_too(ledger: Ledger) -> None:
    plan(ledger, [1])
    with pytest.raises(OrganisationElsewhere), ledger.write() as tx:
        locked_occasion(tx, account="new.example/100", campaign=None, occasion=SHARED, badge_id=SPEC.badge_id)


def test_of_two_first_plans_at_once_one_is_refused(ledger: Ledger) -> None:
    """Ten times: each sees nothing of the other's transaction, and one must wait."""
    for turn in range(10):
        accounts = [f"one.example/{turn}", f"two.example/{turn}"]
        together = threading.Barrier(2)
        ends: list[str] = []

        def first_plan(account: str, together: threading.Barrier = together, ends: list[str] = ends) -> None:
            with staging() as staged:
                staged.add([(1, 1)], [])
                together.wait()
                try:
                    commit_plan(ledger, staged, at(account, account))
                except OrganisationElsewhere:
                    ends.append("refused")
                else:
                    ends.append("planned")

        threads = [threading.Thread(target=first_plan, args=[account]) for account in accounts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(ends) == ["planned", "refused"]


# One occasion, several campaigns -------------------------------------------------------------------------------


def test_a_copy_under_another_name_takes_nobody_twice_and_says_through_whom(ledger: Ledger) -> None:
    first = plan(ledger, [1, 2, 3], of("gold"))
    copy = plan(ledger, [1, 2, 3, 4], of("gold copy"))
    assert (first.planned, copy.planned) == (3, 1)
    assert (copy.known_before, copy.known_elsewhere, copy.known_through) == (3, 3, "gold")
    assert open_twice(ledger) == 0
    with ledger.read() as tx:
        counts = funnel(tx, OpenPlan(copy.badge_run_id or 0))
        assert tx.conn.execute(select(badge_occasion.c.occasion)).scalars().all() == [SHARED]
        assert {each.campaign for each in customer_history(tx, 4)} == {"gold copy"}
        assert {each.campaign for each in customer_history(tx, 1)} == {"gold"}
    assert counts.known_elsewhere == 3
    assert counts.balances()


def test_the_funnels_view_counts_who_is_known_through_others(ledger: Ledger) -> None:
    plan(ledger, [1, 2], of("gold"))
    plan(ledger, [1, 2, 3], of("silver"))
    with ledger.read() as tx:
        rows = tx.conn.exec_driver_sql(
            "SELECT campaign, occasion, known_before, known_elsewhere, planned FROM badge_funnel ORDER BY badge_run_id"
        ).all()
    assert [tuple(row) for row in rows] == [("gold", SHARED, 0, 0, 2), ("silver", SHARED, 2, 2, 1)]


def test_known_through_oneself_is_not_known_elsewhere(ledger: Ledger) -> None:
    plan(ledger, [1, 2], of("gold"))
    plan(ledger, [3], of("silver"))
    made = plan(ledger, [1, 2, 3, 4], of("gold", "second"))
    assert (made.known_before, made.known_elsewhere, made.known_through, made.planned) == (3, 1, "silver", 1)


def test_the_campaigns_are_named_by_what_they_hold_and_the_sixth_is_counted(ledger: Ledger) -> None:
    for number in range(1, 7):
        plan(ledger, range(number * 10, number * 10 + number), of(f"c{number}"))
    made = plan(ledger, range(10, 70), of("last", guards=NO_GUARDS))
    assert made.known_elsewhere == 21
    assert made.known_through == "c6, c5, c4, c3, c2, 1 more"


def test_a_plan_that_is_kept_still_says_through_whom(ledger: Ledger) -> None:
    plan(ledger, [1], of("gold"))
    made = plan(ledger, [1, 2], of("silver"))
    send(ledger, requests_of(ledger, made)[0].id)
    plan(ledger, [9], of("later"))
    again = plan(ledger, [1, 2], of("silver"))
    assert again.kept
    assert (again.known_elsewhere, again.known_through) == (1, "gold")


def test_what_another_campaign_left_unclear_is_retried_by_the_same_rules(ledger: Ledger) -> None:
    for row in requests_of(ledger, plan(ledger, [1, 2, 3], of("gold"))):
        settle_as(ledger, row.id, Outcome.UNCONFIRMED)
    retry = of("silver", retry=frozenset({Outcome.UNCONFIRMED}))
    made = plan(ledger, [1, 2, 3], retry, cleared=[2])
    assert (made.planned, made.known_before, made.known_elsewhere) == (1, 2, 2)
    (row,) = requests_of(ledger, made)
    assert row.attempt == 2
    assert customers_of(ledger, row.id) == [2]


def test_a_refusal_by_the_platform_is_planned_again_by_whichever_campaign_comes_next(ledger: Ledger) -> None:
    for row in requests_of(ledger, plan(ledger, [1], of("gold"))):
        settle_as(ledger, row.id, Outcome.NOT_ACCEPTED)
    made = plan(ledger, [1], of("silver"))
    assert (made.planned, made.known_elsewhere) == (1, 0)


def test_a_dead_run_of_another_campaign_gives_its_unsent_customers_to_the_next(ledger: Ledger, clock: Clock) -> None:
    plan(ledger, [1, 2], of("gold"))
    clock.advance(hours=7)
    made = plan(ledger, [1, 2], of("silver"))
    assert (made.planned, made.known_elsewhere) == (2, 0)
    assert open_twice(ledger) == 0


def test_guards_compare_with_the_campaigns_own_runs(ledger: Ledger) -> None:
    plan(ledger, range(1, 31), of("gold"))
    small = of("silver", guards=replace(NO_GUARDS, max_jump=2.0, max_open_requests=2))
    assert plan(ledger, range(101, 104), small).planned == 3, "thirty before, ten requests open: another campaign's"
    with pytest.raises(GuardRefused, match=r"7 customers after 3 in the campaign's last run.*max_jump"):
        plan(ledger, range(101, 108), replace(small, run_id="second"))
    with pytest.raises(GuardRefused, match="1 request of the campaign is open and 2 would be added"):
        plan(ledger, range(201, 207), replace(small, run_id="third"))


def test_a_renamed_campaign_needs_no_predecessor(ledger: Ledger) -> None:
    plan(ledger, [1, 2], of("gold"))
    made = plan(ledger, [1, 2, 3], of("gold_2026"))
    assert (made.known_before, made.planned) == (2, 1)


def test_another_badge_has_another_shared_occasion_and_cannot_name_this_one(ledger: Ledger) -> None:
    plan(ledger, [1], of("gold"))
    other = replace(SPEC, badge_id="0" * 24)
    assert plan(ledger, [1], replace(of("other"), spec=other, occasion=occasion_of_badge("0" * 24))).planned == 1
    with pytest.raises(OccasionTaken, match="is the shared occasion of another badge"):
        plan(ledger, [2], replace(of("third"), spec=other))
    with pytest.raises(OccasionTaken, match="is the shared occasion of another badge"):
        plan(ledger, [2], replace(of("fourth"), occasion="badge:gold"))


def test_campaigns_of_two_accounts_share_nothing(ledger: Ledger) -> None:
    plan(ledger, [1], of("gold"))
    made = plan(ledger, [1], replace(of("gold", "other"), spec=replace(SPEC, account="platform.example/200")))
    assert (made.planned, made.known_before) == (1, 0)


# An occasion of one's own --------------------------------------------------------------------------------------


def test_a_campaign_that_says_so_shares_the_occasion_of_another(ledger: Ledger) -> None:
    plan(ledger, [1, 2])
    made = plan(ledger, [1, 2, 3], run("second", campaign="renamed", shared_occasion=True))
    assert (made.planned, made.known_elsewhere, made.known_through) == (1, 2, "spring")
    assert plan(ledger, [4], run("third")).planned == 1, "it stays the first campaign's, too"
    with pytest.raises(OccasionTaken):
        plan(ledger, [5], run("fourth", campaign="renamed"))


def test_an_occasion_whose_customers_were_given_back_is_free(ledger: Ledger) -> None:
    give_back(ledger, plan(ledger, [1]))
    assert plan(ledger, [1], run("second", campaign="other")).planned == 1
    with pytest.raises(OccasionTaken, match="belongs to campaign 'other'"):
        plan(ledger, [2], run("third"))


def test_a_run_that_found_nobody_and_a_dry_run_take_no_occasion(ledger: Ledger) -> None:
    plan(ledger, [])
    plan(ledger, [1], run("dry"), dry_run=True)
    assert plan(ledger, [1], run("second", campaign="other")).planned == 1


def test_of_two_campaigns_that_plan_first_at_once_one_is_refused(ledger: Ledger) -> None:
    plan(ledger, [99], run("established", occasion="another"))
    for turn in range(10):
        together = threading.Barrier(2)
        ends: list[str] = []

        def first_plan(
            campaign: str, turn: int = turn, together: threading.Barrier = together, ends: list[str] = ends
        ) -> None:
            with staging() as staged:
                staged.add([(1, 1)], [])
                together.wait()
                try:
                    commit_plan(ledger, staged, run(f"{campaign} {turn}", campaign=campaign, occasion=f"spring {turn}"))
                except OccasionTaken:
                    ends.append("refused")
                else:
                    ends.append("planned")

        threads = [threading.Thread(target=first_plan, args=[campaign]) for campaign in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(ends) == ["planned", "refused"]
    with ledger.read() as tx:
        planned = (
            tx.conn.execute(select(badge_run.c.id).where(badge_run.c.campaign.in_(["one", "two"]))).scalars().all()
        )
    assert len(planned) == 10


def test_copies_that_plan_at_once_put_nobody_into_two_requests(ledger: Ledger) -> None:
    plan(ledger, [99], of("established"))
    for turn in range(10):
        customers = [(row, turn * 100 + row) for row in range(1, 21)]
        together = threading.Barrier(2)
        made: list[Plan] = []

        def copy(
            campaign: str,
            turn: int = turn,
            customers: list[tuple[int, int]] = customers,
            together: threading.Barrier = together,
            made: list[Plan] = made,
        ) -> None:
            with staging() as staged:
                staged.add(customers, [])
                together.wait()
                made.append(commit_plan(ledger, staged, of(campaign, f"turn {turn}")))

        threads = [threading.Thread(target=copy, args=[campaign]) for campaign in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted((each.planned, each.known_elsewhere) for each in made) == [(0, 20), (20, 0)]
    assert open_twice(ledger) == 0
