"""Ports of this machine: a free one, or the one that was asked for."""

from __future__ import annotations

import errno
import socket

from local_airflow.errors import PortTakenError
from local_airflow.home import Home

LOOPBACK = "127.0.0.1"
PREFERRED_API_PORT = 8080
PREFERRED_SANDBOX_PORT = 8090


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.settimeout(1)
        # On some systems a second listener may bind beside the first: ask for an answer too.
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def free_port() -> int:
    """A port that nobody listens on, chosen by the system."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def asked_port(port: int, *, variable: str) -> int:
    """The port that was asked for.

    Raises:
        PortTakenError: somebody listens there; the message names the variable to set.
    """
    if not is_free(port):
        raise PortTakenError(
            f"port {port} is taken: end what listens there (`lsof -i :{port}` shows it), "
            f"or set {variable} to another port"
        )
    return port


def sandbox_port(home: Home, asked: int | None) -> int:
    """The sandbox's port: the remembered one, the one asked for, 8090, or else any free one.

    Raises:
        PortTakenError: the port is taken, or the one asked for is not the one that the sample ledger knows.
    """
    remembered = home.sandbox_port()
    if remembered is None:
        if asked is not None:
            return asked_port(asked, variable="SANDBOX_PORT")
        return PREFERRED_SANDBOX_PORT if is_free(PREFERRED_SANDBOX_PORT) else free_port()
    if asked not in {None, remembered}:
        raise PortTakenError(
            f"SANDBOX_PORT is {asked}, but the sample ledger knows the sandbox by port {remembered} and "
            "would take it for another one: leave SANDBOX_PORT unset, or run `make clean` to start afresh"
        )
    if not is_free(remembered):
        raise PortTakenError(
            f"port {remembered} is taken, by which the sample ledger knows the sandbox: end what listens "
            f"there (`lsof -i :{remembered}` shows it), or run `make clean` to start afresh with another port"
        )
    return remembered
