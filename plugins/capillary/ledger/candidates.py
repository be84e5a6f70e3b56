"""Which of the staged customers an occasion may take: those without an attempt, and those who may have another one.

For the time of one transaction the ledger holds a copy of the staged ids, so that one anti-join answers for all of
them. On PostgreSQL the copy is made in that very transaction and dropped with it, before any row is locked; behind a
pooler in transaction mode the next transaction may be on another connection. SQLite fills it before its write lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Integer, String, bindparam, column, exists, select, text

from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import LedgerUnavailable
from capillary.ledger.schema import UtcDateTime, badge_enrolment
from capillary.ledger.staging import Attempt, Staging, Unclear
from capillary.ledger.status import HAS_BADGE, Outcome

#: Attempts up to which a refused submission is planned again by itself.
NOT_ACCEPTED_ATTEMPTS: Final = 3
_PART_ROWS: Final = 20_000

# A customer may be planned again when every earlier attempt is settled without the badge and the latest one
# ended with an outcome that was asked for, under a code that was asked for, or was refused by the platform few times
# enough.
_RETRIES: Final = f"""
    badge_enrolment e JOIN badge_request r ON r.id = e.request_id
    WHERE e.occasion_id = :occasion_id
    AND (
        (e.outcome IN :outcomes AND (:every_code = 1 OR e.error_code IN :codes
            OR (:without_code = 1 AND e.error_code IS NULL)))
        OR (e.outcome = 'not_accepted' AND e.attempt < {NOT_ACCEPTED_ATTEMPTS})
    )
    AND NOT EXISTS (
        SELECT 1 FROM badge_enrolment o JOIN badge_request q ON q.id = o.request_id
        WHERE o.occasion_id = e.occasion_id AND o.customer_id = e.customer_id
          AND (o.attempt > e.attempt OR o.outcome IS NULL OR q.status <> 'settled'
               OR o.outcome IN ({", ".join(f"'{outcome}'" for outcome in sorted(HAS_BADGE))}))
    )
"""  # noqa: S608 - words of this module; values are bound
#: What the platform did with the earlier attempts is not known for certain.
_UNCERTAIN: Final = """
    EXISTS (
        SELECT 1 FROM badge_enrolment o JOIN badge_request q ON q.id = o.request_id
        WHERE o.occasion_id = e.occasion_id AND o.customer_id = e.customer_id
          AND (o.outcome = 'unconfirmed' OR q.resends > 0)
    )
"""
_FIRST_SENT: Final = """
    (
        SELECT min(q.first_sent_at) FROM badge_enrolment o JOIN badge_request q ON q.id = o.request_id
        WHERE o.occasion_id = e.occasion_id AND o.customer_id = e.customer_id
    )
"""
_NEW: Final = """
    SELECT 1 AS attempt, s.customer_id FROM staged_copy s WHERE NOT EXISTS (
        SELECT 1 FROM badge_enrolment e WHERE e.occasion_id = :occasion_id AND e.customer_id = s.customer_id
    )
"""
# The attempt that was read must still be the latest: a stale read clears nobody.
_CLEARED: Final = "EXISTS (SELECT 1 FROM cleared_copy c WHERE c.customer_id = e.customer_id AND c.attempt = e.attempt)"
_STAGED: Final = "e.customer_id IN (SELECT customer_id FROM staged_copy)"

_RETRY_PARAMETERS: Final = (
    bindparam("outcomes", type_=String, expanding=True),
    bindparam("codes", type_=Integer, expanding=True),
)

_OTHERS: Final = """
    SELECT u.campaign, count(*) AS customers FROM badge_run u
    JOIN badge_request r ON r.badge_run_id = u.id
    JOIN badge_enrolment e ON e.request_id = r.id
    WHERE u.occasion_id = :occasion_id AND u.campaign <> :campaign
    AND e.customer_id IN (SELECT customer_id FROM staged_copy)
    AND NOT EXISTS (
        SELECT 1 FROM badge_enrolment o WHERE o.occasion_id = e.occasion_id AND o.customer_id = e.customer_id
          AND o.attempt > e.attempt
    )
    GROUP BY u.campaign
