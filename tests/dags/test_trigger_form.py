"""What a person says about a run: raw values of the API, and runs whose configuration Airflow does not pass on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import airflow
import pytest
from airflow.sdk import Asset, Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError

from capillary.campaign.errors import TriggerFormInvalid
from capillary.campaign.schedule import Schedule
from capillary.campaign.trigger_form import UNPAUSE, TriggerForm, form_fields
from capillary.ledger.status import RETRYABLE
from tests.dags.test_campaign import campaign

FORM = form_fields(live=True, canary=True, recurs=True)
#: What the run's parameters are where nobody said anything.
DEFAULTS = {name: param.value for name, param in FORM.items()}


def read(conf: dict[str, Any], *, passed_on: bool) -> TriggerForm:
    """Read a run's form as its task gets it; without `passed_on` Airflow's setting is off."""
    return TriggerForm.read({**DEFAULTS, **(conf if passed_on else {})}, conf)


def test_the_form_as_the_ui_sends_it_is_read_whatever_airflow_passes_on() -> None:
    for passed_on in (True, False):
        form = read(DEFAULTS, passed_on=passed_on)
        assert (form.dry_run, form.customer_cap, list(form.retry_outcomes)) == (False, None, [])
    assert TriggerForm.read(DEFAULTS, None) == TriggerForm.read(DEFAULTS)


@pytest.mark.parametrize(
    ("conf", "named"),
    [
        ({"dry_run": True}, ["dry_run"]),
        ({"dry_run": True, "customer_cap": 5}, ["dry_run", "customer_cap"]),
        ({"canary": False}, ["canary"]),
        ({"occasion_day": "2026-11-02"}, ["occasion_day"]),
        ({"retry_outcomes": ["failed"]}, ["retry_outcomes"]),
        ({"override_guards": True}, ["override_guards"]),
        ({"note": "by hand"}, ["note"]),
        ({"dryrun": True}, ["dryrun"]),
        ({"dry_run": 0}, ["dry_run"]),  # equal to False, and not the same
        ({**DEFAULTS, "dry_run": True}, ["dry_run"]),
    ],
    ids=str,
)
def test_a_run_whose_configuration_airflow_keeps_back_is_refused(conf: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(TriggerFormInvalid) as caught:
        read(conf, passed_on=False)
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"Trigger form, {name}" for name in named]
    for line in lines:
        assert "Airflow does not pass it on. Turn [core] dag_run_conf_overrides_params on, or trigger" in line


def test_the_hint_names_the_tick_as_airflows_own_form_does_and_not_where_it_stands() -> None:
    """On the form it stands above our fields; where, is Airflow's."""
    file = Path(airflow.__file__).with_name("ui") / "dist/i18n/locales/en/components.json"
    words = json.loads(file.read_text(encoding="utf-8"))
    assert words["triggerDag"]["unpause"].replace("{{dagDisplayName}}", "…") == UNPAUSE
    hint = str(FORM["dry_run"].description)
    assert f"unless you clear the tick {UNPAUSE} on this form: then the run waits until the DAG is on." in hint
    assert not {"above", "below"} & set(hint.split())


@pytest.mark.parametrize(
    ("schedule", "dag_args", "words"),
    [
        (
            "0 6 * * *",
            {},
            "it also runs by its schedule, from the next time on. But if it has run",
        ),
        ("@once", {}, "it also runs by its schedule, and a run of that may start at once."),
        (timedelta(days=1), {}, "it also runs by its schedule, and a run of that may start at once."),
        (
            "0 6 * * *",
            {"catchup": True, "start_date": datetime(2026, 11, 1, tzinfo=UTC)},
            "every run of its schedule that it has missed starts at once.",
        ),
        (Asset("load"), {}, "it also runs when its assets are updated."),
    ],
    ids=["cron", "once", "span", "catchup", "asset"],
)
def test_the_hint_says_what_else_starts(schedule: Schedule, dag_args: dict[str, Any], words: str) -> None:
    hint = campaign(schedule=schedule, dag_args=dag_args, occasion="vip {day}").dag().params.get_param("dry_run")
    assert f"until the DAG is on. Once it is on, {words}" in str(hint.description)


def test_without_a_schedule_nothing_else_starts() -> None:
    assert str(campaign().dag().params.get_param("dry_run").description).endswith("the run waits until the DAG is on.")


def test_a_list_that_a_person_has_emptied_in_the_ui_is_null_and_means_nothing_given() -> None:
    form = read({"retry_outcomes": None, "retry_codes": None}, passed_on=True)
    assert (list(form.retry_outcomes), list(form.retry_codes)) == ([], [])


