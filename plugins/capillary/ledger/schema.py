"""Tables of the ledger; the words in them are in `capillary.ledger.status`.

Times are UTC and come from the ledger's own clock (:attr:`capillary.ledger.database.Transaction.now`).
Customer ids are the platform's numeric user ids: 1 to 2**63 - 1.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime. SQLite keeps it as text without zone, PostgreSQL as timestamptz."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times; SQLite compares text, so all of it must be UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger takes aware datetimes only")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the interface's
        """Return aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives a self-numbering key only to INTEGER PRIMARY KEY.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _text(length: int) -> String:
    """Return a text whose order and equality are those of its bytes.

    With a language's order PostgreSQL's indexes go by the system's libraries, which change under it: with another
    image of the server, or a standby's, an index no longer finds what is there, and an occasion is made a second time.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")


badge_occasion = Table(
    "badge_occasion",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("account", _text(255), nullable=False, comment="host[:port][/path]/organisation"),
    Column("occasion", _text(200), nullable=False),
    Column("badge_id", _text(24), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("account", "occasion", name="uq_badge_occasion_account_occasion"),
)

badge_spec = Table(
    "badge_spec",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("account", _text(255), nullable=False),
    Column("fingerprint", _text(64), nullable=False),
    Column("config", Text, nullable=False, comment="JSON, without secrets; requests are built from it alone"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("proven_at", UtcDateTime, comment="a human approved a request under it and somebody was enrolled"),
    UniqueConstraint("account", "fingerprint", name="uq_badge_spec_account_fingerprint"),
)

badge_run = Table(
    "badge_run",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("account", _text(255), nullable=False),
    Column("campaign", _text(200), nullable=False),
    Column("token", _text(32), nullable=False, unique=True, comment="random; a row number comes back after a restore"),
    Column("dag_id", _text(250), nullable=False),
    Column("run_id", _text(250), nullable=False),
    Column("task_id", _text(270), nullable=False, comment="of the planning task; with [n] when it is mapped"),
    Column("capillary_conn_id", _text(250), nullable=False),
    Column("occasion_id", _Id, ForeignKey("badge_occasion.id"), nullable=False),
    Column("spec_id", _Id, ForeignKey("badge_spec.id"), nullable=False),
    Column("eligible", BigInteger, nullable=False, comment="rows of the query"),
    Column("invalid", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("known_before", BigInteger, nullable=False),
    Column(
        "known_elsewhere",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="of known_before: through other campaigns",
    ),
    Column("over_cap", BigInteger, nullable=False),
    Column("planned", BigInteger, nullable=False),
    Column("discarded", BigInteger, nullable=False, server_default=text("0")),
    Column("canary", Boolean, nullable=False),
    Column("note", Text),
    Column("planned_at", UtcDateTime, nullable=False),
    Column("alive_until", UtcDateTime, nullable=False, comment="renewed by the run's tasks and trigger"),
    Column(
        "accepts_auto_approval",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="its submit goes on after auto-approvals",
    ),
    Column("auto_approval_told", BigInteger, comment="newest row of badge_auto_approval when its submit failed for it"),
    Column("clears_when_told", Integer, comment="how often Airflow's run had been cleared then"),
    # Two Airflows that share a ledger may have a DAG and a run of one name each.
    UniqueConstraint("account", "dag_id", "run_id", "task_id", name="uq_badge_run_account_dag_id_run_id_task_id"),
    Index("ix_badge_run_occasion_id", "occasion_id"),
    sqlite_autoincrement=True,  # an id that was deleted must never come back: a late sender names it
)

badge_request = Table(
    "badge_request",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("request_key", _text(64), nullable=False, unique=True, comment="sent as the inner requestId"),
    Column("badge_run_id", _Id, ForeignKey("badge_run.id"), nullable=False),
    Column("occasion_id", _Id, ForeignKey("badge_occasion.id"), nullable=False),
    Column("spec_id", _Id, ForeignKey("badge_spec.id"), nullable=False),
    Column("ordinal", Integer, nullable=False, comment="0-based within its run"),
    Column("attempt", Integer, nullable=False),
    Column("customers", Integer, nullable=False),
    Column("status", _text(16), nullable=False),
    Column("tries", Integer, nullable=False, server_default=text("0"), comment="claims so far; never goes back"),
    Column("resends", Integer, nullable=False, server_default=text("0"), comment="above 0: doubtful"),
    Column("sender", _text(64), comment="fingerprint of the credential user that sent it last"),
    Column("first_sent_at", UtcDateTime),
    Column("last_sent_at", UtcDateTime),
    Column("doubt_from", UtcDateTime, comment="absence may be judged by a scan begun after this"),
    Column("answered_id", _text(64), comment="platform request id in the reply to the last POST, trusted or not"),
    Column(
        "after_auto_approval",
        BigInteger,
        comment="the account's newest row of badge_auto_approval when it was first sent; NULL: there was none",
    ),
    Column("error_code", Integer),
    Column("error", Text),
    Column("settled_at", UtcDateTime),
    CheckConstraint("status IN ('planned', 'sending', 'waiting', 'settled')", name="status"),
    CheckConstraint("customers > 0", name="customers"),
    UniqueConstraint("badge_run_id", "ordinal", name="uq_badge_request_badge_run_id_ordinal"),
    Index(
        "ix_badge_request_open",
        "status",
        "occasion_id",
        sqlite_where=text("status <> 'settled'"),
        postgresql_where=text("status <> 'settled'"),
    ),
    Index("ix_badge_request_spec_id", "spec_id"),
    Index("ix_badge_request_occasion_id_first_sent_at", "occasion_id", "first_sent_at"),
    Index(
        "ix_badge_request_after_auto_approval",
        "after_auto_approval",
        sqlite_where=text("after_auto_approval IS NOT NULL"),
        postgresql_where=text("after_auto_approval IS NOT NULL"),
    ),
    sqlite_autoincrement=True,  # an id that was deleted must never come back: a late sender names it
)

badge_sighting = Table(
    "badge_sighting",
    metadata,
    Column("platform_request_id", _text(64), primary_key=True, comment="the outer requestId, a UUID"),
    Column("request_id", _Id, ForeignKey("badge_request.id"), nullable=False),
    Column("state", _text(64), nullable=False, comment="the platform's word"),
    Column("auto_approved", Boolean, nullable=False, comment="decided, and no human's decision in the details"),
    Column(
        "human_decided",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="decided, and the details show a human's decision, or it was rejected",
    ),
    Column("checker_message", Text),
    Column("maker_id", _text(20), comment="userId: the platform's number of the user who made it"),
    Column("start_time", _text(32), comment="as the platform shows it, in the cluster's time zone"),
    Column("end_time", _text(32), comment="likewise; NULL while undecided"),
    Column("failed_checks", _text(100), comment="the platform's own checks that it says failed; empty: none"),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("terminal_seen_at", UtcDateTime),
    Index("ix_badge_sighting_request_id", "request_id"),
)

# Counted and not dated: which of two things came first does not hang on a clock that may be set.
badge_auto_approval = Table(
    "badge_auto_approval",
    metadata,
    Column("id", _Id, primary_key=True, comment="in the order in which they were seen"),
    Column("account", _text(255), nullable=False),
    Column("platform_request_id", _text(64), nullable=False, unique=True),
    Column("sent_after", BigInteger, nullable=False, comment="newest row that was known when it was sent; 0: none was"),
    Column("seen_at", UtcDateTime, nullable=False),
    Index("ix_badge_auto_approval_account_id", "account", "id"),
    Index("ix_badge_auto_approval_account_sent_after", "account", "sent_after", "id"),
    sqlite_autoincrement=True,  # requests and runs name the newest one that they know of
)

badge_enrolment = Table(
    "badge_enrolment",
    metadata,
    Column("occasion_id", _Id, primary_key=True, autoincrement=False),
    Column("customer_id", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("request_id", _Id, ForeignKey("badge_request.id"), nullable=False),
    Column("outcome", _text(16)),
    Column("issued_id", _text(64)),
    Column("error_code", Integer),
    CheckConstraint(
        "outcome IN ('enrolled', 'already_enrolled', 'rejected', 'failed', 'not_accepted', 'unconfirmed')",
        name="outcome",
    ),
    Index("ix_badge_enrolment_request_id", "request_id"),
    Index(
        "uq_badge_enrolment_open",
        "occasion_id",
        "customer_id",
        unique=True,
        sqlite_where=text("outcome IS NULL"),
        postgresql_where=text("outcome IS NULL"),
    ),
    sqlite_with_rowid=False,
)

badge_result = Table(
    "badge_result",
    metadata,
    Column("request_id", _Id, ForeignKey("badge_request.id"), nullable=False),
    Column("outcome", _text(16), nullable=False),
    Column("error_code", Integer),
    Column("customers", Integer, nullable=False),
    Column(
        "without_row",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="of these: erased since, or an import's twin, whose customers stand in another request",
    ),
    CheckConstraint("customers > 0", name="customers"),
    CheckConstraint("without_row BETWEEN 0 AND customers", name="without_row"),
    # All that a funnel reads: without the others PostgreSQL rather reads the whole table than look requests up in it.
    Index("ix_badge_result_request_id", "request_id", "outcome", "error_code", "customers"),
)

badge_invalid = Table(
    "badge_invalid",
    metadata,
    Column("badge_run_id", _Id, ForeignKey("badge_run.id"), primary_key=True, autoincrement=False),
    Column("row_number", BigInteger, primary_key=True, autoincrement=False, comment="1-based in the query"),
    Column("reason", _text(100), nullable=False),
    Column("shape", _text(40), nullable=False, comment="the value with letters as a and digits as 9"),
)

badge_pace = Table(
    "badge_pace",
    metadata,
    Column("account", _text(255), primary_key=True),
    Column("next_slot_at", UtcDateTime, nullable=False),
    Column("blocked_until", UtcDateTime, comment="the platform answered 429"),
    Column("counted_on", Date, comment="the day of both counts, UTC"),
    Column("calls", Integer, nullable=False, server_default=text("0"), comment="call slots taken on that day"),
    Column(
        "pauses",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="pauses asked for on that day: HTTP 429, or Retry-After",
    ),
)

badge_scan = Table(
    "badge_scan",
    metadata,
    Column("account", _text(255), primary_key=True),
    Column("leased_until", UtcDateTime, nullable=False),
    Column("leased_by", _text(200), nullable=False),
    Column("read_at", UtcDateTime, comment="when the list was last read, or began to be"),
    Column("distrusted_at", UtcDateTime, comment="the list missed a request that a single read found"),
    Column("platform_ahead_s", BigInteger, comment="the platform's clock less the ledger's, as of the last jump"),
    Column("clock_jumped_at", UtcDateTime, comment="when that was last found to have changed by over a minute"),
    Column("whole_at", UtcDateTime, comment="when the last reading began that came to its end"),
    Column("whole_by", _text(64), comment="fingerprint of the credential user that did it"),
    Column("whole_pages", Integer, comment="how many calls it took"),
)

badge_history = Table(
    "badge_history",
    metadata,
    Column("account", _text(255), primary_key=True),
    Column("sender", _text(64), primary_key=True, comment="fingerprint of the credential user that reads"),
    Column("first_day", Date, nullable=False, comment="first day of the first reading, in the cluster's time zone"),
    Column("next_day", Date, nullable=False, comment="the first reading has come to this day"),
    Column("unread", Text, comment="days that the platform refused to list"),
    Column("read_at", UtcDateTime, comment="when the first reading was through; this user sends nothing before"),
)

badge_unknown_key = Table(
    "badge_unknown_key",
    metadata,
    Column("account", _text(255), primary_key=True),
    Column("sender", _text(64), primary_key=True, comment="fingerprint of the credential user that was shown it"),
    Column(
        "key",
        _text(64),
        primary_key=True,
        comment="a key of ours on the platform that this ledger does not know",
    ),
    Column("seen_at", UtcDateTime, nullable=False, comment="when that user was last shown it"),
    Column("unseen", Boolean, nullable=False, comment="the reading that is under way has not shown it yet"),
)

badge_not_ours = Table(
    "badge_not_ours",
    metadata,
    Column("account", _text(255), primary_key=True),
    Column("key", _text(64), primary_key=True, comment="a key of our form, of which a person said that it is not ours"),
    Column("said_at", UtcDateTime, nullable=False),
    Column("said_by", _text(200), nullable=False),
)

badge_stop = Table(
    "badge_stop",
    metadata,
    Column("account", _text(255), primary_key=True),
    Column("campaign", _text(200), primary_key=True, comment="empty: every campaign of the account"),
    Column("stopped_at", UtcDateTime, comment="NULL: not stopped"),
    Column("stopped_by", _text(200)),
    Column("reason", Text),
    Column("resumed_at", UtcDateTime),
    Column("resumed_by", _text(200)),
)

badge_server = Table(
    "badge_server",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="1: there is one row"),
    Column("system_identifier", _text(32), nullable=False),
    Column("timeline", _text(8), nullable=False, comment="8 hex digits"),
    Column("requests_file", _text(32), nullable=False, comment="of badge_request, after its database's number"),
    Column("changed_at", UtcDateTime, comment="when one of the three was last found changed; NULL: never"),
    CheckConstraint("id = 1", name="one_row"),
)
