"""When a plan is refused, and how near every guard is.

What a dry run shows as past its limit is what refuses the plan: both are the same readings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass
from sqlalchemy import func, select

from capillary.counted import counted
from capillary.ledger.conditions import is_open
from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_request, badge_run
from capillary.wrong_fields import explained, fields_of

_Multiple: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Requests: TypeAlias = Annotated[int, Field(ge=1)]
_OFF: Final = "or None to switch the guard off"


@checked_dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Guards:
    """What makes a plan be refused. None switches a guard off.

    Attributes:
        min_customers: fewest distinct customers the query may find.
        max_jump: most distinct customers, as a multiple of the campaign's last run.
        max_drop: largest fall against the campaign's last run, a share from 0 to 1.
        max_invalid_share: largest share of rows that are not customer ids, 0 to 1.
        max_requests: most requests (approvals by a human) that one run may need.
        max_open_requests: most requests of the campaign that may be open at once, this run's included.

    Raises:
        FieldsInvalid: a guard cannot be used; every one is named.
    """

    min_customers: Annotated[int, Field(ge=0, description="a whole number of customers, 0 or more")] = 0
    max_jump: Annotated[_Multiple | None, Field(description=f"a multiple, 0 or more, {_OFF}")] = 10.0
    max_drop: Annotated[_Share | None, Field(description=f"a share from 0 to 1, {_OFF}")] = None
    max_invalid_share: Annotated[_Share | None, Field(description=f"a share from 0 to 1, {_OFF}")] = 0.05
    max_requests: Annotated[_Requests | None, Field(description=f"a whole number of requests, 1 or more, {_OFF}")] = 20
    max_open_requests: Annotated[
        _Requests | None, Field(description=f"a whole number of requests, 1 or more, {_OFF}")
    ] = 100

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 - pydantic's
        return explained("Guards(…)", fields_of(cls), lambda: handler(given))


@dataclass(frozen=True, slots=True)
class GuardReading:
    """One guard and how near it is.

    Attributes:
        name: of the field of `Guards`.
        value: what this plan comes to, in the guard's own unit.
        limit: what the guard allows.
        refusal: why the plan is refused, in a clause; None: the guard is kept.
    """

    name: str
    value: float
    limit: float
    refusal: str | None


def guard_readings(
    tx: Transaction,
    guards: Guards,
    *,
    account: str,
    campaign: str,
    rows: int,
    invalid: int,
    distinct: int,
    last: int,
    requests: int,
) -> tuple[GuardReading, ...]:
    """Return how near every guard is that is on and has something to judge.

    Args:
        tx: the transaction that plans.
        guards: the campaign's.
        account: whose campaign.
        campaign: its name.
        rows: of the query.
        invalid: rows that are not customer ids.
        distinct: different customers.
        last: those of the campaign's last run; 0 before the first one.
        requests: approvals that the plan needs.
    """
    still_open = _open_requests(tx, account, campaign) if guards.max_open_requests is not None and requests else 0
    readings = _readings(
        guards,
        rows=rows,
        invalid=invalid,
        distinct=distinct,
        last=last,
        requests=requests,
        still_open=still_open,
    )
    return tuple(readings)


def _readings(
    guards: Guards, *, rows: int, invalid: int, distinct: int, last: int, requests: int, still_open: int
) -> Iterator[GuardReading]:
    least = guards.min_customers
    yield GuardReading(
        "min_customers",
        distinct,
        least,
        f"{counted(distinct, 'customer')}, fewer than min_customers={least}" if distinct < least else None,
    )
    if (share := guards.max_invalid_share) is not None and rows:
        words = f"{invalid:,} of {counted(rows, 'row')} without a customer id, more than max_invalid_share={share:g}"
        yield GuardReading("max_invalid_share", invalid / rows, share, words if invalid / rows > share else None)
    if last:
        if (jump := guards.max_jump) is not None:
            words = (
                f"{counted(distinct, 'customer')} after {last:,} in the campaign's last run, more than "
                f"max_jump={jump:g}×"
            )
            yield GuardReading("max_jump", distinct / last, jump, words if distinct > last * jump else None)
        if (drop := guards.max_drop) is not None:
            words = (
                f"{counted(distinct, 'customer')} after {last:,} in the campaign's last run, a fall of more than "
                f"max_drop={drop:g}"
            )
            fell = max(1 - distinct / last, 0.0)
            yield GuardReading("max_drop", fell, drop, words if distinct < last * (1 - drop) else None)
    if (most := guards.max_requests) is not None:
        words = f"{counted(requests, 'approval')} needed, more than max_requests={most}: raise it, or cap the customers"
        yield GuardReading("max_requests", requests, most, words if requests > most else None)
    if (most := guards.max_open_requests) is not None and requests:
        words = (
            f"{counted(still_open, 'request')} of the campaign {'is' if still_open == 1 else 'are'} open and "
            f"{requests:,} would be added, more than max_open_requests={most}: let the checker decide first"
        )
        after = still_open + requests
        yield GuardReading("max_open_requests", after, most, words if after > most else None)


def _open_requests(tx: Transaction, account: str, campaign: str) -> int:
    return tx.conn.execute(
        select(func.count())
        .select_from(badge_request)
        .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
        .where(badge_run.c.account == account, badge_run.c.campaign == campaign, is_open())
    ).scalar_one()
