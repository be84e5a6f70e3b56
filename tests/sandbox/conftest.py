from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from sandbox.app import sandbox_app
from sandbox.platform import Platform
from sandbox.settings import MAKER, SandboxSettings
from tests.sandbox.calling import Caller, Clock, MakeCaller, basic


@pytest.fixture
def sandbox() -> Iterator[MakeCaller]:
    """Makes a sandbox in this process with the settings given."""
    made: list[Platform] = []

    def make(**settings: object) -> Caller:
        clock = Clock()
        platform = Platform(SandboxSettings(**settings), clock=clock)  # type: ignore[arg-type]  # SandboxSettings checks
        made.append(platform)
        transport = httpx.ASGITransport(sandbox_app(platform))
        return Caller(platform, clock, httpx.AsyncClient(transport=transport, base_url="http://sandbox"))

    yield make
    for platform in made:
        platform.close()


@pytest.fixture
def credentials() -> dict[str, str]:
    """The maker's headers, for tests with a client of their own."""
    return {"Authorization": basic(MAKER), "X-CAP-API-AUTH-ORG-ID": "100458"}
