"""Whether a database can keep the ledger's promises: asked when the ledger is opened, not in the middle of a run."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, Index, Row, Table, UniqueConstraint, inspect, text

from capillary.ledger.errors import LedgerRefused, LedgerUnavailable
from capillary.ledger.revision import UPGRADE_COMMAND, assert_schema_current
from capillary.ledger.schema import badge_stop, metadata

#: Oldest PostgreSQL that is taken: the oldest that Airflow 3.3 takes. As `server_version_num` has it.
OLDEST_POSTGRESQL: Final = 130_000
#: Oldest SQLite that is taken: the first with RETURNING.
OLDEST_SQLITE: Final = (3, 35, 0)
#: Shortest of the server's own limits on statements, locks and transactions that is taken, seconds; 0 is none.
LEAST_TIMEOUT_S: Final = 60

_TIMEOUTS: Final = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
_SETTINGS: Final = (
    *("server_version_num", "server_encoding", "transaction_read_only", "fsync", "synchronous_commit"),
    *("array_nulls", "DateStyle", "search_path"),
)
# One by one: the view pg_settings costs 10 ms on a new connection, and a trigger opens one for every poll.
_ASKED: Final = text("SELECT " + ", ".join(f"current_setting('{name}') AS \"{name}\"" for name in _SETTINGS))
#: In seconds; NULL where the server has no such setting.
_ASKED_TIMEOUTS: Final = text(
    "SELECT "  # noqa: S608 - names of this module
    + ", ".join(f"extract(epoch FROM current_setting('{name}', true)::interval) AS {name}" for name in _TIMEOUTS)
)
#: What the emergency stop sets for each of its transactions: it may wait for a claim for hours, and must last.
_LIFT: Final = {**dict.fromkeys(_TIMEOUTS, "0"), "synchronous_commit": "on", "DateStyle": "ISO"}
_LIFTED: Final = text(
    "SELECT set_config(w.name, w.value, true) "
    "FROM unnest(CAST(:names AS text[]), CAST(:values AS text[])) AS w(name, value) "
    "WHERE current_setting(w.name, true) IS NOT NULL AND current_setting(w.name, true) <> w.value"
)
#: As SET LOCAL does it, which takes no parameter.
_LIMITED: Final = text("SELECT set_config('statement_timeout', :milliseconds, true)")
_RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")


def assert_sound(conn: Connection) -> None:
    """Refuse a database that cannot keep the ledger's promises, or cannot do so now.

    Call it before anything else is done on the connection.

    Raises:
        LedgerRefused: of another kind or version than is needed, not durable, in another encoding, or its user lacks a
            right.
        LedgerUnavailable: it takes no writes now.
    """
    if conn.dialect.name == "sqlite":
        _assert_sqlite_writes(conn)
        _assert_sqlite_is_durable(conn)
        return
    settings = _settings(conn)
    _assert_postgresql_is_whole(settings)
    _assert_postgresql_is_durable(settings)
    _assert_postgresql_writes(conn, settings)
    _assert_patient(conn)


def assert_takes_stops(conn: Connection) -> None:
    """Refuse a database in which the emergency stop itself cannot be written. Nothing else of it is looked at.

    Raises:
        LedgerMissing, SchemaBehind, SchemaDiffers, LedgerRefused: the stop's table, or a column or a right, is missing.
        LedgerUnavailable: it is a standby.
    """
    if conn.dialect.name != "sqlite":
        _assert_primary(conn)
    there = inspect(conn)
    if not there.has_table(badge_stop.name):
        assert_schema_current(conn)
        raise LedgerRefused(f"the ledger's table {badge_stop.name} is missing: restore it from the backup")
    lacking = {column.name for column in badge_stop.c} - {column["name"] for column in there.get_columns("badge_stop")}
    if lacking:
        assert_schema_current(conn)
        raise LedgerRefused(
            f"the ledger's table {badge_stop.name} lacks {', '.join(sorted(lacking))}: restore it from the backup"
        )
    assert_rights(conn, tables=(badge_stop.name,), rights=("SELECT", "INSERT", "UPDATE"))


def lift_limits(conn: Connection) -> None:
    """Overrule, for this transaction, settings under which a stop could not wait for claims or be trusted."""
    conn.execute(_LIFTED, {"names": list(_LIFT), "values": list(_LIFT.values())})


def limit_statements(seconds: float, conn: Connection) -> None:
    """Have PostgreSQL end, for this transaction, every statement that takes longer."""
    conn.execute(_LIMITED, {"milliseconds": str(max(1, round(seconds * 1000)))})


def assert_rights(
    conn: Connection, *, tables: Collection[str] = metadata.tables.keys(), rights: Collection[str] = _RIGHTS
) -> None:
    """Refuse a user who may not do with the ledger's tables what tasks do, or who does not see all of its rows.

    Args:
        conn: the connection.
        tables: which tables; default: all.
        rights: which rights; default: those that tasks need.

    Raises:
        LedgerRefused: naming the tables and the statement that fixes it.
    """
    if conn.dialect.name == "sqlite":
        return
    role = _quoted(conn, "current_user")
    lacking: dict[str, list[str]] = {}
    for row in conn.execute(_TABLES, {"tables": sorted(tables), "rights": list(rights)}):
        if row.missing:
            raise LedgerRefused(
                f"the ledger's table {row.name} is missing though its schema is current: restore it from the backup"
            )
        if row.hidden:
            raise LedgerRefused(
                f"row-level security hides rows of {row.name} from {role}, and a customer who is not seen is sent "
                f"again. Give {role} BYPASSRLS, or disable row level security on the ledger's tables"
            )
        lacking.setdefault(row.name, []).append(row.lacks)
    if lacking:
        told = "; ".join(f"{name}: {', '.join(rights)}" for name, rights in lacking.items())
        schema = _quoted(conn, "current_schema()")
        lacks = f"the user {role} lacks rights on the ledger's tables ({told}). As their owner: GRANT SELECT"
        if "INSERT" not in rights:
            raise LedgerRefused(f"{lacks} ON ALL TABLES IN SCHEMA {schema} TO {role}")
        raise LedgerRefused(
            f"{lacks}, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; and GRANT USAGE ON ALL "
            "SEQUENCES likewise"
        )


def assert_may_create(conn: Connection) -> None:
    """Refuse a user who may not make tables where the ledger's would stand.

    Raises:
        LedgerRefused: with the statement that fixes it.
    """
    if conn.dialect.name == "sqlite":
        return
    if not conn.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")).scalar_one():
        role, schema = _quoted(conn, "current_user"), _quoted(conn, "current_schema()")
        raise LedgerRefused(
            f"the user {role} may not make tables in schema {schema} (from PostgreSQL 15 on only its owner may). As "
            f"its owner: GRANT CREATE ON SCHEMA {schema} TO {role}; or give the ledger a database that {role} owns"
        )


def assert_owns(conn: Connection) -> None:
    """Refuse a user who does not own the ledger's tables: PostgreSQL lets nobody else change them, whatever is granted.

    Raises:
        LedgerRefused: naming the owner.
    """
    if conn.dialect.name == "sqlite":
        return
    if owners := conn.execute(_OTHER_OWNERS, {"tables": sorted(metadata.tables)}).scalars().all():
        raise LedgerRefused(
            f"the user {_quoted(conn, 'current_user')} does not own the ledger's tables, and only their owner "
            f"({', '.join(owners)}) may migrate them. Run as that user: {UPGRADE_COMMAND} (--conn-id takes another "
            "connection)"
        )


def unique_keys() -> frozenset[str]:
    """Return the unique keys that the ledger stands on, each as `table (columns)`."""
    return frozenset(
        f"{table.name} ({', '.join(column.name for column in columns)})"
        for table in metadata.sorted_tables
        for columns in (table.primary_key.columns, *(each.columns for each in _unique(table)))
        if columns
    )


def _unique(table: Table) -> list[UniqueConstraint | Index]:
    constraints = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    return [*constraints, *(index for index in table.indexes if index.unique)]


def assert_keys(conn: Connection) -> None:
    """Refuse tables that a restore has brought back without their unique keys, or that a crash would empty.

    Raises:
        LedgerRefused: naming them, and what fixes it.
    """
    there = set(conn.execute(_SQLITE_KEYS if conn.dialect.name == "sqlite" else _KEYS).scalars())
    missing = sorted(unique_keys() - there)
    if missing:
        raise LedgerRefused(
            f"the ledger's tables lack unique keys: {'; '.join(missing)}. A restore ended half-way, or somebody "
            "dropped them, and without them a customer may be planned twice. Restore once more, in one transaction "
            "(pg_restore --clean --if-exists --single-transaction), while no task plans"
        )
    if conn.dialect.name == "postgresql" and (gone := conn.execute(_UNLOGGED).scalars().all()):
        raise LedgerRefused(
            f"a crash of PostgreSQL would empty these tables of the ledger: {', '.join(gone)}. As their owner: ALTER "
            "TABLE … SET LOGGED"
        )


#: Valid unique indexes of the ledger's tables, as table (columns).
_KEYS: Final = text("""
    SELECT c.relname || ' (' || string_agg(a.attname, ', ' ORDER BY k.place) || ')'
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
    WHERE i.indisunique AND i.indisvalid AND pg_table_is_visible(c.oid) AND c.relname LIKE 'badge\\_%'
    GROUP BY i.indexrelid, c.relname
