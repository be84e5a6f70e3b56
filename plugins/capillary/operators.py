"""Operators: plan who gets a badge, submit the requests, report how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

from capillary.airflow_errors import PlanMissing, airflow_failures
from capillary.airflow_run import clears_of
from capillary.arguments import InlineArguments, QueryArguments, ReportArguments, SendingArguments
from capillary.base_operator import RUN_LEASE, PlanningOperator, planning_defaults
from capillary.checked_operator import CheckedOperator, given_to
from capillary.connections.warehouse import database_engine_of
from capillary.counted import counted
from capillary.engine.given_back import to_do
from capillary.engine.hold import Waits
from capillary.engine.next_run import why_nobody
from capillary.engine.polling import FRESH, QUIET_S, Event
from capillary.engine.remedies import advice, meaning_of
from capillary.engine.submit import IN_FLIGHT, stop_look, submit_run
from capillary.engine.verdict import Facts, OnFinding, Policy, Verdict, judge
from capillary.engine.warehouse import read_rows
from capillary.hooks import source_past_the_form
from capillary.ledger.canary import next_waits_for, open_canary
from capillary.ledger.database import Ledger
from capillary.ledger.given_back import given_back
from capillary.ledger.occasion_now import occasion_now
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.reports import FailureCount, Funnel, failures, funnel, is_proven
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.status import Outcome
from capillary.lost_xcom import plan_of_context, planning_task_of
from capillary.plan_preview import PREVIEW
from capillary.plan_reference import PlanReference, nothing_to_do
from capillary.templating.query import QueryTemplate
from capillary.triggers import SubmitTrigger, said_by
from capillary.wiring import open_ledger, open_sender
from capillary.wrong_fields import WrongField

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Where there is no triggerer, a waiting submit looks at the list again after so long at the latest.
RESCHEDULED_WITHIN: Final = timedelta(minutes=2)
#: Airflow ends a deferral so long after its trigger should have called, should that be gone by then.
_BACKSTOP: Final = timedelta(hours=2)
#: After a failure that passes, where nobody looks whether it has.
_WHILE_AWAY: Final = timedelta(minutes=1)


class PlanBadgesOperator(QueryTemplate, PlanningOperator):
    """Plan the customers that a query finds: stream, validate, judge the guards, commit last.

    Returns a reference to the plan and its counts (`capillary.plan_reference.PlanReference`). If the task runs again,
    it keeps its plan if a part of it was sent; otherwise it plans again.

    Args:
        sql: one SELECT with a column `customer_id`, or the name of a `.sql` file beside the DAG. Put values into
            `parameters`, which are bound (`:name`); Jinja would write them into the SQL.
        parameters: values for the SQL's `:name`. Default: none.
        occasion: the one time at which a customer may get this badge, at most 200 characters. Default: one time only,
            on the occasion `badge:<badge_id>` that all campaigns of the badge share.
        badge_id: 24 hex digits.
        owner_type: the module on whose behalf the badge is issued, such as `Loyalty`.
        reference_id: the owner's id within that module.
        entity: till, store, zone and concept on whose behalf the request is made.
        campaign: default: the DAG's id.
        shared_occasion: use an `occasion` that another campaign has used, and skip the customers that it took.
        customers_per_request: 1 to 10,000, default 500. The platform documents no maximum; one request is one
            approval.
        customer_cap: most customers of this run, in the query's order, 1 or more; None for all.
        canary: hold the run at ten customers while its configuration is unproven. Default True.
        retry_outcomes: plan customers again whose last attempt ended so: rejected, failed, not_accepted,
            unconfirmed.
        retry_codes: of those, only customers whose last attempt ended with one of these codes of the platform; `none`
            stands for an ending without a code. Default: whatever the code.
        guards: when a plan is refused (`capillary.ledger.guards.Guards`).
        override_guards: True lets the plan pass, because a person has looked at the customers.
        dry_run: count everything, write nothing, submit nothing.
        note: a person's words about this run, at most 4,000 characters, kept in the ledger.
        preflight: check the badge first: it exists, is active and live, and is within its dates. Default True.
        capillary_conn_id, warehouse_conn_id, ledger_conn_id: Airflow connections.

    Raises:
        ArgumentInvalid: arguments cannot be used, each named; at once what is known when the DAG file is read.
    """

    template_fields: Sequence[str] = (*PlanningOperator.template_fields, "sql", "parameters", "warehouse_conn_id")
    text_fields: ClassVar[frozenset[str]] = PlanningOperator.text_fields | {"sql", "warehouse_conn_id"}
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}
    ui_color = "#e8f0fe"
    #: What it takes.
    arguments: ClassVar[type[QueryArguments]] = QueryArguments

    def __init__(
        self,
        *,
        sql: str,
        parameters: Mapping[str, object] | None = None,
        warehouse_conn_id: str = "warehouse",
        **kwargs: Any,  # noqa: ANN401 - the arguments above
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.parameters = parameters
        self.warehouse_conn_id = warehouse_conn_id
        self.check_now(self.arguments)

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan, and return the reference; of a dry run also what a live run would do."""
        with airflow_failures():
            given = self.arguments_of_run(context)
        with airflow_failures(), open_ledger(given.ledger_conn_id) as ledger:
            warehouse = database_engine_of(given.warehouse_conn_id)
            try:
                batches = read_rows(warehouse, given.sql, given.parameters or {})
                reference, preview = self.plan_and_preview(context, ledger, batches, given)
                return reference.to_xcom() | ({PREVIEW: preview.to_xcom()} if preview else {})
            finally:
                warehouse.dispose()

    def arguments_of_run(self, context: Context) -> QueryArguments:  # noqa: ARG002 - of a campaign's runs
        """Return what this run plans with.

        Raises:
            ArgumentInvalid: arguments are missing or wrong.
        """
        return self.read_arguments(self.arguments)


