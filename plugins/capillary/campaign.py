"""A campaign: which customers, which badge, on whose behalf, when, under which limits; and the DAG it makes."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Self

from airflow.sdk import DAG, Asset, Context, CronTriggerTimetable, TriggerRule
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from capillary.access import airflow_failures
from capillary.api.request_workflow import Entity
from capillary.arguments import CampaignArguments
from capillary.campaign_fields import (
    BOUND,
    BOUND_PERIOD,
    Callback,
    Callbacks,
    Folder,
    Name,
    Parameters,
    Sql,
    Start,
    Tags,
    calling_frame,
    query_beside,
)
from capillary.default_args import around_a_campaign
from capillary.engine.query_parameters import names_of, problems_of
from capillary.engine.verdict import Policy, Word
from capillary.field_types import (
    BadgeId,
    Cap,
    ConnId,
    Count,
    EntityOrMapping,
    Flag,
    InFlight,
    OwnerType,
    Pattern,
    PerRequest,
    PollInterval,
    Reference,
    SoundGuards,
    SoundPolicy,
    Span,
    Words,
    Zone,
    entity_of,
    kept,
)
from capillary.ledger.occasion import occasion_of_badge
from capillary.ledger.plan import Guards
from capillary.occasions import Occasion, ResolvedOccasion, zone_of
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.schedule_field import Schedule, ScheduleOrNone
from capillary.sensors import BadgeRequestSensor
from capillary.sql_file import holds_jinja
from capillary.trigger_form import TriggerForm, TriggerFormInvalid, form_fields
from capillary.wrong_fields import FieldsInvalid, WrongField, meant, shown, wrong_fields

__all__ = [
    "BadgeCampaign",
    "CampaignInvalid",
    "Entity",
    "Guards",
    "Policy",
    "TriggerForm",
    "TriggerFormInvalid",
    "Word",
]


class CampaignInvalid(FieldsInvalid):
    """A campaign's fields cannot be used. One line per wrong field: what is wrong, and what to give."""


#: What an operator calls a campaign's field, where it is not near.
_OPERATORS_NAMES: Final = {
    "dry_run": "live (dry_run=True is live=False, as by default)",
    "customer_cap": "max_customers_per_run",
    "campaign": "name",
    "policy": "policies",
    "on_auto_approved": "policies=Policy(on_auto_approved=…)",
    "retry_outcomes": "nothing: it is a field of the trigger form",
    "override_guards": "nothing: it is a field of the trigger form",
    "note": "nothing: it is a field of the trigger form",
    "timeout": "deadline",
}