def test_a_field_that_may_stay_empty_takes_null_so_that_the_form_does_not_mark_it_as_required() -> None:
    """The UI marks a field whose type does not hold null; a switch always holds a value."""
    required = {name for name, param in FORM.items() if "null" not in param.schema["type"]}
    assert required == {"dry_run", "canary", "override_guards"}
    assert {FORM[name].schema["type"] for name in required} == {"boolean"}


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        (
            {"dry_run": "false"},
            "dry_run: it should be a valid boolean, not the text 'false' in quotes. Give True or False",
        ),
        ({"dry_run": None}, "dry_run: it should be a valid boolean, not None"),
        ({"dry_run": 1}, "dry_run: it should be a valid boolean, not 1"),
        ({"customer_cap": "5"}, "customer_cap: it should be a valid integer, not the text '5' in quotes"),
        ({"customer_cap": 5.0}, "customer_cap: it should be a valid integer, not 5.0"),
        ({"customer_cap": True}, "customer_cap: it should be a valid integer, not True"),
        ({"customer_cap": 10**12}, "customer_cap: it should be less than or equal to 1000000000"),
        ({"retry_outcomes": "rejected"}, "retry_outcomes: it is 'rejected'. Give some of rejected, failed"),
        ({"retry_outcomes": {"rejected": True}}, "retry_outcomes: it is {'rejected': True}"),
        (
            {"retry_codes": "816"},
            "retry_codes: it is '816'. Give codes of the platform such as 1039",
        ),
        ({"retry_codes": ["816"]}, "retry_codes: without retry_outcomes they choose nobody. Give retry_outcomes, too"),
        ({"retry_outcomes": ["failed"], "retry_codes": ["x"]}, "retry_codes: 'x' is not a code of the platform"),
        ({"retry_outcomes": ["failed"], "retry_codes": ["0816"]}, "retry_codes: '0816' is not a code"),
        ({"retry_outcomes": ["failed"], "retry_codes": ["８１６"]}, "retry_codes: '８１６' is not a code"),
        ({"retry_outcomes": ["failed"], "retry_codes": [True]}, "retry_codes: True is not a code"),
        ({"retry_outcomes": ["failed"], "retry_codes": [0]}, "retry_codes: 0 is not a code"),
        ({"retry_outcomes": ["failed"], "retry_codes": [2**31]}, "retry_codes: 2147483648 is not a code"),
        ({"retry_outcomes": [["rejected"]]}, "retry_outcomes: no customer may be planned again after ['rejected']"),
        ({"occasion_day": 20261123}, "occasion_day: "),
        ({"occasion_day": "２０２６-11-23"}, "occasion_day: '２０２６-11-23' is not a day"),
        ({"occasion_day": "2026-02-30"}, "occasion_day: '2026-02-30' is not a day"),
        ({"occasion_day": "2026-11-23T00:00"}, "occasion_day: '2026-11-23T00:00' is not a day"),
        ({"note": ["x"]}, "note: it should be a valid string, not ['x']"),
        ({"note": "x\x00"}, "note: it holds a character that no database keeps"),
        ({"note": "x" * 4_001}, "note: it should have at most 4000 characters"),
    ],
    ids=str,
)
def test_a_raw_value_of_the_api_is_read_as_meant_or_refused(conf: dict[str, Any], words: str) -> None:
    with pytest.raises(TriggerFormInvalid) as caught:
        read(conf, passed_on=True)
    assert f"Trigger form, {words}" in str(caught.value)


def test_what_airflows_own_check_takes_the_task_can_read() -> None:
    """The API checks a configuration against the parameters; the form in the UI is made of them."""
    given = {
        "dry_run": True,
        "customer_cap": 5,
        "retry_outcomes": list(map(str, RETRYABLE)),
        "retry_codes": ["none", "1039", 816],
        "occasion_day": "2026-11-02",
        "note": "x" * 4_000,
    }
    params = ParamsDict(dict(FORM))
    params.update(given)
    form = TriggerForm.read(params.validate(), given)
    assert (form.dry_run, form.customer_cap, form.retry_outcomes) == (True, 5, frozenset(RETRYABLE))
    assert form.retry_codes == {"none", "1039", "816"}
    for name, wrong in (("customer_cap", 10**12), ("note", "x" * 4_001), ("dry_run", "false")):
        with pytest.raises(ParamValidationError):
            Param(FORM[name].value, **FORM[name].schema).resolve(wrong)
