"""The example customers, made row by row from a seed, and what each campaign's query must find among them.

The same number of customers, seed and day give the same rows on every machine. The day moves purchases and
dates only: who is gold does not depend on it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from enum import StrEnum

from sqlalchemy import Table

from sandbox import warehouse_schema as schema

Row = dict[str, object]

#: Ids are spread out, as those of one organisation are on a platform shared by many.
FIRST_CUSTOMER_ID = 300_000_007
CUSTOMER_ID_STEP = 7

FIRST_TILL_ID = 50_001
TILLS = 12
STREAK_DAYS = 3


class Badge(StrEnum):
    """Badges of the sandbox's catalogue."""

    GOLD = "a1b2c3d4e5f60718293a4b5c"
    MONTHLY = "b1b2c3d4e5f60718293a4b5c"
    ARRIVAL = "c1b2c3d4e5f60718293a4b5c"


BADGE_NAMES = {
    Badge.GOLD: "Gold Circle 2026",
    Badge.MONTHLY: "Monthly Streak",
    Badge.ARRIVAL: "New Arrival",
}

#: Statuses of the support page "Fraud customer"; an internal user is somebody testing.
SUSPECTED = ("Marked", "Confirmed", "Reconfirmed", "Internal")
UNSUSPECTED = (None, "Not_Fraud", "NOT-CAPTURED")

#: What partners type where a customer id belongs. None of them is one.
MALFORMED_IDS = (
    None,
    "",
    "   ",
    " 12",
    "1e9",
    "12.0",
    "abc",
    "0",
    "-5",
    "007",
    "NaN",
    "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}",
    str(2**63),
)
#: One malformed id after so many good ones.
MALFORMED_EVERY = 20


@dataclass(slots=True)
class Found:
    """What the queries find in the rows made so far. `_rows` count duplicates, `_eligible` customers."""

    customers: int = 0
    gold_eligible: int = 0
    gold_rows: int = 0
    streak_eligible: int = 0
    arrival_eligible: int = 0
    arrival_rows: int = 0
    arrival_invalid: int = 0


@dataclass(slots=True)
class Batch:
    """Rows to insert, by table, in the order of their keys."""

    users: list[Row] = field(default_factory=list)
    badges_issue: list[Row] = field(default_factory=list)
    slab_change_log: list[Row] = field(default_factory=list)
    bill_lineitems: list[Row] = field(default_factory=list)
    partner_signups: list[Row] = field(default_factory=list)

    def tables(self) -> Iterator[tuple[Table, list[Row]]]:
        """Each table that has rows in this batch."""
        for column in fields(self):
            rows = getattr(self, column.name)
            if rows:
                yield schema.METADATA.tables[column.name], rows


def date_id(day: date) -> int:
    """Key of a day in the dimension `date`: yyyymmdd."""
    return day.year * 10_000 + day.month * 100 + day.day


def dimension_rows(today: date) -> Iterator[tuple[Table, list[Row]]]:
    """The dimensions that do not grow with the customers: days of two years, tills and badges."""
    first, last = date(today.year - 1, 1, 1), date(today.year, 12, 31)
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    yield (
        schema.DATE,
        [
            {"date_id": date_id(day), "date": day.isoformat(), "month": day.strftime("%B"), "year": day.year}
            for day in days
        ],
    )
    yield (
        schema.ZONE_TILL,
        [
            {
                "till_id": FIRST_TILL_ID + number,
                "till": f"till.{number:02}",
                "till_name": f"Till {number:02}",
                "store_id": 7_001 + number // 3,
                "store_name": f"Store {number // 3 + 1}",
                "zone_name": ("North", "South")[number % 2],
                "timezone": "Asia/Kolkata",
            }
            for number in range(TILLS)
        ],
    )
    yield (
        schema.BADGEMETA,
        [
            {
                "badgemetaid": badge.value,
                "badgename": BADGE_NAMES[badge],
                "earntype": "ISSUE_EARN",
                "starton": "2026-01-01",
                "expireson": "2030-12-31",
                "isactive": "true",
            }
            for badge in Badge
        ],
    )


