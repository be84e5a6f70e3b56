"""Settings that a connection asks for when it starts, and whether the server has heard of them.

A pooler may drop libpq's `options` (PgBouncer: `ignore_startup_parameters`). With another search path the same
connection would then be another ledger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, text

from capillary.ledger.errors import LedgerRefused

#: A backslash keeps the blank after it; quotes mean nothing here (libpq's documentation, `options`).
_WORD: Final = re.compile(r"(?:\\.|[^\s\\])+", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
#: `-c name=value`, `-cname=value` or `--name=value` (PostgreSQL documentation, `postgres`, options).
_NAMED: Final = re.compile(r"(?:-c|--)([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)


def assert_options_hold(conn: Connection) -> None:
    """Compare each setting that the connection asks for with what it is in a transaction of it.

    libpq knows what was asked for, whether the connection's extras, PGOPTIONS or a service file said so.

    Raises:
        LedgerRefused: one of them is not as the connection asks.
    """
    if conn.dialect.name != "postgresql":
        return
    driver: Any = conn.connection.driver_connection
    for name, wanted in _settings(driver.info.options):
        if not _may_be_set(conn, name):
            continue
        before = conn.execute(text("SELECT current_setting(:name, true)"), {"name": name}).scalar_one()
        # The server's own spelling of it; for this transaction alone, which is rolled back.
        asked = conn.execute(
            text("SELECT set_config(:name, :wanted, true)"), {"name": name, "wanted": wanted}
        ).scalar_one()
        if before != asked:
            raise LedgerRefused(
                f"connection badge_ledger asks for {name}={asked} in its options, but the server has "
                f"{before or 'no value'}: a pooler on the way drops options. Set it for the role (ALTER ROLE … SET …), "
                "and take it out of the connection's options"
            )


def _may_be_set(conn: Connection, name: str) -> bool:
    """Return whether the setting may be changed within a session; a name with a dot is nobody's but the user's."""
    context = conn.execute(
        text("SELECT context FROM pg_settings WHERE lower(name) = lower(:name)"), {"name": name}
    ).scalar_one_or_none()
    return context in {None, "user", "superuser"}


def _settings(options: str) -> Iterator[tuple[str, str]]:
    words = (_ESCAPED.sub(r"\1", word) for word in _WORD.findall(options))
    for word in words:
        joined = word + next(words, "") if word == "-c" else word
        if found := _NAMED.fullmatch(joined):
            yield found[1].replace("-", "_"), found[2]
