"""Whether the sandbox's books belong to the ledger of this start: said before anything runs, while it can be put right.

The sandbox remembers what earlier runs submitted. A ledger that knows nothing of it is behind its platform: every
`submit` would stop with `LedgerBehind`, whose advice (import from the platform) needs the sandbox to be running.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, bindparam, create_engine, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from capillary.ledger.spec import KEY_PREFIX
from local_airflow.errors import LocalAirflowError

#: Keys that one statement asks for.
_AT_ONCE = 500
#: Asked of the table itself: the ledger may be older than this code, which migrates it afterwards.
_COUNT = text("SELECT count(*) FROM badge_request WHERE request_key IN :keys").bindparams(
    bindparam("keys", expanding=True)
)


class BooksOfAnotherLedgerError(LocalAirflowError):
    """The sandbox holds requests that this ledger does not know."""


def assert_books_are_of(ledger: URL | str, books: Path) -> None:
    """See that the ledger knows every request of ours that the sandbox's books hold.

    A ledger that cannot be reached is let through: whoever migrates it next says why.

    Args:
        ledger: SQLAlchemy URL.
        books: the sandbox's SQLite file; it may be missing.

    Raises:
        BooksOfAnotherLedgerError: there are some that it does not know.
    """
    keys = _keys_in(books)
    if not keys:
        return
    try:
        unknown = len(keys) - _known(make_url(ledger), keys)
    except SQLAlchemyError:
        return
    if unknown:
        raise BooksOfAnotherLedgerError(
            f"the sandbox's books ({books}) hold requests of another ledger: this one does not "
            f"know {unknown:,} of the {len(keys):,} in them, so that every run would stop with "
            "LedgerBehind. Run `make clean`, which starts the sandbox, its books and the samples afresh, "
            "or give the ledger that they were submitted from (AIRFLOW_CONN_BADGE_LEDGER; unset, it is the sample)"
        )


def _keys_in(books: Path) -> list[str]:
    if not books.exists():
        return []
    with closing(sqlite3.connect(f"file:{books}?mode=ro", uri=True, timeout=30)) as database:
        try:
            rows = database.execute("SELECT request_key FROM request WHERE request_key IS NOT NULL").fetchall()
        except sqlite3.OperationalError:  # ended before it had made its tables
            return []
    return sorted({key for (key,) in rows if key.startswith(KEY_PREFIX)})


def _known(ledger: URL, keys: list[str]) -> int:
    if ledger.get_backend_name() == "sqlite" and not Path(ledger.database or "").exists():
        return 0  # to ask would make the file
    engine = create_engine(ledger)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("badge_request"):
                return 0
            return sum(connection.execute(_COUNT, {"keys": part}).scalar_one() for part in _parts(keys))
    finally:
        engine.dispose()


def _parts(keys: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]
