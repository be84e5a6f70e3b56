"""The DAG that a campaign makes: extract_eligible_customers, submit, wait, report."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from airflow.sdk import DAG, Asset, Context, TriggerRule

from capillary.arguments import CampaignArguments, QueryArguments
from capillary.campaign.dag_arguments import in_zone
from capillary.campaign.errors import CampaignInvalid, TriggerFormInvalid
from capillary.campaign.field_types import entity_of
from capillary.campaign.first_run import begins_at, once_on, timetable_of
from capillary.campaign.model import BadgeCampaign
from capillary.campaign.occasion import ResolvedOccasion
from capillary.campaign.schedule import Schedule
from capillary.campaign.trigger_form import TriggerForm, form_fields
from capillary.default_args import around_a_campaign, of_a_campaign
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from capillary.wrong_fields import WrongField


def dag_of(campaign: BadgeCampaign) -> DAG:
    """Return the campaign's DAG: extract_eligible_customers, submit, wait, report.

    Raises:
        CampaignInvalid: `default_args`, those of a DAG around it or its own, hold arguments of our operators, which
            would not reach them.
    """
    lost = [*around_a_campaign(), *of_a_campaign(campaign.dag_args.get("default_args", {}))]
    if lost:
        raise CampaignInvalid(f"{campaign.file.name}, campaign {campaign.name!r}: ", lost)
    with DAG(schedule=timetable_of(campaign.schedule, campaign.timezone), **_arguments(campaign)) as dag:
        connections = {"capillary_conn_id": campaign.capillary_conn_id, "ledger_conn_id": campaign.ledger_conn_id}
        extract = PlanCampaignOperator(task_id="extract_eligible_customers", badge_campaign=campaign, retries=5)
        submit = IssueBadgeOperator(
            task_id="submit",
            plan=extract.output,
            on_auto_approved=campaign.policy.on_auto_approved,
            in_flight=campaign.in_flight,
            deferrable=campaign.deferrable,
            retries=5,
            **connections,
        )
        wait = BadgeRequestSensor(
            task_id="wait",
            plan=extract.output,
            policy=campaign.policy,
            timeout=campaign.deadline,
            poll_interval_s=campaign.poll_interval_s,
            settle_every=campaign.settle_every,
            deferrable=campaign.deferrable,
            mode="poke" if campaign.deferrable else "reschedule",
            poke_interval=campaign.poll_interval_s,
            # It looks again for days: deaths of workers that are not its own fault shall not use them up.
            retries=10,
            **connections,
        )
        report = ReportBadgesOperator(
            task_id="report",
            plan=extract.output,
            policy=campaign.policy,
            ledger_conn_id=campaign.ledger_conn_id,
            # Whatever became of the others: it judges by the ledger, and gives back what was not sent.
            trigger_rule=TriggerRule.ALL_DONE,
            asset=Asset(name=f"badges_{campaign.name}", uri=f"capillary://badges/{campaign.name}"),
            retries=5,
        )
        extract >> submit >> wait >> report
        dag.add_result(report.output)
    dag.fileloc = str(campaign.file)
    return dag


#: Airflow's word for a run of a backfill.
_BACKFILL: Final = "backfill"
_JINJA: Final = re.compile(r"\{[{%]")


class PlanCampaignOperator(PlanBadgesOperator):
    """Plan one run of a campaign, as its fields and the trigger form say."""

    arguments = CampaignArguments

    def __init__(self, *, badge_campaign: BadgeCampaign, **kwargs: Any) -> None:  # noqa: ANN401 - any operator's
        super().__init__(
            sql=badge_campaign.query,
            parameters=deepcopy(dict(badge_campaign.parameters)),  # a list may be changed after this DAG was made
            occasion=badge_campaign.when.pattern,
            badge_id=badge_campaign.badge_id,
            owner_type=badge_campaign.owner_type,
            reference_id=badge_campaign.reference_id,
            entity=asdict(entity_of(badge_campaign.entity)),
            shared_occasion=badge_campaign.shared_occasion,
            customers_per_request=badge_campaign.customers_per_request,
            customer_cap=badge_campaign.customer_cap,
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

    def arguments_of_run(self, context: Context) -> QueryArguments:
        """Return what this run plans with: the campaign's fields, and what the trigger form says."""
        campaign = self.badge_campaign
        form = TriggerForm.read(context["params"], context["dag_run"].conf)
        occasion = self._resolve(context, form)
        if not campaign.live and not form.dry_run:
            self.log.warning("%s is not live, so this is a dry run, whatever the trigger form says", campaign.name)
        caps = [cap for cap in (campaign.customer_cap, form.customer_cap) if cap is not None]
        of_run = {
            "occasion": occasion.name,
            "parameters": self.values_for(occasion),
            "dry_run": form.dry_run or not campaign.live,
            "customer_cap": min(caps, default=None),
            "retry_outcomes": form.retry_outcomes,
            "retry_codes": form.retry_codes,
            "canary": form.canary,
            "override_guards": form.override_guards,
            "note": form.note,
        }
        return self.read_arguments(self.arguments, of_run)

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
        when, run = self.badge_campaign.when, context["dag_run"]
        if run.run_type == _BACKFILL and (wrong := self._not_for_a_backfill(form)) is not None:
            raise TriggerFormInvalid("Backfill, ", [wrong])
        if form.occasion_day is None:
            # Runs by hand or by an asset may have no logical date.
            return when.resolve(run.logical_date or run.run_after)
        if not when.recurs:
            remedy = "Give no day, or put {day}, {week} or {month} into the campaign's occasion"
            wrong = WrongField("occasion_day", f"the occasion {when.pattern!r} never recurs", remedy)
            raise TriggerFormInvalid("Trigger form, ", [wrong])
        return when.resolve_day(form.occasion_day)

    def _not_for_a_backfill(self, form: TriggerForm) -> WrongField | None:
        """Return why a backfill, which makes a run for each day that has passed, cannot be meant.

        A cap is for one run: where all runs ask alike, a backfill takes as many customers as there are days times it.
        """
        campaign = self.badge_campaign
        if form.occasion_day is not None:
            problem = "all runs of the backfill would plan this one day"
            return WrongField("occasion_day", problem, "Give none: each run has its own day")
        if campaign.when.recurs or _JINJA.search(f"{campaign.query} {campaign.parameters!r}"):
            return None
        return WrongField(
            "occasion",
            f"{campaign.when.pattern!r} never recurs and the query asks the same on every day, so that each run would "
            "take what the one before left",
            "Trigger one run, put {day}, {week} or {month} into the campaign's occasion, or ask for the run's day in "
            "its query, as in {{ ds }}",
        )