class BadgeCampaign(BaseModel):
    """One campaign. `dag()` makes its DAG; the file that names it holds both, and its docstring is the manual.

    Raises:
        CampaignInvalid: fields are wrong; every one of them is named, with what to give instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    name: Name = Field(description="letters, digits, _ . and -, at most 200; it becomes the DAG's id")
    folder: Folder | None = Field(
        default=None,
        description="the folder of the .sql file: Path(__file__).parent, where another module makes campaigns",
    )
    sql: Sql = Field(description="the name of a .sql file beside this one, or a SELECT")
    badge_id: BadgeId
    owner_type: OwnerType
    reference_id: Reference
    entity: EntityOrMapping
    occasion: Pattern | None = Field(
        default=None, description="text with {day}, {week} or {month} in it; nothing for once and for ever"
    )
    shared_occasion: Flag = Field(
        default=False, description="True to use an occasion of another campaign, and leave out whom it took"
    )
    timezone: Zone = Field(default="UTC", description="an IANA name; its days count, and the cron's hours")
    schedule: ScheduleOrNone = Field(
        default=None, description="a cron expression, a timedelta, a timetable, an Asset or a list of them, or None"
    )
    start_date: Start | None = Field(default=None, description="a datetime (without zone: in `timezone`) or None")
    live: Flag = Field(default=False, description="True once its dry runs look right; until then every run is one")
    parameters: Parameters = Field(default={}, description="a dict of values for the names (:name) in the SQL")
    customers_per_request: PerRequest = 500
    max_customers_per_run: Cap = None
    guards: SoundGuards = Guards()
    policies: SoundPolicy = Policy()
    canary: Flag = Field(
        default=True, description="True or False; False takes all customers under an unproven configuration"
    )
    preflight: Flag = Field(default=True, description="True or False; False plans without a look at the badge")
    deadline: Span = Field(default=timedelta(days=7), description="a timedelta for the human's decision")
    poll_interval_s: PollInterval = 60
    settle_every: Span = Field(
        default=timedelta(minutes=15), description="a timedelta between settling what is decided while the rest waits"
    )
    deferrable: Flag = Field(
        default=True, description="True or False; False wakes a worker at every poll, where there is no triggerer"
    )
    in_flight: InFlight = 8
    capillary_conn_id: ConnId = "capillary"
    warehouse_conn_id: ConnId = "warehouse"
    ledger_conn_id: ConnId = "badge_ledger"
    tags: Tags = Field(default=(), description="a list of words of 1 to 100 characters")
    owner: Words | None = Field(default=None, description="who answers for the campaign")
    pool: Words = Field(default="default_pool", description="the name of an Airflow pool")
    max_active_runs: Count = Field(default=16, description="1 or more; a run waits for its human, perhaps for days")
    on_failure_callback: Callbacks = Field(
        default=None, description="a function or notifier for Airflow to call when a run fails, or a list of them"
    )
    doc: Annotated[str, AfterValidator(kept)] | None = Field(
        default=None, description="Markdown in place of the file's docstring"
    )

    _file: Path = PrivateAttr()
    _docstring: str = PrivateAttr()
    _query: str = PrivateAttr()

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 - pydantic's
        frame = calling_frame()
        name = given.get("name") if isinstance(given, Mapping) else None
        where = f"{Path(frame.f_code.co_filename).name}, campaign {shown(name)}"
        try:
            campaign = handler(given)
        except ValidationError as error:
            raise CampaignInvalid(f"{where}: ", list(wrong_fields(error, cls.model_fields, _OPERATORS_NAMES))) from None
        if contradictions := list(campaign.contradictions()):
            raise CampaignInvalid(f"{where}: ", contradictions)
        return campaign

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:  # noqa: ANN401 - pydantic's
        """Make a campaign as always: unchecked fields would submit."""
        return cls(**values)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """Return a campaign with other values in some fields, made anew: its query is read and every field checked.

        A `.sql` file is looked for beside the file that copies.

        Raises:
            CampaignInvalid: fields are wrong.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**given | dict(update or {}))

    def copy(self, **changes: Any) -> Self:  # noqa: ANN401 - pydantic's of old
        """Do what `model_copy` does; `include` and `exclude` make no campaign."""
        return self.model_copy(**changes)

    def model_post_init(self, _context: object, /) -> None:
        """Keep what only the DAG file's frame tells."""
        frame = calling_frame()
        self._file = Path(frame.f_code.co_filename)
        self._docstring = inspect.cleandoc(frame.f_globals.get("__doc__") or "")
        self._query = query_beside(self.sql, None if self.folder is None else Path(self.folder))

    def contradictions(self) -> Iterator[WrongField]:
        """Yield what is wrong between fields that are each right."""
        if self.shared_occasion and self.occasion is None:
            yield WrongField(
                "shared_occasion",
                "without an occasion the campaign shares its badge's with every other one",
                "Leave it out, or give the occasion",
            )
        if holds_jinja(self._query):
            return  # Airflow renders the query first; which names it wants then cannot be told here
        given = {*BOUND, *(BOUND_PERIOD if self.when.recurs else ()), *self.parameters}
        for name, what, remedy in problems_of(self._query, self.parameters):
            yield WrongField("parameters", f":{name}: {what}", remedy)
        for wanted in names_of(self._query):
            if wanted in BOUND_PERIOD and wanted not in given:
                yield WrongField(
                    "occasion", f"the query wants :{wanted}", "Give one with {day}, {week} or {month} in it"
                )
            elif wanted not in given:
                said = f"the query wants :{wanted}{meant(wanted, given)}"
                yield WrongField("parameters", said, "Give it a value in parameters")

    @property
    def when(self) -> Occasion:
        """The campaign's occasion, in its time zone; without a pattern its badge's, once and for ever."""
        return Occasion(self.occasion or occasion_of_badge(self.badge_id), self.timezone)

    def dag(self) -> DAG:
        """Return the campaign's DAG: extract_eligible_customers, submit, wait, report.

        Raises:
            CampaignInvalid: a DAG around it has default_args that are meant for it and would not reach it.
        """
        if lost := list(around_a_campaign()):
            raise CampaignInvalid(f"{self._file.name}, campaign {self.name!r}: ", lost)
        doc = self.doc if self.doc is not None else self._docstring
        start = self.start_date
        with DAG(
            dag_id=self.name,
            description=doc.partition("\n")[0] or None,
            schedule=self._timetable(),
            start_date=start.replace(tzinfo=zone_of(self.timezone)) if start and start.tzinfo is None else start,
            catchup=False,
            max_active_runs=self.max_active_runs,
            tags=sorted({"badges", *self.tags}),
            params=form_fields(live=self.live, canary=self.canary, recurs=self.when.recurs),
            doc_md=f"{doc}\n\n{_facts(self)}",
            on_failure_callback=self._callbacks(),
            default_args={
                "pool": self.pool,
                "retry_delay": timedelta(minutes=1),
                "retry_exponential_backoff": 2,
                "max_retry_delay": timedelta(minutes=15),
                **({"owner": self.owner} if self.owner else {}),
            },
        ) as dag:
            connections = {"capillary_conn_id": self.capillary_conn_id, "ledger_conn_id": self.ledger_conn_id}
            extract = PlanCampaignOperator(task_id="extract_eligible_customers", badge_campaign=self, retries=5)
            submit = IssueBadgeOperator(
                task_id="submit",
                plan=extract.output,
                on_auto_approved=self.policies.on_auto_approved,
                in_flight=self.in_flight,
                deferrable=self.deferrable,
                retries=5,
                **connections,
            )
            wait = BadgeRequestSensor(
                task_id="wait",
                requests=extract.output,
                policy=self.policies,
                timeout=self.deadline,
                poll_interval_s=self.poll_interval_s,
                settle_every=self.settle_every,
                deferrable=self.deferrable,
                mode="poke" if self.deferrable else "reschedule",
                poke_interval=self.poll_interval_s,
                # It looks anew for days: deaths of workers that are no fault of its own shall not use them up.
                retries=10,
                **connections,
            )
            report = ReportBadgesOperator(
                task_id="report",
                plan=extract.output,
                policy=self.policies,
                ledger_conn_id=self.ledger_conn_id,
                # Whatever became of the others: it judges by the ledger, and gives back what was not sent.
                trigger_rule=TriggerRule.ALL_DONE,
                asset=Asset(name=f"badges_{self.name}", uri=f"capillary://badges/{self.name}"),
                retries=5,
            )
            extract >> submit >> wait >> report
            dag.add_result(report.output)
        dag.fileloc = str(self._file)
        return dag

    def _timetable(self) -> Any:  # noqa: ANN401 - Airflow's union of schedules names types of its core
        if isinstance(self.schedule, str) and self.schedule != "@once":
            return CronTriggerTimetable(self.schedule, timezone=self.timezone)
        return self.schedule

    def _callbacks(self) -> list[Callback] | None:
        given = self.on_failure_callback
        return None if given is None else [given] if callable(given) else list(given)


