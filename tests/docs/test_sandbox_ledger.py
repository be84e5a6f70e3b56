"""The sandbox's page asks the ledger by SQL of its own: the tables must be as docs/ledger.md has them."""

from __future__ import annotations

from sqlalchemy import select

from capillary.ledger.database import Ledger
from capillary.ledger.schema import badge_request
from sandbox.origins import Origin, Origins
from tests.docs.conftest import ORDER


def test_the_sandboxs_page_learns_campaign_and_run_from_the_ledger(busy_ledger: Ledger) -> None:
    with busy_ledger.read() as tx:
        keys = list(tx.conn.execute(select(badge_request.c.request_key).order_by(badge_request.c.id)).scalars())
    origins = Origins(busy_ledger.engine.url.render_as_string(hide_password=False)).of([*keys, "cb1.of-nobody"])
    assert origins is not None
    assert len(keys) > 1
    assert set(origins) == set(keys)
    assert origins[keys[0]] == Origin(ORDER.campaign, ORDER.dag_id, ORDER.run_id)
    assert origins[keys[-1]] == Origin(ORDER.campaign, ORDER.dag_id, "later")


def test_a_ledger_without_tables_is_one_that_does_not_answer(tmp_path: object) -> None:
    assert Origins(f"sqlite:///{tmp_path}/none.db").of(["cb1.any"]) is None
    assert Origins("").of(["cb1.any"]) == {}
