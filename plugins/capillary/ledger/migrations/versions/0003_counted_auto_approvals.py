"""Auto-approvals get numbers, so that what was sent, and decided, after one is told without a clock.

A frozen picture, as 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Number what was seen; an account in which a human decided a request since then may send as before."""
    _add()
    op.execute(
        "INSERT INTO badge_auto_approval (account, platform_request_id, sent_after, seen_at) "
        "SELECT o.account, s.platform_request_id, 0, s.terminal_seen_at FROM badge_sighting AS s "
        "JOIN badge_request AS r ON r.id = s.request_id JOIN badge_occasion AS o ON o.id = r.occasion_id "
        "WHERE s.auto_approved AND s.terminal_seen_at IS NOT NULL ORDER BY s.terminal_seen_at, s.platform_request_id"
    )
    op.execute("UPDATE badge_sighting SET human_decided = NOT auto_approved WHERE terminal_seen_at IS NOT NULL")
    _name_the_newest()
    # Who was told is told once more: when that was, by the clock, says nothing in numbers.
    op.drop_column("badge_run", "auto_approval_told_at")


def _name_the_newest() -> None:
    """Have requests name the newest auto-approval of their account that were sent, or decided by a human, after it."""
    seen = sa.table("badge_auto_approval", *map(sa.column, ("id", "account", "seen_at")))
    conn = op.get_bind()
    newest = sa.select(seen.c.account, sa.func.max(seen.c.id), sa.func.max(seen.c.seen_at)).group_by(seen.c.account)
    for account, number, seen_at in conn.execute(newest).all():
        conn.execute(
            sa.text(
                "UPDATE badge_request SET after_auto_approval = :number "
                "WHERE occasion_id IN (SELECT id FROM badge_occasion WHERE account = :account) "
                "AND (first_sent_at > :seen_at OR id IN (SELECT s.request_id FROM badge_sighting AS s "
                "WHERE s.human_decided AND s.terminal_seen_at > :seen_at))"
            ),
            {"account": account, "number": number, "seen_at": seen_at},
        )


def _add() -> None:
    op.create_table(
        "badge_auto_approval",
        sa.Column("id", _id(), nullable=False, comment="in the order in which they were seen"),
        sa.Column("account", _text(255), nullable=False),
        sa.Column("platform_request_id", _text(64), nullable=False),
        sa.Column(
            "sent_after",
            sa.BigInteger(),
            nullable=False,
            comment="newest row that was known when it was sent; 0: none was",
        ),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_badge_auto_approval")),
        sa.UniqueConstraint("platform_request_id", name=op.f("uq_badge_auto_approval_platform_request_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_badge_auto_approval_account_id", "badge_auto_approval", ["account", "id"])
    columns = ["account", "sent_after", "id"]
    op.create_index("ix_badge_auto_approval_account_sent_after", "badge_auto_approval", columns)
    op.add_column(
        "badge_sighting",
        sa.Column(
            "human_decided",
            sa.Boolean(),
            nullable=False,
            server_default=sa.text("false"),
            comment="decided, and the details show a human's decision, or it was rejected",
        ),
    )
    op.add_column(
        "badge_request",
        sa.Column(
            "after_auto_approval",
            sa.BigInteger(),
            comment="the account's newest row of badge_auto_approval when it was first sent; NULL: there was none",
        ),
    )
    op.create_index(
        "ix_badge_request_after_auto_approval",
        "badge_request",
        ["after_auto_approval"],
        sqlite_where=sa.text("after_auto_approval IS NOT NULL"),
        postgresql_where=sa.text("after_auto_approval IS NOT NULL"),
    )
    op.add_column(
        "badge_run",
        sa.Column(
            "accepts_auto_approval",
            sa.Boolean(),
            nullable=False,
            server_default=sa.text("false"),
            comment="its submit goes on after auto-approvals",
        ),
    )
    told = "newest row of badge_auto_approval when its submit failed for it"
    op.add_column("badge_run", sa.Column("auto_approval_told", sa.BigInteger(), comment=told))
    clears = "how often Airflow's run had been cleared then"
    op.add_column("badge_run", sa.Column("clears_when_told", sa.Integer(), comment=clears))


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
