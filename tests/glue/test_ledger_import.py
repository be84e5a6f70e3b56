"""`python -m capillary ledger import`: campaigns' files, the platform's list, a ledger that has forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import select

from capillary.__main__ import main
from capillary.engine.import_requests import Imported
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.schema import badge_request, badge_run
from capillary.ledger.unknown_keys import unknown_keys
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
    place.ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", new=True)
    create(place.ledger.engine)
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


def moved(place: Place, **extra: object) -> None:
    """Let the connection lead to the same platform under its other name."""
    place.sandbox = replace(place.sandbox, url=place.sandbox.url.replace("127.0.0.1", "localhost"))
    place.platform(**extra)


def test_the_ledger_is_lost_and_the_host_moved_at_once(
    place: Place, forgotten: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    former = place.sandbox.url
    moved(place)
    command = ["ledger", "import", "--dags", str(forgotten)]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "submitting stays stopped" in said
    assert all(key in said for key in place.request_keys())
    assert "write the former address into the connection's field Account address" in said
    assert place.outcomes() == {}
    sent = place.sent()
    place.customers(7)
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **(BADGE | {"occasion": "another"})).execute(place.context())
    with pytest.raises(AirflowFailException, match="which this ledger does not know"):
        IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    assert place.sent() == sent
    with place.ledger.write() as tx:
        discard_unsent(tx, badge_run_ids=[OpenPlan(int(plan["badge_run_id"] or 0))])

    moved(place, account_address=former)
    assert main(command) == 0
    assert "3 requests with 120 customers imported" in capsys.readouterr().out
    assert (place.statuses(), place.outcomes()) == ({"waiting": 3}, {None: 120})


def test_a_ledger_that_holds_the_keys_under_the_former_address_names_it(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    former = place.sandbox.url.removeprefix("http://")
    moved(place)
    assert main(["ledger", "import"]) == 1
    said = capsys.readouterr().err
    assert said.count(f"is in this ledger under account '{former}/100458': write '{former}' into") == 3
    assert place.statuses() == {"waiting": 3}
    moved(place, account_address=former)
    assert main(["ledger", "import"]) == 0
    with place.ledger.read() as tx:
        assert unknown_keys(tx, f"{former}/100458") == ()


def test_a_campaign_with_another_name_proves_the_same_content(
    place: Place, forgotten: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (forgotten / "vip.py").write_text(
        DAG_FILE.format(badge_id=BADGE["badge_id"]).replace('name="vip"', 'name="renamed"')
    )
    assert main(["ledger", "import", "--dags", str(forgotten)]) == 0
    assert all(key.startswith("cb1.vip.") for key in place.request_keys())
    with place.ledger.read() as tx:
        assert set(tx.conn.execute(select(badge_run.c.campaign)).scalars()) == {"renamed"}
        assert sorted(tx.conn.execute(select(badge_request.c.request_key)).scalars()) == sorted(place.request_keys())
    capsys.readouterr()


def test_of_several_campaigns_of_an_occasion_the_one_that_the_key_names_has_it(place: Place, forgotten: Path) -> None:
    text = DAG_FILE.format(badge_id=BADGE["badge_id"])
    (forgotten / "a_copy.py").write_text(text.replace('name="vip"', 'name="a_copy"'))
    assert main(["ledger", "import", "--dags", str(forgotten)]) == 0
    with place.ledger.read() as tx:
        assert set(tx.conn.execute(select(badge_run.c.campaign)).scalars()) == {"vip"}


BY_HAND_FILE = '''
"""An Airflow DAG for the test."""
from airflow.sdk import DAG
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator

OF_BADGE = {"owner_type": "Loyalty", "reference_id": "42", "entity": {
    "till_id": "1", "store_id": "2", "zone_id": "3", "concept_id": "4"}}
with DAG("by_hand", schedule=None) as dag:
    PlanBadgesOperator(task_id="templated", sql="SELECT 1", badge_id="{{ params.badge }}", **OF_BADGE)
    PlanBadgesOperator(
        task_id="of_a_day", sql="SELECT 1", badge_id="0" * 24, occasion="{{ ds }}",
        **OF_BADGE | {"reference_id": "{% raw %}"},
    )
    PlanBadgesOperator.partial(task_id="mapped", badge_id="0" * 24, **OF_BADGE).expand(sql=["SELECT 1", "SELECT 2"])
    other = PlanBadgesOperator(
        task_id="other", sql="SELECT 1", badge_id="0" * 24, occasion="badge:" + "1" * 24, **OF_BADGE
    )
    IssueBadgeOperator.partial(task_id="of_plans").expand(plan=[other.output])
'''


def test_tasks_that_do_not_tell_what_they_planned_are_named_and_the_others_tried(
    place: Place, forgotten: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (forgotten / "by_hand.py").write_text(BY_HAND_FILE)
    campaign = forgotten / "vip.py"
    campaign.rename(forgotten / "vip.txt")
    assert main(["ledger", "import", "--dags", str(forgotten)]) == 1
    said = capsys.readouterr().err
    later = "is known when it runs (a template, or another task's output)"
    assert f"not tried: task 'templated' of DAG 'by_hand': its badge_id {later}\n" in said
    assert f"not tried: task 'of_a_day' of DAG 'by_hand': its occasion, reference_id {later}\n" in said
    assert "not tried: task 'mapped' of DAG 'by_hand': it is mapped, and its parts are known when it runs\n" in said
    assert "not tried: task 'other' of DAG 'by_hand': Task 'other', argument 'occasion': 'badge:111" in said
    assert said.count("not tried:") == 4, "a mapped task that is given plans has no badge of its own"
    assert "has the values of that run as plain text" in said
    assert all(f"{key} cannot be recognised" in said for key in place.request_keys())

    (forgotten / "vip.txt").rename(campaign)
    assert main(["ledger", "import", "--dags", str(forgotten)]) == 0
    said = capsys.readouterr().out
    assert "3 requests with 120 customers imported" in said
    assert said.count("not tried:") == 4
    assert (place.statuses(), place.outcomes()) == ({"waiting": 3}, {None: 120})


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
    ("whole", "hidden", "elsewhere", "says"),
    [
        (True, ("by-hand", "by-hand-too"), (), ["by-hand shows neither", "by-hand-too shows neither"]),
        (False, (), (), ["could not be read to its end"]),
        (
            True,
            (),
            (("cb1.a.1", "old.example/test/7"),),
            ["cb1.a.1 is in this ledger under account 'old.example/test/7': write 'old.example/test' into"],
        ),
        (True, ("by-hand\nledger: all is well",), (), [r"by-hand\nledger: all is well shows neither"]),
    ],
)
@pytest.mark.usefixtures("place")
def test_what_kept_the_import_from_being_complete_is_said(
    whole: bool,
    hidden: tuple[str, ...],
    elsewhere: tuple[tuple[str, str], ...],
    says: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    imported = Imported(2, 100, (), (), elsewhere, whole, hidden, ())
    monkeypatch.setattr("capillary.commands.import_requests.import_from_platform", lambda *_, **__: (imported, ()))
    assert main(["ledger", "import"]) == 1
    _, *lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == len(says)
    assert all(word in line for word, line in zip(says, lines, strict=True))
