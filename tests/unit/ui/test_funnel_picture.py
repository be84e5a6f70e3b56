"""The picture of a funnel: its parts are the whole, one of a million is seen, and the planned flow straight down."""

from __future__ import annotations

import pytest

from capillary.ui.funnel_picture import bar, counts_of, picture
from tests.funnels import funnel_of

WHOLE = funnel_of(
    eligible=1_000_000,
    invalid=1,
    duplicates=2,
    known_before=999_000,
    over_cap=497,
    planned=500,
    enrolled=490,
    already_enrolled=1,
    failed=4,
    rejected=2,
    unconfirmed=1,
    discarded=1,
    open=1,
)


def test_both_steps_add_up_and_fill_the_width() -> None:
    drawn = picture(counts_of(WHOLE))
    assert drawn.ended is not None
    for step, whole in ((drawn.read, 1_000_000), (drawn.ended, 500)):
        assert sum(part.customers for part in step.parts) == step.customers
        assert step.customers == whole
        assert sum(part.width for part in step.parts) == pytest.approx(100, abs=0.05)
        assert [part.x for part in step.parts] == sorted(part.x for part in step.parts)


def test_one_of_a_million_is_seen() -> None:
    drawn = picture(counts_of(WHOLE))
    assert min(part.width for part in drawn.read.parts) > 0.5


def test_the_planned_stand_first_so_that_they_flow_straight_down() -> None:
    drawn = picture(counts_of(WHOLE))
    assert (drawn.read.parts[0].name, drawn.read.parts[0].x) == ("planned", 0)
    assert drawn.planned_ends == drawn.read.parts[0].width


def test_a_step_is_said_as_an_equation() -> None:
    small = picture(counts_of(funnel_of(eligible=12, known_before=2, planned=10, enrolled=9, failed=1)))
    assert small.read.sentence == "12 rows of the query = 10 planned + 2 known before"
    assert small.ended is not None
    assert small.ended.sentence == "10 planned = 9 enrolled + 1 failed"


def test_a_funnel_that_does_not_add_up_is_found() -> None:
    broken = picture(counts_of(funnel_of(eligible=12, planned=10, enrolled=9))).read
    assert broken.sentence == "12 rows of the query = 10 planned"


def test_nobody_has_gone_anywhere_in_a_dry_run_or_where_nobody_was_planned() -> None:
    assert picture({"eligible": 5, "planned": 5}, dry_run=True).ended is None
    assert picture(counts_of(funnel_of(eligible=5, known_before=5))).ended is None


def test_a_run_without_rows_has_no_parts() -> None:
    drawn = picture(counts_of(funnel_of()))
    assert drawn.read.parts == ()
    assert drawn.read.sentence == "0 rows of the query = 0"


def test_two_parts_of_the_same_hue_are_told_apart_by_hatching() -> None:
    parts = {part.name: part.hatched for part in bar(counts_of(WHOLE)).parts}
    assert (parts["enrolled"], parts["already_enrolled"]) == (False, True)
    assert (parts["failed"], parts["rejected"]) == (False, True)
