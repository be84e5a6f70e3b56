"""A ledger to copy from."""

from __future__ import annotations

from pathlib import Path

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import upgrade


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("states") / "template.db"
    with Ledger(f"sqlite:///{path}", check_schema=False) as ledger:
        upgrade(ledger.engine)
    return path
