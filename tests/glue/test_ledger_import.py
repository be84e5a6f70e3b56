"""`python -m capillary ledger import`: campaigns' files, the platform's list, a ledger that has forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from capillary.__main__ import main
from capillary.engine.adoption import Imported
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import upgrade
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from tests.glue.conftest import BADGE, SQL, Place

DAG_FILE = '''
"""An Airflow DAG for the test."""
from capillary.campaign import BadgeCampaign

dag = BadgeCampaign(
    name="vip", sql="SELECT customer_id FROM vip", badge_id="{badge_id}", owner_type="Loyalty", reference_id="42",
    entity={{"till_id": "1", "store_id": "2", "zone_id": "3", "concept_id": "4"}}, occasion="vip {{month}}", live=True,
).dag()
'''


@pytest.fixture
def forgotten(place: Place, tmp_path: Path) -> Path:
    """Requests of this month's occasion on the platform, an emptied ledger, and the folder of the campaign."""
    month = datetime.now(UTC).strftime("%Y-%m")
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **(BADGE | {"occasion": f"vip {month}"}))
    reference = plan.execute(place.context())
    IssueBadgeOperator(task_id="submit", plan=reference).execute(place.context())
    (tmp_path / "ledger.db").rename(tmp_path / "old.db")
    for left in ("ledger.db-wal", "ledger.db-shm"):
        (tmp_path / left).unlink(missing_ok=True)
    place.ledger.close()
    place.ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", check_schema=False)
    upgrade(place.ledger.engine)
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "vip.py").write_text(DAG_FILE.format(badge_id=BADGE["badge_id"]))
    return folder


def test_everything_is_told_by_the_campaigns_file(
    place: Place, forgotten: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    since = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
    assert main(["ledger", "import", "--dags", str(forgotten), "--since", since]) == 0
    assert "3 requests with 120 customers imported" in capsys.readouterr().out
    assert (place.statuses(), place.outcomes()) == ({"waiting": 3}, {None: 120})


def test_without_the_campaign_the_keys_are_named(
    place: Place, forgotten: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "import"]) == 1
    said = capsys.readouterr().err
    assert "submitting stays stopped" in said
    assert all(key in said for key in place.request_keys())
    assert place.outcomes() == {}


def test_a_broken_campaign_file_stops_the_import(
    place: Place, forgotten: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (forgotten / "broken.py").write_text("# airflow dag\nraise RuntimeError\n")
    assert main(["ledger", "import", "--dags", str(forgotten)]) == 1
    assert "broken.py" in capsys.readouterr().err
    assert place.outcomes() == {}


def test_a_folder_of_campaigns_that_is_missing_stops_the_import(
    place: Place, forgotten: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Airflow finds no campaigns in it and no fault, and every request would stay unknown."""
    assert main(["ledger", "import", "--dags", str(forgotten / "nowhere")]) == 1
    assert "there is no folder" in capsys.readouterr().err
    assert place.outcomes() == {}


def test_a_ledger_that_knows_all_is_left_alone(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    assert main(["ledger", "import"]) == 0
    assert "0 requests with 0 customers imported" in capsys.readouterr().out
    assert place.statuses() == {"waiting": 3}


@pytest.mark.parametrize(
    ("whole", "hidden", "says"),
    [
        (True, ("by-hand", "by-hand-too"), ["by-hand shows neither", "by-hand-too shows neither"]),
        (False, (), ["could not be read to its end"]),
    ],
)
@pytest.mark.usefixtures("place")
def test_what_kept_the_import_from_being_complete_is_said(
    whole: bool,
    hidden: tuple[str, ...],
    says: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    imported = Imported(2, 100, (), (), whole, hidden)
    monkeypatch.setattr("capillary.ledger_import.import_from_platform", lambda *_, **__: imported)
    assert main(["ledger", "import"]) == 1
    _, *lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == len(says)
    assert all(word in line for word, line in zip(says, lines, strict=True))
