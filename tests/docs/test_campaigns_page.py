"""docs/campaigns.md says what the code does: fields, defaults, guards, policies, occasions; its examples load."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from pydantic import TypeAdapter
from pydantic_core import PydanticUndefined

from capillary.api.codes import ALREADY, CODE_MEANINGS, SAYS_NOTHING
from capillary.api.request_workflow import OWNER_TYPES
from capillary.arguments import MAX_INLINE_CUSTOMERS
from capillary.campaign import BadgeCampaign
from capillary.campaign.fields import BOUND, BOUND_PERIOD
from capillary.campaign.occasion import OCCASION_LIMIT, Occasion
from capillary.campaign.trigger_form import SECTION, TriggerForm, form_fields
from capillary.engine.customer_id import MAX_CUSTOMER_ID, Reason
from capillary.engine.polling import MAX_POLL_INTERVAL_S, QUIET_S, TOLERATED_FAILURES
from capillary.engine.remedies import Remedy, advice, remedy_of
from capillary.engine.verdict import OnFinding, Policy
from capillary.ledger.candidates import NOT_ACCEPTED_ATTEMPTS
from capillary.ledger.guards import Guards
from capillary.ledger.plan import CANARY_CUSTOMERS
from capillary.ledger.reports import FailureCount
from capillary.ledger.status import HAS_BADGE, RETRYABLE, Outcome
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from tests.docs.markdown import ROOT, Section, code_of, sections

PAGE: Final = ROOT / "docs" / "campaigns.md"
SECTIONS: Final = {section.title: section for section in sections(PAGE)}
TEXT: Final = PAGE.read_text(encoding="utf-8")
NEEDED: Final = "needed"
#: What the page's defaults are written with.
WORDS: Final[dict[str, Any]] = {"timedelta": timedelta, "Guards": Guards, "Policy": Policy, "OnFinding": OnFinding}
#: Airflow's own, while it reads plugins/capillary/.airflowignore.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


def section(title: str) -> Section:
    return SECTIONS[title]


def words_of(title: str) -> str:
    """Return a section's prose in one line: where it breaks does not matter."""
    return " ".join(section(title).prose.split())


def named(title: str, *, column: int) -> dict[str, str]:
    """Return a table's first column, its code alone, with another column."""
    return {code_of(row[0])[0]: row[column] for row in section(title).rows() if code_of(row[0])}


def value(cell: str) -> object:
    """Return the Python value that a cell shows in backticks."""
    (shown,) = code_of(cell)
    return eval(shown, {"__builtins__": {}}, WORDS)  # noqa: S307 - the page's own defaults


def defaults(cells: Mapping[str, str]) -> dict[str, object]:
    return {name: NEEDED if cell == NEEDED else value(cell) for name, cell in cells.items()}


def of_fields() -> dict[str, str]:
    rows = [row for row in section("Fields").rows() if len(row) == 4]
    return {code_of(row[0])[0]: row[2] for row in rows}


def test_every_field_of_a_campaign_is_there_in_order_with_its_default() -> None:
    expected = {
        name: NEEDED if each.default is PydanticUndefined else each.default
        for name, each in BadgeCampaign.model_fields.items()
    }
    assert defaults(of_fields()) == expected
    assert list(of_fields()) == list(expected)


def test_the_bounds_of_numbers_are_the_fields() -> None:
    takes = {code_of(row[0])[0]: row[1] for row in section("Fields").rows() if len(row) == 4}
    for name, each in BadgeCampaign.model_fields.items():
        for bound in each.metadata:
            for kind in ("ge", "le", "max_length"):
                limit = getattr(bound, kind, None)
                if isinstance(limit, int) and limit > 1 and name != "name":
                    assert re.search(rf"\b{limit:,}\b", takes[name]), (name, limit)
    assert str(OCCASION_LIMIT) in takes["name"]
    assert [word for word in OWNER_TYPES if f"`{word}`" not in takes["owner_type"]] == []


def test_every_field_of_the_trigger_form_is_there_with_its_default() -> None:
    rows = named("The trigger form", column=2)
    assert set(rows) == set(TriggerForm.model_fields) == set(form_fields(live=True, canary=True, recurs=True))
    for name, each in TriggerForm.model_fields.items():
        if each.default is not PydanticUndefined:
            assert value(rows[name]) == each.default, name
    assert code_of(named("The trigger form", column=1)["retry_outcomes"]) == list(RETRYABLE)


