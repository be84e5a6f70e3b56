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
from capillary.counted import counted
from capillary.engine.errors import WrongAccount
from capillary.engine.upkeep import Kept, give_back_unsent, keep_account
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
    cannot be used is only logged where another one of the account did all there was to do.

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
        settled = 0
        with airflow_failures(), open_ledger(self.ledger_conn_id) as ledger:
            failed = self._give_back(ledger)
            with ledger.read() as tx:
                open_now = open_accounts(tx)
            for _, connections in groupby(open_now, key=lambda each: each.account):
                kept, errors = self._keep_account(ledger, list(connections))
                settled += sum(each.settled for each in kept)
                # What the last connection could not end waits for one that failed.
                if errors and (not kept or kept[-1].still_in_doubt):
                    failed.extend(errors)
        if failed:
            raise AirflowException("; ".join(failed))
        return settled

    def _give_back(self, ledger: Ledger) -> list[str]:
        """Give back what dead runs have not sent, wherever their connections lead; return what kept it from it."""
        with ledger.read() as tx:
            accounts = sorted({each.account for each in open_accounts(tx)})
        errors = []
        for account in accounts:
            try:
                given_back = give_back_unsent(ledger, account)
            except CapillaryError as error:
                errors.append(self._told(account, error))
                continue
            if given_back:
                self.log.info("%s: %s of dead runs given back", account, counted(given_back, "unsent customer"))
        return errors

    def _told(self, account: str, error: CapillaryError) -> str:
        said = f"{account}: {named(error)}"
        self.log.error("%s", said)
        return said

    def _keep_account(self, ledger: Ledger, connections: list[OpenAccount]) -> tuple[list[Kept], list[str]]:
        """Do one account with each of its connections; return what was done, and what kept the others from it."""
        done, errors = [], []
        for each in connections:
            try:
                kept = asyncio.run(self._keep(ledger, each))
            except CapillaryError as error:
                errors.append(self._told(each.account, error))
                continue
            done.append(kept)
            self.log.info(
                "%s by %s: %s settled, %d still in doubt",
                each.account,
                each.capillary_conn_id,
                counted(kept.settled, "request"),
                kept.still_in_doubt,
            )
        return done, errors

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
