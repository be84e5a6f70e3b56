"""Whether a run may send at all: whether the ledger knows what stands on the platform, and humans decide there."""

from __future__ import annotations

from datetime import datetime

from capillary.api.outside_text import on_one_line, shell_word
from capillary.api.settings import PlatformSettings
from capillary.counted import counted
from capillary.engine.errors import AutoApproved, HistoryOpen, LedgerBehind
from capillary.ledger.auto_approval import auto_approval, latest_auto_approved
from capillary.ledger.database import Transaction
from capillary.ledger.history import history
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.spec import has_our_form
from capillary.ledger.unknown_keys import unknown_keys


def assert_none_executed(count: int) -> None:
    """Assert that so many requests of the run were executed without a human are none."""
    if count:
        raise AutoApproved(
            f"the platform executed {counted(count, 'request')} without a human's approval, and no further one was "
            "sent. Switch auto-approval off for ISSUE-BADGE (Member Care, Settings, Request workflows): the next run "
            "stops, too, and sends once it is cleared from its planning task on. Or set on_auto_approved='accept' in "
            "the campaign"
        )


def assert_human_decides(tx: Transaction, badge_run_id: OpenPlan, account: str, *, told_at: datetime | None) -> None:
    """Assert that neither a request of the run nor the account's latest decided one was executed by the platform.

    Args:
        tx: the transaction.
        badge_run_id: the run that sends.
        account: its account.
        told_at: what was seen before, a person was told of.
    """
    found = auto_approval(tx, badge_run_id, account, after=told_at)
    assert_none_executed(found.own)
    _assert_decided_by_human(found.latest, account)


def assert_account_decides_by_humans(tx: Transaction, account: str) -> None:
    """Assert of a run to come that the account's latest decided request was not executed by the platform."""
    _assert_decided_by_human(latest_auto_approved(tx, account, after=None), account)


def _assert_decided_by_human(auto_approved: str | None, account: str) -> None:
    if auto_approved is not None:
        raise AutoApproved(
            f"the platform executed the latest decided request of {account} ({on_one_line(auto_approved)}) without a "
            "human's approval, and nothing more is sent. Switch auto-approval off for ISSUE-BADGE (Member Care, "
            "Settings, Request workflows), then clear the run from its planning task on: it sends one request alone "
            "and looks at it. Or set on_auto_approved='accept' in the campaign"
        )


def assert_may_send(tx: Transaction, settings: PlatformSettings) -> None:
    """Assert that the ledger knows everything of ours on the platform, as far as this account was ever shown it."""
    account = settings.account
    if history(tx, account, settings.sender).read_at is None:
        raise HistoryOpen(
            f"the list of {account} must be read again from its beginning, because it held a request that this ledger "
            "did not know. Nothing is sent before that. submit reads it; if submit has ended, retry the task"
        )
    assert_nothing_unknown(tx, settings)


def assert_nothing_unknown(tx: Transaction, settings: PlatformSettings) -> None:
    """Assert that no credential user of the account was shown a key that the ledger does not know."""
    found = unknown_keys(tx, settings.account)
    if not found:
        return
    own = next((unknown for unknown in found if unknown.sender == settings.sender), None)
    if own is not None and not has_our_form(own.key):
        dark = sum(not has_our_form(unknown.key) for unknown in found)
        raise LedgerBehind(
            f"the platform shows no key of request {on_one_line(own.key)}"
            f"{f' and {dark - 1} more' if dark > 1 else ''}: it may be one of ours that this ledger has forgotten, so "
            "nothing is sent. Look at it on the checker's page. If it is somebody else's, say so: python -m capillary "
            f"ledger import --not-ours {shell_word(own.key)}. If it may be ours, have it rejected; ledger import lists "
            "all of them"
        )
    if own is not None:
        raise LedgerBehind(
            f"the platform holds request {on_one_line(own.key)}, which this ledger does not know: the ledger was "
            "restored or emptied, or a second installation submits for the same organisation. Nothing is sent before "
            "the ledger has learned it: python -m capillary ledger import --dags <folder> --since <day>. If it is "
            "somebody else's, have it rejected, or say so: python -m capillary ledger import --not-ours "
            f"{shell_word(own.key)}"
        )
    other = found[0]
    raise LedgerBehind(
        f"the platform holds request {on_one_line(other.key)}, which this ledger does not know. It was shown to "
        f"another credential user (sender {other.sender}) of {settings.account}; this one is sender {settings.sender}, "
        "and may not be shown it. Nothing is sent by either before the ledger has learned it. With the connection of "
        "that user run its submit again, or import: python -m capillary ledger import --dags <folder> --since <day> "
        "--capillary-conn-id <its connection>. If it is somebody else's, or was rejected and that user is gone, say "
        f"so: python -m capillary ledger import --not-ours {shell_word(other.key)}"
    )
