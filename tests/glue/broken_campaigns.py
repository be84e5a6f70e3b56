"""A folder of broken campaigns: what is wrong with each, and which words of the check name it and its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox.badges import DIRECT, EXPIRED, GOLD_CIRCLE, INACTIVE

QUERY: Final = "SELECT customer_id FROM vip ORDER BY customer_id"
#: The task that sends what `by_hand` plans.
SUBMIT: Final = "    IssueBadgeOperator(task_id='submit', plan=dag.get_task('extract').output)\n"
_FIELDS: Final = {
    "sql": repr(QUERY),
    "badge_id": repr(GOLD_CIRCLE.badge_id),
    "owner_type": "'Loyalty'",
    "reference_id": "'134'",
    "entity": "Entity(till_id='1', store_id='2', zone_id='3', concept_id='4')",
    "live": "True",
}


def campaign(name: str, *, made: str = "dag = {}.dag()", header: str = "An Airflow DAG.", **changes: str) -> str:
    """Return the text of a campaign's file.

    Args:
        name: of the campaign.
        made: the line that makes the DAG, with {} for the campaign.
        header: the docstring.
        changes: fields as source text.
    """
    given = ", ".join(f"{field}={value}" for field, value in {"name": repr(name), **_FIELDS, **changes}.items())
    imports = "from capillary.campaign import BadgeCampaign, Entity, Guards, Policy"
    return f'"""{header}"""\n\n{imports}\n\n{made.format(f"BadgeCampaign({given})")}\n'


def by_hand(name: str, **changes: str) -> str:
    """Return the text of a DAG that plans with an operator of its own."""
    fields = {key: value for key, value in _FIELDS.items() if key != "live"} | changes
    given = ", ".join(f"{field}={value}" for field, value in fields.items())
    imports = "from airflow.sdk import DAG\nfrom capillary.api.request_workflow import Entity"
    imports += "\nfrom capillary.operators import IssueBadgeOperator, PlanBadgesOperator"
    return f"{imports}\n\nwith DAG({name!r}) as dag:\n    PlanBadgesOperator(task_id='extract', {given})\n"


@dataclass(frozen=True)
class Broken:
    """One broken file.

    Attributes:
        name: of the file, and of its campaign.
        text: of the file.
        words: stand in one finding, which also names the file.
        others: other files beside it, by name.
    """

    name: str
    text: str
    words: tuple[str, ...]
    others: tuple[tuple[str, str], ...] = ()


def _query(name: str, sql: str, *words: str, **changes: str) -> Broken:
    return Broken(name, campaign(name, sql=repr(sql), **changes), words)


BROKEN: Final = (
    Broken(
        "syntax", '"""Airflow DAG"""\ndag = BadgeCampaign(\n', ("cannot load it", "SyntaxError", "was never closed")
    ),
    Broken("module", "# Airflow DAG\nimport nowhere_to_be_found\n", ("cannot load it", "No module named 'nowhere_to")),
    Broken("field", campaign("field", slq="1"), ("cannot load it", "slq", "sql")),
    Broken("no_file", campaign("no_file", sql="'nope.sql'"), ("no file 'nope.sql' beside", "Give the name of a .sql")),
    Broken("empty_file", campaign("empty_file", sql="'empty.sql'"), ("is empty",), (("empty.sql", " \n"),)),
    Broken("badge_form", campaign("badge_form", badge_id="'GOLD'"), ("badge_id", "Give 24 digits")),
    Broken("owner", campaign("owner", owner_type="'Loyalti'"), ("owner_type", "Give the module")),
    Broken("entity", campaign("entity", entity="{'till_id': '1'}"), ("entity", "store_id")),
    Broken("cron", campaign("cron", schedule="'61 * * * *'"), ("schedule", "cron")),
    Broken("zone", campaign("zone", timezone="'Asia/Bangalore'"), ("timezone", "Give an IANA name")),
    Broken("name", campaign("two words"), ("name", "Give letters, digits")),
    Broken("parameter", campaign("parameter", sql="'SELECT :tier AS customer_id'"), ("needs :tier", "Give it a value")),
    Broken("no_dag", campaign("no_dag", made="dag = {}"), ("makes no DAG", "Write dag = BadgeCampaign(…).dag()")),
    Broken("in_list", campaign("in_list", made="kept = [{}]"), ("makes no DAG", "Write dag = BadgeCampaign(…).dag()")),
    Broken("unkept", campaign("unkept", made="{}"), ("makes no DAG", "Write dag =")),
    Broken(
        "silent",
        campaign("silent", header="No such word."),
        ("Airflow ignores this file", "Write them into its docstring"),
    ),
    Broken("duplicate", campaign("cron2") + "\n", ("AirflowDagDuplicatedIdException", "cron2"), ()),
    Broken(
        "uncalled",
        campaign("uncalled", made="def make():\n    return {}.dag()"),
        ("'uncalled' of line 6", "in the function 'make' of line 5, which nobody calls", "Call it at the file's top"),
    ),
    Broken(
        "if_false", campaign("if_false", made="if False:\n    dag = {}.dag()"), ("under 'if False' of line 5", "Move")
    ),
    Broken(
        "only_for_types",
        campaign("only_for_types", made="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    dag = {}.dag()"),
        ("of line 7", "under 'if TYPE_CHECKING' of line 6", "Move"),
    ),
    Broken(
        "only_main",
        campaign("only_main", made="if __name__ == '__main__':\n    dag = {}.dag()"),
        ("under \"if __name__ == '__main__'\" of line 5", "Move"),
    ),
    Broken(
        "after_return",
        campaign("after_return", made="def make():\n    return None\n    return {}.dag()\nmake()"),
        ("'after_return' of line 7", "after the return of line 6", "Move"),
    ),
    Broken(
        "no_turn",
        campaign("no_turn", made="for tier in ''.split():\n    dag = {}.dag()"),
        ("no DAG is made from its campaign of line 6", "a loop over nothing", "Have the file call"),
    ),
    Broken(
        "lost_in_function",
        campaign("lost_in_function", made="def make():\n    made = {}\nmake()"),
        ("no DAG is made from its campaign of line 6", "its .dag() is missing"),
    ),
    _query("no_column", "SELECT customer_id AS id FROM vip", "no column customer_id", "Select the customers AS"),
    _query("two_columns", "SELECT customer_id, customer_id FROM vip", "several columns customer_id", "once"),
    _query("no_table", "SELECT customer_id FROM wip", "no such table: wip", "Correct the campaign's SQL"),
    _query("misspelt", "SELEKT customer_id FROM vip", "syntax error", "Correct the campaign's SQL"),
    _query("deletes", "DELETE FROM vip RETURNING customer_id", "failed", "Correct the campaign's SQL"),
    _query("two", "SELECT customer_id FROM vip; SELECT 2", "failed", "Correct the campaign's SQL"),
    _query("list", "SELECT customer_id FROM vip WHERE customer_id = :ids", ":ids", parameters="{'ids': [1, 2]}"),
    Broken("unknown", campaign("unknown", badge_id="'0' * 24"), ("badge 000", "does not exist in", "correct badge_id")),
    Broken("expired", campaign("expired", badge_id=repr(EXPIRED.badge_id)), ("expired at 2026-01-01", "Fix the badge")),
    Broken("paused", campaign("paused", badge_id=repr(INACTIVE.badge_id)), ("is not active", "Fix the badge")),
    Broken("direct", campaign("direct", badge_id=repr(DIRECT.badge_id)), ("only ISSUE_EARN", "Fix the badge")),
    Broken("stopped", campaign("stopped"), ("sending is stopped", "wrong tier", "python -m capillary resume")),
    Broken("template", by_hand("template", occasion="'{% if %}'"), ("argument 'occasion'", "Correct the template")),
    Broken("sql_template", by_hand("sql_template", sql="'{% if %} SELECT 1'"), ("cannot load it", "line 1")),
    Broken("unknown_name", by_hand("unknown_name", occasion="'{{ dss }}'"), ("'dss' is undefined", "Correct the")),
    Broken(
        "macro",
        campaign("macro", sql="'macro.sql'"),
        ("template in ", "macro.sql, line 2", "has no macro 'nope'", "the default of each parameter"),
        (("macro.sql", "SELECT customer_id FROM vip\nWHERE '{{ macros.nope }}' > ''\n"),),
    ),
    Broken(
        "no_param", by_hand("no_param", occasion="'{{ params.tier }}'"), ("template, line 6", "no parameter 'tier'")
    ),
    Broken("no_filter", by_hand("no_filter", note="'{{ ds | nope }}'"), ("template, line 6", "No filter named 'nope'")),
    Broken("no_fact", by_hand("no_fact", note="'{{ ti.nope }}'"), ("template, line 6", "no attribute 'nope'")),
    Broken("divides", by_hand("divides", note="'{{ 1 / 0 }}'"), ("template, line 6", "ZeroDivisionError")),
    Broken("long_note", by_hand("long_note", note="'{{ \"x\" * 4001 }}'"), ("'note'", "most 4000", "rendered as for")),
    Broken("long_reference", by_hand("long_reference", reference_id="'{{ \"x\" * 256 }}'"), ("most 255", "rendered")),
    Broken("long_occasion", by_hand("long_occasion", occasion="'{{ \"x\" * 201 }}'"), ("than 200", "rendered as for")),
    Broken("long_name", by_hand("long_name", campaign="'{{ \"x\" * 201 }}'"), ("'campaign'", "most 200", "rendered")),
    Broken(
        "long_till",
        by_hand("long_till", entity="dict(till_id='{{ \"x\" * 65 }}', store_id='2', zone_id='3', concept_id='4')"),
        ("'entity': till_id", "most 64", "rendered as for"),
    ),
    Broken(
        "two_templates",
        by_hand("two_templates", note="'{{ one }}'", occasion="'{{ two }}'"),
        ("'note'", "'one' is undefined"),
    ),
    Broken(
        "submit_template",
        by_hand("submit_template") + SUBMIT.replace(")\n", ", ledger_conn_id='{{ nope }}')\n"),
        ("task 'submit'", "template, line 7", "'nope' is undefined"),
    ),
    Broken("hand_file", by_hand("hand_file", sql="'gone.sql'"), ("gone.sql",)),
    Broken("hand_badge", by_hand("hand_badge", badge_id="'GOLD'"), ("badge_id", "24 digits")),
    Broken("misimport", by_hand("x").replace("PlanBadges", "PlanBages"), ("cannot load it", "PlanBagesOperator")),
)
#: Faults of connections: the campaign, its field, and the words of the finding of that connection.
WRONG_CONNECTIONS: Final = (
    ("away", "warehouse_conn_id", "wharehouse", ("no Airflow connection 'wharehouse'", "Create it")),
    ("no_data", "warehouse_conn_id", "unloaded", ("no SQLite file", "correct the host of connection 'unloaded'")),
    ("no_sql", "warehouse_conn_id", "mailbox", ("connection 'mailbox'",)),
    ("refused", "capillary_conn_id", "wrong_till", ("connection 'wrong_till'", "hash is wrong")),
    ("nothing", "capillary_conn_id", "closed", ("connection 'closed'",)),
    ("no_ledger", "ledger_conn_id", "lost", ("there is no SQLite file", "python -m capillary ledger create")),
)


def write(folder: Path, broken: Broken) -> None:
    """Write a broken file and what lies beside it."""
    (folder / f"{broken.name}.py").write_text(broken.text)
    for name, text in broken.others:
        (folder / name).write_text(text)
