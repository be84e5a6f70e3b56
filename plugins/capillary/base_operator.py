"""What an operator needs to know in order to plan, and the planning itself."""

from __future__ import annotations

import asyncio
import inspect
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from capillary.airflow_run import airflow_run_of
from capillary.api.request_workflow import Entity
from capillary.arguments import CampaignArgument, OccasionArguments, PlanningArguments, SpecArguments
from capillary.campaign.field_types import entity_of
from capillary.campaign.occasion import OCCASION_LIMIT
from capillary.checked_operator import CheckedOperator
from capillary.counted import counted
from capillary.engine.plan import plan_rows
from capillary.engine.preflight import assert_fit
from capillary.engine.remedies import code_of
from capillary.engine.second_attempt import has_badge
from capillary.hooks import CapillaryHook
from capillary.ledger.database import Ledger
from capillary.ledger.guards import Guards
from capillary.ledger.locked_rows import SHARED_PREFIX, occasion_of_badge
from capillary.ledger.plan import Order
from capillary.ledger.spec import Spec
from capillary.ledger.status import Outcome
from capillary.links import CheckerPageLink
from capillary.plan_preview import PlanPreview
from capillary.plan_reference import PlanReference
from capillary.templating.query import TemplateFailures
from capillary.wiring import platform_client, runtime_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from capillary.api.settings import PlatformSettings

#: How long a run counts as alive without a sign of life; badge_upkeep takes over what it left.
RUN_LEASE: Final = timedelta(hours=6)