def test_which_of_the_form_is_advanced() -> None:
    form = form_fields(live=True, canary=True, recurs=True)
    advanced = [name for name, param in form.items() if param.schema.get("section")]
    assert list(named("The trigger form", column=1))[-len(advanced) :] == advanced
    assert "last five" in words_of("The trigger form")
    assert len(advanced) == 5
    assert SECTION in words_of("The trigger form").replace("*", "")


def test_every_guard_is_there_with_default_and_bounds() -> None:
    assert defaults(named("Guards", column=1)) == {each.name: each.default for each in fields(Guards)}
    for name, bounds in named("Guards", column=3).items():
        said = TypeAdapter(Guards).json_schema()["properties"][name]
        (number,) = [each for each in said.get("anyOf", [said]) if each["type"] != "null"]
        lowest, highest = number["minimum"], number.get("maximum")
        assert bounds == (f"{lowest:g} or more" if highest is None else f"{lowest:g} to {highest:g}")


def test_every_policy_is_there_with_its_default() -> None:
    rows = named("Policies and the verdict", column=1)
    assert defaults(rows) == {each.name: each.default for each in fields(Policy)}
    assert [
        word for word in OnFinding if f"`OnFinding.{word.name}`" not in section("Policies and the verdict").prose
    ] == []


def test_the_bound_names_are_the_codes() -> None:
    bound = {code.removeprefix(":") for row in section("The query").rows() for code in code_of(row[0])}
    assert bound == {*BOUND, *BOUND_PERIOD}


def test_every_reason_why_a_row_is_no_id_is_there() -> None:
    listed = {row[0] for row in section("The query").rows() if not code_of(row[0])}
    assert listed == set(map(str, Reason))
    assert str(MAX_CUSTOMER_ID) in section("The query").prose


OCCASIONS: Final = [row for row in section("Occasions").rows() if len(row) == 6]


