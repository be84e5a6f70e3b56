"""Tables of the example warehouse, shaped after the platform's own.

Names and types follow the public pages "Dimension tables", "Badges Fact Table", "Slab Change Log Fact Table"
and "Bill Line Items Fact Table": customer ids are bigint, flags such as `is_inactive` are strings, dates are
keys into the dimension `date`. Only the columns that a badge campaign needs are here, and no personal data.
Names are lower case so that a query may spell them as the pages do (`dim_badgeMeta_id`) on any database.

Assumptions, since the pages give types but not words: flags say `true` or `false`; `date_id` is yyyymmdd.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

USERS = Table(
    "users",
    METADATA,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("customer_external_id", String(32)),
    Column("slab_name", String(32)),
    Column("slab_number", Integer),
    Column("slab_expiry_date", String(10)),
    Column("loyalty_type", String(16)),
    Column("source", String(16)),
    Column("is_inactive", String(16)),
    Column("is_merged_customer", String(16)),
    Column("fraud_status", String(16)),
    Column("test_control_status", String(16)),
    Column("registered_till_id", BigInteger),
)

ZONE_TILL = Table(
    "zone_till",
    METADATA,
    Column("till_id", BigInteger, primary_key=True, autoincrement=False),
    Column("till", String(32)),
    Column("till_name", String(64)),
    Column("store_id", BigInteger),
    Column("store_name", String(64)),
    Column("zone_name", String(32)),
    Column("timezone", String(32)),
)

DATE = Table(
    "date",
    METADATA,
    Column("date_id", Integer, primary_key=True, autoincrement=False),
    Column("date", String(10), nullable=False, unique=True),
    Column("month", String(16)),
    Column("year", Integer),
)

BADGEMETA = Table(
    "badgemeta",
    METADATA,
    Column("badgemetaid", String(24), primary_key=True),
    Column("badgename", String(64)),
    Column("earntype", String(16)),
    Column("starton", String(10)),
    Column("expireson", String(10)),
    Column("isactive", String(8)),
)

BADGES_ISSUE = Table(
    "badges_issue",
    METADATA,
    Column("badges_issued_id", String(24), primary_key=True),
    Column("dim_customer_id", BigInteger, nullable=False),
    Column("dim_badgemeta_id", String(24), nullable=False),
    Column("dim_badges_owner_type_id", String(32)),
    Column("ownerreferenceid", String(64)),
    Column("requestid", String(64)),
    Column("isactive", String(8)),
    Column("dim_createdon_date_id", BigInteger),
)

SLAB_CHANGE_LOG = Table(
    "slab_change_log",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("dim_event_user_id", BigInteger, nullable=False),
    Column("dim_event_date_id", BigInteger),
    Column("dim_event_zone_till_id", BigInteger),
    Column("slab_name", String(32)),
)

BILL_LINEITEMS = Table(
    "bill_lineitems",
    METADATA,
    Column("lineitem_id", BigInteger, primary_key=True, autoincrement=False),
    Column("bill_id", BigInteger, nullable=False),
    Column("dim_event_user_id", BigInteger, nullable=False),
    Column("dim_event_date_id", BigInteger, nullable=False),
    Column("dim_event_zone_till_id", BigInteger),
)

#: Not the platform's: a feed that partners deliver, with the ids as they typed them.
PARTNER_SIGNUPS = Table(
    "partner_signups",
    METADATA,
    Column("signup_id", BigInteger, primary_key=True, autoincrement=False),
    Column("partner", String(32)),
    Column("customer_id", Text),
    Column("signed_up_on", String(10)),
)

#: What the warehouse was made from, and what its queries must find. Its presence marks the database as ours.
EXAMPLE_WAREHOUSE = Table(
    "example_warehouse",
    METADATA,
    Column("month", String(7), primary_key=True),
    Column("seed", Integer, nullable=False),
    Column("finished", Integer, nullable=False),
    Column("customers", Integer, nullable=False),
    Column("gold_eligible", Integer, nullable=False),
    Column("gold_rows", Integer, nullable=False),
    Column("streak_eligible", Integer, nullable=False),
    Column("arrival_eligible", Integer, nullable=False),
    Column("arrival_rows", Integer, nullable=False),
    Column("arrival_invalid", Integer, nullable=False),
)

#: Made after the rows: filling an indexed table takes twice as long.
INDEXES = (
    Index("ix_slab_change_log_user", SLAB_CHANGE_LOG.c.dim_event_user_id),
    Index("ix_badges_issue_badge_customer", BADGES_ISSUE.c.dim_badgemeta_id, BADGES_ISSUE.c.dim_customer_id),
    Index("ix_bill_lineitems_date_user", BILL_LINEITEMS.c.dim_event_date_id, BILL_LINEITEMS.c.dim_event_user_id),
)
