"""A campaign's fields: what is refused when its file is read, and with which words."""

from __future__ import annotations

import json
import zipfile
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)
from airflow.sdk import CronTriggerTimetable as SdkCronTriggerTimetable
from airflow.sdk.definitions.timetables.assets import AssetTriggeredTimetable
from airflow.sdk.definitions.timetables.simple import ContinuousTimetable as SdkContinuousTimetable
from airflow.sdk.definitions.timetables.simple import NullTimetable, OnceTimetable
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.simple import ContinuousTimetable
from airflow.timetables.trigger import CronTriggerTimetable
from airflow.timetables.trigger import MultipleCronTriggerTimetable as MultipleCrons
from airflow.utils.dates import cron_presets

from capillary.campaign import (
    BadgeCampaign,
    CampaignInvalid,
    Entity,
    Guards,
    OnFinding,
    Policy,
)
from capillary.campaign.dag import PlanCampaignOperator
from capillary.campaign.dag_arguments import NOT_HANDED_ON
from capillary.errors import TerminalError
from capillary.ledger.status import HAS_BADGE, RETRYABLE, Outcome
from capillary.ui.airflow_facts import limits_of

#: Airflow's own, while it reads plugins/capillary/.airflowignore.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
ENTITY = {"till_id": "501", "store_id": "502", "zone_id": "503", "concept_id": "504"}
GOOD: dict[str, Any] = {
    "name": "vip",
    "sql": "SELECT customer_id FROM vip",
    "badge_id": "a1b2c3d4e5f60718293a4b5c",
    "owner_type": "loyalty",
    "reference_id": "134",
    "entity": ENTITY,
}
#: What is said of a schedule without a pause.
PAUSE = ("without a pause", 'Give the time between two runs, such as "@hourly" or timedelta(minutes=15)')
PERIOD_SQL = "SELECT customer_id FROM vip WHERE day >= :period_start"


def campaign(**fields: object) -> BadgeCampaign:
    return BadgeCampaign(**{**GOOD, **fields})


def task(dag: DAG, task_id: str) -> Any:  # noqa: ANN401 - a task of any class
    return dag.task_dict[task_id]


