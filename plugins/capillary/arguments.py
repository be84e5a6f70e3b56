"""The arguments of the operators: what each takes, checked before anything is written or sent.

What is known when the DAG file is read is checked there, which the UI shows as an import error; what a template or
another task gives, when the task runs. A campaign's fields have the same types.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.xcom_arg import PlainXComArg
from airflow.sdk.exceptions import AirflowFailException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, InstanceOf, PlainValidator, ValidationError

from capillary.api.request_workflow import Entity
from capillary.engine.eligibility import InvalidId, customer_id_of
from capillary.engine.verdict import WordOrText
from capillary.field_types import (
    MOST_DAYS,
    BadgeId,
    CampaignName,
    Cap,
    ConnId,
    EntityOrMapping,
    Flag,
    InFlight,
    Note,
    OccasionName,
    Outcomes,
    OwnerType,
    PatternOrName,
    PerRequest,
    PollInterval,
    Reference,
    Seconds,
    SoundGuards,
    SoundPolicy,
    Span,
    kept,
)
from capillary.text_rendering import TextOperator, holds_jinja, is_known_later
from capillary.wrong_fields import FieldsInvalid, FieldValueError, WrongField, shown, wrong_fields

#: Most customers that `IssueBadgeOperator` takes without a query.
MAX_INLINE_CUSTOMERS: Final = 1_000
#: The attribute of an operator that keeps an argument, where Airflow has a method of the argument's name.
_ATTRIBUTES: Final = {"dry_run": "is_dry_run"}
#: Left out where they are empty, as by default: "it is missing" says more than a pattern.
_NEEDED: Final = frozenset({"badge_id", "owner_type", "reference_id", "entity"})
#: Where Jinja that was not rendered would be taken for an id.
_RENDERED: Final = frozenset({"badge_id", "owner_type", "reference_id", "entity", "occasion", "campaign"}) | {
    "capillary_conn_id",
    "ledger_conn_id",
    "warehouse_conn_id",
}


class ArgumentInvalid(FieldsInvalid, AirflowFailException):
    """Arguments of an operator are missing or wrong. One line for each; no retry can help.

    Airflow makes the operator of a mapped task when it runs, outside `airflow_failures`: so this is Airflow's, too.
    """

    def __init__(self, task_id: str, wrong: Sequence[WrongField]) -> None:
        self.wrong = tuple(wrong)
        lines = [f"Task {task_id!r}, argument {each.name!r}: {each.said}" for each in wrong]
        AirflowFailException.__init__(self, "\n".join(lines))


def _checked_customers(given: object) -> Sequence[int | str]:
    """Return the ids of customers, in their order; where one is none, its place is named and never its value."""
    if not isinstance(given, list | tuple | range):
        raise ValueError(f"it is of type {type(given).__name__}")  # noqa: TRY004 - pydantic makes a sentence of it
    if len(given) > MAX_INLINE_CUSTOMERS:
        raise FieldValueError(
            f"{len(given)} are more than {MAX_INLINE_CUSTOMERS}",
            "Put them into a table and give PlanBadgesOperator a query",
        )
    wrong = []
    for place, customer in enumerate(given):
        try:
            customer_id_of(customer)
        except InvalidId as error:
            wrong.append(f"{error.reason} at {place}")
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ValueError(f"{len(wrong)} of {len(given)} are no customer ids ({wrong[0]}{more})")
    return list(given)


def _checked_names(parameters: Mapping[str, object]) -> Mapping[str, object]:
    if wrong := [name for name in parameters if not name.isidentifier()]:
        raise ValueError(f"{shown(wrong[0])} cannot be named in SQL: use letters, digits and _")
    return parameters


def _checked_query(sql: str) -> str:
    if not sql.strip():
        raise ValueError("it is blank")
    if not any(map(str.isspace, sql)) and not sql.endswith(".sql"):
        raise ValueError(f"{shown(sql)} is neither the name of a .sql file nor a query")
    return kept(sql)


Customers: TypeAlias = Annotated[
    Sequence[int | str],
    PlainValidator(_checked_customers),
    Field(description=f"a list of at most {MAX_INLINE_CUSTOMERS} platform customer ids"),
]
Query: TypeAlias = Annotated[
    str, AfterValidator(_checked_query), Field(description="one SELECT, or the name of a .sql file")
]
Named: TypeAlias = Annotated[
    Mapping[str, object],
    AfterValidator(_checked_names),
    Field(description="a dict of values for the names (:name) in the SQL"),
]


def _checked_plan(given: object) -> object:
    if isinstance(given, Mapping):
        return given
    raise ValueError(f"no plan was handed over ({type(given).__name__})")


#: What a task that plans hands on. Known when the task runs, and then read by `PlanReference`.
Planned: TypeAlias = Annotated[
    object,
    PlainValidator(_checked_plan),
    Field(description="the output of a PlanBadgesOperator or an IssueBadgeOperator"),
]


class Arguments(BaseModel):
    """Arguments of an operator, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


class SpecArguments(Arguments):
    """What requests are made from."""

    badge_id: BadgeId
    owner_type: OwnerType
    reference_id: Reference
    entity: EntityOrMapping


class CampaignArgument(Arguments):
    """Under which name."""

    campaign: CampaignName


