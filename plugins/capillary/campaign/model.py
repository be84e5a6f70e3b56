"""A campaign: which customers, which badge, on whose behalf, when, within which limits; and the DAG it makes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self

from airflow.sdk import DAG
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from capillary.campaign.dag_arguments import HANDED_ON, DagArgs, in_zone
from capillary.campaign.errors import CampaignInvalid
from capillary.campaign.field_types import (
    SPAN,
    BadgeId,
    Cap,
    ConnId,
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
    Zone,
)
from capillary.campaign.fields import (
    BOUND,
    BOUND_PERIOD,
    Folder,
    Name,
    Parameters,
    Sql,
    calling_frame,
    query_beside,
)
from capillary.campaign.occasion import Occasion
from capillary.campaign.schedule import ScheduleOrNone
from capillary.campaign.sql_file import holds_jinja
from capillary.engine.query_parameters import names_of, problems_of
from capillary.engine.verdict import Policy
from capillary.ledger.guards import Guards
from capillary.ledger.locked_rows import occasion_of_badge
from capillary.wrong_fields import WrongField, meant, shown, wrong_fields

#: What an operator calls a campaign's field, where it is not near.
_OPERATORS_NAMES: Final = {
    "dry_run": "live (dry_run=True is live=False, as by default)",
    "campaign": "name",
    "on_auto_approved": "policy=Policy(on_auto_approved=…)",
    "retry_outcomes": "nothing: it is a field of the trigger form",
    "retry_codes": "nothing: it is a field of the trigger form",
    "override_guards": "nothing: it is a field of the trigger form",
    "note": "nothing: it is a field of the trigger form",
    "timeout": "deadline",
}


class BadgeCampaign(BaseModel):
    """One campaign. `dag()` makes its DAG. The DAG file holds both, and its docstring is the manual in the UI.

    Raises:
        CampaignInvalid: fields are wrong; every one of them is named, with what to give instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    name: Name = Field(description="letters, digits, _ . and -, at most 200; it becomes the DAG's id")
    folder: Folder | None = Field(
        default=None,
        description="the folder of the .sql file: Path(__file__).parent, where another module makes campaigns",
    )
    # Before `sql`: filters of its own change what Jinja the query may hold.
    dag_args: DagArgs = Field(
        default={}, description="a dict of arguments of Airflow's DAG, such as tags, start_date and default_args"
    )
    sql: Sql = Field(description="the name of a .sql file beside this one, or a SELECT")
    badge_id: BadgeId
    owner_type: OwnerType
    reference_id: Reference
    entity: EntityOrMapping
    occasion: Pattern | None = Field(
        default=None, description="text with {day}, {week} or {month} in it; leave unset for a one-time campaign"
    )
    shared_occasion: Flag = Field(
        default=False, description="True to use an occasion of another campaign, and skip the customers that it took"
    )
    timezone: Zone = Field(default="UTC", description="an IANA name; its days count, and the cron's hours")
    schedule: ScheduleOrNone = Field(
        default=None, description="a cron expression, a timedelta, a timetable, an Asset or a list of them, or None"
    )
    live: Flag = Field(default=False, description="True once its dry runs look right; until then every run is one")
    parameters: Parameters = Field(default={}, description="a dict of values for the names (:name) in the SQL")
    customers_per_request: PerRequest = 500
    customer_cap: Cap = None
    guards: SoundGuards = Guards()
    policy: SoundPolicy = Policy()
    canary: Flag = Field(default=True, description="True or False; False takes all customers under an unproven spec")
    preflight: Flag = Field(default=True, description="True or False; False plans without a look at the badge")
    deadline: Span = Field(default=timedelta(days=7), description=f"{SPAN}, for the human's decision")
    poll_interval_s: PollInterval = 60
    settle_every: Span = Field(
        default=timedelta(minutes=15), description=f"{SPAN}, between settling what is decided while the rest waits"
    )
    deferrable: Flag = Field(
        default=True, description="True or False; False wakes a worker at every poll, where there is no triggerer"
    )
    in_flight: InFlight = 8
    capillary_conn_id: ConnId = "capillary"
    warehouse_conn_id: ConnId = "warehouse"
    ledger_conn_id: ConnId = "badge_ledger"

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
            raise CampaignInvalid(
                f"{where}: ", list(map(_in_dag_args, wrong_fields(error, cls.model_fields, _OPERATORS_NAMES)))
            ) from None
        if contradictions := list(campaign.contradictions()):
            raise CampaignInvalid(f"{where}: ", contradictions)
        return campaign

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:  # noqa: ANN401 - pydantic's
        """Make a campaign as always: unchecked fields would submit."""
        return cls(**values)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """Return a campaign with other values in some fields, made again: its query is read and every field checked.

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
        folder = None if self.folder is None else Path(self.folder)
        self._query = query_beside(self.sql, folder, self.dag_args)

    def contradictions(self) -> Iterator[WrongField]:
        """Yield what is wrong between fields that are each right."""
        if self.shared_occasion and self.occasion is None:
            yield WrongField(
                "shared_occasion",
                "without an occasion the campaign shares its badge's with every other one",
                "Leave it out, or give the occasion",
            )
        yield from self._contradictory_dag_args()
        if holds_jinja(self._query):
            return  # Airflow renders the query first; which names it wants then cannot be told here
        given = {*BOUND, *(BOUND_PERIOD if self.when.recurs else ()), *self.parameters}
        for name, what, remedy in problems_of(self._query, self.parameters):
            yield WrongField("parameters", f":{name}: {what}", remedy)
        for wanted in names_of(self._query):
            if wanted in BOUND_PERIOD and wanted not in given:
                yield WrongField(
                    "occasion", f"the query needs :{wanted}", "Give one with {day}, {week} or {month} in it"
                )
            elif wanted not in given:
                said = f"the query needs :{wanted}{meant(wanted, given)}"
                yield WrongField("parameters", said, "Give it a value in parameters")

    def _contradictory_dag_args(self) -> Iterator[WrongField]:
        timeout = self.dag_args.get("dagrun_timeout")
        if timeout is not None and timeout <= self.deadline:
            yield WrongField(
                "dag_args",
                f"dagrun_timeout: Airflow would end a run after {timeout}, and its human has {self.deadline}",
                "Give one above the deadline, or none",
            )
        start, end = self.dag_args.get("start_date"), self.dag_args.get("end_date")
        if start and end and in_zone(end, self.timezone) < in_zone(start, self.timezone):
            yield WrongField(
                "dag_args", f"end_date: {end} is before start_date, and no run would ever start", "Give a later one"
            )
        if not self.dag_args.get("catchup"):
            return
        if not self.when.recurs:
            yield WrongField(
                "dag_args",
                "catchup: it asks for a run of every day that has passed, and the occasion never recurs",
                "Leave it out, or give an occasion with {day}, {week} or {month} in it",
            )
        elif self.schedule is None or self.dag_args.get("start_date") is None:
            yield WrongField(
                "dag_args", "catchup: there is nothing to catch up with", "Give a schedule and a start_date as well"
            )

    @property
    def when(self) -> Occasion:
        """The campaign's occasion, in its time zone; without a pattern its badge's, one time only."""
        return Occasion(self.occasion or occasion_of_badge(self.badge_id), self.timezone)

    @property
    def query(self) -> str:
        """The campaign's SQL: what was given, or what stands in its file."""
        return self._query

    @property
    def file(self) -> Path:
        """The file that names the campaign."""
        return self._file

    @property
    def manual(self) -> str:
        """Markdown for people: `doc_md` of `dag_args`, or else the docstring of the campaign's file."""
        given: str | None = self.dag_args.get("doc_md")
        return self._docstring if given is None else given

    def dag(self) -> DAG:
        """Return the campaign's DAG: extract_eligible_customers, submit, wait, report.

        Raises:
            CampaignInvalid: a DAG around it has default_args that are meant for it and would not reach it, or its own
                hold an argument of an operator.
        """
        from capillary.campaign.dag import dag_of  # noqa: PLC0415 - its tasks know campaigns

        return dag_of(self)


def _in_dag_args(wrong: WrongField) -> WrongField:
    """Return what is said of a field that is none, where it is an argument of Airflow's DAG."""
    if wrong.name in BadgeCampaign.model_fields or wrong.name not in HANDED_ON:
        return wrong
    return WrongField(wrong.name, "it is an argument of Airflow's DAG", "Give it in dag_args")