def dag_file(folder: Path, **fields: str) -> DagBag:
    """Load a campaign's file; the fields are source text."""
    written = {**{name: repr(value) for name, value in GOOD.items()}, **fields}
    arguments = ", ".join(f"{name}={value}" for name, value in written.items())
    (folder / "vips.py").write_text(
        '"""The VIPs.\n\n    An Airflow DAG.\n"""\n'
        f"from capillary.campaign import *\nBadgeCampaign({arguments}).dag()\n"
    )
    return DagBag(folder)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "", ["should match", "Give letters, digits"]),
        ("name", "gold tier", ["'gold tier'", "it becomes the DAG's id"]),
        ("name", "x" * 201, ["at most 200"]),
        ("name", None, ["should be a valid string", "None"]),
        ("sql", "", ["neither the name of a .sql file nor a query"]),
        ("sql", " \n", ["neither the name of a .sql file nor a query"]),
        ("sql", "vip", ["neither the name of a .sql file nor a query"]),
        ("sql", "vip.sql", ["no file 'vip.sql' beside test_campaign.py", "there: none"]),
        ("sql", "SELECT :tier AS customer_id", ["parameters:", ":tier", "Give it a value in parameters"]),
        ("sql", "SELECT :badgeid AS customer_id", ["parameters:", "did you mean 'badge_id'"]),
        ("sql", "SELECT 1 AS customer_id WHERE 'a' LIKE ':tier'", ["parameters:", "it stands in quotes", r"\:tier"]),
        ("sql", "SELECT 1 AS customer_id\n-- {% if", ["cannot read its line 2: ", "{% raw %}"]),
        ("sql", "SELECT 1 AS customer_id\n\n/* {# todo */", ["cannot read its line 3: Missing end of comment tag"]),
        ("sql", "SELECT {{ ds | dss }} AS customer_id", ["cannot read its line 1: No filter named 'dss'"]),
        ("sql", "SELECT {{ ds AS customer_id", ["cannot read its line 1: "]),
        ("folder", "sql", ["'sql' is not absolute", "Path(__file__).parent"]),
        ("folder", "/nowhere", ["there is no folder '/nowhere'"]),
        ("folder", 5, ["it is 5"]),
        ("sql", PERIOD_SQL, ["occasion:", ":period_start", "{month}"]),
        ("badge_id", "gold", ["should match", "'gold'", "badge's own page"]),
        ("badge_id", "A1B2C3D4E5F60718293A4B5C", ["Give 24 digits 0 to 9 and a to f"]),
        ("owner_type", "Loyality", ["'Loyality' is not one of Loyalty", "Give the module"]),
        ("reference_id", 134, ["should be a valid string, not 134", "as text"]),
        ("reference_id", " 134", ["' 134' has blanks at an end", "Give the owner's id"]),
        ("entity", {**ENTITY, "till_id": 501}, ["till_id: it should be a valid string, not 501", "Give an Entity"]),
        ("entity", {**ENTITY, "til_id": "501"}, ["til_id: there is no such field (did you mean 'till_id'?)"]),
        ("entity", {"till_id": "501"}, ["store_id: it is missing; zone_id: it is missing; concept_id: it is"]),
        ("entity", "501", ["it is '501'", "Give an Entity"]),
        ("occasion", "vip {months}", ["no token {months}", "Did you mean {month}?"]),
        ("occasion", "vip {month", ["a brace without its partner"]),
        ("occasion", "", ["empty", "Give printable text"]),
        ("occasion", "None", ["the text that a missing value turns into", "leave the occasion out"]),
        ("reference_id", "None", ["'None' is the text that a missing value turns into", "Give "]),
        (
            "entity",
            {**ENTITY, "till_id": "None"},
            ["till_id: 'None' is the text that a missing value", "Give an Entity"],
        ),
        ("timezone", "Asia/Calcuta", ["'Asia/Calcuta'", "Did you mean Asia/Calcutta?"]),
        ("schedule", "every morning", ["'every morning' is not a cron expression", "Give a cron expression"]),
        ("schedule", "every morning", ["it has 2 fields and not five (minute, hour, day, month, day of the week)"]),
        ("schedule", "0 6 * *", ["it has 4 fields and not five"]),
        ("schedule", "0600", ["it has 1 field and not five"]),
        ("schedule", "", ["'' is not a cron expression: it has 0 fields", "Give a cron expression"]),
        ("schedule", "61 * * * *", ["not a cron expression: the minute cannot be '61'. Give a cron expression"]),
        ("schedule", "0 25 32 * *", ["the hour cannot be '25' and the day cannot be '32'"]),
        ("schedule", "0 6 * 13 someday", ["the month cannot be '13' and the day of the week cannot be 'someday'"]),
        ("schedule", "* * * * * *", ["'* * * * * *' has 6 fields", "the sixth would be seconds", "all but five"]),
        ("schedule", "0 6 * * * 30", ["has 6 fields"]),
        ("schedule", "0 6 * * * 0 2027", ["has 7 fields"]),
        ("schedule", "0 0 31 2 *", ["'0 0 31 2 *' never comes: no month has that day"]),
        ("schedule", "0 0 30,31 2 *", ["never comes"]),
        ("schedule", "0 0 31 4,6,9,11 *", ["never comes"]),
        ("schedule", "R 6 * * *", ["draws its R again whenever the file is read"]),
        ("schedule", "H 6 * * *", ["not a cron expression: the minute cannot be 'H'"]),
        *(
            ("schedule", word, [f"{word!r} is not a preset of Airflow", "Give one of @once, @hourly, @daily, @weekly"])
            for word in ("@reboot", "@never", "@every 5m", "@", "@minutely", "@continuous ")
        ),
        ("schedule", "@dayly", ["(did you mean '@daily'?)"]),
        ("schedule", "@Once", ["(did you mean '@once'?)"]),
        ("schedule", " @daily", ["(did you mean '@daily'?)"]),
        ("schedule", "@quaterly", ["(did you mean '@quarterly'?)"]),
        ("schedule", "None", ["'None' is a text, and not a cron expression", "Write None without quotes"]),
        ("schedule", "null", ["'null' is a text"]),
        ("schedule", timedelta(0), ["timedelta(0) is shorter than a minute"]),
        ("schedule", timedelta(seconds=59), ["shorter than a minute"]),
        ("schedule", timedelta(days=-1), ["shorter than a minute"]),
        ("schedule", DeltaTriggerTimetable(timedelta(seconds=1)), ["shorter than a minute"]),
        ("schedule", CronTriggerTimetable("0 0 31 2 *", timezone="UTC"), ["never comes"]),
        ("schedule", SdkCronTriggerTimetable("* * * * * *", timezone="UTC"), ["has 6 fields"]),
        ("schedule", CronDataIntervalTimetable("* * * * * *", timezone="UTC"), ["has 6 fields"]),
        ("schedule", MultipleCronTriggerTimetable("0 6 * * *", "0 0 31 2 *", timezone="UTC"), ["'0 0 31 2 *' never"]),
        ("schedule", MultipleCrons("0 6 * * *", "* * * * * *", timezone="UTC"), ["has 6 fields"]),
        (
            "schedule",
            AssetOrTimeSchedule(
                timetable=SdkCronTriggerTimetable("0 0 31 2 *", timezone="UTC"), assets=[Asset("load")]
            ),
            ["'0 0 31 2 *' never comes"],
        ),
        ("schedule", "@continuous", ["'@continuous' starts a run as soon as the last one has ended", *PAUSE]),
        ("schedule", ContinuousTimetable(), ["ContinuousTimetable() starts a run as soon", *PAUSE]),
        ("schedule", SdkContinuousTimetable(), ["ContinuousTimetable() starts a run as soon", *PAUSE]),
        (
            "schedule",
            AssetOrTimeSchedule(timetable=SdkContinuousTimetable(), assets=[Asset("load")]),
            ["ContinuousTimetable() starts a run as soon", *PAUSE],
        ),
        ("schedule", SdkCronTriggerTimetable("@never", timezone="UTC"), ["'@never' is not a preset of Airflow"]),
        ("schedule", 5, ["it is 5", "Give a cron expression"]),
        ("schedule", True, ["it is True", "Give a cron expression"]),
        ("schedule", 3600.0, ["it is 3600.0", "Give a cron expression"]),
        ("schedule", datetime(2026, 11, 1, tzinfo=UTC), ["it is datetime.datetime(2026, 11, 1", "Give a cron"]),
        ("schedule", ["load"], ["it is ['load']", "a list of them"]),
        ("schedule", CronTriggerTimetable, ["it is the class CronTriggerTimetable itself"]),
        ("schedule", [], ["it is []"]),
        ("schedule", ["0 6 * * *"], ["it is ['0 6 * * *']"]),
        (
            "live",
            "yes",
            ["should be a valid boolean, not the text 'yes' in quotes", "Give True once its dry runs look right"],
        ),
        ("live", 1, ["should be a valid boolean"]),
        ("occasion", "badge:a1b2c3d4e5f60718293a4b5c", ["begins like 'badge:'", "or none to share"]),
        ("occasion", "Badge : gold {month}", ["begins like 'badge:'"]),
        ("shared_occasion", "yes", ["should be a valid boolean"]),
        ("shared_occasion", True, ["without an occasion the campaign shares its badge's", "Leave it out"]),
        ("renamed_from", "gold", ["renamed_from"]),
        ("parameters", {"badge_id": "x"}, ["'badge_id' is bound by the campaign itself"]),
        ("parameters", ["4711"], ["not list", "Give a dict of values"]),
        ("parameters", {"min-spend": 3}, ["'min-spend' cannot be named in SQL"]),
        ("customers_per_request", 0, ["greater than or equal to 1, not 0", "Give 1 to 10,000"]),
        ("customers_per_request", 10_001, ["less than or equal to 10000, not 10001"]),
        ("customers_per_request", "500", ["should be a valid integer, not the text '500' in quotes"]),
        ("customer_cap", 0, ["greater than or equal to 1", "None for all"]),
        ("guards", {"max_jump": 3}, ["instance of Guards", "Give Guards(…)"]),
        ("policy", {"on_rejected": "warn"}, ["instance of Policy", "Give Policy(…)"]),
        ("canary", None, ["should be a valid boolean"]),
        ("deadline", 7, ["should be a valid timedelta, not 7", "Give a timedelta"]),
        ("deadline", timedelta(0), ["greater than 0 seconds"]),
        ("poll_interval_s", 1, ["greater than or equal to 10, not 1"]),
        ("poll_interval_s", float("nan"), ["not nan"]),
        ("settle_every", timedelta(seconds=-1), ["greater than 0 seconds"]),
        ("in_flight", 0, ["greater than or equal to 1"]),
        ("warehouse_conn_id", "", ["at least 1 character", "the id of an Airflow connection"]),
        ("dag_args", "vip", ["it is 'vip'", "Give a dict of arguments of Airflow's DAG"]),
        ("dag_args", {5: "vip"}, ["it is {5: 'vip'}"]),
        ("dag_args", {"tag": ["vip"]}, ["tag: Airflow's DAG takes no such argument (did you mean 'tags'?)"]),
        ("dag_args", {"colour": 1}, ["colour: Airflow's DAG takes no such argument", "Give some of description, "]),
        *(("dag_args", {name: None}, [f"{name}: {why}", f"Leave {name} out"]) for name, why in NOT_HANDED_ON.items()),
        ("dag_args", {"tags": "vip"}, ["tags: ", "Give a list of words"]),
        ("dag_args", {"tags": ["x" * 101]}, ["longer than 100 characters"]),
        ("dag_args", {"tags": ["vip", 5]}, ["tags: it should be a valid string at 1, not 5"]),
        ("dag_args", {"max_active_runs": 0}, ["max_active_runs: ", "greater than or equal to 1"]),
        ("dag_args", {"max_active_tasks": "8"}, ["max_active_tasks: it should be a valid integer"]),
        ("dag_args", {"start_date": "2026-11-01"}, ["start_date: ", "Give a datetime"]),
        ("dag_args", {"end_date": date(2026, 11, 1)}, ["end_date: ", "Give a datetime"]),
        ("dag_args", {"start_date": datetime.min}, ["start_date: ", "the calendar's first or last year"]),  # noqa: DTZ901
        ("dag_args", {"on_failure_callback": "page_me"}, ["'page_me' cannot be called", "Give a function or notifier"]),
        ("dag_args", {"on_success_callback": [5]}, ["on_success_callback: 5 cannot be called"]),
        ("dag_args", {"doc_md": 5}, ["doc_md: it should be a valid string"]),
        ("dag_args", {"dagrun_timeout": 5}, ["dagrun_timeout: it should be a valid timedelta"]),
        ("dag_args", {"dagrun_timeout": timedelta(days=7)}, ["end a run after 7 days", "above the deadline"]),
        ("dag_args", {"catchup": "yes"}, ["catchup: it should be a valid boolean"]),
        ("dag_args", {"catchup": True}, ["the occasion never recurs"]),
        ("dag_args", {"default_args": "crm"}, ["default_args: "]),
        ("dag_args", {"default_args": {"pool": ""}}, ["default_args.pool: ", "at least 1 character"]),
        ("dag_args", {"default_args": {"owner": 5}}, ["default_args.owner: "]),
        ("dag_args", {"default_args": {"retries": 0}}, ["retries, which the campaign sets for each of its tasks"]),
        ("tags", ["vip"], ["it is an argument of Airflow's DAG. Give it in dag_args."]),
        ("customers_cap", 5, ["there is no such field (did you mean 'customer_cap'?)"]),
        ("colour", "gold", ["there is no such field. The fields are name, folder, dag_args, sql"]),
    ],
)
def test_a_wrong_field_is_named_with_its_remedy(field: str, value: object, words: list[str]) -> None:
    with pytest.raises(CampaignInvalid) as caught:
        campaign(**{field: value})
    said = str(caught.value)
    who = value if field == "name" else "vip"
    assert said.startswith(f"test_campaign.py, campaign {repr(who)[:60]}")
    assert (f": {field}: " in said) or words[0].endswith(":"), said
    assert [word for word in words if word not in said] == [], said
    assert said.count("\n") == 0
    assert said.endswith(".")
    assert isinstance(caught.value, TerminalError)


