"""What became of a campaign's last run since it ended, for its row: from what the page Badges knows already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from capillary.counted import counted
from capillary.engine.next_run import NOT_PROVEN
from capillary.ledger.canary import speaks_of_canary
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
        return _held(line)
    sentence = str(report.get("sentence", ""))
    proven = "The configuration is proven since." if line.proven and NOT_PROVEN in sentence else ""
    said = [ended_since(funnel, report), proven, _left(line, own, now)]
    aged = any(said) or speaks_of_canary(sentence)  # a request of another run may be settled by now
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


def _held(line: CampaignLine) -> After:
    if line.canary is not None:
        return NOTHING
    if line.proven:
        said = f"The configuration is proven since: {counted(line.last.funnel.over_cap, 'customer')} left."
    else:
        said = "What held it is not open any more, and has proven nothing."
    return After(said, aged=True, held_over=True)