class Generator:
    """Makes the customers of an example warehouse, one batch at a time.

    Args:
        seed: the same seed gives the same customers.
        today: purchases are made in its month, up to it, and in the month before.
    """

    def __init__(self, *, seed: int, today: date) -> None:
        # Two sources: the day may change how many purchases are drawn, and must not change who is gold.
        self._people = random.Random(f"people {seed}")  # noqa: S311 - an example, not a secret
        self._shopping = random.Random(f"shopping {seed}")  # noqa: S311 - same
        self.found = Found()
        month = today.replace(day=1)
        before = month - timedelta(days=1)
        self._this_month = [date_id(month + timedelta(days=day)) for day in range(today.day)]
        self._month_before = [date_id(before - timedelta(days=day)) for day in reversed(range(before.day))]
        self._expiry = date(today.year + 1, 3, 31).isoformat()
        self._today = today
        self._slab_changes = itertools.count(1)
        self._bills = itertools.count(1)
        self._lineitems = itertools.count(1)
        self._signups = itertools.count(1)
        self._good_signups = 0

    def batches(self, customers: int, *, size: int) -> Iterator[Batch]:
        """All the customers, `size` at a time."""
        for start in range(0, customers, size):
            batch = Batch()
            for number in range(start, min(start + size, customers)):
                self._add_customer(batch, FIRST_CUSTOMER_ID + number * CUSTOMER_ID_STEP)
            yield batch

    def _add_customer(self, batch: Batch, customer: int) -> None:
        draw = self._people.random
        till = FIRST_TILL_ID + customer % TILLS
        tier_draw = draw()
        tier = 2 if tier_draw < 0.31 else 1 if tier_draw < 0.60 else 0
        merged, inactive, suspected = draw() < 0.03, draw() < 0.05, draw() < 0.02
        barred = merged or inactive or suspected
        statuses = SUSPECTED if suspected else UNSUSPECTED
        batch.users.append(
            {
                "user_id": customer,
                "customer_external_id": f"EX{customer}",
                "slab_name": ("Bronze", "Silver", "Gold")[tier],
                "slab_number": tier + 1,
                "slab_expiry_date": self._expiry,
                "loyalty_type": "loyalty",
                "source": ("instore", "app", "web")[customer % 3],
                "is_inactive": "true" if inactive else ("false", None)[draw() < 0.01],
                "is_merged_customer": "true" if merged else "false",
                "fraud_status": statuses[int(draw() * len(statuses))],
                "test_control_status": "TEST",
                "registered_till_id": till,
            }
        )
        self.found.customers += 1
        self._add_gold(batch, customer, till, reached_gold=tier == 2, barred=barred)
        self._add_purchases(batch, customer, till, barred=barred)
        self._add_signups(batch, customer, barred=barred)

    def _add_gold(self, batch: Batch, customer: int, till: int, *, reached_gold: bool, barred: bool) -> None:
        if not reached_gold:
            return
        draw = self._people.random
        promotions = 1 + (draw() < 0.08)
        batch.slab_change_log.extend(
            {
                "id": next(self._slab_changes),
                "dim_event_user_id": customer,
                "dim_event_date_id": self._month_before[int(draw() * len(self._month_before))],
                "dim_event_zone_till_id": till,
                "slab_name": "Gold",
            }
            for _ in range(promotions)
        )
        held = self._add_issue(batch, customer, Badge.GOLD, share=0.13)
        if not (barred or held):
            self.found.gold_eligible += 1
            self.found.gold_rows += promotions

    def _add_issue(self, batch: Batch, customer: int, badge: Badge, *, share: float) -> bool:
        """Give that share of customers the badge, a tenth of them a revoked one. True when it is held."""
        lot = self._people.random()
        if lot >= share:
            return False
        held = lot < share * 0.9
        batch.badges_issue.append(
            {
                "badges_issued_id": f"{badge.value[:2]}{customer:022x}",
                "dim_customer_id": customer,
                "dim_badgemeta_id": badge.value,
                "dim_badges_owner_type_id": "Historical_Import",
                "ownerreferenceid": "import",
                "requestid": f"import-{customer % 97}",
                "isactive": "true" if held else "false",
                "dim_createdon_date_id": self._month_before[0],
            }
        )
        return held

    def _add_purchases(self, batch: Batch, customer: int, till: int, *, barred: bool) -> None:
        draw = self._shopping.random
        for month, share in ((self._month_before, 0.1), (self._this_month, 0.2)):
            if draw() >= share:
                continue
            days = {month[int(draw() * len(month))] for _ in range(1 + int(draw() * 5))}
            for day in sorted(days):
                bill = next(self._bills)
                batch.bill_lineitems.extend(
                    {
                        "lineitem_id": next(self._lineitems),
                        "bill_id": bill,
                        "dim_event_user_id": customer,
                        "dim_event_date_id": day,
                        "dim_event_zone_till_id": till,
                    }
                    for _ in range(1 + (draw() < 0.3))
                )
            if month is self._this_month and len(days) >= STREAK_DAYS and not barred:
                self.found.streak_eligible += 1

    def _add_signups(self, batch: Batch, customer: int, *, barred: bool) -> None:
        draw = self._people.random
        if draw() >= 0.08:
            return
        held = self._add_issue(batch, customer, Badge.ARRIVAL, share=0.05)
        signups = 1 + (draw() < 0.06)
        for _ in range(signups):
            self._add_signup(batch, str(customer))
            self._good_signups += 1
            if self._good_signups % MALFORMED_EVERY == 0:
                ordinal = self._good_signups // MALFORMED_EVERY - 1
                self._add_signup(batch, MALFORMED_IDS[ordinal % len(MALFORMED_IDS)])
                self.found.arrival_invalid += 1
                self.found.arrival_rows += 1
        if not (barred or held):
            self.found.arrival_eligible += 1
            self.found.arrival_rows += signups

    def _add_signup(self, batch: Batch, customer_id: str | None) -> None:
        number = next(self._signups)
        batch.partner_signups.append(
            {
                "signup_id": number,
                "partner": ("airline", "bank", "fuel")[number % 3],
                "customer_id": customer_id,
                "signed_up_on": (self._today - timedelta(days=number % 28)).isoformat(),
            }
        )