""")
_SQLITE_KEYS: Final = text("""
    SELECT t.name || ' (' || (SELECT group_concat(name, ', ') FROM pragma_index_info(i.name)) || ')'
    FROM sqlite_master t, pragma_index_list(t.name) i WHERE t.type = 'table' AND i."unique"
    UNION
    SELECT t.name || ' (' || (
        SELECT group_concat(name, ', ') FROM (SELECT name FROM pragma_table_info(t.name) WHERE pk > 0 ORDER BY pk)
    ) || ')' FROM sqlite_master t WHERE t.type = 'table'
""")
_UNLOGGED: Final = text("""
    SELECT relname FROM pg_class
    WHERE relkind = 'r' AND relpersistence <> 'p' AND pg_table_is_visible(oid) AND relname LIKE 'badge\\_%'
    AND relname NOT LIKE '%\\_copy' ORDER BY relname
""")
_TABLES: Final = text("""
    SELECT t.name, r.id IS NULL AS missing, coalesce(row_security_active(r.id), false) AS hidden, p.lacks
    FROM unnest(CAST(:tables AS text[])) AS t(name)
    CROSS JOIN LATERAL (SELECT to_regclass(quote_ident(t.name))::oid AS id) r
    CROSS JOIN LATERAL (
        SELECT p.name AS lacks FROM unnest(CAST(:rights AS text[])) AS p(name)
        WHERE NOT has_table_privilege(r.id, p.name)
        UNION ALL
        SELECT 'USAGE of its sequence' FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
        WHERE d.refobjid = r.id AND d.deptype IN ('a', 'i') AND 'INSERT' = ANY(CAST(:rights AS text[]))
          AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') ELSE false END
        UNION ALL
        SELECT NULL WHERE r.id IS NULL OR row_security_active(r.id)
    ) p
    ORDER BY t.name, p.lacks NULLS FIRST