@pytest.mark.parametrize("row", OCCASIONS, ids=lambda row: f"{row[0]} {row[2]}")
def test_an_occasion_is_what_the_table_says(row: tuple[str, ...]) -> None:
    pattern, zone, moment, name, start, end = row
    resolved = Occasion(code_of(pattern)[0], zone).resolve(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert resolved.name == code_of(name)[0]
    days = [None if day == "–" else date.fromisoformat(day) for day in (start, end)]
    assert [resolved.period_start, resolved.period_end] == days


def test_the_occasions_show_the_hard_days() -> None:
    shown = " ".join(row[3] for row in OCCASIONS)
    assert {zone for _, zone, *_ in OCCASIONS} >= {"UTC", "Asia/Kolkata", "America/New_York"}
    assert [word for word in ("W53", "W01", "2028-02", "2026-12-01") if word not in shown] == []


def test_every_outcome_says_whether_it_is_planned_again() -> None:
    rows = {word: row[1] for row in section("Retries by outcome").rows() for word in code_of(row[0])}
    assert set(rows) == set(Outcome)
    assert {word for word, again in rows.items() if again == "never"} == HAS_BADGE
    assert "three attempts" in rows[Outcome.NOT_ACCEPTED]
    assert NOT_ACCEPTED_ATTEMPTS == 3


def test_the_numbers_are_the_codes() -> None:
    assert CANARY_CUSTOMERS == 10
    assert "first ten new customers" in words_of("Canary")
    assert f"Up to {MAX_INLINE_CUSTOMERS:,} customers" in words_of("By hand, in your own DAG")
    polling = words_of("Deadline and polling")
    assert f"No event comes within {QUIET_S:.0f} seconds" in polling
    assert f"up to {MAX_POLL_INTERVAL_S / 60:.0f} minutes" in polling
    assert TOLERATED_FAILURES == 10
    assert "ten failed polls" in polling


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> DagBag:
    """Every example of the page as a DAG file of its own, with the queries beside them."""
    folder = tmp_path_factory.mktemp("dags")
    blocks = [block for each in SECTIONS.values() for block in each.blocks]
    for number, (language, content) in enumerate(blocks):
        if language == "python":
            (folder / f"example_{number}.py").write_text(content + "\n", encoding="utf-8")
        elif language == "sql":
            (folder / content.splitlines()[0].removeprefix("-- ")).write_text(content, encoding="utf-8")
    assert {path.suffix for path in folder.iterdir()} == {".py", ".sql"}
    return DagBag(folder)


def dag_of(bag: DagBag, dag_id: str) -> DAG:
    found = bag.dags[dag_id]
    assert isinstance(found, DAG)
    return found


def test_the_examples_are_dag_files_that_load(examples: DagBag) -> None:
    assert examples.import_errors == {}
    assert set(examples.dags) == {"vips", "gold", "silver", "vip_by_hand", "apology_badges"}


def test_the_first_campaign_is_eight_lines_and_a_query(examples: DagBag) -> None:
    blocks = dict(section("The first campaign").blocks)
    assert len([line for line in blocks["python"].splitlines() if line]) <= 8
    dag = dag_of(examples, "vips")
    assert dag.params["dry_run"] is True
    assert [row[0].strip("`") for row in section("The DAG").rows()] == list(dag.task_dict)


def test_the_retries_of_the_tasks_are_the_dags(examples: DagBag) -> None:
    said = {code_of(row[0])[0]: int(row[2]) for row in section("The DAG").rows()}
    assert said == {task.task_id: task.retries for task in dag_of(examples, "vips").tasks}


def test_the_dag_by_hand_is_made_of_the_four_operators(examples: DagBag) -> None:
    by_hand = [type(task) for task in dag_of(examples, "vip_by_hand").tasks]
    assert by_hand == [PlanBadgesOperator, IssueBadgeOperator, BadgeRequestSensor, ReportBadgesOperator]
    rows = section("By hand, in your own DAG").rows()
    assert {code_of(row[0])[0] for row in rows} == {each.__name__ for each in by_hand}


@pytest.mark.parametrize("kind", [PlanBadgesOperator, IssueBadgeOperator, BadgeRequestSensor, ReportBadgesOperator])
def test_every_argument_of_an_operator_is_named(kind: type) -> None:
    own = {
        name
        for each in kind.__mro__
        if each.__module__.startswith("capillary.") and "__init__" in vars(each)
        for name in inspect.signature(each).parameters
    }
    assert len(own) > 2
    assert own - {"self", "kwargs"} - set(code_of(section("By hand, in your own DAG").prose)) == set()


@pytest.mark.parametrize("kind", [PlanBadgesOperator, IssueBadgeOperator, BadgeRequestSensor, ReportBadgesOperator])
def test_every_argument_that_the_table_names_is_one_of_the_operator(kind: type) -> None:
    (row,) = [row for row in section("By hand, in your own DAG").rows() if code_of(row[0])[0] == kind.__name__]
    names = [name for name in code_of(row[1]) if re.fullmatch("[a-z_]+", name)]
    assert names
    assert set(names) - set(inspect.signature(kind).parameters) == set()


def test_the_files_of_the_page_are_there() -> None:
    named_files = set(re.findall(r"`(dags/\w+\.py)`", TEXT)) - {"dags/vips.py"}
    assert named_files
    assert [name for name in named_files if not (ROOT / name).is_file()] == []


def test_every_code_has_its_remedy_and_whether_a_retry_takes_it() -> None:
    rows = list(section("What a failure needs").rows())
    assert len(rows) == len(Remedy)
    by_code = {int(code): row for row in rows for code in code_of(row[1]) if code.isdigit()}
    for code in CODE_MEANINGS:
        outcome = Outcome.UNCONFIRMED if code in (ALREADY, SAYS_NOTHING) else Outcome.FAILED
        said = advice(FailureCount(outcome, code, 1))
        if said.remedy is Remedy.UNKNOWN:
            assert code not in by_code, code
        else:
            assert (by_code[code][0], by_code[code][2]) == (said.to_do, "yes" if said.is_preselected else "no"), code
    others = {row[0]: row[2] for row in rows if not any(map(str.isdigit, "".join(code_of(row[1]))))}
    for outcome in (Outcome.REJECTED, Outcome.NOT_ACCEPTED):
        said = advice(FailureCount(outcome, None, 1))
        assert others[said.to_do] == ("yes" if said.is_preselected else "no")
    assert remedy_of(Outcome.UNCONFIRMED, None) is Remedy.LOOK
