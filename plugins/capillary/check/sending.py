"""What would keep a live run from sending what it has planned: a switch, another account, what the ledger has seen."""

from __future__ import annotations

from collections.abc import Iterator

from capillary.api.settings import PlatformSettings
from capillary.check.answers import Answers
from capillary.check.finding import Finding, Verdict
from capillary.check.plans import Planning, Sending
from capillary.engine.may_send import assert_account_decides_by_humans, assert_nothing_unknown
from capillary.engine.verdict import OnFinding
from capillary.errors import CapillaryError
from capillary.hooks import ledger_url_of
from capillary.ledger.database import Ledger
from capillary.ledger.opening import DATABASE_ERRORS, broke_off


def sending_findings(sending: Sending, answers: Answers) -> Iterator[Finding]:
    """Yield why a live run would be refused, as far as the connections tell."""
    task, where = sending.task, sending.where
    settings = answers.platforms.get(task.capillary_conn_id)
    if settings is None or not _is_text(task.ledger_conn_id):
        return  # the connection's own finding says why
    if not settings.submitting:
        words = (
            f"a live run would be refused: submitting is switched off in connection {task.capillary_conn_id!r}. Switch "
            "it on there, or leave the campaign not live"
        )
        yield Finding(Verdict.FAILS, where, "submitting", words)
    if sending.planning is not None and sending.planning.task is not task:
        yield from _elsewhere(sending, sending.planning, answers, settings)
    if task.ledger_conn_id in answers.ledgers:
        yield from _ledger(sending, settings)


def _is_text(conn_id: object) -> bool:
    return isinstance(conn_id, str)


def _elsewhere(sending: Sending, planning: Planning, answers: Answers, settings: PlatformSettings) -> Iterator[Finding]:
    """Yield that a task sends by other connections than those by which its plan was made."""
    task, plans = sending.task, planning.task
    planned_for = answers.platforms.get(plans.capillary_conn_id)
    if planned_for is not None and planned_for.account != settings.account:
        words = (
            f"the plan of {plans.task_id!r} is for {planned_for.account} (connection {plans.capillary_conn_id!r}), and "
            f"{task.task_id!r} would send to {settings.account} (connection {task.capillary_conn_id!r}). Give both the "
            "same capillary_conn_id"
        )
        yield Finding(Verdict.FAILS, sending.where, "capillary_conn_id", words)
    known = {task.ledger_conn_id, plans.ledger_conn_id} <= answers.ledgers.keys()
    if known and ledger_url_of(task.ledger_conn_id) != ledger_url_of(plans.ledger_conn_id):
        words = (
            f"task {plans.task_id!r} writes its plan into {plans.ledger_conn_id!r}, and {task.task_id!r} looks for it "
            f"in {task.ledger_conn_id!r}. Give both the same ledger_conn_id"
        )
        yield Finding(Verdict.FAILS, sending.where, "ledger_conn_id", words)


def _ledger(sending: Sending, settings: PlatformSettings) -> Iterator[Finding]:
    """Yield what the ledger has seen of the account that keeps every run from sending."""
    task = sending.task
    try:
        with Ledger(ledger_url_of(task.ledger_conn_id)) as ledger, ledger.read() as tx:
            assert_nothing_unknown(tx, settings)
            if OnFinding(task.on_auto_approved) is OnFinding.FAIL:
                assert_account_decides_by_humans(tx, settings.account)
    except CapillaryError as error:
        yield Finding(Verdict.FAILS, sending.where, "sending", f"a live run would be refused: {error}")
    except DATABASE_ERRORS as error:
        yield Finding(Verdict.FAILS, sending.where, "sending", str(broke_off(error)))
