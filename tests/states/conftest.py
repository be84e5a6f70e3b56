"""A ledger to copy from. It has seen the account long ago."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import URL

from capillary.api.settings import PlatformSettings
from capillary.ledger.database import Ledger
from capillary.ledger.history import take_as_read
from tests.states.one_process import START
from tests.unit.ledger.conftest import migrated


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("states") / "template.db"
    settings = PlatformSettings(
        base_url="https://platform.example", organisation_id="100458", login="sandbox-maker", password="sandbox-maker"
    )
    url = migrated(URL.create("sqlite", database=str(path)))
    with Ledger(url, clock=lambda: START) as ledger, ledger.write() as tx:
        take_as_read(tx, settings.account, settings.sender, since=START.date())
    return path
