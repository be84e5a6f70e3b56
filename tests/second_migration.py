"""A second migration of the tests' own: an installation whose code, or whose ledger, is one revision ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from alembic.config import Config

from capillary.ledger import migrate, revision

#: Its number.
SECOND: Final = "9002"
#: It adds a column that must have a value, fills it from another one, and indexes it: what a real one would do.
_MIGRATION: Final = """
import sqlalchemy as sa
from alembic import op

revision = "{second}"
down_revision = "{first}"


def upgrade():
    op.add_column("badge_request", sa.Column("rank", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE badge_request SET rank = customers")
    op.create_index("ix_badge_request_rank", "badge_request", ["rank"])
"""


class SecondRelease:
    """Which code this process has: that of now, or that of a release with one more migration.

    Args:
        monkeypatch: takes everything back.
        folder: of the second migration.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self._now: tuple[str, ...] = revision.REVISIONS
        self._config: Callable[[], Config] = migrate.alembic_config
        self._folder = folder
        text = _MIGRATION.format(second=SECOND, first=self._now[-1])
        (folder / f"{SECOND}_rank.py").write_text(text)

    def install(self) -> None:
        """From now on this process has the newer code."""
        newer = (*self._now, SECOND)
        self._set(newer)
        self._monkeypatch.setattr(migrate, "alembic_config", self._with_second)

    def uninstall(self) -> None:
        """From now on this process has the older code again."""
        self._set(self._now)
        self._monkeypatch.setattr(migrate, "alembic_config", self._config)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The newer code for a block."""
        self.install()
        yield
        self.uninstall()

    def _set(self, revisions: tuple[str, ...]) -> None:
        for module in (revision, migrate):
            self._monkeypatch.setattr(module, "REVISIONS", revisions)

    def _with_second(self) -> Config:
        config = self._config()
        first = Path(config.get_main_option("script_location") or "") / "versions"
        config.set_main_option("version_locations", f"{first}:{self._folder}".replace("%", "%%"))
        return config
