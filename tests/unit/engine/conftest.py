"""A client that answers by script. Its ledger knows its account, and is a copy of a file that was migrated once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from capillary.ledger.database import Ledger
from capillary.ledger.history import take_as_read
from tests.unit.engine.scripted_client import NOON, ScriptedClient
from tests.unit.ledger.conftest import migrated


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "ledger.db"
    migrated(URL.create("sqlite", database=str(path)))
    return path


@pytest.fixture
def scripted(_migrated: Path, tmp_path: Path) -> Iterator[ScriptedClient]:
    now = [NOON]
    with Ledger(f"sqlite:///{shutil.copy(_migrated, tmp_path / 'ledger.db')}", clock=lambda: now[0]) as ledger:
        scripted = ScriptedClient(ledger, now)
        with ledger.write() as tx:
            take_as_read(tx, scripted.settings.account, scripted.settings.sender, since=NOON.date())
        yield scripted
