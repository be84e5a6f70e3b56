"""What became of a campaign's last run since it ended, for its row: from what the page Badges knows already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from capillary.counted import counted
from capillary.ledger.matters import Kind, Matter
from capillary.ledger.outstanding import RECENT
from capillary.ledger.overview import CampaignLine
from capillary.ui.aftermath import NOTHING, After, ended_since


def after_row(line: CampaignLine, matters: Iterable[Matter], report: Mapping[str, Any], now: datetime) -> After:
    """Return what became of a campaign's last run since it ended; what to do about it is said of its matter.

    Args:
        line: of the ledger, of that run.
        matters: what needs a person now.
        report: what its task `report` has returned; empty where nothing.
        now: by the ledger's clock.
    """
    own = [each for each in matters if (each.account, each.campaign) == (line.last.account, line.last.campaign)]
    funnel = line.last.funnel
    if funnel.canary and not funnel.planned and funnel.over_cap:
        return _held(line, own)
    said = [ended_since(funnel, report), _left(line, own, now)]
    aged = any(said)
    return After(" ".join(filter(None, said)), aged=aged) if aged else NOTHING


def _left(line: CampaignLine, own: Iterable[Matter], now: datetime) -> str:
    """Return how many of those without the badge nobody has asked for again; empty where that is all, or not known."""
    without = sum(each.customers for each in line.failures)
    if not without or line.last.funnel.requests_open or line.last.planned_at < now - RECENT:
        return ""
    run = (line.last.dag_id, line.last.run_id)
    left = sum(each.customers for each in own if each.kind is Kind.FAILED and (each.dag_id, each.run_id) == run)
    if left == without:
        return ""
    return f"Of these {without:,} without the badge {left:,} {'is' if left == 1 else 'are'} left now."


def _held(line: CampaignLine, own: Iterable[Matter]) -> After:
    if line.canary is not None:
        return NOTHING
    passed = next((each for each in own if each.kind is Kind.CANARY_PASSED), None)
    if passed is not None:
        return After(
            f"The canary has passed since: {counted(passed.customers, 'customer')} left.", True, held_over=True
        )
    said = "That canary is decided since, and the configuration is not proven: the next run is a canary again."
    return After(said, aged=True, held_over=True)
