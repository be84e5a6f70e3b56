"""How many calls of the day, and how many pauses, each account has: counted where its call slots are taken.

A frozen picture, as 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001f"


def upgrade() -> None:
    """Add the counters; an account that has none yet begins with its next call."""
    op.add_column("badge_pace", sa.Column("counted_on", sa.Date(), comment="the day of both counts, UTC"))
    for name, comment in (
        ("calls", "call slots taken on that day"),
        ("pauses", "pauses asked for on that day: HTTP 429, or Retry-After"),
    ):
        column = sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0"), comment=comment)
        op.add_column("badge_pace", column)