class PlanCampaignOperator(PlanBadgesOperator):
    """Plan one run of a campaign, as its fields and the trigger form say."""

    arguments = CampaignArguments

    def __init__(self, *, badge_campaign: BadgeCampaign, **kwargs: Any) -> None:  # noqa: ANN401 - any operator's
        super().__init__(
            sql=badge_campaign._query,  # noqa: SLF001 - the other half of this module
            parameters=deepcopy(dict(badge_campaign.parameters)),  # a list may be changed after this DAG was made
            occasion=badge_campaign.when.pattern,
            badge_id=badge_campaign.badge_id,
            owner_type=badge_campaign.owner_type,
            reference_id=badge_campaign.reference_id,
            entity=asdict(entity_of(badge_campaign.entity)),
            shared_occasion=badge_campaign.shared_occasion,
            customers_per_request=badge_campaign.customers_per_request,
            customer_cap=badge_campaign.max_customers_per_run,
            canary=badge_campaign.canary,
            guards=badge_campaign.guards,
            dry_run=not badge_campaign.live,
            preflight=badge_campaign.preflight,
            capillary_conn_id=badge_campaign.capillary_conn_id,
            warehouse_conn_id=badge_campaign.warehouse_conn_id,
            ledger_conn_id=badge_campaign.ledger_conn_id,
            **kwargs,
        )
        self.badge_campaign = badge_campaign

    def execute(self, context: Context) -> dict[str, int | bool | str | None]:
        """Plan, and return the reference."""
        campaign = self.badge_campaign
        with airflow_failures():
            form = TriggerForm.read(context["params"], context["dag_run"].conf)
            occasion = self._resolve(context, form)
        if not campaign.live and not form.dry_run:
            self.log.warning("%s is not live: a dry run, whatever the trigger form says", campaign.name)
        caps = [cap for cap in (campaign.max_customers_per_run, form.customer_cap) if cap is not None]
        self.occasion = occasion.name
        self.parameters = self.values_for(occasion)
        self.is_dry_run = form.dry_run or not campaign.live
        self.customer_cap = min(caps, default=None)
        self.retry_outcomes = form.retry_outcomes
        self.canary = form.canary
        self.override_guards = form.override_guards
        self.note = form.note
        return super().execute(context)

    def occasion_name(self) -> str:
        """Return the occasion: its pattern until a run has resolved it."""
        return self.occasion or self.badge_campaign.when.pattern

    def values_for(self, occasion: ResolvedOccasion) -> dict[str, object]:
        """Return the values of the query's names: the campaign's own, and those of a run for this occasion."""
        return {
            **(self.parameters or {}),
            "badge_id": self.badge_id,
            "occasion": occasion.name,
            "period_start": occasion.period_start,
            "period_end": occasion.period_end,
        }

    def _resolve(self, context: Context, form: TriggerForm) -> ResolvedOccasion:
        when = self.badge_campaign.when
        if form.occasion_day is None:
            run = context["dag_run"]
            # Runs by hand or by an asset may have no logical date.
            return when.resolve(run.logical_date or run.run_after)
        if not when.recurs:
            remedy = "Give no day, or put {day}, {week} or {month} into the campaign's occasion"
            wrong = WrongField("occasion_day", f"the occasion {when.pattern!r} is one for ever", remedy)
            raise TriggerFormInvalid("Trigger form, ", [wrong])
        return when.resolve_day(form.occasion_day)