"""


@dataclass(frozen=True, slots=True)
class Retry:
    """After which endings of their latest attempt customers may be planned again.

    Attributes:
        outcomes: how it ended.
        codes: with which of the platform's codes, None for an ending without one; empty: with any, or none.
    """

    outcomes: frozenset[Outcome] = frozenset()
    codes: frozenset[int | None] = frozenset()

    def parameters(self) -> dict[str, object]:
        """Return what the statements take."""
        return {
            "outcomes": sorted(self.outcomes),
            "every_code": int(not self.codes),
            "without_code": int(None in self.codes),
            "codes": sorted(code for code in self.codes if code is not None),
        }


@contextmanager
def planning(ledger: Ledger, staged: Staging, *, with_copy: bool) -> Iterator[Transaction]:
    """One writing transaction; `with_copy`: with a copy of the staged ids, for :func:`may_be_planned`."""
    if not with_copy:
        with ledger.write() as tx:
            yield tx
        return
    with ledger.engine.connect() as conn:
        if conn.dialect.name == "postgresql":
            with conn.begin():
                _copy_to_postgresql(conn, staged)
                yield Transaction(conn, ledger.now(conn))
            return
        try:
            with conn.begin():  # temporary tables take no lock of the file
                _copy_to_sqlite(conn, staged)
            conn.execution_options(ledger_write=True)
            with conn.begin():
                yield Transaction(conn, ledger.now(conn))
        finally:
            # A pooled connection would carry its temporary tables to the next user.
            conn.invalidate()


def is_new(tx: Transaction, occasion_id: int) -> bool:
    """Return whether nobody has an attempt on the occasion yet."""
    there = select(exists().where(badge_enrolment.c.occasion_id == occasion_id))
    return not tx.conn.execute(there).scalar_one()


def may_be_planned(tx: Transaction, occasion_id: int, retry: Retry) -> Iterator[Attempt]:
    """Stream the number of the new attempt and the customer, in this order, of all that may be planned.

    Args:
        tx: a transaction of :func:`planning` with a copy.
        occasion_id: the occasion, its row locked.
        retry: after what a customer may be planned again.
    """
    statement = text(
        f"{_NEW} UNION ALL SELECT e.attempt + 1, e.customer_id FROM {_RETRIES} "  # noqa: S608 - words of this module
        f"AND {_STAGED} AND (NOT {_UNCERTAIN} OR {_CLEARED}) ORDER BY 1, 2"
    ).bindparams(*_RETRY_PARAMETERS)
    result = tx.conn.execute(
        statement,
        {"occasion_id": occasion_id, **retry.parameters()},
        # On the statement: as an option of the connection it would turn every INSERT into a cursor.
        execution_options={"yield_per": _PART_ROWS},
    )
    parts = (part for part in result.partitions(_PART_ROWS))
    return ((row[0], row[1]) for row in chain.from_iterable(parts))


def unclear(tx: Transaction, occasion_id: int, retry: Retry) -> Iterator[tuple[int, Unclear]]:
    """Stream all customers whose retry needs a look at the badge first."""
    statement = (
        text(
            f"SELECT e.customer_id, e.attempt, {_FIRST_SENT} AS sent_at "  # noqa: S608 - words of this module
            f"FROM {_RETRIES} AND {_UNCERTAIN}"
        )
        .bindparams(*_RETRY_PARAMETERS)
        .columns(column("customer_id", BigInteger), column("attempt", Integer), column("sent_at", UtcDateTime))
    )
    result = tx.conn.execute(
        statement,
        {"occasion_id": occasion_id, **retry.parameters()},
        execution_options={"yield_per": _PART_ROWS},
    )
    for part in result.partitions(_PART_ROWS):
        yield from ((row.customer_id, Unclear(row.attempt, row.sent_at)) for row in part)


def known_elsewhere(tx: Transaction, occasion_id: int, campaign: str, retry: Retry) -> dict[str, int]:
    """Return how many staged customers are known by an attempt of another campaign, by that campaign, the most first.

    Those of them that may be planned again are not counted. See :func:`may_be_planned` for the arguments.
    """
    parameters = {"occasion_id": occasion_id, "campaign": campaign, **retry.parameters()}
    others = tx.conn.execute(text(_OTHERS), {"occasion_id": occasion_id, "campaign": campaign})
    known = {row.campaign: row.customers for row in others}
    if not known:
        return {}
    again = text(
        f"SELECT u.campaign, count(*) AS customers FROM badge_run u CROSS JOIN {_RETRIES} "  # noqa: S608 - words of this module
        f"AND u.id = r.badge_run_id AND u.campaign <> :campaign AND {_STAGED} AND (NOT {_UNCERTAIN} OR {_CLEARED}) "
        "GROUP BY u.campaign"
    ).bindparams(*_RETRY_PARAMETERS)
    for row in tx.conn.execute(again, parameters):
        known[row.campaign] -= row.customers
    return {name: customers for name, customers in sorted(known.items(), key=_most_first) if customers}


def _most_first(named: tuple[str, int]) -> tuple[int, str]:
    return -named[1], named[0]


def _copy_to_postgresql(conn: Connection, staged: Staging) -> None:
    conn.execute(text("CREATE TEMP TABLE staged_copy (customer_id bigint NOT NULL) ON COMMIT DROP"))
    conn.execute(
        text("CREATE TEMP TABLE cleared_copy (customer_id bigint NOT NULL, attempt integer NOT NULL) ON COMMIT DROP")
    )
    copy_in(conn, "staged_copy (customer_id)", ("\n".join(map(str, part)) + "\n" for part in staged.ids()))
    copy_in(
        conn,
        "cleared_copy (customer_id, attempt)",
        (f"{customer}\t{attempt}\n" for customer, attempt in staged.cleared()),
    )
    conn.execute(text("ANALYZE staged_copy"))


def _copy_to_sqlite(conn: Connection, staged: Staging) -> None:
    conn.execute(text("CREATE TEMP TABLE staged_copy (customer_id INTEGER PRIMARY KEY)"))
    conn.execute(text("CREATE TEMP TABLE cleared_copy (customer_id INTEGER PRIMARY KEY, attempt INTEGER NOT NULL)"))
    for part in staged.ids():
        conn.exec_driver_sql("INSERT INTO staged_copy VALUES (?)", [(customer,) for customer in part])
    if cleared := staged.cleared():
        conn.exec_driver_sql("INSERT INTO cleared_copy VALUES (?, ?)", cleared)


def copy_in(conn: Connection, target: str, blocks: Iterable[str]) -> None:
    """COPY text rows into a table of PostgreSQL, in the connection's transaction.

    Args:
        conn: a connection to PostgreSQL.
        target: table and columns.
        blocks: whole lines, tabs between the columns.

    Raises:
        LedgerUnavailable: the database stopped it. The driver's own error is not an SQLAlchemyError, and its text
            quotes the rows.
    """
    raw: Any = conn.connection.driver_connection
    try:
        with raw.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN") as copy:
            for block in blocks:
                copy.write(block)
    except conn.dialect.loaded_dbapi.Error as error:
        raise LedgerUnavailable(
            f"lost the connection to the ledger's database while customers were planned ({type(error).__name__}); "
            "nothing was "
            "planned. Retry the task; if this happens again, check the database and its disk"
        ) from None