@pytest.mark.parametrize(
    ("where", "parameters", "words"),
    [
        (
            "tier IN (:tiers)",
            {"tiers": []},
            ["parameters: :tiers: its list is empty, which finds nobody, or everybody"],
        ),
        ("tier NOT IN (:tiers)", {"tiers": [None]}, ["parameters: :tiers: its list holds None"]),
        (
            "tier IN (:tiers, 'base')",
            {"tiers": ["gold"]},
            ["parameters: :tiers: its value is a list, and is in IN"],
        ),
        ("day > now() - interval ':days days'", {"days": 90}, ["parameters: :days: it stands in quotes"]),
    ],
)
def test_a_parameter_that_would_find_nobody_or_everybody_keeps_the_file_from_loading(
    where: str, parameters: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(CampaignInvalid) as caught:
        campaign(sql=f"{GOOD['sql']} WHERE {where}", parameters=parameters)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_names_in_comments_and_a_list_that_postgresql_may_take_are_no_fault() -> None:
    sql = "SELECT customer_id FROM vip WHERE tier = ANY(:tiers) AND day = :day::date -- not :this, it's a comment"
    assert campaign(sql=sql, parameters={"tiers": ["gold"], "day": "2026-11-01"}).name == "vip"


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(CampaignInvalid) as caught:
        BadgeCampaign(name="vip", sql="vip.sql", badge_id="gold", live=1, liv=True)  # type: ignore[call-arg, arg-type]
    named = [each.name for each in caught.value.wrong]
    assert named == ["sql", "badge_id", "owner_type", "reference_id", "entity", "live", "liv"]
    assert "owner_type: it is missing. Give the module" in str(caught.value)


def test_every_field_says_what_to_give() -> None:
    assert [name for name, field in BadgeCampaign.model_fields.items() if not field.description] == []


def test_the_table_beside_the_outcomes_is_whole() -> None:
    assert set(RETRYABLE) == set(Outcome) - HAS_BADGE
    ones: dict[str, Any] = dict.fromkeys([field.name for field in fields(Guards)], 1)
    assert campaign(guards=Guards(**ones)).guards.max_jump == 1


def test_parameters_of_any_kind_can_be_kept() -> None:
    parameters = {"until": date(2026, 12, 1), "tiers": ["gold", "silver"], "share": 0.5}
    dags = [campaign(parameters=parameters).dag() for _ in range(2)]
    first, second = map(DagSerialization.serialize_dag, dags)
    assert first == second
    assert "2026-12-01" in json.dumps(first)


def test_values_are_brought_into_one_form() -> None:
    made = campaign()
    assert (made.owner_type, made.entity) == ("Loyalty", Entity(**ENTITY))
    assert campaign(owner_type="loyalty-promotion").owner_type == "Loyalty_Promotion"
    assert made.when.pattern == "badge:a1b2c3d4e5f60718293a4b5c"


def test_a_copy_of_a_campaign_under_another_name_has_its_occasion_and_the_doc_says_so() -> None:
    copies = [campaign(name=name) for name in ("vip", "vip_copy")]
    assert {each.when for each in copies} == {copies[0].when}
    for each in copies:
        doc = each.dag().doc_md or ""
        assert "`badge:a1b2c3d4e5f60718293a4b5c`, one time only, shared with other campaigns" in doc
    own = campaign(occasion="vip {month}", timezone="Asia/Kolkata")
    assert "`vip {month}`, in Asia/Kolkata |" in (own.dag().doc_md or "")
    shared = campaign(occasion="vip", shared_occasion=True)
    assert "`vip`, one time only, shared with other campaigns |" in (shared.dag().doc_md or "")


def test_the_pages_find_the_limits_of_a_campaign_in_what_airflow_keeps_of_its_dag() -> None:
    kept = DagSerialization.serialize_dag(campaign(customers_per_request=200, customer_cap=1_000).dag())
    assert limits_of(kept["doc_md"]) == {"customers_per_request": 200, "customer_cap": 1_000}
    kept = DagSerialization.serialize_dag(campaign(customers_per_request=7).dag())
    assert limits_of(kept["doc_md"]) == {"customers_per_request": 7}
    assert limits_of("Other words: customers per request 9.") == {}


def test_an_occasion_is_kept_in_composed_letters() -> None:
    one, other = campaign(occasion="caf\u00e9 {month}"), campaign(occasion="cafe\u0301 {month}")
    assert one.occasion == other.occasion == other.when.pattern == "caf\u00e9 {month}"
    assert other.when.resolve_day(date(2026, 11, 23)).name == "caf\u00e9 2026-11"


def test_the_planning_task_says_whether_the_occasion_is_shared() -> None:
    for shared in (True, False):
        task = campaign(occasion="vip", shared_occasion=shared).dag().get_task("extract_eligible_customers")
        assert isinstance(task, PlanCampaignOperator)
        assert (task.occasion_name(), task.shared_occasion) == ("vip", shared)


def test_the_query_is_a_file_beside_the_campaign_or_text(tmp_path: Path) -> None:
    (tmp_path / "vips.sql").write_text("SELECT customer_id FROM t -- as in other.sql")
    bag = dag_file(tmp_path, sql="'vips.sql'")
    assert bag.import_errors == {}
    assert task(bag.dags["vip"], "extract_eligible_customers").sql.endswith("-- as in other.sql")
    assert task(campaign().dag(), "extract_eligible_customers").sql == "SELECT customer_id FROM vip"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no file 'vip.sql' beside vips.py (there: vips.sql)"),
        (b"  \n", "the file 'vip.sql' is empty"),
        (b"SELECT '\xff'", "'vip.sql' cannot be read as UTF-8 text (UnicodeDecodeError). Save the file as UTF-8"),
        ("SELECT 1".encode("utf-16"), "'vip.sql' cannot be read as UTF-8 text"),
        (
            "SELECT 1".encode("utf-16-le"),
            "'vip.sql' holds NUL characters, as a text in UTF-16 does. Save the file as UTF",
        ),
        (b"\xef\xbb\xbf \n", "the file 'vip.sql' is empty"),
        (b"SELECT 1\r\n-- {% do", "Airflow renders the file 'vip.sql' by Jinja, which cannot read its line 2"),
    ],
)
def test_a_missing_or_unreadable_query_is_an_import_error_with_words(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    (tmp_path / "vips.sql").write_text("SELECT 1 AS customer_id")
    if content is not None:
        (tmp_path / "vip.sql").write_bytes(content)
    bag = dag_file(tmp_path, sql="'vip.sql'")
    (said,) = bag.import_errors.values()
    assert f"vips.py, campaign 'vip': sql: {words}" in said
    assert bag.dags == {}


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_query(tmp_path: Path) -> None:
    (tmp_path / "vips.sql").write_bytes(b"\xef\xbb\xbfSELECT 1\r\nAS customer_id")
    bag = dag_file(tmp_path, sql="'vips.sql'")
    assert task(bag.dags["vip"], "extract_eligible_customers").sql == "SELECT 1\nAS customer_id"


def test_only_the_sql_may_be_a_file(tmp_path: Path) -> None:
    """Airflow reads every field that ends like a file's name, and fails where there is none."""
    parameters = {"source": "gold.sql", "sources": ["gold.sql"]}
    sql = "SELECT customer_id FROM vip WHERE source IN (:sources) OR source = :source"
    (tmp_path / "gold.sql").write_text("not to be read")
    bag = dag_file(
        tmp_path, sql=repr(sql), parameters=repr(parameters), reference_id="'gold.sql'", occasion="'gold.sql'"
    )
    assert bag.import_errors == {}
    extract = task(bag.dags["vip"], "extract_eligible_customers")
    extract.render_template_fields({"ds": "2026-11-23"})
    assert (extract.sql, extract.parameters) == (sql, parameters)
    assert (extract.reference_id, extract.occasion) == ("gold.sql", "gold.sql")


def zipped(folder: Path, **files: str) -> Path:
    """Return a zip with a campaign and its query, as Airflow loads DAGs from."""
    with zipfile.ZipFile(folder / "campaigns.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return folder / "campaigns.zip"


def test_a_zip_of_dags_holds_campaigns_and_their_queries(tmp_path: Path) -> None:
    arguments = ", ".join(f"{name}={value!r}" for name, value in GOOD.items() if name != "sql")
    source = "'An Airflow DAG.'\nfrom capillary.campaign import *\nBadgeCampaign(sql='{}', {}).dag()\n"
    archive = zipped(
        tmp_path,
        **{"vips.py": source.format("vips.sql", arguments), "vips.sql": "\ufeffSELECT customer_id FROM zipped"},
    )
    bag = DagBag(archive)
    assert bag.import_errors == {}
    assert task(bag.dags["vip"], "extract_eligible_customers").sql == "SELECT customer_id FROM zipped"
    assert "An Airflow DAG." in (bag.dags["vip"].doc_md or "")
    archive.unlink()
    bag = DagBag(zipped(tmp_path, **{"vips.py": source.format("sql/vip.sql", arguments), "sql/vips.sql": "SELECT 1"}))
    (said,) = bag.import_errors.values()
    assert "there is no file 'sql/vip.sql' beside vips.py (there: none)" in said


def test_a_factory_in_another_module_says_in_which_folder_the_query_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "campaign_factory.py").write_text(
        f"from capillary.campaign import BadgeCampaign\nGOOD = {GOOD!r}\n"
        "def made(**fields):\n    return BadgeCampaign(**GOOD | fields).dag()\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "lib")
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "vips.sql").write_text("SELECT customer_id FROM vip")
    calls = {
        "vip_folder": "folder=Path(__file__).parent",
        "vip_file": "folder=__file__",
        "vip": "dag_args={'doc_md': ''}",
    }
    for name, folder in calls.items():
        (dags / f"{name}.py").write_text(
            "'An Airflow DAG.'\nfrom pathlib import Path\nfrom campaign_factory import made\n"
            f"made(name='{name}', sql='vips.sql', {folder})\n"
        )
    bag = DagBag(dags)
    assert {dag_id: Path(dag.fileloc).name for dag_id, dag in bag.dags.items()} == {
        "vip_folder": "vip_folder.py",
        "vip_file": "vip_file.py",
    }
    (said,) = bag.import_errors.values()
    assert "there is no file 'vips.sql' beside campaign_factory.py (there: none)" in said
    assert "folder=Path(__file__).parent of the DAG file" in said


@pytest.mark.parametrize(
    ("schedule", "expression"),
    [
        *cron_presets.items(),
        *((word, word) for word in ("@midnight", "@annually", "@Daily")),
        ("0 6 * * *", "0 6 * * *"),
        ("*/15 9-17 * jan,feb MON-FRI", "*/15 9-17 * jan,feb MON-FRI"),
        ("0 22 L * *", "0 22 L * *"),
        (SdkCronTriggerTimetable("@quarterly", timezone="UTC"), "0 0 1 */3 *"),
    ],
)
def test_every_preset_of_airflows_and_a_cron_expression_make_a_dag(schedule: object, expression: str) -> None:
    dag = campaign(schedule=schedule).dag()
    assert getattr(dag.timetable, "expression", None) == expression
    DagSerialization.serialize_dag(dag)


@pytest.mark.parametrize(
    ("schedule", "timetable"),
    [
        (None, NullTimetable),
        ("@once", OnceTimetable),
        (NullTimetable(), NullTimetable),
        (OnceTimetable(), OnceTimetable),
        (timedelta(minutes=1), DeltaTriggerTimetable),
        (timedelta(days=3_660), DeltaTriggerTimetable),
        (CronDataIntervalTimetable("0 6 * * *", timezone="UTC"), CronDataIntervalTimetable),
        (MultipleCronTriggerTimetable("@daily", "@monthly", timezone="UTC"), MultipleCronTriggerTimetable),
        (Asset("load"), AssetTriggeredTimetable),
        ([Asset("load"), Asset("tiers")], AssetTriggeredTimetable),
        (Asset("load") | Asset("tiers"), AssetTriggeredTimetable),
        (Asset("load") & Asset("tiers"), AssetTriggeredTimetable),
        (
            AssetOrTimeSchedule(
                timetable=SdkCronTriggerTimetable("@hourly", timezone="UTC"), assets=[Asset("load"), Asset("tiers")]
            ),
            AssetOrTimeSchedule,
        ),
    ],
)
def test_every_other_schedule_of_airflows_makes_a_dag(schedule: object, timetable: type) -> None:
    dag = campaign(schedule=schedule).dag()
    assert type(dag.timetable) is timetable
    DagSerialization.serialize_dag(dag)


def test_the_file_the_manual_and_the_dag_are_the_callers(tmp_path: Path) -> None:
    dag = dag_file(tmp_path, schedule="'@daily'", timezone="'Asia/Kolkata'").dags["vip"]
    manual = dag.doc_md or ""
    assert (dag.fileloc, dag.description) == (str(tmp_path / "vips.py"), "The VIPs.")
    assert manual.startswith("The VIPs.\n\nAn Airflow DAG.\n\n| fact |")
    assert "`@daily`, in Asia/Kolkata" in manual
    other = dag_file(tmp_path, dag_args="{'doc_md': 'Other words.'}").dags["vip"].doc_md or ""
    assert other.startswith("Other words.\n\n| fact |")
    assert campaign().dag().fileloc == __file__


def test_not_live_is_a_dry_run_unless_told_and_always_in_the_manual() -> None:
    dag = campaign().dag()
    assert dag.params["dry_run"] is True
    assert "not live: every run is a dry run" in (dag.doc_md or "")
    assert campaign(live=True).dag().params["dry_run"] is False


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (None, "by hand only"),
        ("@once", "`@once`"),
        (timedelta(hours=6), "6:00:00"),
        (timedelta(minutes=1), "0:01:00"),
        ("0 0 29 2 *", "`0 0 29 2 *`"),
        ("0 0 30 2 MON", "`0 0 30 2 MON`"),
        ("@yearly", "`@yearly`"),
        ("0 0 L * *", "`0 0 L * *`"),
        ("0 6 * * FRI#5", "`0 6 * * FRI#5`"),
        (MultipleCronTriggerTimetable("0 6 * * *", timezone="UTC"), "MultipleCronTriggerTimetable"),
        (CronTriggerTimetable("0 6 * * *", timezone="UTC"), "CronTriggerTimetable"),
        (Asset("load"), "when the asset load is updated"),
        ([Asset("load"), Asset("merge")], "when these assets are updated: load, merge"),
        (Asset("load") | Asset("merge"), "AssetAny"),
    ],
)
def test_airflows_schedules_are_taken(schedule: object, words: str) -> None:
    assert words in (campaign(schedule=schedule).dag().doc_md or "")