""")


#: Whoever is a member of the owner with INHERIT counts as the owner, as in PostgreSQL's own check.
_OTHER_OWNERS: Final = text("""
    SELECT DISTINCT quote_ident(pg_get_userbyid(c.relowner)) FROM unnest(CAST(:tables AS text[])) AS t(name)
    JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name)) WHERE NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1
""")


def _settings(conn: Connection) -> dict[str, str]:
    """Return settings as the server writes them."""
    return dict(conn.execute(_ASKED).mappings().one())


def _assert_postgresql_is_whole(settings: dict[str, str]) -> None:
    version = int(settings["server_version_num"])
    if version < OLDEST_POSTGRESQL:
        raise LedgerRefused(
            f"the ledger's PostgreSQL is of version {version // 10_000}, too old: give connection badge_ledger one of "
            f"version {OLDEST_POSTGRESQL // 10_000} or later"
        )
    if settings["server_encoding"] != "UTF8":
        raise LedgerRefused(
            f"the ledger's database is in encoding {settings['server_encoding']}, which cannot hold every word of the "
            "platform: create one with ENCODING 'UTF8' and give it to connection badge_ledger"
        )
    # psycopg cannot read times in another style, and sends arrays that hold NULL.
    for name, wanted in (("DateStyle", "ISO"), ("array_nulls", "on")):
        if not settings[name].startswith(wanted):
            raise LedgerRefused(
                f"PostgreSQL says {name}={settings[name]}, with which its driver misreads values: set {name} to "
                f"{wanted} for the ledger's database or role"
            )


def _assert_postgresql_is_durable(settings: dict[str, str]) -> None:
    for setting in ("fsync", "synchronous_commit"):
        if settings[setting] == "off":
            raise LedgerRefused(
                f"PostgreSQL says {setting}=off: a commit may be lost in a crash, and a lost commit can enrol a "
                f"customer twice. Turn {setting} on for the ledger's database or role"
            )


def _assert_postgresql_writes(conn: Connection, settings: dict[str, str]) -> None:
    _assert_primary(conn)
    row: Row[Any] = conn.execute(
        text("SELECT current_schema() AS schema, has_database_privilege(current_database(), 'TEMPORARY') AS temporary")
    ).one()
    if settings["transaction_read_only"] == "on":
        raise LedgerUnavailable(
            "the ledger's PostgreSQL takes no writes (default_transaction_read_only=on, as some services set it when "
            "the disk is nearly full): turn it off for the ledger's database or role"
        )
    if row.schema is None:
        raise LedgerRefused(
            f"the search path ({settings['search_path']}) names no schema that exists and that "
            f"{_quoted(conn, 'current_user')} may use: create the schema, grant USAGE on it, or correct the search path"
        )
    if not row.temporary:
        role, database = _quoted(conn, "current_user"), _quoted(conn, "current_database()")
        raise LedgerRefused(
            f"the user {role} may not make temporary tables, which planning needs: GRANT TEMPORARY ON DATABASE "
            f"{database} TO {role}"
        )


def _assert_primary(conn: Connection) -> None:
    if conn.execute(text("SELECT pg_is_in_recovery()")).scalar_one():
        # It passes by itself when a failover ends: a task that waits for days must not fail for it.
        raise LedgerUnavailable(
            "the ledger's PostgreSQL is a standby, which takes no writes: point connection badge_ledger at the "
            "primary, or wait for the end of a failover"
        )


def _assert_patient(conn: Connection) -> None:
    for name, seconds in conn.execute(_ASKED_TIMEOUTS).mappings().one().items():
        if seconds is not None and 0 < seconds < LEAST_TIMEOUT_S:
            raise LedgerRefused(
                f"PostgreSQL says {name}={float(seconds):g} s, in which a large plan cannot finish: ALTER ROLE "
                f"{_quoted(conn, 'current_user')} SET {name} to 0 or to {LEAST_TIMEOUT_S} s or more"
            )


def _quoted(conn: Connection, name: str) -> str:
    said: str = conn.execute(text(f"SELECT quote_ident({name})")).scalar_one()
    return said


def _assert_sqlite_writes(conn: Connection) -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise LedgerRefused(
            f"this Python comes with SQLite {sqlite3.sqlite_version}, too old: use one with "
            f"{'.'.join(map(str, OLDEST_SQLITE))} or later, or give the ledger PostgreSQL"
        )
    driver: Any = conn.connection.driver_connection
    (patience_ms,) = driver.execute("PRAGMA busy_timeout").fetchone()
    driver.execute("PRAGMA busy_timeout=0")  # who is locked out has found a file that can be written
    try:
        driver.execute("BEGIN IMMEDIATE")  # granted in a file that may only be read, too
        try:
            (number,) = driver.execute("PRAGMA user_version").fetchone()
            driver.execute(f"PRAGMA user_version={number}")
        finally:
            driver.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
    finally:
        driver.execute(f"PRAGMA busy_timeout={patience_ms}")


def _assert_sqlite_is_durable(conn: Connection) -> None:
    level = conn.exec_driver_sql("PRAGMA synchronous").scalar_one()
    if level < 2:
        raise LedgerRefused("SQLite does not wait for the disk (PRAGMA synchronous below FULL)")
