"""The desk's ledger: a file, copied from one that was migrated once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import upgrade
from tests.unit.engine.desk import NOON, Desk


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("desk") / "ledger.db"
    with Ledger(f"sqlite:///{path}", check_schema=False) as ledger:
        upgrade(ledger.engine)
    return path


@pytest.fixture
def desk(_migrated: Path, tmp_path: Path) -> Iterator[Desk]:
    now = [NOON]
    with Ledger(f"sqlite:///{shutil.copy(_migrated, tmp_path / 'ledger.db')}", clock=lambda: now[0]) as ledger:
        yield Desk(ledger, now)
