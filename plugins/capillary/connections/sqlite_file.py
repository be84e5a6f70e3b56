"""The file of a SQLite warehouse: SQLite makes an empty one of a mistyped path, and then has no table."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote

from sqlalchemy import URL

from capillary.connections.errors import ConnectionUnusable

#: What every SQLite file begins with (https://www.sqlite.org/fileformat.html).
_HEADER: Final = b"SQLite format 3\0"


def assert_file(url: URL, conn_id: str) -> None:
    """Look at the file that an address names, before SQLite does.

    A database in memory has none. A file that a VFS of its own reads (`vfs` in the extra) may begin otherwise.

    Raises:
        ConnectionUnusable: there is no such file, it is a folder, it cannot be read, or it is not a database with
            tables.
    """
    named = url.database or ""
    if not named or ":memory:" in named or "memory" in (url.query.get("mode"), url.query.get("vfs")):
        return
    # A file's own URI is quoted; a path is not.
    path = Path(unquote(named.removeprefix("file:").partition("?")[0]) if named.startswith("file:") else named)
    if (problem := _problem(path, any_format="vfs" in url.query)) is not None:
        raise ConnectionUnusable(f"{problem}: correct the host of connection {conn_id!r}, or load the file")


def _problem(path: Path, *, any_format: bool) -> str | None:
    try:
        if path.is_dir():
            return f"{path} is a folder, and no SQLite file"
        if not path.is_file():
            return f"there is no SQLite file {path}"
        with path.open("rb") as file:
            begin = file.read(len(_HEADER))
    except (OSError, ValueError) as error:  # the latter of a NUL in the path
        return f"the SQLite file {path!s:.200} cannot be read ({type(error).__name__})"
    if not begin:
        return f"the SQLite file {path} is empty, and has no table"
    return None if begin == _HEADER or any_format else f"{path} is not a SQLite database"
