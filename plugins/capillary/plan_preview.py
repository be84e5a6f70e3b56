"""The plan of a dry run, for whoever reads it in Airflow: plain values beside the reference, and lines of the log.

A dry run writes nothing into the ledger, so Airflow keeps it: `preview` in the output (XCom `return_value`) of the task
that plans. No customer's id is in it; the sample shows at most half of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from capillary.counted import counted
from capillary.ledger.pace import slot_spacing_s
from capillary.ledger.plan import Order, Plan
from capillary.ledger.preview import LastRun, Preview

#: Its place in the output of the task that plans, beside the counts.
PREVIEW: Final = "preview"
#: Calls beside the POSTs: the list before the first of them (a page or more), and the first request read again.
_CALLS_AROUND: Final = 2


@dataclass(frozen=True, slots=True)
class PlanPreview:
    """What a live run would do, and how near the guards are.

    Attributes:
        account, campaign, occasion: whose plan it is.
        customers: in its requests.
        requests: POSTs, each an approval of a human.
        calls: of the platform, at least: the POSTs, the list's first page and a second look.
        minutes: that the calls take at the account's pace, rounded up; 0 where nothing would be sent.
        calls_per_minute: the account's pace.
        preview: guards, the run before, the sample, and how the occasion stood.
    """

    account: str
    campaign: str
    occasion: str
    customers: int
    requests: int
    calls: int
    minutes: int
    calls_per_minute: int
    preview: Preview

    @classmethod
    def of(cls, plan: Plan, order: Order, calls_per_minute: int) -> PlanPreview | None:
        """Return what is shown of a plan; None of one that was kept, since it was made before."""
        if plan.preview is None:
            return None
        calls = plan.requests + _CALLS_AROUND if plan.requests else 0
        return cls(
            account=order.spec.account,
            campaign=order.campaign,
            occasion=order.occasion,
            customers=plan.planned,
            requests=plan.requests,
            calls=calls,
            minutes=math.ceil(calls * slot_spacing_s(calls_per_minute) / 60),
            calls_per_minute=calls_per_minute,
            preview=plan.preview,
        )

    def to_xcom(self) -> dict[str, Any]:
        """Return plain values."""
        values = asdict(self)
        before = values["preview"]["last_run"]
        if before is not None:
            before["planned_at"] = before["planned_at"].isoformat()
        if (mark := values["preview"]["mark"]) is not None:
            mark["counted_at"] = mark["counted_at"].isoformat()
            mark["retry"] = list(mark["retry"])
        values["preview"]["guards"] = list(values["preview"]["guards"])
        values["preview"]["sample"] = list(values["preview"]["sample"])
        return values

    def lines(self) -> Iterator[str]:
        """Yield what the task's log says of it."""
        if self.requests:
            yield (
                f"a live run would send {counted(self.requests, 'request')} to the checker, one approval each: at "
                f"least {counted(self.calls, 'call')}, about {counted(self.minutes, 'minute')} at "
                f"{self.calls_per_minute:,} a minute"
            )
        else:
            yield "a live run would send nothing"
        if self.preview.sample:
            yield f"the first customers, masked: {', '.join(self.preview.sample)}"
        yield _difference(self.preview.customers, self.preview.last_run)
        for guard in self.preview.guards:
            passed = "" if guard.refusal is None else ", past it, and let pass by override_guards"
            yield f"guard {guard.name}: {guard.value:,.4g} of {guard.limit:,.4g}{passed}"


def _difference(customers: int, before: LastRun | None) -> str:
    if before is None:
        return "no earlier run to compare with: none has come so far as to plan a customer"
    change = customers - before.customers
    said = "as many as" if not change else f"{abs(change):,} {'more' if change > 0 else 'fewer'} than"
    return (
        f"the query found {counted(customers, 'customer')}, {said} the last run "
        f"({before.customers:,}, run {before.run_id}, {before.planned_at:%Y-%m-%d %H:%M} UTC)"
    )
