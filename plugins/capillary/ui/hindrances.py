"""What stands in the way of a run that submits, as far as the pages can know: said before anybody orders one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from capillary.api.settings import PlatformSettings
from capillary.counted import counted
from capillary.errors import CapillaryError
from capillary.hooks import CapillaryHook
from capillary.ledger.database import Transaction
from capillary.ledger.stops import WHOLE_ACCOUNT, in_force
from capillary.ledger.unknown_keys import unknown_keys
from capillary.ui.airflow_facts import CampaignDag


@dataclass(frozen=True, slots=True)
class Hindrances:
    """What stands in the way, a sentence each.

    Attributes:
        refuses: because of these a run would fail, or Airflow would not even make it.
        warns: with these it is made, and sends nothing until they are gone.
    """

    refuses: tuple[str, ...] = ()
    warns: tuple[str, ...] = ()


#: Nothing stands in the way.
NONE = Hindrances()


def platform_of(conn_id: str) -> PlatformSettings | None:
    """Return what a connection of the platform says; None where the API server has it not, or it is wrong."""
    try:
        return CapillaryHook(conn_id).get_settings()
    except CapillaryError:
        return None


def hindrances(
    tx: Transaction, dag: CampaignDag, platform: PlatformSettings | None, accounts: frozenset[str]
) -> Hindrances:
    """Return what stands in the way of a run of this campaign.

    Args:
        tx: the transaction.
        dag: of the campaign.
        platform: what its connection says (`platform_of`): asked for before, since a secrets backend may take its time.
        accounts: that its runs have planned for: they count where the connection is not known here.
    """
    of = frozenset({platform.account}) if platform else accounts
    return Hindrances(tuple(_refusals(tx, dag, of)), tuple(_warnings(tx, dag, platform, of)))


def _refusals(tx: Transaction, dag: CampaignDag, accounts: frozenset[str]) -> Iterator[str]:
    if dag.broken:
        yield (
            f"The file of {dag.dag_id} does not load, so Airflow makes no run of it. Correct the file first; its "
            "import error is on Airflow's page Dags."
        )
    for stop in in_force(tx):
        if stop.scope.account in accounts and stop.scope.campaign in {WHOLE_ACCOUNT, dag.dag_id}:
            yield f"Sending is stopped: {stop}. A run now would fail. Resume first, on the page Badges."


def _warnings(
    tx: Transaction, dag: CampaignDag, platform: PlatformSettings | None, accounts: frozenset[str]
) -> Iterator[str]:
    if platform is not None and not platform.submitting:
        yield (
            f"Submitting is off in the connection {dag.connection!r}: the run plans its customers, and sends nothing "
            "until somebody turns it on."
        )
    for account in sorted(accounts):
        if found := {each.key for each in unknown_keys(tx, account)}:
            yield (
                f"The platform holds {counted(len(found), 'request')} of ours for {account} that the ledger does not "
                "know: the run sends nothing until that is cleared. The page Badges says how."
            )
