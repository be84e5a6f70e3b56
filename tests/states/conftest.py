"""A ledger to copy from."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.unit.ledger.conftest import migrated


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("states") / "template.db"
    migrated(URL.create("sqlite", database=str(path)))
    return path
