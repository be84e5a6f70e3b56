"""What an operator needs to know in order to plan, and the planning itself."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from capillary.access import platform_client, runtime_of
from capillary.api.request_workflow import Entity, normalise_owner_type
from capillary.engine.extract import plan_rows
from capillary.engine.preflight import assert_fit
from capillary.engine.second_attempt import has_badge
from capillary.errors import TerminalError
from capillary.hooks import CapillaryHook
from capillary.ledger.database import Ledger
from capillary.ledger.occasion import occasion_of_badge
from capillary.ledger.plan import Guards, Order
from capillary.ledger.schema import RETRYABLE, Outcome
from capillary.ledger.spec import Spec
from capillary.links import CheckerPageLink
from capillary.missing_value import reads_like_none
from capillary.occasions import OCCASION_LIMIT, OccasionInvalid, own_name
from capillary.plan_reference import PlanReference
from capillary.query_template import TemplateFailures

if TYPE_CHECKING:
    from airflow.sdk import Context

    from capillary.api.settings import PlatformSettings

#: How long a run counts as alive without a sign of life; badge_upkeep takes over what it left.
RUN_LEASE: Final = timedelta(hours=6)

_BADGE_ID: Final = re.compile(r"[0-9a-f]{24}")


class ArgumentInvalid(TerminalError):
    """An operator's argument is missing or wrong."""

    def __init__(self, *, task_id: str, argument: str, problem: str, remedy: str) -> None:
        self.argument = argument
        super().__init__(f"Task {task_id!r}, argument {argument!r}: {problem}. {remedy}.")


