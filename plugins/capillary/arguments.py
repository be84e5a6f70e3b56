"""The arguments of the operators: what each takes. A campaign's fields have the same types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, TypeAlias

from airflow.sdk import Asset
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, InstanceOf, PlainValidator

from capillary.campaign.field_types import (
    SPAN,
    BadgeId,
    CampaignName,
    Cap,
    Codes,
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
from capillary.campaign.sql_file import names_a_file
from capillary.engine.customer_id import InvalidId, customer_id_of
from capillary.engine.verdict import OnFindingOrText
from capillary.wrong_fields import FieldValueError, is_output, is_task, shown

#: Most customers that `IssueBadgeOperator` takes without a query.
MAX_INLINE_CUSTOMERS: Final = 1_000


def _checked_customers(given: object) -> Sequence[int | str]:
    """Return the ids of customers, in their order; where one is none, its place is named and never its value."""
    if is_output(given):
        raise FieldValueError(
            f"it is {shown(given)}, which Airflow would store in plain text",
            "Give a list that is known when the DAG file is read, or let PlanBadgesOperator find them with a query",
        )
    if callable(given):
        raise ValueError(f"it is {shown(given)}")  # noqa: TRY004 - pydantic makes a sentence of it
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
        raise ValueError(f"{len(wrong)} of {len(given)} are not customer ids ({wrong[0]}{more})")
    return list(given)


def _checked_names(parameters: Mapping[str, object]) -> Mapping[str, object]:
    if wrong := [name for name in parameters if not name.isidentifier()]:
        raise ValueError(f"{shown(wrong[0])} cannot be named in SQL: use letters, digits and _")
    return parameters


def _checked_query(sql: str) -> str:
    if not sql.strip():
        raise ValueError("it is blank")
    if not names_a_file(sql) and not any(map(str.isspace, sql.strip())):
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
    if is_task(given):
        raise FieldValueError(f"it is {shown(given)}", "Give its output: ….output")
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
    retry_codes: Codes
    guards: SoundGuards | None = Field(description="Guards(…), where None switches one off, or None for the defaults")
    override_guards: Flag
    dry_run: Flag
    note: Note
    preflight: Flag
    capillary_conn_id: ConnId
    ledger_conn_id: ConnId


class QueryArguments(PlanningArguments):
    """Of `PlanBadgesOperator`."""

    sql: Query
    parameters: Named | None = Field(description="a dict of values for the names (:name) in the SQL, or None")
    warehouse_conn_id: ConnId


class CampaignArguments(QueryArguments):
    """The same of a campaign's task, whose occasion is a pattern until a run has resolved it."""

    occasion: PatternOrName | None = Field(description="the occasion's name")


class SendingArguments(Arguments):
    """Of `IssueBadgeOperator` with a plan."""

    plan: Planned = Field(description="the output of a PlanBadgesOperator, or customers")
    on_auto_approved: OnFindingOrText
    in_flight: InFlight
    deferrable: Flag
    capillary_conn_id: ConnId
    ledger_conn_id: ConnId


class InlineArguments(PlanningArguments):
    """Of `IssueBadgeOperator` with customers."""

    customers: Customers
    on_auto_approved: OnFindingOrText
    in_flight: InFlight
    deferrable: Flag


class WaitingArguments(Arguments):
    """Of `BadgeRequestSensor`."""

    plan: Planned
    policy: SoundPolicy | None = Field(description="Policy(…), or None for the default one")
    timeout: Seconds
    poll_interval_s: PollInterval
    settle_every: Span = Field(description=SPAN)
    deferrable: Flag
    capillary_conn_id: ConnId
    ledger_conn_id: ConnId


class ReportArguments(Arguments):
    """Of `ReportBadgesOperator`."""

    plan: Planned
    policy: SoundPolicy | None = Field(description="Policy(…), or None for the default one")
    asset: InstanceOf[Asset] | None = Field(description="an Asset, or None")
    ledger_conn_id: ConnId


class KeepingArguments(Arguments):
    """Of the tasks of `badge_upkeep`."""

    ledger_conn_id: ConnId
