"""What `make cluster` needs of the machine: `python -m tests.cluster.needed` ends with 2 and a sentence without it.

The Makefile asks before it installs anything, with whatever Python there is: the standard library alone is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

#: Debian's package redis-tools has the server, under the name of a tool that is the same program.
REDIS: Final = Path("/usr/bin/redis-check-rdb")
#: Programs of Debian's, and their packages.
TOOLS: Final = {
    REDIS: "redis-tools",
    Path("/usr/sbin/ip"): "iproute2",
    Path("/usr/bin/nsenter"): "util-linux",
    Path("/usr/bin/setpriv"): "util-linux",
    Path("/usr/bin/unshare"): "util-linux",
}
#: A PID, mount and network namespace for all of it: with this program's death the kernel ends everything.
NAMESPACES: Final = ("unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc")
#: What a container is made of, tried once before anything is built.
_TRIED: Final = """
mount -t tmpfs run /run
mkdir /run/upper /run/work /run/root
mount -t overlay overlay -o lowerdir=/,upperdir=/run/upper,workdir=/run/work /run/root
ip link add tried type bridge
ip link add v0 type veth peer name v1
ip netns add tried
"""


def missing() -> str | None:
    """Return what this machine lacks for the containers, in a sentence with what to do; None where it has all."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "Linux and root are needed, for the containers' namespaces: sudo make cluster"
    for tool, package in TOOLS.items():
        if not tool.exists():
            return f"no {tool}: bash .ci/debian, or install Debian's package {package}"
    try:
        done = subprocess.run([*NAMESPACES, "/bin/sh", "-euc", _TRIED], capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    except FileNotFoundError as error:
        return f"there is no program {error.filename}: bash .ci/debian, or install Debian's package util-linux"
    if done.returncode == 0:
        return None
    said = (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
    return (
        f"this machine does not let root make namespaces, overlays and bridges ({said}): run it on a machine of its "
        "own, or in a container with --privileged"
    )


def main() -> int:
    """Say what is missing; 0 where nothing is."""
    lacks = missing()
    if lacks is None:
        return 0
    sys.stderr.write(f"make cluster: {lacks}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
