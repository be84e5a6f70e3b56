"""Real processes over one ledger at once, on SQLite and on PostgreSQL.

Fifty rounds of each are in the long form, `python -m tests.crashes --only races`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import URL

from tests.crashes.installation_factory import InstallationFactory
from tests.crashes.postgresql import empty_ledger
from tests.crashes.races import RACES, Race, migrations, play
from tests.pooler import pooler_or_skip


@pytest.fixture(scope="module")
def pooler(server: URL) -> Iterator[URL]:
    """A PgBouncer before the server; skipped where none can be started, but not in CI."""
    with pooler_or_skip(server) as url:
        yield url


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_on_sqlite(installations: InstallationFactory, race: Race) -> None:
    assert play(installations, race, None) == []


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_on_postgresql(installations: InstallationFactory, server: URL, race: Race) -> None:
    assert play(installations, race, empty_ledger(server, tables=race is not migrations)) == []


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_behind_a_pooler(installations: InstallationFactory, server: URL, pooler: URL, race: Race) -> None:
    empty_ledger(server, tables=race is not migrations)
    assert play(installations, race, pooler) == []
