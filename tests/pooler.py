"""A real PgBouncer in transaction mode, before a PostgreSQL server of the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

#: Sessions of the server that all clients share: few, so that every client meets those of others.
SESSIONS = 2
_START_S = 20.0


class PoolerMissing(RuntimeError):
    """No PgBouncer can be started on this machine; the message says why."""


@contextmanager
def running_pooler(server: URL, *, ignored: str = "") -> Iterator[URL]:
    """Start a PgBouncer before a server and stop it at the end.

    Args:
        server: the server's database, on a Unix socket.
        ignored: startup parameters that the pooler takes and drops, as many an installation says of `options`.

    Raises:
        PoolerMissing: it is not installed.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise PoolerMissing("there is no pgbouncer on this machine: install Debian's package pgbouncer")
    data = Path(str(server.query["host"]))
    owner = pwd.getpwuid(data.stat().st_uid)
    with tempfile.TemporaryDirectory(prefix="pooler-") as folder:
        port = _free_port()
        settings = Path(folder, "pgbouncer.ini")
        settings.write_text(
            "\n".join(
                [
                    "[databases]",
                    f"* = host={data} user={server.username}",
                    "[pgbouncer]",
                    f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =",
                    f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {SESSIONS}\nmax_client_conn = 200",
                    f"server_reset_query =\nignore_startup_parameters = {ignored}\nlogfile = {folder}/pgbouncer.log\n",
                ]
            ),
            encoding="utf-8",
        )
        for path in (Path(folder), settings):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        # It refuses to run as root: it runs as the server's own user, who may also read the socket's folder.
        as_owner = ["-u", owner.pw_name] if os.geteuid() == 0 else []
        process = subprocess.Popen(  # noqa: S603 - our own command
            [program, "-q", *as_owner, str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        url = URL.create(
            server.drivername, username=server.username, host="127.0.0.1", port=port, database=server.database
        )
        try:
            _wait(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=10)


def _wait(url: URL, process: subprocess.Popen[bytes]) -> None:
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
    ends_at = time.monotonic() + _START_S
    while True:
        try:
            with psycopg.connect(conninfo, connect_timeout=2) as conn:
                conn.execute("SELECT 1")
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > ends_at:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def pooler_or_skip(server: URL) -> Iterator[URL]:
    """Do what `running_pooler` does; skip the test where none can be started, but not in CI."""
    try:
        with running_pooler(server) as url:
            yield url
    except PoolerMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
