"""Whether a run may send at all: whether the ledger knows what stands on the platform, and humans decide there."""

from __future__ import annotations

from capillary.api.outside_text import on_one_line, shell_word
from capillary.api.settings import PlatformSettings
from capillary.counted import counted
from capillary.engine.errors import AutoApproved, HistoryOpen, LedgerBehind
from capillary.engine.given_back import IF_INTENDED, SWITCH_OFF
from capillary.ledger.auto_approval import (
    AutoApproval,
    is_accepted,
    own_auto_approvals,
    sent_after,
    standing_auto_approval,
)
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
            f"sent. {SWITCH_OFF}, then start a new run for those left; if it stops, too, clear its planning task "
            f"with Downstream. {IF_INTENDED}"
        )


def assert_human_decides(tx: Transaction, badge_run_id: OpenPlan, account: str, *, told: int) -> None:
    """Assert that humans decide in the account, or that a person knows of what else was sent there before.

    Args:
        tx: the transaction.
        badge_run_id: the run that sends.
        account: its account.
        told: number of the newest auto-approval of which a person knew who has cleared the run; 0: of none. What was
            sent before that one was seen, and is seen auto-approved only now, is nothing new.
    """
    found = standing_auto_approval(tx, account)
    if found is not None and found.sent_after >= told:
        assert_none_executed(own_auto_approvals(tx, badge_run_id, sent_after=told))
        raise _approved_without_a_human(found, account)


def assert_human_decides_again(tx: Transaction, request_id: int, account: str, *, told: int) -> None:
    """Assert the same of a request that is to be sent again, unless its run accepts auto-approvals.

    What was known at its first send keeps it back no more.

    Args:
        tx: the transaction.
        request_id: the request.
        account: its account.
        told: as for `assert_human_decides`.
    """
    found = standing_auto_approval(tx, account)
    if found is None or found.sent_after < max(told, sent_after(tx, request_id)) or is_accepted(tx, request_id):
        return
    raise _approved_without_a_human(found, account)


def assert_account_decides_by_humans(tx: Transaction, account: str) -> None:
    """Assert of a run to come that no auto-approval of the account would keep it from sending."""
    if (found := standing_auto_approval(tx, account)) is not None:
        raise _approved_without_a_human(found, account)


def _approved_without_a_human(found: AutoApproval, account: str) -> AutoApproved:
    return AutoApproved(
        f"the platform executed request {on_one_line(found.platform_request_id)} of {account} without a human's "
        "approval, and no human has decided any that was sent later: nothing more is sent. "
        f"{SWITCH_OFF}, then clear the run's planning task with Downstream: it sends one request alone "
        f"and looks at it. {IF_INTENDED}"
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