@pytest.mark.parametrize(
    ("arguments", "sql"),
    [
        ({"user_defined_filters": {"up": str.upper}}, "SELECT {{ 'id' | up }} AS customer_id FROM vip"),
        ({"user_defined_macros": {"table": "vip"}}, "SELECT id AS customer_id FROM {{ table }}"),
        (
            {"jinja_environment_kwargs": {"extensions": ["jinja2.ext.loopcontrols"]}},
            "SELECT 1 AS customer_id {% for each in [1, 2] %}{% break %}{% endfor %}",
        ),
    ],
)
def test_the_query_may_use_what_the_dags_jinja_knows(arguments: dict[str, Any], sql: str) -> None:
    assert task(campaign(sql=sql, dag_args=arguments).dag(), "extract_eligible_customers").sql == sql
    with pytest.raises(CampaignInvalid, match="sql: Airflow renders"):
        campaign(sql=sql.replace("}}", "| nope }}").replace("{% break", "{% stop"), dag_args=arguments)


def test_a_recurring_campaign_catches_up_and_a_longer_timeout_is_taken() -> None:
    arguments = {"catchup": True, "start_date": datetime(2026, 11, 1, tzinfo=UTC), "dagrun_timeout": timedelta(days=8)}
    dag = campaign(occasion="vip {month}", schedule="0 6 1 * *", dag_args=arguments).dag()
    assert (dag.catchup, dag.dagrun_timeout) == (True, timedelta(days=8))