class IssueBadgeOperator(PlanningOperator):
    """Submit ISSUE-BADGE requests to the maker-checker workflow: each planned request once.

    Give either `plan`, or `customers` with the arguments of `PlanBadgesOperator` (all but `sql`). However the task
    ended, it continues from the ledger when it runs again: what was sent is never sent again while in doubt. Waiting is
    not a failure. While doubt holds the rest back, or the platform is away after something was accepted, the task
    defers and continues by itself. It uses a retry only when a try made no progress, so give it some. A stop
    (`python -m capillary stop`) ends it at once, or within a minute or two while deferred. What it had not sent is then
    given back.

    Returns the plan's reference and counts. It is skipped if nothing was planned; a part of a mapped task succeeds.

    Args:
        plan: output of a `PlanBadgesOperator`. With it, planning arguments are refused.
        customers: a list of up to 1,000 platform customer ids, without a query. Not templated, because the UI shows
            what is rendered.
        on_auto_approved: `fail` ends after the first request that the platform executed without a human;
            `warn` and `accept` go on. An `OnFinding` or its text.
        in_flight: most requests under way at once, and most in doubt before the rest waits; 1 to 64, default 8.
        deferrable: wait in the triggerer. Default True; False where there is none: the task is rescheduled.

    Raises:
        ArgumentInvalid: arguments cannot be used, each named; at once what is known when the DAG file is read.
    """

    template_fields: Sequence[str] = (*PlanningOperator.template_fields, "plan")
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        plan: object = None,
        customers: Sequence[int | str] | None = None,
        on_auto_approved: str = OnFinding.FAIL,
        in_flight: int = IN_FLIGHT,
        deferrable: bool = True,
        **kwargs: Any,  # noqa: ANN401 - the arguments above
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.planned_by = planning_task_of(plan)
        self.customers = customers
        self.on_auto_approved = on_auto_approved
        self.in_flight = in_flight
        self.deferrable = deferrable
        # What the DAG's default_args say, the task that plans was told as well.
        beside = () if plan is None else self._beside_a_plan(told=kwargs.get("default_args") or {})
        self.check_now(SendingArguments if customers is None else InlineArguments, *beside)

    def execute(self, context: Context) -> dict[str, int | bool | str | None]:
        """Submit, and return the reference."""
        with airflow_failures():
            reference = self._handed_over() if self.customers is None else self._planned_here(context)
            if reference.plan_id is None or not reference.planned:
                return nothing_to_do(
                    context,
                    reference,
                    "a dry run submits nothing" if reference.is_dry_run else "nothing was planned, nothing to submit",
                )
            if source := source_past_the_form(self.capillary_conn_id):
                self.log.warning(
                    "connection %r comes from %s: the switch Submitting of Airflow's form has no effect on it. To stop "
                    "sending: python -m capillary stop",
                    self.capillary_conn_id,
                    source,
                )
        return self._go_on(reference, context, waiting_since=_rescheduled_since(context), fresh=None)

    def execute_complete(
        self,
        context: Context,
        event: object = None,
        *,
        reference: Mapping[str, int | bool | str | None],
        waiting_since: str,
    ) -> dict[str, int | bool | str | None]:
        """Go on where the trigger called; `reference` and `waiting_since` are what this task handed to itself."""
        fresh = FRESH if said_by(event) is Event.WORK else None
        since = datetime.fromisoformat(waiting_since)
        return self._go_on(PlanReference.parse(reference), context, waiting_since=since, fresh=fresh)

    def _go_on(
        self, reference: PlanReference, context: Context, *, waiting_since: datetime | None, fresh: timedelta | None
    ) -> dict[str, int | bool | str | None]:
        """Submit what is left; return the reference, or leave until there is more to do."""
        if (plan := reference.plan_id) is None:
            raise PlanMissing(reference)
        with airflow_failures(), open_ledger(self.ledger_conn_id) as ledger:
            waits = asyncio.run(self._submit(ledger, plan, waiting_since, fresh, clears=clears_of(context)))
        if waits is None:
            return reference.to_xcom()
        self.log.warning("%s", waits.why)
        since = waiting_since or datetime.now(UTC)
        if self.deferrable:
            self._defer(reference, plan, waits, since)
        raise AirflowRescheduleException(_later(waits, most=RESCHEDULED_WITHIN))  # type: ignore[no-untyped-call] # Airflow's own

    def _defer(self, reference: PlanReference, plan: PlanId, waits: Waits, since: datetime) -> NoReturn:
        self.defer(
            trigger=SubmitTrigger(
                badge_run_id=plan.badge_run_id,
                token=plan.token,
                capillary_conn_id=self.capillary_conn_id,
                ledger_conn_id=self.ledger_conn_id,
                until="" if waits.until is None else waits.until.isoformat(),
                may_end_early=waits.may_end_early,
                in_flight=self.in_flight,
            ),
            method_name="execute_complete",
            kwargs={"reference": reference.to_xcom(), "waiting_since": since.isoformat()},
            timeout=_later(waits, most=timedelta(days=1)) - datetime.now(UTC) + _BACKSTOP,
        )

    def _beside_a_plan(self, *, told: Mapping[str, object]) -> Iterator[WrongField]:
        """Yield what is given beside a plan: the plan was made without it, and nothing would come of it."""
        if self.customers is not None:
            yield WrongField("customers", "there is a plan, too", "Give one of plan and customers")
            return
        for name, default in planning_defaults().items():
            given = given_to(self, name)
            if name not in told and (type(given), given) != (type(default), default):
                yield WrongField(
                    name,
                    "another task made the plan without it, and it would have no effect here",
                    "Give it to the task that plans",
                )

    def _handed_over(self) -> PlanReference:
        reference = PlanReference.parse(self.plan)
        self.read_arguments(SendingArguments)
        return reference

    def _planned_here(self, context: Context) -> PlanReference:
        given = self.read_arguments(InlineArguments)
        with open_ledger(given.ledger_conn_id) as ledger:
            return self.plan_customers(context, ledger, [list(given.customers)], given)

    async def _submit(
        self,
        ledger: Ledger,
        plan: PlanId,
        waiting_since: datetime | None,
        fresh: timedelta | None,
        *,
        clears: int,
    ) -> Waits | None:
        async with open_sender(ledger, self.capillary_conn_id, look=stop_look(ledger, plan)) as sender:
            submitted = await submit_run(
                sender,
                plan,
                lease=RUN_LEASE,
                stop_on_auto_approval=OnFinding(self.on_auto_approved) is OnFinding.FAIL,
                clears=clears,
                in_flight=self.in_flight,
                waiting_since=waiting_since,
                fresh=fresh,
            )
        said = ", ".join(f"{count} {sent}" for sent, count in submitted.counts.items()) or "nothing was left to send"
        self.log.info("requests: %s", said)
        if submitted.counts or submitted.waits is not None:
            return submitted.waits  # a plan that was given back has nothing to send and waits for nothing
        with ledger.read() as tx:
            unsent = given_back(tx, [open_plan(tx, plan)])
        if unsent is not None:
            were = counted(unsent.customers, "customer", "of this plan was", "of this plan were")
            self.log.warning("%s given back unsent, and this task sends nothing to them. %s", were, to_do(unsent))
        return None


