"""Which server the ledger lives on, as far as it tells: a failover or a restore may have lost the last commits.

What those commits had sent may not show in the platform's list yet. So after a change nothing is claimed before the
list has been read again, by a reading begun when the list must show all that was sent before the change.

SQLite has nothing of the kind. What a PostgreSQL server refuses to tell is kept as an empty text.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import TextClause, select, text, update
from sqlalchemy.exc import DBAPIError

from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_server
from capillary.ledger.upsert import insert_unless_there


@dataclass(frozen=True, slots=True)
class Server:
    """What the server tells of itself and of the ledger's place on it. Each is empty where it refuses to tell.

    Attributes:
        system_identifier: of the cluster, given when it was made.
        timeline: of what is written now, 8 hex digits: every promotion and every recovery to a moment begins one.
        requests_file: the database and the file of `badge_request`: a table that a dump brought back has another file,
            a copy of the database has another number.
    """

    system_identifier: str
    timeline: str
    requests_file: str


@dataclass(frozen=True, slots=True)
class Change:
    """The server is another one than before, or holds the ledger in other files.

    Attributes:
        found_at: when the change was found, by the ledger's clock.
        over_at: a reading of the list begun after this shows what was sent before the change.
    """

    found_at: datetime
    over_at: datetime


# The timeline of the last checkpoint (`pg_control_checkpoint`) lags behind a promotion; this is the one written to.
_IDENTIFIER: Final = "(SELECT CAST(system_identifier AS text) FROM pg_control_system())"
_TIMELINE: Final = "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
_FILE: Final = (
    "(SELECT concat(d.oid, '/', pg_relation_filenode('badge_request')) FROM pg_database d "
    "WHERE d.datname = current_database())"
)
_ALL: Final = text(f"SELECT {_IDENTIFIER}, {_TIMELINE}, {_FILE}")
_ONE_BY_ONE: Final = tuple(text(f"SELECT {each}") for each in (_IDENTIFIER, _TIMELINE, _FILE))
#: No right to ask, no such function, not supported (Aurora), not in this state (in recovery).
_REFUSALS: Final = frozenset({"42501", "42883", "0A000", "55000"})


def told(tx: Transaction) -> Server | None:
    """Return what the server tells; None on SQLite."""
    if tx.is_sqlite:
        return None
    if (everything := _asked(tx, _ALL)) is not None:
        return Server(*everything)
    return Server(*(each[0] if (each := _asked(tx, question)) else "" for question in _ONE_BY_ONE))


def system_identifier(tx: Transaction) -> str:
    """Return which cluster a PostgreSQL server is; empty where it refuses to tell."""
    return answer[0] if (answer := _asked(tx, _ONE_BY_ONE[0])) else ""


def untold(tx: Transaction) -> tuple[str, ...]:
    """Return what the server refuses to tell, in words; nothing on SQLite, which has no server."""
    server = told(tx)
    words = ("its system identifier", "its timeline", "the file of badge_request")
    return () if server is None else tuple(word for word, each in zip(words, astuple(server), strict=True) if not each)


def tells(tx: Transaction) -> bool:
    """Return whether the server tells everything by which a failover or a restore shows."""
    server = told(tx)
    return server is not None and all(astuple(server))


def note_first(tx: Transaction) -> None:
    """Write the server down where none is known yet: when the tables are made, so that every backup holds it."""
    if (server := told(tx)) is not None:
        insert_unless_there(tx, badge_server, {"id": 1, **_values(server)})


def unread_change(tx: Transaction, *, list_read_at: datetime, doubt_after: timedelta) -> Change | None:
    """Return the last change of the server, unless the list was read since it must show what came before it.

    Asked in the transaction of every claim. A change that is found here is written down: commit the transaction,
    though nothing is claimed in it. The very first server is not a change, and neither is one that begins or ceases to
    tell something.

    Args:
        tx: the transaction of the claim.
        list_read_at: when the reading of the list began on which the claim relies.
        doubt_after: how long after a claim absence may be judged (`capillary.engine.absence`).
    """
    server = told(tx)
    if server is None:
        return None
    changed_at = _changed_at(tx, server)
    if changed_at is None or list_read_at > changed_at + doubt_after:
        return None
    return Change(changed_at, changed_at + doubt_after)


def _changed_at(tx: Transaction, server: Server) -> datetime | None:
    columns = badge_server.c
    for _ in range(2):  # once more where another claim has just written the same
        row = tx.conn.execute(
            select(columns.system_identifier, columns.timeline, columns.requests_file, columns.changed_at)
        ).one_or_none()
        if row is None:
            if insert_unless_there(tx, badge_server, {"id": 1, **_values(server)}):
                return None
            continue
        known = Server(*row[:3])
        now = _completed(server, known)
        is_same = not any(was and was != is_now for was, is_now in zip(astuple(known), astuple(now), strict=True))
        changed_at: datetime | None = row.changed_at
        # A change in the future is from before the clock was set back.
        is_over = changed_at is None or changed_at <= tx.now
        if now == known and is_over:
            return changed_at
        if not (is_same and is_over):
            changed_at = tx.now
        as_read = (columns.system_identifier, columns.timeline, columns.requests_file)
        written = tx.conn.execute(
            update(badge_server)
            .where(*(column == value for column, value in zip(as_read, row[:3], strict=True)))
            .values(**_values(now), changed_at=changed_at)
        ).rowcount
        if written:
            return changed_at
    return tx.now


def _completed(server: Server, known: Server) -> Server:
    """Return what is told now, and where the server refuses what it told before."""
    return Server(*(now or before for now, before in zip(astuple(server), astuple(known), strict=True)))


def _values(server: Server) -> dict[str, str]:
    return {
        "system_identifier": server.system_identifier,
        "timeline": server.timeline,
        "requests_file": server.requests_file,
    }


def _asked(tx: Transaction, question: TextClause) -> tuple[str, ...] | None:
    """Return the answer; None where the server refuses to tell. A refusal spoils nothing of the transaction."""
    try:
        with tx.conn.begin_nested():
            return tuple(tx.conn.execute(question).one())
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _REFUSALS:
            return None
        raise
