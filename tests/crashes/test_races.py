"""Real processes over one ledger at once, on SQLite and on PostgreSQL.

Fifty rounds of each, on PostgreSQL without a pooler, are in the long form, `python -m tests.crashes --only races`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import URL

from tests.crashes.installation_factory import InstallationFactory
from tests.crashes.postgresql import empty_ledger
from tests.crashes.races import RACES, Race, migrations, play
from tests.pooler import PoolerMissing, running_pooler


@pytest.fixture(scope="module")
def way_in(server: URL) -> Iterator[URL]:
    """A PgBouncer before the server; the server itself where there is none, but not in CI."""
    try:
        with running_pooler(server) as url:
            yield url
    except PoolerMissing:
        if os.environ.get("CI"):
            raise
        yield server


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_on_sqlite(installations: InstallationFactory, race: Race) -> None:
    assert play(installations, race, None) == []


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_on_postgresql(installations: InstallationFactory, server: URL, way_in: URL, race: Race) -> None:
    """Sessions that change hands between transactions are the harder case."""
    empty_ledger(server, tables=race is not migrations)
    assert play(installations, race, way_in) == []
