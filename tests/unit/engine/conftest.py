"""The desk's ledger: a file, copied from one that was migrated once. It has seen the desk's account long ago."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from capillary.ledger.database import Ledger
from capillary.ledger.history import take_as_read
from tests.unit.engine.desk import NOON, Desk
from tests.unit.ledger.conftest import migrated


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("desk") / "ledger.db"
    migrated(URL.create("sqlite", database=str(path)))
    return path


@pytest.fixture
def desk(_migrated: Path, tmp_path: Path) -> Iterator[Desk]:
    now = [NOON]
    with Ledger(f"sqlite:///{shutil.copy(_migrated, tmp_path / 'ledger.db')}", clock=lambda: now[0]) as ledger:
        desk = Desk(ledger, now)
        with ledger.write() as tx:
            take_as_read(tx, desk.settings.account, desk.settings.sender, since=NOON.date())
        yield desk
