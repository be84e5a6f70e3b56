"""A copy of a campaign is a campaign: made again, every field checked and its own query read."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from capillary.campaign import BadgeCampaign, CampaignInvalid

#: Airflow's own, while it reads plugins/capillary/.airflowignore.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
GOOD: dict[str, Any] = {
    "name": "gold",
    "sql": "SELECT customer_id FROM gold WHERE tier = :tier",
    "parameters": {"tier": "gold"},
    "badge_id": "a1b2c3d4e5f60718293a4b5c",
    "owner_type": "loyalty",
    "reference_id": "134",
    "entity": {"till_id": "501", "store_id": "502", "zone_id": "503", "concept_id": "504"},
}
SILVER: dict[str, Any] = {
    "name": "silver",
    "sql": "SELECT customer_id FROM silver",
    "badge_id": "b1b2c3d4e5f60718293a4b5c",
}


def planned(campaign: BadgeCampaign) -> tuple[str, str, str]:
    task: Any = campaign.dag().get_task("extract_eligible_customers")
    return task.sql.strip(), task.badge_id, task.dag_id


def test_a_copy_has_its_own_query_and_badge() -> None:
    gold = BadgeCampaign(**GOOD)
    silver = gold.model_copy(update=SILVER)
    assert planned(silver) == (SILVER["sql"], SILVER["badge_id"], "silver")
    assert planned(gold) == (GOOD["sql"], GOOD["badge_id"], "gold")
    assert silver.model_fields_set == gold.model_fields_set, "what was left to its default stays so"
    assert silver.owner_type == "Loyalty"


def test_a_copy_of_a_files_query_is_of_the_other_file(tmp_path: Path) -> None:
    for name in ("gold", "silver"):
        (tmp_path / f"{name}.sql").write_text(f"SELECT customer_id FROM {name}")  # noqa: S608 - no query of ours
    fields = {**GOOD, "sql": "gold.sql", "parameters": {}}
    (tmp_path / "tiers.py").write_text(
        f'"""Two tiers, an Airflow DAG each."""\nfrom capillary.campaign import BadgeCampaign\n'
        f"gold = BadgeCampaign(**{fields!r})\nfirst = gold.dag()\n"
        f"silver = dict(name='silver', sql='silver.sql', badge_id={SILVER['badge_id']!r})\n"
        "second = gold.model_copy(update=silver).dag()\n"
    )
    bag = DagBag(tmp_path)
    assert bag.import_errors == {}
    queries: dict[str, Any] = {name: dag.task_dict["extract_eligible_customers"] for name, dag in bag.dags.items()}
    assert {name: task.sql.strip() for name, task in queries.items()} == {
        "gold": "SELECT customer_id FROM gold",
        "silver": "SELECT customer_id FROM silver",
    }


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"badge_id": "silver"}, ["badge_id: it should match", "'silver'"]),
        ({"customers_per_request": 0}, ["customers_per_request: it should be greater than or equal to 1"]),
        ({"parameters": {}}, ["parameters: the query needs :tier"]),
        ({"colour": "silver"}, ["colour: there is no such field"]),
        ({"sql": "silver.sql"}, ["sql: there is no file 'silver.sql'"]),
        ({"live": "false"}, ["live: it should be a valid boolean, not the text 'false' in quotes"]),
    ],
)
def test_a_wrong_copy_is_refused_however_it_is_made(update: dict[str, Any], words: list[str]) -> None:
    gold = BadgeCampaign(**GOOD)
    ways: list[Any] = [
        lambda: gold.model_copy(update=update),
        lambda: gold.model_copy(update=update, deep=True),
        lambda: gold.copy(update=update),
        lambda: BadgeCampaign.model_construct(**{**GOOD, **update}),
        lambda: BadgeCampaign.model_validate({**GOOD, **update}),
        lambda: gold.__replace__(**update),  # type: ignore[attr-defined] # Python 3.13's copy.replace
    ]
    for way in ways:
        with pytest.raises(CampaignInvalid) as caught:
            way()
        assert [word for word in words if word not in str(caught.value)] == []
        assert str(caught.value).startswith("test_campaign_copies.py, campaign 'gold': ")


def test_a_copy_without_changes_is_the_same_campaign() -> None:
    gold = BadgeCampaign(**GOOD)
    for same in (
        gold.model_copy(),
        gold.copy(),
        copy.copy(gold),
        copy.deepcopy(gold),
        pickle.loads(pickle.dumps(gold)),  # noqa: S301 - its own
    ):
        assert same == gold
        assert planned(same) == planned(gold)


def test_a_campaigns_fields_cannot_be_set() -> None:
    gold = BadgeCampaign(**GOOD)
    with pytest.raises(ValueError, match="frozen"):
        gold.badge_id = SILVER["badge_id"]
