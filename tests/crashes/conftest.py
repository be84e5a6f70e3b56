"""What the cases of a module share: a factory of installations, and a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import URL

from tests.crashes.installation_factory import InstallationFactory, installation_factory
from tests.postgresql import ServerMissing, running_server


@pytest.fixture(scope="session")
def installations() -> Iterator[InstallationFactory]:
    with installation_factory() as opened:
        yield opened


@pytest.fixture(scope="session")
def server() -> Iterator[URL]:
    try:
        with running_server() as server:
            yield server.url
    except ServerMissing as error:
        pytest.skip(str(error))