def _rescheduled_since(context: Context) -> datetime | None:
    """Return when this task was rescheduled first; None if it was not."""
    if not context.get("task_reschedule_count"):
        return None
    return context["ti"].get_first_reschedule_date(context)


def _later(waits: Waits, *, most: timedelta) -> datetime:
    """Return when to look again where nobody looks in the meantime: between 30 seconds and `most` from now."""
    now = datetime.now(UTC)
    until = now + _WHILE_AWAY if waits.until is None else waits.until
    return now + max(min(until - now, most), timedelta(seconds=QUIET_S))


class ReportBadgesOperator(CheckedOperator):
    """Report how a run ended: verdict, funnel, failures by code. It fails if the verdict is a failure.

    What was planned and never sent is given back, so that a later run may take it. The report is the task's
    `return_value`, also when the task fails.

    Args:
        plan: output of a `PlanBadgesOperator`.
        policy: what counts as a pass.
        asset: updated by a run that passed and was not a dry one, with the counts as the event's `extra`.
        ledger_conn_id: Airflow connection of the ledger.
    """

    template_fields: Sequence[str] = ("plan", "ledger_conn_id")
    text_fields: ClassVar[frozenset[str]] = frozenset({"ledger_conn_id"})
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        plan: object,
        policy: Policy | None = None,
        asset: Asset | None = None,
        ledger_conn_id: str = "badge_ledger",
        **kwargs: Any,  # noqa: ANN401 - what every operator of Airflow takes
    ) -> None:
        if isinstance(asset, Asset):
            # An outlet of its own would be updated by every success, a dry run's too.
            kwargs["outlets"] = [*kwargs.get("outlets", []), AssetAlias(asset.name)]
        super().__init__(**kwargs)
        self.asset = asset
        self.plan = plan
        self.planned_by = planning_task_of(plan)
        self.policy = policy
        self.ledger_conn_id = ledger_conn_id
        self.check_now(ReportArguments)

    def execute(self, context: Context) -> dict[str, object]:
        """Return the report of a passing run."""
        with airflow_failures():
            reference = self._handed_over(context)
            self.read_arguments(ReportArguments, {"plan": reference.to_xcom()})
            plan = reference.plan_id
            verdict, counts, named = self._dry(reference) if plan is None else self._judge(reference, plan)
        report = _report(reference, verdict, counts, named)
        for name, customers in report["funnel"].items():
            self.log.info("%-16s %10s", name, f"{customers:,}")
        if counts.known_elsewhere:
            self.log.info(
                "%s of those known before are known through other campaigns: %s",
                f"{counts.known_elsewhere:,}",
                reference.known_through,
            )
        for said in map(advice, named):
            self.log.warning(
                "%s %s%s: %s; %s",
                counted(said.failure.customers, "customer"),
                said.failure.outcome,
                "" if said.failure.error_code is None else f", code {said.failure.error_code}",
                said.meaning,
                said.to_do,
            )
        if not verdict.passed:
            context["ti"].xcom_push(key="return_value", value=report)
            raise AirflowFailException(verdict.sentence)
        # A run that planned nobody behind a canary is green, and must not look like one that did its work.
        warns = verdict.warned or reference.waits_for_canary
        (self.log.warning if warns else self.log.info)("%s", verdict.sentence)
        if self.asset is not None and not reference.is_dry_run:
            event = context["outlet_events"][AssetAlias(self.asset.name)]
            event.add(self.asset, extra={"sentence": verdict.sentence, **report["funnel"]})
        return report

    def _handed_over(self, context: Context) -> PlanReference:
        if self.plan is None and self.planned_by is not None:
            with open_ledger(self.ledger_conn_id) as ledger:
                return plan_of_context(context, ledger, planned_by=self.planned_by)
        return PlanReference.parse(self.plan)

    def _judge(self, reference: PlanReference, plan: PlanId) -> tuple[Verdict, Funnel, tuple[FailureCount, ...]]:
        with open_ledger(self.ledger_conn_id) as ledger, ledger.write() as tx:
            badge_run_id = open_plan(tx, plan)
            discard_unsent(tx, badge_run_ids=[badge_run_id])
            counts = funnel(tx, badge_run_id)
            named = failures(tx, badge_run_id)
            proven = is_proven(tx, badge_run_id)
            held = why_nobody(open_canary(tx, badge_run_id), proven=proven) if reference.waits_for_canary else None
            facts = Facts(
                counts,
                waiting_reason=held,
                known_through=reference.known_through,
                occasion=None if counts.planned else occasion_now(tx, badge_run_id),
                proven=proven,
                next_waits_for=next_waits_for(tx, badge_run_id),
                given_back=given_back(tx, [badge_run_id]),
            )
        return judge(facts, self.policy or Policy()), counts, named

    def _dry(self, reference: PlanReference) -> tuple[Verdict, Funnel, tuple[FailureCount, ...]]:
        sentence = (
            f"Dry run: {counted(reference.planned, 'customer')} in {counted(reference.requests, 'request')} would be "
            "planned; nothing was written, nothing submitted."
        )
        counts = Funnel(
            eligible=reference.eligible,
            invalid=reference.invalid,
            duplicates=reference.duplicates,
            known_before=reference.known_before,
            known_elsewhere=reference.known_elsewhere,
            over_cap=reference.over_cap,
            planned=reference.planned,
            discarded=0,
            canary=reference.canary,
            outcomes=dict.fromkeys(Outcome, 0),
            open=0,
            requests=reference.requests,
            requests_open=0,
            requests_auto_approved=0,
        )
        return Verdict(passed=True, sentence=sentence), counts, ()


def _report(
    reference: PlanReference, verdict: Verdict, counts: Funnel, named: Sequence[FailureCount]
) -> dict[str, Any]:
    return {
        "verdict": "pass" if verdict.passed else "fail",
        "sentence": verdict.sentence,
        "dry_run": reference.is_dry_run,
        "canary": counts.canary,
        "canary_passed": verdict.canary_passed,
        "waits_for_canary": reference.waits_for_canary,
        "left_over": counts.over_cap,
        "known_through": reference.known_through,
        "requests": counts.requests,
        "funnel": {
            "eligible": counts.eligible,
            "invalid": counts.invalid,
            "duplicates": counts.duplicates,
            "known_before": counts.known_before,
            "known_elsewhere": counts.known_elsewhere,
            "over_cap": counts.over_cap,
            "planned": counts.planned,
            **{str(outcome): customers for outcome, customers in counts.outcomes.items()},
            "discarded": counts.discarded,
            "open": counts.open,
        },
        "failures": [
            {
                "outcome": str(failure.outcome),
                "code": failure.error_code,
                "meaning": meaning_of(failure.error_code),
                "customers": failure.customers,
            }
            for failure in named
        ],
    }
