"""A number or a time that is out of bounds is refused with both bounds, in a campaign, an operator and the form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from capillary import arguments
from capillary.arguments import Arguments
from capillary.campaign import BadgeCampaign, CampaignInvalid, dag_arguments
from capillary.campaign.errors import TriggerFormInvalid
from capillary.campaign.field_types import MOST
from capillary.campaign.trigger_form import TriggerForm, form_fields
from capillary.errors import CapillaryError
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from capillary.sensors import BadgeRequestSensor
from tests.dags.test_campaign import GOOD

DAYS = timedelta(days=365)
PLAN = {name: value for name, value in GOOD.items() if name != "name"}
REFERENCE = {"badge_run_id": 1, "token": "t"}
MODELS: list[type[BaseModel]] = [
    BadgeCampaign,
    TriggerForm,
    dag_arguments._DagArguments,
    dag_arguments._Defaults,
    *(
        each
        for each in vars(arguments).values()
        if isinstance(each, type) and issubclass(each, Arguments) and each is not Arguments
    ),
]


def campaign(**given: object) -> object:
    return BadgeCampaign(**GOOD | given)


def of_dag(**given: object) -> object:
    return BadgeCampaign(**GOOD, dag_args=given)


def of_tasks(**given: object) -> object:
    return BadgeCampaign(**GOOD, dag_args={"default_args": given})


def form(**given: object) -> object:
    return TriggerForm.read({"dry_run": False, "canary": True} | given)


def plan(**given: Any) -> object:  # noqa: ANN401 - arguments of operators
    return PlanBadgesOperator(task_id="plan", **PLAN | given)


def issue(**given: Any) -> object:  # noqa: ANN401 - same
    return IssueBadgeOperator(task_id="issue", plan=REFERENCE, **given)


def wait(**given: Any) -> object:  # noqa: ANN401 - same
    return BadgeRequestSensor(task_id="wait", plan=REFERENCE, **given)


COUNT = [0, -1, MOST + 1]
CUSTOMERS = "1 to 1,000,000,000 customers, or None for all"
SPANS = [timedelta(0), -DAYS, DAYS + timedelta(seconds=1)]
SPAN = "a timedelta above 0, of at most 365 days"
SECONDS = [-1, -1.5, DAYS.total_seconds() + 1, timedelta(seconds=-1), 2 * DAYS]

CASES: list[tuple[Callable[..., object], str, list[Any], str]] = [
    (campaign, "customer_cap", COUNT, f"Give {CUSTOMERS}."),
    (campaign, "customers_per_request", [0, 10_001], "Give 1 to 10,000 customers; one request is one approval"),
    (campaign, "in_flight", [0, 65], "Give 1 to 64 requests under way at once."),
    (campaign, "poll_interval_s", [9.9, 3_600.1], "Give 10 to 3,600 seconds between the first polls."),
    (campaign, "deadline", SPANS, f"Give {SPAN}, for the human's decision."),
    (campaign, "settle_every", SPANS, f"Give {SPAN}, between settling what is decided"),
    (of_dag, "max_active_runs", COUNT, "Give 1 to 1,000,000,000; a run waits for its human"),
    (of_dag, "max_active_tasks", COUNT, "Give 1 to 1,000,000,000."),
    (of_dag, "max_consecutive_failed_dag_runs", [-1, MOST + 1], "Give 0 to 1,000,000,000; 0 for no limit."),
    (of_dag, "dagrun_timeout", SPANS, f"Give {SPAN} and above the deadline, or None."),
    (of_tasks, "max_active_tis_per_dag", COUNT, "Give 1 to 1,000,000,000, or None."),
    (of_tasks, "max_active_tis_per_dagrun", COUNT, "Give 1 to 1,000,000,000, or None."),
    (of_tasks, "retry_delay", SECONDS, "Give a timedelta or seconds, 0 to 365 days."),
    (of_tasks, "max_retry_delay", SECONDS, "Give a timedelta or seconds, 0 to 365 days, or None."),
    (form, "customer_cap", COUNT, f"Give {CUSTOMERS}."),
    (plan, "customer_cap", COUNT, f"Give {CUSTOMERS}."),
    (plan, "customers_per_request", [0, 10_001], "Give 1 to 10,000 customers; one request is one approval"),
    (issue, "in_flight", [0, 65], "Give 1 to 64 requests under way at once."),
    (wait, "poll_interval_s", [9.9, 3_600.1], "Give 10 to 3,600 seconds between the first polls."),
    (wait, "settle_every", SPANS, f"Give {SPAN}."),
    (wait, "timeout", SECONDS, "Give a timedelta, or seconds, of 0 to 365 days."),
]


@pytest.mark.parametrize(
    ("make", "name", "value", "remedy"),
    [(make, name, value, remedy) for make, name, values, remedy in CASES for value in values],
)
def test_what_is_out_of_bounds_is_refused_with_both_bounds(
    make: Callable[..., object], name: str, value: object, remedy: str
) -> None:
    with pytest.raises(CapillaryError) as caught:
        make(**{name: value})
    said = str(caught.value)
    assert re.search(rf"\b{name}\b'?: ", said)
    assert remedy in said


@pytest.mark.parametrize(
    ("make", "name", "values"),
    [
        (campaign, "customer_cap", [1, MOST, None]),
        (campaign, "customers_per_request", [1, 10_000]),
        (campaign, "in_flight", [1, 64]),
        (campaign, "poll_interval_s", [10, 3_600]),
        (campaign, "deadline", [timedelta(seconds=1), DAYS]),
        (campaign, "settle_every", [timedelta(seconds=1), DAYS]),
        (of_dag, "max_active_runs", [1, MOST]),
        (of_dag, "max_consecutive_failed_dag_runs", [0, MOST]),
        (of_tasks, "retry_delay", [0, DAYS]),
        (form, "customer_cap", [1, MOST, None]),
        (plan, "customer_cap", [1, MOST, None]),
    ],
)
def test_the_bounds_themselves_are_taken(make: Callable[..., object], name: str, values: list[object]) -> None:
    for value in values:
        made = make(**{name: value})
        if isinstance(made, BadgeCampaign) and name not in BadgeCampaign.model_fields:
            given = made.dag_args[name] if name in made.dag_args else made.dag_args["default_args"][name]
        else:
            given = getattr(made, name)
        assert given == value


def bounds_of(annotation: object, *metadata: object) -> Iterator[str]:
    """Yield the names of the bounds that a type has, such as `ge`, at whatever depth."""
    for each in metadata:
        yield from (name for name in ("ge", "gt", "le", "lt") if getattr(each, name, None) is not None)
        if isinstance(each, FieldInfo):
            yield from bounds_of(None, *each.metadata)
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from bounds_of(inner, *more)
    else:
        for each in get_args(annotation):
            yield from bounds_of(each)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_with_two_bounds_was_tried(model: type[BaseModel]) -> None:
    bounded = {
        name
        for name, field in model.model_fields.items()
        if set(bounds_of(field.annotation, *field.metadata)) & {"le", "lt"}
    }
    assert bounded <= {name for _, name, _, _ in CASES}
    for name in bounded:
        assert any(sign.isdigit() for sign in model.model_fields[name].description or ""), name


def test_the_form_in_the_ui_has_the_bounds_that_it_is_read_with() -> None:
    cap = form_fields(live=True, canary=True, recurs=False)["customer_cap"]
    assert (cap.schema["minimum"], cap.schema["maximum"]) == (1, MOST)
    numbers = {
        name
        for name, param in form_fields(live=True, canary=True, recurs=True).items()
        if "integer" in param.schema["type"]
    }
    assert numbers == {"customer_cap"}


def test_a_campaign_and_the_form_name_the_place() -> None:
    with pytest.raises(CampaignInvalid, match=r"campaign 'vip': customer_cap: .* less than or equal to 1000000000"):
        campaign(customer_cap=MOST + 1)
    with pytest.raises(TriggerFormInvalid, match=r"Trigger form, customer_cap: .* greater than or equal to 1, not 0"):
        form(customer_cap=0)