class PlanningOperator(TemplateFailures):
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
        self.guards = guards
        self.override_guards = override_guards
        self.is_dry_run = dry_run  # `dry_run` is a method of every operator
        self.note = note
        self.preflight = preflight
        self.capillary_conn_id = capillary_conn_id
        self.ledger_conn_id = ledger_conn_id

    def plan_customers(self, context: Context, ledger: Ledger, batches: Iterable[Sequence[object]]) -> PlanReference:
        """Plan what the batches hold, after the badge was looked at."""
        settings = CapillaryHook(self.capillary_conn_id).get_settings()
        order = self._order(context, settings)
        if self.preflight:
            asyncio.run(self._assert_badge_fit(settings, ledger))
        plan = plan_rows(
            ledger,
            batches,
            order,
            dry_run=self.is_dry_run,
            without_badge=lambda customers: asyncio.run(self._without_badge(settings, ledger, customers)),
        )
        reference = PlanReference.of(plan)
        self.log.info("approvals needed: %d", plan.requests)
        through = f" ({plan.known_elsewhere} of them through other campaigns: {plan.known_through})"
        self.log.info(
            "%s %s on %s%s: "
            "%d eligible = %d invalid + %d duplicates + %d known before%s + %d over the cap + %d planned",
            "dry run of" if self.is_dry_run else "planned",
            order.occasion,
            settings.account,
            f" ({settings.environment})" if settings.environment else "",
            plan.eligible,
            plan.invalid,
            plan.duplicates,
            plan.known_before,
            through if plan.known_elsewhere else "",
            plan.over_cap,
            plan.planned,
        )
        if plan.kept:
            self.log.info("something of this run's earlier plan was sent: that plan holds, nothing was planned anew")
        if plan.canary and plan.planned:
            self.log.info("canary: the configuration is not proven yet, so this run is held small")
        if plan.waits_for_canary:
            self.log.info("nothing planned: the canary before this run is not decided yet")
        return reference

    def spec_of(self, settings: PlatformSettings) -> Spec:
        """Return what the requests of this operator are built from.

        Raises:
            ArgumentInvalid: an argument is missing or wrong.
        """
        entity = self._checked_entity()
        if not _BADGE_ID.fullmatch(self.badge_id):
            raise self.invalid("badge_id", "it is no badge id", "Give the 24 hex digits of the badge's own page")
        try:
            owner_type = normalise_owner_type(self.owner_type)
        except ValueError as error:
            raise self.invalid("owner_type", str(error), "Give the module that issues the badge") from None
        if not str(self.reference_id or "").strip():
            raise self.invalid("reference_id", "it is missing", "Give it to the operator")
        self._assert_there("reference_id", str(self.reference_id), "Give the owner's id within its module")
        return Spec(
            account=settings.account,
            badge_id=self.badge_id,
            owner_type=owner_type,
            reference_id=str(self.reference_id),
            till_id=entity.till_id,
            store_id=entity.store_id,
            zone_id=entity.zone_id,
            concept_id=entity.concept_id,
            hostname=settings.inner_hostname,
        )

    def _order(self, context: Context, settings: PlatformSettings) -> Order:
        ti = context["ti"]
        map_index = ti.map_index if ti.map_index is not None else -1
        return Order(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id if map_index < 0 else f"{ti.task_id}[{map_index}]",
            capillary_conn_id=self.capillary_conn_id,
            campaign=self.campaign_name(ti.dag_id),
            spec=self.spec_of(settings),
            occasion=self.occasion_name(),
            shared_occasion=self._checked_sharing(),
            customers_per_request=self.customers_per_request,
            cap=self.customer_cap,
            canary=self.canary,
            retry=self._checked_outcomes(),
            guards=self.guards or Guards(),
            override_guards=self.override_guards,
            lease=RUN_LEASE,
            note=self._note(),
        )

    def campaign_name(self, dag_id: str) -> str:
        """Return the campaign's name, in Unicode's composed form: what the operator was given, or else the DAG's id.

        Raises:
            ArgumentInvalid: it is longer than the ledger's column, does not print, or a missing value became it.
        """
        given = unicodedata.normalize("NFC", str(self.campaign or "").strip())
        self._assert_there("campaign", given, "Give a name, or leave it out for the DAG's id")
        if not given.isprintable():
            raise self.invalid("campaign", f"{given[:OCCASION_LIMIT]!r} has signs that do not print", "Leave them out")
        name = given or unicodedata.normalize("NFC", dag_id)
        if len(name) > OCCASION_LIMIT:
            raise self.invalid(
                "campaign",
                f"it is {len(name)} characters long, and the ledger takes {OCCASION_LIMIT}",
                "Give a shorter one; the default is the DAG's id",
            )
        return name

    def occasion_name(self) -> str:
        """Return the occasion: what the operator was given, or else the one that all campaigns of the badge share.

        Raises:
            ArgumentInvalid: what it was given could be taken for a shared one, or does not fit.
        """
        of_badge = occasion_of_badge(self.badge_id)
        if self.occasion is None:
            return of_badge
        given = str(self.occasion).strip()
        if not given:  # a template that came out empty asks for no occasion that lasts for ever
            raise self.invalid("occasion", "it is blank", "Give a name, or None to share the badge's occasion")
        if given == of_badge:
            return given
        try:
            return own_name(given)
        except OccasionInvalid as error:
            raise self.invalid(error.field, error.problem, error.remedy) from None

    def _note(self) -> str | None:
        """Return a person's words; a template that found none gives no note, which is as good as none given."""
        return None if not self.note or reads_like_none(self.note) else self.note

    def _assert_there(self, argument: str, given: str, remedy: str) -> None:
        """Refuse what a template makes of a missing value: it would silently be taken for a value."""
        if reads_like_none(given):
            raise self.invalid(argument, f"{given!r} is what becomes of a value that is missing", remedy)

    def _checked_sharing(self) -> bool:
        if not isinstance(self.shared_occasion, bool):
            raise self.invalid("shared_occasion", "it is neither True nor False", "Give True or False")
        return self.shared_occasion

    def _checked_entity(self) -> Entity:
        remedy = "Give till_id, store_id, zone_id and concept_id, each as text"
        try:
            entity = self.entity if isinstance(self.entity, Entity) else Entity(**(self.entity or {}))
        except (TypeError, ValueError) as error:
            raise self.invalid("entity", str(error), remedy) from None
        for value in (entity.till_id, entity.store_id, entity.zone_id, entity.concept_id):
            self._assert_there("entity", value, remedy)
        return entity

    def _checked_outcomes(self) -> frozenset[Outcome]:
        wanted = frozenset(self.retry_outcomes)
        if unknown := wanted.difference(RETRYABLE):
            raise self.invalid(
                "retry_outcomes",
                f"{', '.join(sorted(unknown))} cannot be asked for again",
                f"Give some of {', '.join(sorted(RETRYABLE))}",
            )
        return frozenset(Outcome(word) for word in wanted)

    async def _assert_badge_fit(self, settings: PlatformSettings, ledger: Ledger) -> None:
        async with platform_client(settings, ledger, runtime_of(threads=False)) as client:
            badge = await client.read_badge(self.badge_id)
        with ledger.read() as tx:
            assert_fit(badge, badge_id=self.badge_id, account=settings.account, now=tx.now)

    async def _without_badge(
        self, settings: PlatformSettings, ledger: Ledger, customers: Mapping[int, datetime | None]
    ) -> list[int]:
        """Return those of the customers whom the platform shows without an enrolment since their first send."""
        self.log.info("looking up the badge of %d customers whose last attempt is unclear", len(customers))
        async with platform_client(settings, ledger, runtime_of(threads=False)) as client:
            return [
                customer
                for customer, sent_at in customers.items()
                if not has_badge(await client.read_issuals(customer, self.badge_id), sent_at=sent_at)
            ]

    def invalid(self, argument: str, problem: str, remedy: str) -> ArgumentInvalid:
        """Return the error that names an argument of this task."""
        return ArgumentInvalid(task_id=self.task_id, argument=argument, problem=problem, remedy=remedy)
