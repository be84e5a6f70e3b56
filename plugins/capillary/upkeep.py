"""The tasks of the housekeeping DAG `badge_upkeep`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowException

from capillary.airflow_errors import airflow_failures
from capillary.arguments import KeepingArguments
from capillary.checked_operator import CheckedOperator
from capillary.connections.errors import ConnectionMissing
from capillary.counted import counted
from capillary.engine.errors import WrongAccount
from capillary.engine.upkeep import Kept, give_back_unread, keep_account, say_unsent
from capillary.errors import CapillaryError, named
from capillary.hooks import ledger_url_of
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import upgrade
from capillary.ledger.runs import OpenAccount, open_accounts
from capillary.wiring import open_ledger, open_sender

if TYPE_CHECKING:
    from airflow.sdk import Context


class MigrateLedgerOperator(CheckedOperator):
    """Bring the ledger's schema to the code's version; does nothing where it is, and fails where there is no ledger.

    Args:
        ledger_conn_id: Airflow connection of the ledger.
    """

    template_fields: Sequence[str] = ("ledger_conn_id",)
    text_fields: ClassVar[frozenset[str]] = frozenset({"ledger_conn_id"})

    def __init__(self, *, ledger_conn_id: str = "badge_ledger", **kwargs: Any) -> None:  # noqa: ANN401 - Airflow's
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id
        self.check_now(KeepingArguments)

    def execute(self, context: Context) -> str | None:  # noqa: ARG002 - Airflow's signature
        """Migrate, and return the revision."""
        self.read_arguments(KeepingArguments)
        with airflow_failures(), Ledger(ledger_url_of(self.ledger_conn_id), check_schema=False) as ledger:
            before, after = upgrade(ledger.engine)
        self.log.info("the ledger is at %s%s", after, "" if before == after else f", before at {before}")
        return after


class BadgeUpkeepOperator(CheckedOperator):
    """Bring forward whatever is open in the ledger, whoever planned it: find, settle, resolve doubt, give back.

    Every account is tried with every connection whose runs left something open: a request in doubt is judged by the
    credential user that sent it. The task fails, with retries, if an account could not be done; a connection that
    cannot be used is only logged where another one of the account did all there was to do, or where the ledger holds
    nothing of the account but what dead runs have never sent (`capillary.engine.upkeep`).

    Args:
        ledger_conn_id: Airflow connection of the ledger. The accounts' are those of their runs.
    """

    template_fields: Sequence[str] = ("ledger_conn_id",)
    text_fields: ClassVar[frozenset[str]] = frozenset({"ledger_conn_id"})

    def __init__(self, *, ledger_conn_id: str = "badge_ledger", **kwargs: Any) -> None:  # noqa: ANN401 - Airflow's
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id
        self.check_now(KeepingArguments)

    def execute(self, context: Context) -> int:  # noqa: ARG002 - Airflow's signature
        """Keep house, and return how many requests were settled."""
        self.read_arguments(KeepingArguments)
        settled, failed = 0, list[str]()
        with airflow_failures(), open_ledger(self.ledger_conn_id) as ledger:
            with ledger.read() as tx:
                open_now = open_accounts(tx)
            for account, connections in groupby(open_now, key=lambda each: each.account):
                done, wrong = self._keep_account(ledger, account, list(connections))
                settled += done
                failed += wrong
        if failed:
            raise AirflowException("; ".join(failed))
        return settled

    def _keep_account(self, ledger: Ledger, account: str, connections: list[OpenAccount]) -> tuple[int, list[str]]:
        """Do one account with each of its connections; return how many requests were settled, and what failed."""
        kept, errors = list[Kept](), dict[str, CapillaryError]()
        for each in connections:
            try:
                done = asyncio.run(self._keep(ledger, each))
            except CapillaryError as error:
                errors[each.capillary_conn_id] = error
                continue
            kept.append(done)
            self.log.info(
                "%s by %s: %s settled, %d still in doubt",
                account,
                each.capillary_conn_id,
                counted(done.settled, "request"),
                done.still_in_doubt,
            )
        broken: Sequence[CapillaryError] = kept[-1].broken if kept else ()
        if not kept:
            gone = all(_leads_elsewhere(error, conn_id) for conn_id, error in errors.items())
            unread = give_back_unread(ledger, account) if gone else None
            if unread is None:
                say_unsent(ledger, account)
            else:
                broken, errors = unread, {}
        said = [f"{account}: {named(error)}" for error in errors.values()]
        for each_said in said:
            self.log.error("%s", each_said)
        # What the last connection could not end waits for one that failed.
        failed = said if not kept or kept[-1].still_in_doubt else []
        return sum(each.settled for each in kept), [*failed, *(f"{account}: {named(error)}" for error in broken)]

    async def _keep(self, ledger: Ledger, each: OpenAccount) -> Kept:
        async with open_sender(ledger, each.capillary_conn_id) as sender:
            account = sender.client.settings.account
            if account != each.account:
                raise WrongAccount(
                    f"connection {each.capillary_conn_id!r} now leads to {account}, and requests of "
                    f"{each.account} are open: point it back until they are settled. If the platform has moved, "
                    f"write {each.account.rpartition('/')[0]!r} into its field Account address"
                )
            return await keep_account(sender, reader=f"upkeep {uuid.uuid4().hex[:12]}")


def _leads_elsewhere(error: CapillaryError, conn_id: str) -> bool:
    """Return whether a connection is known to lead to another account, or is gone; a broken one may be repaired."""
    return isinstance(error, WrongAccount) or (isinstance(error, ConnectionMissing) and error.conn_id == conn_id)
