"""A run's stored sentence names the canary that held it: read back, whatever the ids look like."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from capillary.ledger.canary import UNNAMED, OpenCanary, Stand, named_canary, speaks_of_canary, without_foreign_name

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize("canary", [True, False], ids=["canary", "no canary"])
@pytest.mark.parametrize("stand", Stand)
@pytest.mark.parametrize("sent_at", [NOON, None], ids=["sent", "not sent"])
@pytest.mark.parametrize(
    ("dag_id", "run_id"),
    [
        ("spring", "manual__2026-11-27T06:48:00+00:00"),
        ("a.b-c", "run, run, sent 2026-11-27 06:49 UTC"),
        ("spring", "is not decided yet, sent 2026"),
    ],
)
def test_the_canary_that_is_named_is_read_back(
    dag_id: str, run_id: str, sent_at: datetime | None, stand: Stand, *, canary: bool
) -> None:
    held = OpenCanary(dag_id, run_id, sent_at, canary, stand)
    sentence = f"Nothing was planned: {held.sentence()}."
    assert named_canary(sentence) == (dag_id, run_id)
    assert held.told_to({dag_id}) == held.told_to(None) == held.sentence()
    hidden = without_foreign_name(sentence, ())
    assert hidden == f"Nothing was planned: {held.told_to(())}."
    assert named_canary(hidden) is None
    assert speaks_of_canary(sentence)
    assert speaks_of_canary(hidden)


@pytest.mark.parametrize("sentence", ["", "All of 10 customers ended.", UNNAMED])
def test_where_none_is_named_there_is_none(sentence: str) -> None:
    assert named_canary(sentence) is None
