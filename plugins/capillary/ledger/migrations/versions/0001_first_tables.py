"""The first tables and the views.

A frozen picture: it stays as it is when ``capillary.ledger.schema`` moves on.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001f"
down_revision = None


def upgrade() -> None:
    """Create the tables, their indexes and the views."""
    _create_occasions_and_specs()
    _create_runs()
    _create_requests()
    _create_sightings()
    _create_enrolments()
    _create_account_tables()
    _create_reading_tables()
    _create_stop_and_server()
    _create_views()


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(length: int) -> sa.String:
    # Indexes of a language's order go by the system's libraries, and no longer find what is there when these change.
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _time(name: str, *, nullable: bool = False, comment: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, comment=comment)


def _create_occasions_and_specs() -> None:
    op.create_table(
        "badge_occasion",
        sa.Column("id", _id(), nullable=False),
        sa.Column("account", _text(255), nullable=False, comment="host[:port][/path]/organisation"),
        sa.Column("occasion", _text(200), nullable=False),
        sa.Column("badge_id", _text(24), nullable=False),
        _time("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_badge_occasion")),
        sa.UniqueConstraint("account", "occasion", name=op.f("uq_badge_occasion_account_occasion")),
    )
    op.create_table(
        "badge_spec",
        sa.Column("id", _id(), nullable=False),
        sa.Column("account", _text(255), nullable=False),
        sa.Column("fingerprint", _text(64), nullable=False),
        sa.Column(
            "config",
            sa.Text(),
            nullable=False,
            comment="JSON, without secrets; requests are built from it alone",
        ),
        _time("created_at"),
        _time(
            "proven_at",
            nullable=True,
            comment="a human approved a request under it and somebody was enrolled",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_badge_spec")),
        sa.UniqueConstraint("account", "fingerprint", name=op.f("uq_badge_spec_account_fingerprint")),
    )


def _create_runs() -> None:
    op.create_table(
        "badge_run",
        sa.Column("id", _id(), nullable=False),
        sa.Column("account", _text(255), nullable=False),
        sa.Column("campaign", _text(200), nullable=False),
        sa.Column("token", _text(32), nullable=False, comment="random; a row number comes back after a restore"),
        sa.Column("dag_id", _text(250), nullable=False),
        sa.Column("run_id", _text(250), nullable=False),
        sa.Column(
            "task_id",
            _text(270),
            nullable=False,
            comment="of the planning task; with [n] when it is mapped",
        ),
        sa.Column("capillary_conn_id", _text(250), nullable=False),
        sa.Column("occasion_id", _id(), nullable=False),
        sa.Column("spec_id", _id(), nullable=False),
        sa.Column("eligible", sa.BigInteger(), nullable=False, comment="rows of the query"),
        sa.Column("invalid", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("known_before", sa.BigInteger(), nullable=False),
        sa.Column(
            "known_elsewhere",
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text("0"),
            comment="of known_before: through other campaigns",
        ),
        sa.Column("over_cap", sa.BigInteger(), nullable=False),
        sa.Column("planned", sa.BigInteger(), nullable=False),
        sa.Column("discarded", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("canary", sa.Boolean(), nullable=False),
        sa.Column("note", sa.Text()),
        _time("planned_at"),
        _time("alive_until", comment="renewed by the run's tasks and trigger"),
        _time(
            "auto_approval_told_at", nullable=True, comment="when its submit last failed because of an auto-approval"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_badge_run")),
        sa.ForeignKeyConstraint(["occasion_id"], ["badge_occasion.id"], name=op.f("fk_badge_run_occasion_id")),
        sa.ForeignKeyConstraint(["spec_id"], ["badge_spec.id"], name=op.f("fk_badge_run_spec_id")),
        sa.UniqueConstraint("token", name=op.f("uq_badge_run_token")),
        sa.UniqueConstraint(
            "account", "dag_id", "run_id", "task_id", name=op.f("uq_badge_run_account_dag_id_run_id_task_id")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_badge_run_occasion_id", "badge_run", ["occasion_id"])


def _create_requests() -> None:
    op.create_table(
        "badge_request",
        sa.Column("id", _id(), nullable=False),
        sa.Column("request_key", _text(64), nullable=False, comment="sent as the inner requestId"),
        sa.Column("badge_run_id", _id(), nullable=False),
        sa.Column("occasion_id", _id(), nullable=False),
        sa.Column("spec_id", _id(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="0-based within its run"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("status", _text(16), nullable=False),
        sa.Column(
            "tries",
            sa.Integer(),
            nullable=False,
            server_default=sa.text("0"),
            comment="claims so far; never goes back",
        ),
        sa.Column("resends", sa.Integer(), nullable=False, server_default=sa.text("0"), comment="above 0: doubtful"),
        sa.Column("sender", _text(64), comment="fingerprint of the credential user that sent it last"),
        _time("first_sent_at", nullable=True),
        _time("last_sent_at", nullable=True),
        _time("doubt_from", nullable=True, comment="absence may be judged by a scan begun after this"),
        sa.Column(
            "answered_id", _text(64), comment="platform request id in the reply to the last POST, trusted or not"
        ),
        sa.Column("error_code", sa.Integer()),
        sa.Column("error", sa.Text()),
        _time("settled_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_badge_request")),
        sa.ForeignKeyConstraint(["badge_run_id"], ["badge_run.id"], name=op.f("fk_badge_request_badge_run_id")),
        sa.ForeignKeyConstraint(["occasion_id"], ["badge_occasion.id"], name=op.f("fk_badge_request_occasion_id")),
        sa.ForeignKeyConstraint(["spec_id"], ["badge_spec.id"], name=op.f("fk_badge_request_spec_id")),
        sa.UniqueConstraint("request_key", name=op.f("uq_badge_request_request_key")),
        sa.UniqueConstraint("badge_run_id", "ordinal", name=op.f("uq_badge_request_badge_run_id_ordinal")),
        sa.CheckConstraint(
            "status IN ('planned', 'sending', 'waiting', 'settled')", name=op.f("ck_badge_request_status")
        ),
        sa.CheckConstraint("customers > 0", name=op.f("ck_badge_request_customers")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_badge_request_open",
        "badge_request",
        ["status", "occasion_id"],
        sqlite_where=sa.text("status <> 'settled'"),
        postgresql_where=sa.text("status <> 'settled'"),
    )
    op.create_index("ix_badge_request_spec_id", "badge_request", ["spec_id"])
    op.create_index("ix_badge_request_occasion_id_first_sent_at", "badge_request", ["occasion_id", "first_sent_at"])


def _create_sightings() -> None:
    op.create_table(
        "badge_sighting",
        sa.Column("platform_request_id", _text(64), nullable=False, comment="the outer requestId, a UUID"),
        sa.Column("request_id", _id(), nullable=False),
        sa.Column("state", _text(64), nullable=False, comment="the platform's word"),
        sa.Column(
            "auto_approved",
            sa.Boolean(),
            nullable=False,
            comment="decided, and no human's decision in the details",
        ),
        sa.Column("checker_message", sa.Text()),
        sa.Column("maker_id", _text(20), comment="userId: the platform's number of the user who made it"),
        sa.Column("start_time", _text(32), comment="as the platform shows it, in the cluster's time zone"),
        sa.Column("end_time", _text(32), comment="likewise; NULL while undecided"),
        sa.Column("failed_checks", _text(100), comment="the platform's own checks that it says failed; empty: none"),
        _time("seen_at"),
        _time("terminal_seen_at", nullable=True),
        sa.PrimaryKeyConstraint("platform_request_id", name=op.f("pk_badge_sighting")),
        sa.ForeignKeyConstraint(["request_id"], ["badge_request.id"], name=op.f("fk_badge_sighting_request_id")),
    )
    op.create_index("ix_badge_sighting_request_id", "badge_sighting", ["request_id"])


def _create_enrolments() -> None:
    op.create_table(
        "badge_enrolment",
        sa.Column("occasion_id", _id(), nullable=False, autoincrement=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("attempt", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("request_id", _id(), nullable=False),
        sa.Column("outcome", _text(16)),
        sa.Column("issued_id", _text(64)),
        sa.Column("error_code", sa.Integer()),
        sa.PrimaryKeyConstraint("occasion_id", "customer_id", "attempt", name=op.f("pk_badge_enrolment")),
        sa.ForeignKeyConstraint(["request_id"], ["badge_request.id"], name=op.f("fk_badge_enrolment_request_id")),
        sa.CheckConstraint(
            "outcome IN ('enrolled', 'already_enrolled', 'rejected', 'failed', 'not_accepted', 'unconfirmed')",
            name=op.f("ck_badge_enrolment_outcome"),
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_badge_enrolment_request_id", "badge_enrolment", ["request_id"])
    op.create_index(
        "uq_badge_enrolment_open",
        "badge_enrolment",
        ["occasion_id", "customer_id"],
        unique=True,
        sqlite_where=sa.text("outcome IS NULL"),
        postgresql_where=sa.text("outcome IS NULL"),
    )
    op.create_table(
        "badge_result",
        sa.Column("request_id", _id(), nullable=False),
        sa.Column("outcome", _text(16), nullable=False),
        sa.Column("error_code", sa.Integer()),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column(
            "without_row",
            sa.Integer(),
            nullable=False,
            server_default=sa.text("0"),
            comment="of these: erased since, or an import's twin, whose customers stand in another request",
        ),
        sa.ForeignKeyConstraint(["request_id"], ["badge_request.id"], name=op.f("fk_badge_result_request_id")),
        sa.CheckConstraint("customers > 0", name=op.f("ck_badge_result_customers")),
        sa.CheckConstraint("without_row BETWEEN 0 AND customers", name=op.f("ck_badge_result_without_row")),
    )
    op.create_index("ix_badge_result_request_id", "badge_result", ["request_id", "outcome", "error_code", "customers"])
    op.create_table(
        "badge_invalid",
        sa.Column("badge_run_id", _id(), nullable=False, autoincrement=False),
        sa.Column("row_number", sa.BigInteger(), nullable=False, autoincrement=False, comment="1-based in the query"),
        sa.Column("reason", _text(100), nullable=False),
        sa.Column("shape", _text(40), nullable=False, comment="the value with letters as a and digits as 9"),
        sa.PrimaryKeyConstraint("badge_run_id", "row_number", name=op.f("pk_badge_invalid")),
        sa.ForeignKeyConstraint(["badge_run_id"], ["badge_run.id"], name=op.f("fk_badge_invalid_badge_run_id")),
    )


def _create_account_tables() -> None:
    op.create_table(
        "badge_pace",
        sa.Column("account", _text(255), nullable=False),
        _time("next_slot_at"),
        _time("blocked_until", nullable=True, comment="the platform answered 429"),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_badge_pace")),
    )
    op.create_table(
        "badge_scan",
        sa.Column("account", _text(255), nullable=False),
        _time("leased_until"),
        sa.Column("leased_by", _text(200), nullable=False),
        _time("read_at", nullable=True, comment="when the list was last read, or began to be"),
        _time("distrusted_at", nullable=True, comment="the list missed a request that a single read found"),
        sa.Column(
            "platform_ahead_s",
            sa.BigInteger(),
            comment="the platform's clock less the ledger's, as of the last jump",
        ),
        _time("clock_jumped_at", nullable=True, comment="when that was last found to have changed by over a minute"),
        _time("whole_at", nullable=True, comment="when the last reading began that came to its end"),
        sa.Column("whole_by", _text(64), nullable=True, comment="fingerprint of the credential user that did it"),
        sa.Column("whole_pages", sa.Integer(), nullable=True, comment="how many calls it took"),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_badge_scan")),
    )
    op.create_table(
        "badge_not_ours",
        sa.Column("account", _text(255), nullable=False),
        sa.Column(
            "key",
            _text(64),
            nullable=False,
            comment="a key of our form, of which a person said that it is not ours",
        ),
        _time("said_at"),
        sa.Column("said_by", _text(200), nullable=False),
        sa.PrimaryKeyConstraint("account", "key", name=op.f("pk_badge_not_ours")),
    )


def _create_reading_tables() -> None:
    op.create_table(
        "badge_history",
        sa.Column("account", _text(255), nullable=False),
        sa.Column("sender", _text(64), nullable=False, comment="fingerprint of the credential user that reads"),
        sa.Column(
            "first_day", sa.Date(), nullable=False, comment="first day of the first reading, in the cluster's time zone"
        ),
        sa.Column("next_day", sa.Date(), nullable=False, comment="the first reading has come to this day"),
        sa.Column("unread", sa.Text(), comment="days that the platform refused to list"),
        _time("read_at", nullable=True, comment="when the first reading was through; this user sends nothing before"),
        sa.PrimaryKeyConstraint("account", "sender", name=op.f("pk_badge_history")),
    )
    op.create_table(
        "badge_unknown_key",
        sa.Column("account", _text(255), nullable=False),
        sa.Column("sender", _text(64), nullable=False, comment="fingerprint of the credential user that was shown it"),
        sa.Column(
            "key", _text(64), nullable=False, comment="a key of ours on the platform that this ledger does not know"
        ),
        _time("seen_at", comment="when that user was last shown it"),
        sa.Column("unseen", sa.Boolean(), nullable=False, comment="the reading that is under way has not shown it yet"),
        sa.PrimaryKeyConstraint("account", "sender", "key", name=op.f("pk_badge_unknown_key")),
    )


def _create_stop_and_server() -> None:
    op.create_table(
        "badge_stop",
        sa.Column("account", _text(255), nullable=False),
        sa.Column("campaign", _text(200), nullable=False, comment="empty: every campaign of the account"),
        _time("stopped_at", nullable=True, comment="NULL: not stopped"),
        sa.Column("stopped_by", _text(200)),
        sa.Column("reason", sa.Text()),
        _time("resumed_at", nullable=True),
        sa.Column("resumed_by", _text(200)),
        sa.PrimaryKeyConstraint("account", "campaign", name=op.f("pk_badge_stop")),
    )
    op.create_table(
        "badge_server",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False, comment="1: there is one row"),
        sa.Column("system_identifier", _text(32), nullable=False),
        sa.Column("timeline", _text(8), nullable=False, comment="8 hex digits"),
        sa.Column(
            "requests_file",
            _text(32),
            nullable=False,
            comment="of badge_request, after its database's number",
        ),
        _time("changed_at", nullable=True, comment="when one of the three was last found changed; NULL: never"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_badge_server")),
        sa.CheckConstraint("id = 1", name=op.f("ck_badge_server_one_row")),
    )


# The columns of a run stand in GROUP BY one by one: only then does a database look at one run's rows
# when it is asked for one run.
_RUN = (
    "r.id, r.dag_id, r.run_id, r.task_id, r.account, r.campaign, o.occasion, r.canary, r.eligible, r.invalid, "
    "r.duplicates, r.known_before, r.known_elsewhere, r.over_cap, r.planned, r.discarded, r.planned_at"
)

# Outcomes are the kept counts. Who is open is asked apart: a request has several counts, and one that was seen again
# after it was settled is open with the counts that it had.
_FUNNEL = f"""
CREATE VIEW badge_funnel AS
SELECT r.id AS badge_run_id, {_RUN.removeprefix("r.id, ")},
    SUM(CASE WHEN c.outcome = 'enrolled' THEN c.customers ELSE 0 END) AS enrolled,
    SUM(CASE WHEN c.outcome = 'already_enrolled' THEN c.customers ELSE 0 END) AS already_enrolled,
    SUM(CASE WHEN c.outcome = 'unconfirmed' THEN c.customers ELSE 0 END) AS unconfirmed,
    SUM(CASE WHEN c.outcome = 'failed' THEN c.customers ELSE 0 END) AS failed,
    SUM(CASE WHEN c.outcome = 'rejected' THEN c.customers ELSE 0 END) AS rejected,
    SUM(CASE WHEN c.outcome = 'not_accepted' THEN c.customers ELSE 0 END) AS not_accepted,
    (
        SELECT COALESCE(SUM(x.customers), 0) FROM badge_request x
        WHERE x.badge_run_id = r.id AND x.status <> 'settled'
    ) - (
        SELECT COALESCE(SUM(y.customers), 0) FROM badge_request x JOIN badge_result y ON y.request_id = x.id
        WHERE x.badge_run_id = r.id AND x.status <> 'settled'
    ) AS open
