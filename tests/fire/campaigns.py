"""The campaigns: DAG files in a folder of their own, and the warehouse that they read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    MetaData,
    NullPool,
    Table,
    Text,
    create_engine,
    func,
    insert,
    select,
)

from local_airflow.home import DAGS
from sandbox.badges import GOLD_CIRCLE

#: Customers of one request: few, so that a small warehouse makes many requests.
CUSTOMERS_PER_REQUEST = 5
#: Ids of a campaign's customers begin at its number times this: nobody is in two campaigns.
_ID_SPAN = 1_000_000
UPKEEP = "badge_upkeep"

_METADATA: Final = MetaData()
_MEMBER: Final = Table(
    "member",
    _METADATA,
    Column("customer_id", BigInteger, primary_key=True, autoincrement=False),
    Column("campaign", Text, nullable=False),
)

_FILE = '''"""{name}: a campaign of the fire test, an Airflow DAG."""

from datetime import timedelta

from capillary.campaign import BadgeCampaign, Entity, Guards, Policy, OnFinding

dag = BadgeCampaign(
    name="{name}",
    sql="SELECT customer_id FROM member WHERE campaign = :member_of ORDER BY customer_id",
    parameters={{"member_of": "{name}"}},
    badge_id="{badge_id}",
    owner_type="Loyalty",
    reference_id="{reference_id}",
    entity=Entity(till_id="50001", store_id="7001", zone_id="601", concept_id="501"),
    live=True,
    canary={canary},
    customers_per_request={customers_per_request},
    # A checker's no and an unknown customer are part of the picture: only what needs a person may fail a run.
    policy=Policy(tolerated_failure_share=1.0, on_rejected=OnFinding.ACCEPT, on_unconfirmed=OnFinding.WARN),
    guards=Guards(max_jump=None, max_requests=None, max_open_requests=None),
    deadline=timedelta(seconds={deadline_s}),
    poll_interval_s=10,
    settle_every=timedelta(seconds=45),
).dag()
'''


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign. `number` from 1 tells its customers' ids; `deadline_s` is the human's time in seconds."""

    name: str
    number: int
    canary: bool = False
    deadline_s: int = 86_400
    customers_per_request: int = CUSTOMERS_PER_REQUEST

    def write(self, folder: Path) -> None:
        """Write its DAG file."""
        text = _FILE.format(
            name=self.name,
            badge_id=GOLD_CIRCLE.badge_id,
            reference_id=1000 + self.number,  # a specification of its own, which another campaign cannot prove
            canary=self.canary,
            customers_per_request=self.customers_per_request,
            deadline_s=self.deadline_s,
        )
        (folder / f"{self.name}.py").write_text(text)


def storm_campaigns(count: int) -> list[Campaign]:
    """The storm's campaigns; the last of them begins with a canary."""
    made = [Campaign(f"fire_{number}", number) for number in range(1, count + 1)]
    return [*made[:-1], replace(made[-1], canary=True)]


def write_upkeep(folder: Path) -> None:
    """Copy the housekeeping DAG, every minute in place of every hour."""
    text = (DAGS / f"{UPKEEP}.py").read_text()
    every_minute = text.replace('schedule="@hourly"', 'schedule="* * * * *"')
    if every_minute == text:
        raise ValueError(f"{UPKEEP}.py is not scheduled by '@hourly' any more: change what is replaced here")
    (folder / f"{UPKEEP}.py").write_text(every_minute)


class Warehouse:
    """The customers of every campaign; it only grows.

    Args:
        url: of the database; a SQLite file is made if it is not there, and the table in any.
    """

    def __init__(self, url: URL | str) -> None:
        self._engine = create_engine(url, poolclass=NullPool)
        with self._engine.begin() as conn:
            if conn.dialect.name == "sqlite":
                # Readers go on while it grows.
                conn.exec_driver_sql("PRAGMA journal_mode=WAL")
            _METADATA.create_all(conn)

    def grow(self, campaign: Campaign, requests: int) -> None:
        """Add customers for so many full requests."""
        with self._engine.begin() as conn:
            of_it = select(func.count()).where(_MEMBER.c.campaign == campaign.name)
            first = campaign.number * _ID_SPAN + conn.execute(of_it).scalar_one() + 1
            more = range(first, first + requests * campaign.customers_per_request)
            conn.execute(insert(_MEMBER), [{"customer_id": one, "campaign": campaign.name} for one in more])

    def customers(self) -> dict[int, str]:
        """The campaign of every customer."""
        with self._engine.connect() as conn:
            return {row.customer_id: row.campaign for row in conn.execute(select(_MEMBER))}