class OccasionArguments(Arguments):
    """On which occasion, which may be the badge's own."""

    badge_id: BadgeId
    occasion: OccasionName | None = Field(description="the occasion's name, or None for the badge's own")


class PlanningArguments(OccasionArguments, CampaignArgument, SpecArguments):
    """Everything that planning asks for, the customers apart."""

    shared_occasion: Flag
    customers_per_request: PerRequest
    customer_cap: Cap
    canary: Flag
    retry_outcomes: Outcomes
    guards: SoundGuards | None
    override_guards: Flag
    dry_run: Flag
    note: Note
    preflight: Flag
    capillary_conn_id: ConnId
    ledger_conn_id: ConnId


class QueryArguments(PlanningArguments):
    """Of `PlanBadgesOperator`."""

    sql: Query
    parameters: Named | None
    warehouse_conn_id: ConnId


class CampaignArguments(QueryArguments):
    """The same of a campaign's task, whose occasion is a pattern until a run has resolved it."""

    occasion: PatternOrName | None = Field(description="the occasion's name")


class SendingArguments(Arguments):
    """Of `IssueBadgeOperator` with a plan."""

    plan: Planned = Field(description="the output of a PlanBadgesOperator, or customers")
    on_auto_approved: WordOrText
    in_flight: InFlight
    deferrable: Flag
    capillary_conn_id: ConnId
    ledger_conn_id: ConnId


class InlineArguments(PlanningArguments):
    """Of `IssueBadgeOperator` with customers."""

    customers: Customers
    on_auto_approved: WordOrText
    in_flight: InFlight
    deferrable: Flag


class WaitingArguments(Arguments):
    """Of `BadgeRequestSensor`."""

    requests: Planned
    policy: SoundPolicy | None
    timeout: Seconds
    poll_interval_s: PollInterval
    settle_every: Span = Field(description=f"a timedelta above 0, of at most {MOST_DAYS} days")
    deferrable: Flag
    capillary_conn_id: ConnId
    ledger_conn_id: ConnId


class ReportArguments(Arguments):
    """Of `ReportBadgesOperator`."""

    plan: Planned
    policy: SoundPolicy | None
    asset: InstanceOf[Asset] | None = Field(description="an Asset, or None")
    ledger_conn_id: ConnId


class KeepingArguments(Arguments):
    """Of the tasks of `badge_upkeep`."""

    ledger_conn_id: ConnId


A = TypeVar("A", bound=Arguments)


class CheckedOperator(TextOperator):
    """An operator whose arguments are checked: at once what is known, and the rest when the task runs."""

    def check_now(self, model: type[Arguments], *more: WrongField) -> None:
        """Check what is known when the DAG file is read: what no template and no other task gives.

        Args:
            model: the arguments.
            more: what else is wrong.

        Raises:
            ArgumentInvalid: naming every wrong one.
        """
        check(self.task_id, model, _all_given(self, model), known_later=self.template_fields, more=more)

    def read_arguments(self, model: type[A]) -> A:
        """Return the arguments when the task runs, each in its type.

        Raises:
            ArgumentInvalid: naming every wrong one.
        """
        given = _all_given(self, model)
        unrendered = [
            WrongField(name, "it holds Jinja, which was not rendered", "Give a text, or a dict of texts")
            for name in given
            if name in _RENDERED and holds_jinja(asdict(each) if isinstance(each := given[name], Entity) else each)
        ]
        try:
            read = model.model_validate(given)
        except ValidationError as error:
            raise ArgumentInvalid(self.task_id, [*wrong_fields(error, model.model_fields), *unrendered]) from None
        if unrendered:
            raise ArgumentInvalid(self.task_id, unrendered)
        return read


def given_to(operator: BaseOperator, argument: str) -> Any:  # noqa: ANN401 - whatever a person gave
    """Return what an operator was given as an argument."""
    return getattr(operator, _ATTRIBUTES.get(argument, argument))


def _all_given(operator: BaseOperator, model: type[Arguments]) -> dict[str, Any]:
    given = {name: given_to(operator, name) for name in model.model_fields}
    return {
        name: value
        for name, value in given.items()
        if name not in _NEEDED or not (value is None or (isinstance(value, str) and not value))
    }


def check(
    task_id: str,
    model: type[Arguments],
    given: Mapping[str, Any],
    *,
    known_later: Collection[str],
    more: Sequence[WrongField] = (),
) -> None:
    """Check arguments when the DAG file is read.

    Args:
        task_id: the task.
        model: its arguments.
        given: their values.
        known_later: those that a template or another task may give; what they then hold is left to the task.
        more: what else is wrong.

    Raises:
        ArgumentInvalid: naming every wrong one.
    """
    later = {name for name in known_later if is_known_later(given.get(name))}
    wrong = [
        WrongField(
            name,
            "it is the list of all plans of a mapped task",
            f"Map this task, too: .partial(…).expand({name}=….output)",
        )
        for name in later
        if isinstance(given[name], PlainXComArg) and isinstance(given[name].operator, MappedOperator)
    ]
    try:
        model.model_validate(dict(given))
    except ValidationError as error:
        wrong += [each for each in wrong_fields(error, model.model_fields) if each.name not in later]
    if wrong or more:
        raise ArgumentInvalid(task_id, [*wrong, *more])
