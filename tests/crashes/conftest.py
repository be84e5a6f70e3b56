"""What the cases of a module share: forge, sandbox and an empty ledger; and a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import URL

from tests.crashes.yard import Yard, yard
from tests.postgresql import ServerMissing, running_server


@pytest.fixture(scope="session")
def the_yard() -> Iterator[Yard]:
    with yard() as opened:
        yield opened


@pytest.fixture(scope="session")
def server() -> Iterator[URL]:
    try:
        with running_server() as server:
            yield server.url
    except ServerMissing as error:
        pytest.skip(str(error))