FROM badge_run r
JOIN badge_occasion o ON o.id = r.occasion_id
LEFT JOIN badge_request q ON q.badge_run_id = r.id
LEFT JOIN badge_result c ON c.request_id = q.id
GROUP BY {_RUN}
"""  # noqa: S608 - constants of this file

# Of several sightings of a request, one that still waits for a human comes first, then the one seen last.
_WAITING = """
CREATE VIEW badge_waiting AS
SELECT r.account, r.campaign, o.occasion, r.dag_id, r.run_id, q.request_key, q.customers, q.status, q.tries,
    q.resends, q.first_sent_at, s.platform_request_id, s.state, s.seen_at, {age} AS age_seconds, s.maker_id,
    s.start_time, NULLIF(s.failed_checks, '') AS failed_checks
FROM badge_request q
JOIN badge_run r ON r.id = q.badge_run_id
JOIN badge_occasion o ON o.id = q.occasion_id
LEFT JOIN badge_sighting s ON s.platform_request_id = (
    SELECT x.platform_request_id FROM badge_sighting x WHERE x.request_id = q.id
    ORDER BY (x.terminal_seen_at IS NOT NULL), x.seen_at DESC, x.platform_request_id LIMIT 1
)
WHERE q.status <> 'settled'
"""
_AGE = {
    "postgresql": "CAST(FLOOR(EXTRACT(EPOCH FROM (clock_timestamp() - q.first_sent_at))) AS BIGINT)",
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', q.first_sent_at) AS INTEGER)",
}

# CROSS JOIN tells SQLite to begin with the occasions: no index begins with the customer, and the key of
# enrolments has the occasion first. To PostgreSQL it is a join like any other.
_CUSTOMER_STATUS = """
CREATE VIEW badge_customer_status AS
SELECT o.account, r.campaign, o.occasion, e.customer_id, e.attempt, e.outcome, e.issued_id, e.error_code,
    q.request_key, q.status AS request_status
FROM badge_occasion o
CROSS JOIN badge_enrolment e
JOIN badge_request q ON q.id = e.request_id
JOIN badge_run r ON r.id = q.badge_run_id
WHERE e.occasion_id = o.id AND NOT EXISTS (
    SELECT 1 FROM badge_enrolment later
    WHERE later.occasion_id = e.occasion_id AND later.customer_id = e.customer_id AND later.attempt > e.attempt
)
"""


def _create_views() -> None:
    op.execute(_FUNNEL)
    op.execute(_WAITING.format(age=_AGE[op.get_bind().dialect.name]))
    op.execute(_CUSTOMER_STATUS)