@pytest.mark.parametrize(
    "fields",
    [{}, {"schedule": "0 6 1 * *"}, {"dag_args": {"catchup": True, "start_date": datetime(2026, 11, 1, tzinfo=UTC)}}],
)
def test_catching_up_needs_a_schedule_and_a_first_day(fields: dict[str, Any]) -> None:
    with pytest.raises(CampaignInvalid, match=r"there is nothing to catch up with\. Give a schedule and a start_date"):
        campaign(**{"occasion": "vip {month}", "dag_args": {"catchup": True}, **fields})


def test_the_fields_reach_the_tasks() -> None:
    policy = Policy(on_rejected=OnFinding.WARN, on_auto_approved=OnFinding.ACCEPT)
    seen: list[object] = []
    dag = campaign(
        policy=policy,
        deadline=timedelta(days=2),
        poll_interval_s=30,
        in_flight=3,
        deferrable=False,
        dag_args={
            "tags": ["vip"],
            "start_date": datetime(2026, 11, 1),  # noqa: DTZ001 - the campaign's zone is added
            "end_date": datetime(2027, 11, 1, tzinfo=UTC),
            "on_failure_callback": [seen.append],
            "max_active_tasks": 3,
            "dag_display_name": "VIPs",
            "default_args": {"pool": "capillary", "owner": "crm"},
        },
        timezone="Asia/Kolkata",
        capillary_conn_id="cap_eu",
        warehouse_conn_id="lake",
        ledger_conn_id="books",
    ).dag()
    extract, submit, wait, report = tasks = [task(dag, each) for each in dag.task_dict]
    assert (submit.in_flight, submit.on_auto_approved) == (3, "accept")
    assert (wait.timeout, wait.poll_interval_s, wait.mode, wait.policy) == (172_800, 30, "reschedule", policy)
    assert report.policy == policy
    assert {each.pool for each in tasks} == {"capillary"}
    assert {each.owner for each in tasks} == {"crm"}
    assert [each.capillary_conn_id for each in tasks[:3]] == ["cap_eu"] * 3
    assert [each.ledger_conn_id for each in tasks] == ["books"] * 4
    assert extract.warehouse_conn_id == "lake"
    assert dag.tags == {"badges", "vip"}
    assert dag.start_date == datetime(2026, 10, 31, 18, 30, tzinfo=UTC)
    assert dag.end_date == datetime(2027, 11, 1, tzinfo=UTC)
    assert dag.on_failure_callback == [seen.append]
    assert (dag.max_active_tasks, dag.max_active_runs, dag.dag_display_name) == (3, 16, "VIPs")
    assert {each.retry_delay for each in tasks} == {timedelta(minutes=1)}, "ours stay beside those given"
