"""The engine against the sandbox over a real socket, with a ledger in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from capillary.api.settings import PlatformSettings
from capillary.engine import second_look
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from sandbox.server import running_sandbox
from sandbox.settings import SandboxSettings
from tests.laboratory.engine_on_sandbox import EngineOnSandbox, ShiftedClock


@pytest.fixture(autouse=True)
def _short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five seconds of waiting for each run would be most of these tests."""
    monkeypatch.setattr(second_look, "LOOK_AFTER_S", 0.3)


@pytest.fixture
def sandboxed(tmp_path: Path) -> Iterator[EngineOnSandbox]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(url, new=True) as empty:
        create(empty.engine)
    clock = ShiftedClock()
    # The hours that a test lets pass go by for both: a clock of one of them that jumps is another story.
    of_platform = running_sandbox(SandboxSettings(), clock=lambda: clock().timestamp())
    with of_platform as sandbox, Ledger(url, clock=clock) as ledger:
        settings = PlatformSettings(
            base_url=sandbox.url,
            organisation_id="100458",
            login="sandbox-maker",
            password="sandbox-maker",
            calls_per_minute=60_000,
            cluster_timezone="Asia/Kolkata",
            visibility_lag_s=1,
            post_timeout_s=3,
            connect_timeout_s=1,
        )
        yield EngineOnSandbox(ledger, sandbox, settings, clock)
