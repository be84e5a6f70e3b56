"""The campaigns: DAG files in a folder of their own, and the warehouse that they read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from local_airflow.home import DAGS
from sandbox.badges import GOLD_CIRCLE

#: Customers of one request: few, so that a small warehouse makes many requests.
CUSTOMERS_PER_REQUEST = 5
#: Ids of a campaign's customers begin at its number times this: nobody is in two campaigns.
_ID_SPAN = 1_000_000
UPKEEP = "badge_upkeep"

_FILE = '''"""{name}: a campaign of the fire test, an Airflow DAG."""

from datetime import timedelta

from capillary.campaign import BadgeCampaign, Entity, Guards, Policy, Word

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
    policies=Policy(tolerated_failure_share=1.0, on_rejected=Word.ACCEPT, on_unconfirmed=Word.WARN),
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
        path: of the SQLite file, made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE IF NOT EXISTS member (customer_id INTEGER PRIMARY KEY, campaign TEXT)")

    def grow(self, campaign: Campaign, requests: int) -> None:
        """Add customers for so many full requests."""
        with closing(sqlite3.connect(self.path, timeout=30)) as database, database:
            (there,) = database.execute("SELECT count(*) FROM member WHERE campaign = ?", (campaign.name,)).fetchone()
            first = campaign.number * _ID_SPAN + there + 1
            database.executemany(
                "INSERT INTO member VALUES (?, ?)",
                (
                    (customer, campaign.name)
                    for customer in range(first, first + requests * campaign.customers_per_request)
                ),
            )

    def customers(self) -> dict[int, str]:
        """The campaign of every customer."""
        with closing(sqlite3.connect(self.path, timeout=30)) as database:
            return dict(database.execute("SELECT customer_id, campaign FROM member"))