def _facts(campaign: BadgeCampaign) -> str:
    """Return the campaign's facts as a Markdown table."""
    guards, when = campaign.guards, campaign.when
    limits = {
        "customers per request": campaign.customers_per_request,
        "customers per run": campaign.max_customers_per_run,
        "requests per run": guards.max_requests,
        "requests open": guards.max_open_requests,
    }
    entity = asdict(entity_of(campaign.entity))
    shared = ", shared with other campaigns" if campaign.shared_occasion or campaign.occasion is None else ""
    facts = {
        "badge": f"`{campaign.badge_id}`",
        "on behalf of": f"{campaign.owner_type} {campaign.reference_id}; {_joined(entity)}",
        "occasion": f"`{when.pattern}`, {f'in {when.timezone}' if when.recurs else 'once and for ever'}{shared}",
        "schedule": _schedule_words(campaign.schedule, campaign.timezone),
        "mode": "live" if campaign.live else "not live: every run is a dry run",
        "at most": _joined({name: most for name, most in limits.items() if most is not None}),
        "decision within": str(campaign.deadline).removesuffix(", 0:00:00"),
        "query": "in the DAG file" if any(map(str.isspace, campaign.sql)) else f"`{campaign.sql}`",
        "connections": f"{campaign.capillary_conn_id}, {campaign.warehouse_conn_id}, {campaign.ledger_conn_id}",
    }
    rows = [f"| {name} | {fact.replace('|', chr(92) + '|')} |" for name, fact in facts.items()]
    return "\n".join(["| fact | |", "|---|---|", *rows])


def _joined(named: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in named.items())


def _schedule_words(schedule: Schedule | None, timezone: str) -> str:
    if schedule is None:
        return "by hand only"
    if isinstance(schedule, str):
        return f"`{schedule}`, in {timezone}"
    if isinstance(schedule, Asset):
        return f"when the asset {schedule.name} is updated"
    if isinstance(schedule, Collection):
        return f"when these assets are updated: {', '.join(getattr(each, 'name', str(each)) for each in schedule)}"
    return str(schedule) if isinstance(schedule, timedelta) else type(schedule).__name__
