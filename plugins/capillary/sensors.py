"""The sensor: waits until a human has decided every request of a run, and settles what is decided."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator, BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
)

from capillary.airflow_errors import airflow_failures
from capillary.airflow_run import clears_of
from capillary.api.errors import PlatformUnavailable, ReplyUnreadable
from capillary.arguments import WaitingArguments
from capillary.base_operator import RUN_LEASE
from capillary.checked_operator import CheckedOperator, check
from capillary.counted import counted
from capillary.engine.polling import FRESH, MAX_POLL_INTERVAL_S, QUIET_S, Event
from capillary.engine.verdict import Facts, Policy, judge
from capillary.engine.wait import Advanced, advance
from capillary.errors import CapillaryError, named
from capillary.hooks import CapillaryHook
from capillary.ledger.canary import next_waits_for
from capillary.ledger.database import Ledger
from capillary.ledger.given_back import given_back
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.reports import funnel, is_proven
from capillary.ledger.run_wait import RunWait, run_wait
from capillary.ledger_changes import LEDGER_CHANGES, LONGEST, look_again_at
from capillary.links import CheckerPageLink
from capillary.lost_xcom import plan_of_context, planning_task_of
from capillary.plan_reference import PlanReference, nothing_to_do
from capillary.triggers import BadgeRequestTrigger, said_by
from capillary.wiring import open_ledger, open_sender

if TYPE_CHECKING:
    from airflow.sdk import Context

#: XCom of `wait`: until when a human may decide, in ISO with zone.
DEADLINE: Final = "deadline"
#: Airflow ends a deferral so long after the sensor's own deadline, should its trigger be gone by then.
_BACKSTOP: Final = timedelta(minutes=10)


class BadgeRequestSensor(CheckedOperator, BaseSensorOperator):
    """Wait until every request of a run has left `AdminTask` and every customer of it has an outcome.

    It looks once, then defers. Use `mode="reschedule"` (or `deferrable=False`) if there is no triggerer. Whenever it
    resumes, it settles what is decided and resolves what is in doubt. Clear it at any time: it reads the ledger and
    continues from there. A ledger of another version, as in an update, or one that was moved is looked at again for a
    day, without a retry. Returns the plan's reference with the customers by outcome, or fails with the
    verdict's sentence.

    Args:
        plan: output of an `IssueBadgeOperator` or a `PlanBadgesOperator`.
        policy: what counts as a pass.
        timeout: how long a human may take, counted from the first request sent; a timedelta or seconds, at most 365
            days, default 7 days. Clearing does not start it again.
        poll_interval_s: seconds between the first polls, 10 to 3,600, growing to 15 minutes; default 60.
        settle_every: how often decided requests are settled while the others wait; a timedelta above 0, default 15
            minutes.
        deferrable: wait in the triggerer. Default True.
        soft_fail: Airflow's: skip if the task would fail without a retry, as by its verdict or at its deadline.
        retries: default 3: Airflow may fail a resumed task that did nothing wrong.
        capillary_conn_id, ledger_conn_id: Airflow connections.

    Raises:
        ArgumentInvalid: arguments cannot be used, each named; at once what is known when the DAG file is read.
    """

    template_fields: Sequence[str] = ("plan", "capillary_conn_id", "ledger_conn_id")
    text_fields: ClassVar[frozenset[str]] = frozenset({"capillary_conn_id", "ledger_conn_id"})
    operator_extra_links = (CheckerPageLink(),)
    ui_color = "#fce8e6"

    def __init__(
        self,
        *,
        plan: object,
        policy: Policy | None = None,
        timeout: timedelta | float = timedelta(days=7),
        poll_interval_s: float = 60,
        settle_every: timedelta = timedelta(minutes=15),
        deferrable: bool = True,
        retries: int = 3,
        capillary_conn_id: str = CapillaryHook.default_conn_name,
        ledger_conn_id: str = "badge_ledger",
        **kwargs: Any,  # noqa: ANN401 - what every sensor of Airflow takes
    ) -> None:
        given = {
            "plan": plan,
            "policy": policy,
            "timeout": timeout,
            "poll_interval_s": poll_interval_s,
            "settle_every": settle_every,
            "deferrable": deferrable,
            "capillary_conn_id": capillary_conn_id,
            "ledger_conn_id": ledger_conn_id,
        }
        # Before Airflow has made another number of a timeout.
        check(str(kwargs.get("task_id")), WaitingArguments, given, known_later=self.template_fields)
        super().__init__(timeout=timeout, retries=retries, **kwargs)
        self.plan = plan
        self.planned_by = planning_task_of(plan)
        self.policy = policy
        self.poll_interval_s = poll_interval_s
        self.settle_every = settle_every
        self.deferrable = deferrable
        self.capillary_conn_id = capillary_conn_id
        self.ledger_conn_id = ledger_conn_id
        if self.silent_fail and self.defers:
            raise self.invalid(
                "silent_fail",
                "a sensor that defers does not go on looking after a failure",
                "Leave it out and give retries, or deferrable=False",
            )

    @property
    def defers(self) -> bool:
        """Whether it waits in the triggerer."""
        return self.deferrable and not self.reschedule

    def execute(self, context: Context) -> Any:  # noqa: ANN401 - Airflow's signature
        """Look once, then wait."""
        if not self.defers:
            return super().execute(context)
        with self._softly():
            return self._go_on(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:  # noqa: ANN401 - Airflow's
        """Go on where the trigger called.

        Airflow's own sensor makes a skip of every failure here with `soft_fail`, of those that a retry would end, too:
        requests would stay open with nobody waiting for them.
        """
        with self._softly():
            try:
                return BaseOperator.resume_execution(self, next_method, next_kwargs, context)
            except TaskDeferralTimeout as error:
                raise AirflowSensorTimeout(*error.args) from error

    @contextmanager
    def _softly(self) -> Iterator[None]:
        """Skip where `soft_fail` or `never_fail` says so, alike at the first look and after a deferral.

        With `soft_fail` a failure that Airflow does not retry is a skip; with `never_fail` every failure is.
        """
        try:
            yield
        except AirflowSkipException:
            raise
        except (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"skipped instead of failing: {error}") from error
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException(f"skipped instead of failing: {error}") from error
            raise

    def execute_complete(
        self,
        context: Context,
        event: object = None,
        *,
        reference: Mapping[str, object] | None = None,
        changes_since: str | None = None,
    ) -> dict[str, object]:
        """Go on where the trigger called; the rest is what this task handed to itself.

        Args:
            context: Airflow's.
            event: the trigger's; its moment, where the ledger was being changed.
            reference: the plan, used where the XCom is gone. A task that was deferred by an older version has none.
            changes_since: since when the ledger could not be read for an update or a move, in ISO with zone.
        """
        self.plan = reference if self.plan is None else self.plan
        if changes_since is not None:
            return self._go_on(context, changes_since=datetime.fromisoformat(changes_since))
        return self._go_on(context, fresh=FRESH if said_by(event) is Event.WORK else None)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; done when every customer has an outcome."""
        try:
            ended = self._look(context)
        except LEDGER_CHANGES as error:
            self.log.warning("%s. Nothing was read or written; it is looked at again until the timeout", named(error))
            return PokeReturnValue(is_done=False)
        waits = isinstance(ended, BadgeRequestTrigger)
        return PokeReturnValue(is_done=not waits, xcom_value=None if waits else ended)

    def _go_on(
        self, context: Context, *, fresh: timedelta | None = None, changes_since: datetime | None = None
    ) -> dict[str, object]:
        try:
            ended = self._look(context, fresh=fresh)
        except LEDGER_CHANGES as error:
            self._look_later(error, since=changes_since or datetime.now(UTC))
        if isinstance(ended, BadgeRequestTrigger):
            left = datetime.fromisoformat(ended.deadline) - datetime.now(UTC)
            self.defer(
                trigger=ended,
                method_name="execute_complete",
                kwargs={"reference": PlanReference.parse(self.plan).to_xcom()},
                timeout=max(left, timedelta(0)) + _BACKSTOP,
            )
        return ended

    def _look_later(self, error: CapillaryError, *, since: datetime) -> NoReturn:
        at = look_again_at(error, since=since, first_s=self.poll_interval_s)
        self.defer(
            trigger=DateTimeTrigger(moment=at),
            method_name="execute_complete",
            kwargs={
                "reference": None if self.plan is None else PlanReference.parse(self.plan).to_xcom(),
                "changes_since": since.isoformat(),
            },
            timeout=since + LONGEST - datetime.now(UTC) + _BACKSTOP,
        )

    def _look(self, context: Context, *, fresh: timedelta | None = None) -> dict[str, object] | BadgeRequestTrigger:
        """Bring the run forward; return how it ended, or what to wait with."""
        with airflow_failures(but=LEDGER_CHANGES):
            reference = self._handed_over(context)
            given = self.read_arguments(WaitingArguments)
        if (plan := reference.plan_id) is None or not reference.planned:
            return nothing_to_do(context, reference, "nothing was planned, nothing to wait for")
        with airflow_failures(but=LEDGER_CHANGES), open_ledger(given.ledger_conn_id) as ledger:
            advanced = asyncio.run(self._advance(ledger, plan, fresh, clears=clears_of(context)))
            wait = advanced.wait
            with ledger.read() as tx:
                opened = open_plan(tx, plan)
                counts, proven, now = funnel(tx, opened), is_proven(tx, opened), tx.now
                holding, unsent = next_waits_for(tx, opened), given_back(tx, [opened])
        # What this run found, a restored ledger has sent before it was planned here: nobody waits longer than the run.
        deadline = max(wait.first_sent_at or wait.planned_at, wait.planned_at) + timedelta(seconds=self.timeout)
        self.log.info("%s; deadline %s", wait.sentence(), f"{deadline:%Y-%m-%d %H:%M} UTC")
        # The ledger does not know how long a human may take: the pages of the UI read it here.
        context["ti"].xcom_push(key=DEADLINE, value=deadline.isoformat())
        if said := wait.said_of_checks:
            self.log.warning("%s", said)
        if wait.undecided:
            self._say_where(CapillaryHook(given.capillary_conn_id).get_settings().checker_url)
        only_unsent_left = wait.settled + wait.unsent == wait.requests
        if only_unsent_left or now >= deadline:
            facts = Facts(
                counts,
                deadline_passed=not only_unsent_left,
                waiting_reason=_why(wait),
                proven=proven,
                next_waits_for=holding,
                given_back=unsent,
            )
            return self._ended(reference, facts)
        return self._trigger(plan, deadline, advanced)

    def _say_where(self, checker_url: str) -> None:
        if checker_url:
            self.log.info("the checker decides at %s", checker_url)
        else:
            self.log.info(
                "the checker's page is not known: write its address into Checker's page of connection %r",
                self.capillary_conn_id,
            )
        self.log.info(
            "the platform is looked at again in about %.0f s, then less and less often, up to every %.0f minutes. To "
            "look now, clear this task: nothing is sent again",
            QUIET_S if self.defers else self.poke_interval,
            MAX_POLL_INTERVAL_S / 60,
        )

    def _handed_over(self, context: Context) -> PlanReference:
        if self.plan is None and self.planned_by is not None:
            account = CapillaryHook(self.capillary_conn_id).get_settings().account
            with open_ledger(self.ledger_conn_id) as ledger:
                found = plan_of_context(context, ledger, planned_by=self.planned_by, account=account)
                self.plan = found.to_xcom()
        return PlanReference.parse(self.plan)

    async def _advance(self, ledger: Ledger, plan: PlanId, fresh: timedelta | None, *, clears: int) -> Advanced:
        async with open_sender(ledger, self.capillary_conn_id) as sender:
            try:
                reader = f"run {plan.badge_run_id}, task {uuid.uuid4().hex[:12]}"
                return await advance(sender, plan, reader=reader, lease=RUN_LEASE, clears=clears, fresh=fresh)
            except (PlatformUnavailable, ReplyUnreadable) as error:
                # An outage shall not use the retries up: the deadline ends the wait, and nothing else.
                self.log.error("%s The wait goes on.", error)  # noqa: TRY400 - the sentence says it all
        with ledger.read() as tx:
            return Advanced(run_wait(tx, open_plan(tx, plan)), held_up=True)

    def _ended(self, reference: PlanReference, facts: Facts) -> dict[str, object]:
        """Return the end of a run, or raise its verdict."""
        verdict = judge(facts, self.policy or Policy())
        if not verdict.passed:
            raise (AirflowSensorTimeout if facts.deadline_passed else AirflowFailException)(verdict.sentence)
        (self.log.warning if verdict.warned else self.log.info)("%s", verdict.sentence)
        ended = {str(outcome): customers for outcome, customers in facts.funnel.outcomes.items() if customers}
        return {**reference.to_xcom(), "outcomes": ended}

    def _trigger(self, plan: PlanId, deadline: datetime, advanced: Advanced) -> BadgeRequestTrigger:
        return BadgeRequestTrigger(
            badge_run_id=plan.badge_run_id,
            token=plan.token,
            capillary_conn_id=self.capillary_conn_id,
            ledger_conn_id=self.ledger_conn_id,
            deadline=deadline.isoformat(),
            poll_interval_s=self.poll_interval_s,
            settle_every_s=self.settle_every.total_seconds(),
            ended=advanced.ended,
            doubt_due=advanced.wait.doubt_due,
        )


def _why(wait: RunWait) -> str | None:
    """Return what keeps a run's customers open, besides the checker."""
    unsent = (
        f"{counted(wait.unsent, 'request', 'was', 'were')} never sent; report gives their customers back"
        if wait.unsent
        else None
    )
    return "; ".join(each for each in (unsent, wait.said_of_checks) if each) or None