def _arguments(campaign: BadgeCampaign) -> dict[str, Any]:
    """Return the arguments of the campaign's DAG: its own, and those that are handed on."""
    doc, given, schedule = campaign.manual, campaign.dag_args, campaign.schedule
    catchup = bool(given.get("catchup"))
    moments = {name: in_zone(given[name], campaign.timezone) for name in ("start_date", "end_date") if given.get(name)}
    return {
        "description": doc.partition("\n")[0] or None,
        "catchup": False,
        "max_active_runs": 16,
        **given,
        **moments,
        "start_date": begins_at(schedule, moments.get("start_date"), catchup=catchup),
        "dag_id": campaign.name,
        "tags": sorted({"badges", *given.get("tags", ())}),
        "params": form_fields(
            live=campaign.live,
            canary=campaign.canary,
            recurs=campaign.when.recurs,
            once_on=once_on(schedule, catchup=catchup),
        ),
        "doc_md": f"{doc}\n\n{_facts(campaign)}",
        "default_args": {
            "retry_delay": timedelta(minutes=1),
            "retry_exponential_backoff": 2,
            "max_retry_delay": timedelta(minutes=15),
            **given.get("default_args", {}),
        },
    }


def _facts(campaign: BadgeCampaign) -> str:
    """Return the campaign's facts as a Markdown table."""
    guards, when = campaign.guards, campaign.when
    limits = {
        "customers per request": campaign.customers_per_request,
        "customer cap": campaign.customer_cap,
        "requests per run": guards.max_requests,
        "requests open": guards.max_open_requests,
    }
    entity = asdict(entity_of(campaign.entity))
    shared = ", shared with other campaigns" if campaign.shared_occasion or campaign.occasion is None else ""
    facts = {
        "badge": f"`{campaign.badge_id}`",
        "on behalf of": f"{campaign.owner_type} {campaign.reference_id}; {_joined(entity)}",
        "occasion": f"`{when.pattern}`, {f'in {when.timezone}' if when.recurs else 'one time only'}{shared}",
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
