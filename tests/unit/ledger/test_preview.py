"""What a dry run shows beside its counts: the guards as they are judged, the run before, and masked ids."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.errors import GuardRefused
from capillary.ledger.guards import GuardReading, Guards
from capillary.ledger.preview import LastRun, Preview, masked
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import ORDER, plan, requests_of, run, send, snapshot

GUARDS = Guards(min_customers=2, max_jump=3.0, max_drop=0.5, max_invalid_share=0.5, max_requests=4, max_open_requests=6)
GUARDED = replace(ORDER, guards=GUARDS)


def shown(ledger: Ledger, customers: range, *, invalid: int = 0, **changes: object) -> Preview:
    order = replace(GUARDED, run_id="dry", **changes)  # type: ignore[arg-type]
    made = plan(ledger, customers, order, invalid=invalid, dry_run=True)
    assert made.preview is not None
    return made.preview


@pytest.mark.parametrize(
    ("customer_id", "expected"),
    [(300_000_056, "…056"), (123_456, "…456"), (12_345, "…45"), (123, "…3"), (42, "…2"), (7, "…")],
)
def test_at_most_half_of_an_id_is_shown(customer_id: int, expected: str) -> None:
    assert masked(customer_id) == expected


def test_a_first_dry_run_shows_its_guards_and_a_sample_and_writes_nothing(ledger: Ledger) -> None:
    found = shown(ledger, range(1001, 1009), invalid=2)
    assert found.customers == 8
    assert found.last_run is None
    assert found.sample == ("…01", "…02", "…03"), "of the first request, which holds three"
    assert found.guards == (
        GuardReading("min_customers", 8, 2, None),
        GuardReading("max_invalid_share", 0.2, 0.5, None),
        GuardReading("max_requests", 3, 4, None),
        GuardReading("max_open_requests", 3, 6, None),
    )
    assert not any(snapshot(ledger).values())


def test_the_run_before_and_what_is_open_of_it_are_the_measure(ledger: Ledger, clock: Clock) -> None:
    before = plan(ledger, range(1, 5), invalid=1)
    send(ledger, requests_of(ledger, before)[0].id)
    planned_at = clock.now
    clock.advance(days=1)
    plan(ledger, [], run("empty"))
    clock.advance(days=1)
    found = shown(ledger, range(1, 9))
    assert found.last_run == LastRun("spring", "first", planned_at, customers=4, planned=4)
    assert {each.name: each.value for each in found.guards} == {
        "min_customers": 8,
        "max_invalid_share": 0,
        "max_jump": 2,
        "max_drop": 0,
        "max_requests": 2,
        "max_open_requests": 3,  # the unsent request of the run before was given back
    }


def test_a_guard_that_is_off_is_not_shown(ledger: Ledger) -> None:
    off = Guards(max_jump=None, max_drop=None, max_invalid_share=None, max_requests=None, max_open_requests=None)
    assert [each.name for each in shown(ledger, range(1, 3), guards=off).guards] == ["min_customers"]


@pytest.mark.parametrize(
    ("guards", "customers", "invalid", "name"),
    [
        (Guards(min_customers=4), 3, 0, "min_customers"),
        (Guards(max_invalid_share=0.2), 3, 1, "max_invalid_share"),
        (Guards(max_jump=2.0), 9, 0, "max_jump"),
        (Guards(max_drop=0.2), 3, 0, "max_drop"),
        (Guards(max_requests=2), 9, 0, "max_requests"),
        (Guards(max_open_requests=3), 9, 0, "max_open_requests"),
    ],
)
def test_a_guard_that_is_shown_past_its_limit_is_one_that_refuses(
    ledger: Ledger, guards: Guards, customers: int, invalid: int, name: str
) -> None:
    plan(ledger, range(101, 105))
    order = run("next", guards=guards)
    with pytest.raises(GuardRefused, match=name):
        plan(ledger, range(1, customers + 1), order, invalid=invalid)
    over = replace(order, override_guards=True)
    made = plan(ledger, range(1, customers + 1), over, invalid=invalid, dry_run=True)
    assert made.preview is not None
    assert [each.name for each in made.preview.guards if each.refusal] == [name]


def test_a_guard_at_its_limit_is_kept(ledger: Ledger) -> None:
    at = Guards(
        min_customers=3, max_jump=1.0, max_drop=0.0, max_invalid_share=0.25, max_requests=1, max_open_requests=2
    )
    plan(ledger, range(101, 104))
    found = shown(ledger, range(1, 4), invalid=1, guards=at)
    assert [(each.name, each.refusal) for each in found.guards] == [
        (name, None)
        for name in ("min_customers", "max_invalid_share", "max_jump", "max_drop", "max_requests", "max_open_requests")
    ]


def test_a_plan_that_is_kept_has_nothing_to_show(ledger: Ledger) -> None:
    made = plan(ledger, range(1, 4))
    assert made.preview is not None
    send(ledger, requests_of(ledger, made)[0].id)
    kept = plan(ledger, range(1, 4))
    assert (kept.kept, kept.preview) == (True, None)