class PlanningOperator(TemplateFailures, CheckedOperator):
    """An operator that plans; its arguments are described at `PlanBadgesOperator`."""

    template_fields: Sequence[str] = (
        "occasion",
        "badge_id",
        "owner_type",
        "reference_id",
        "entity",
        "campaign",
        "note",
        "capillary_conn_id",
        "ledger_conn_id",
    )
    text_fields: ClassVar[frozenset[str]] = frozenset(template_fields) - {"entity"}
    text_mappings: ClassVar[frozenset[str]] = frozenset({"entity"})
    operator_extra_links = (CheckerPageLink(),)

    def __init__(
        self,
        *,
        occasion: str | None = None,
        badge_id: str = "",
        owner_type: str = "",
        reference_id: str = "",
        entity: Entity | Mapping[str, str] | None = None,
        campaign: str | None = None,
        shared_occasion: bool = False,
        customers_per_request: int = 500,
        customer_cap: int | None = None,
        canary: bool = True,
        retry_outcomes: Collection[str] = (),
        retry_codes: Collection[int | str] = (),
        guards: Guards | None = None,
        override_guards: bool = False,
        dry_run: bool = False,
        note: str | None = None,
        preflight: bool = True,
        capillary_conn_id: str = CapillaryHook.default_conn_name,
        ledger_conn_id: str = "badge_ledger",
        **kwargs: Any,  # noqa: ANN401 - what every operator of Airflow takes
    ) -> None:
        super().__init__(**kwargs)
        self.occasion = occasion
        self.badge_id = badge_id
        self.owner_type = owner_type
        self.reference_id = reference_id
        self.entity = entity
        self.campaign = campaign
        self.shared_occasion = shared_occasion
        self.customers_per_request = customers_per_request
        self.customer_cap = customer_cap
        self.canary = canary
        self.retry_outcomes = retry_outcomes
        self.retry_codes = retry_codes
        self.guards = guards
        self.override_guards = override_guards
        self.is_dry_run = dry_run  # `dry_run` is a method of every operator
        self.note = note
        self.preflight = preflight
        self.capillary_conn_id = capillary_conn_id
        self.ledger_conn_id = ledger_conn_id

    def plan_customers(
        self, context: Context, ledger: Ledger, batches: Iterable[Sequence[object]], given: PlanningArguments
    ) -> PlanReference:
        """Plan what the batches hold with the arguments of this run, after the badge was looked at."""
        return self.plan_and_preview(context, ledger, batches, given)[0]

    def plan_and_preview(
        self, context: Context, ledger: Ledger, batches: Iterable[Sequence[object]], given: PlanningArguments
    ) -> tuple[PlanReference, PlanPreview | None]:
        """Do what `plan_customers` does; return what a dry run shows as well, None of a real one."""
        settings = CapillaryHook(given.capillary_conn_id).get_settings()
        order = self._order(context, settings, given)
        if given.preflight:
            asyncio.run(self._assert_badge_fit(settings, ledger, given.badge_id))
        plan = plan_rows(
            ledger,
            batches,
            order,
            dry_run=given.dry_run,
            without_badge=lambda customers: asyncio.run(
                self._without_badge(settings, ledger, customers, given.badge_id)
            ),
        )
        reference = PlanReference.of(plan)
        self.log.info("approvals needed: %s", f"{plan.requests:,}")
        self.log.info(
            "%s %s on %s%s",
            "dry run of" if given.dry_run else "planned",
            order.occasion,
            settings.account,
            f" ({settings.environment})" if settings.environment else "",
        )
        self.log.info("%s", reference.equation())
        if plan.known_elsewhere:
            self.log.info(
                "%s of those known before are known through other campaigns: %s",
                f"{plan.known_elsewhere:,}",
                plan.known_through,
            )
        preview = PlanPreview.of(plan, order, settings.calls_per_minute) if given.dry_run else None
        for line in preview.lines() if preview else ():
            self.log.info("%s", line)
        if plan.kept:
            self.log.info("part of this run's earlier plan was already sent; keeping that plan")
        if plan.canary and plan.planned:
            self.log.info("canary: the configuration is not proven yet, so this run takes few customers")
        if plan.waits_for_canary:
            self.log.info("nothing planned: the configuration is not proven yet, and a request under it is not settled")
        return reference, preview

    def spec_of(self, settings: PlatformSettings) -> Spec:
        """Return what the requests of this operator are built from.

        Raises:
            ArgumentInvalid: an argument is missing or wrong.
        """
        return _spec(self.read_arguments(SpecArguments), settings)

    def campaign_name(self, dag_id: str) -> str:
        """Return the campaign's name, in Unicode's composed form: what the operator was given, or else the DAG's id.

        Raises:
            ArgumentInvalid: it is longer than the ledger's column, does not print, or a missing value became it.
        """
        return self._campaign_name(self.read_arguments(CampaignArgument), dag_id)

    def occasion_name(self) -> str:
        """Return the occasion: what the operator was given, or else the one that all campaigns of the badge share.

        Raises:
            ArgumentInvalid: what it was given could be taken for a shared one, or does not fit.
        """
        return self._occasion_name(self.read_arguments(OccasionArguments))

    def _order(self, context: Context, settings: PlatformSettings, given: PlanningArguments) -> Order:
        ti = context["ti"]
        map_index = ti.map_index if ti.map_index is not None else -1
        return Order(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id if map_index < 0 else f"{ti.task_id}[{map_index}]",
            capillary_conn_id=given.capillary_conn_id,
            campaign=self._campaign_name(given, ti.dag_id),
            spec=_spec(given, settings),
            occasion=self._occasion_name(given),
            shared_occasion=given.shared_occasion,
            customers_per_request=given.customers_per_request,
            cap=given.customer_cap,
            canary=given.canary,
            retry=frozenset(map(Outcome, given.retry_outcomes)),
            retry_codes=frozenset(map(code_of, map(str, given.retry_codes))),
            guards=given.guards or Guards(),
            override_guards=given.override_guards,
            lease=RUN_LEASE,
            note=given.note,
            airflow_run=airflow_run_of(context),
        )

    def _campaign_name(self, given: CampaignArgument, dag_id: str) -> str:
        name = given.campaign or unicodedata.normalize("NFC", dag_id)
        if len(name) > OCCASION_LIMIT:
            raise self.invalid(
                "campaign",
                f"it is {len(name)} characters long, and the ledger takes {OCCASION_LIMIT}",
                "Give a shorter one; the default is the DAG's id",
            )
        return name

    def _occasion_name(self, given: OccasionArguments) -> str:
        of_badge = occasion_of_badge(given.badge_id)
        name = of_badge if given.occasion is None else given.occasion
        if name.startswith(SHARED_PREFIX) and name != of_badge:
            raise self.invalid(
                "occasion",
                f"{name!r} begins like {SHARED_PREFIX!r}, and is the shared one of another badge",
                f"Give another name, or None to share {of_badge!r}",
            )
        return name

    async def _assert_badge_fit(self, settings: PlatformSettings, ledger: Ledger, badge_id: str) -> None:
        async with platform_client(settings, ledger, runtime_of(threads=False)) as client:
            badge = await client.read_badge(badge_id)
        with ledger.read() as tx:
            assert_fit(badge, badge_id=badge_id, account=settings.account, now=tx.now)

    async def _without_badge(
        self, settings: PlatformSettings, ledger: Ledger, customers: Mapping[int, datetime | None], badge_id: str
    ) -> list[int]:
        """Return those of the customers that the platform shows without an enrolment since their first send."""
        self.log.info(
            "reading the badge of %s whose last attempt has no clear outcome", counted(len(customers), "customer")
        )
        async with platform_client(settings, ledger, runtime_of(threads=False)) as client:
            return [
                customer
                for customer, sent_at in customers.items()
                if not has_badge(await client.read_issuals(customer, badge_id), sent_at=sent_at)
            ]


def planning_defaults() -> Mapping[str, object]:
    """Return the arguments of planning with their defaults; the connections, which every task needs, are left out."""
    parameters = inspect.signature(PlanningOperator.__init__).parameters.values()
    return {
        each.name: each.default
        for each in parameters
        if each.default is not each.empty and not each.name.endswith("_conn_id")
    }


def _spec(given: SpecArguments, settings: PlatformSettings) -> Spec:
    entity = entity_of(given.entity)
    return Spec(
        account=settings.account,
        badge_id=given.badge_id,
        owner_type=given.owner_type,
        reference_id=given.reference_id,
        till_id=entity.till_id,
        store_id=entity.store_id,
        zone_id=entity.zone_id,
        concept_id=entity.concept_id,
        hostname=settings.inner_hostname,
    )
