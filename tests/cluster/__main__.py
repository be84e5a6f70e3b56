"""`python -m tests.cluster [long] [--kills 50] [--requests 200] [--seed N] [--keep]`: 0 only where all holds."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.cluster.cluster import running_cluster
from tests.cluster.engine import ClusterFailed
from tests.cluster.images import ImageMissing, build, images
from tests.cluster.manual import secrets
from tests.cluster.memory import Memory
from tests.cluster.short import CAMPAIGNS, Short, short

#: A PID, mount and network namespace for all of it: with this program's death the kernel ends everything.
_NAMESPACES: Final = ("unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what stands for the image, then go on in namespaces of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help="keep the folder with volumes and logs")
    asked = parser.parse_args(arguments)
    if asked.inside is not None:
        return inside(asked.inside)
    if sys.platform != "linux" or os.geteuid() != 0:
        sys.stderr.write("make cluster: Linux and root are needed, for the containers' namespaces: sudo make cluster\n")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    folder.chmod(0o755)
    try:
        built = folder / "image"
        built.mkdir()
        images(built)
        build(built)
        (folder / "secrets.json").write_text(json.dumps(secrets(folder)))
        again = [sys.executable, "-m", "tests.cluster", "--inside", str(folder)]
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        with subprocess.Popen([*_NAMESPACES, *again]) as process:  # noqa: S603 - ourselves
            try:
                return process.wait()
            finally:
                process.kill()
    except ImageMissing as error:
        sys.stderr.write(f"make cluster: {error}\n")
        return 2
    finally:
        if asked.keep:
            sys.stdout.write(f"kept: {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def inside(folder: Path) -> int:
    """Run the cluster as the first process of the namespaces, and print what came of it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    began = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"{time.monotonic() - began:7.1f} s  {line}")

    # Nothing of this machine's /run is touched; the containers' own files are in memory, beside their root.
    subprocess.run(["mount", "-t", "tmpfs", "run", "/run"], check=True)  # noqa: S607 - root's own
    memory, disk = Path("/run/containers"), folder / "disk"
    memory.mkdir()
    disk.mkdir()
    given = json.loads((folder / "secrets.json").read_text())
    try:
        with Memory() as used, running_cluster(folder / "image", CAMPAIGNS, given, memory=memory, disk=disk) as cluster:
            up_s = time.monotonic() - began
            tell("all healthy")
            outcome = short(cluster, tell)
    except (ClusterFailed, TimeoutError) as error:
        console.print(f"BROKEN: {error}")
        return 1
    print_short(outcome, up_s, used, console)
    return 1 if outcome.broken else 0


def print_short(outcome: Short, up_s: float, used: Memory, console: Console) -> None:
    """Print seconds, memory, figures, and every broken promise."""
    judgement = outcome.judgement
    table = Table(title="Cluster", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    rows: list[tuple[str, object]] = [
        ("seconds: until all is healthy", f"{up_s:.0f}"),
        *((f"seconds: {step}", f"{seconds:.0f}") for step, seconds in outcome.seconds.items()),
        ("MiB at most, what is shared counted once", used.peak_pss),
        ("MiB at most, what is shared counted for each", used.peak_rss),
        ("runs", len(outcome.runs)),
        ("requests on the platform", judgement.requests),
        ("customers", judgement.customers),
        *((f"  {name}", count) for name, count in sorted(judgement.outcomes.items())),
        ("doubled", judgement.doubled),
        ("lost", judgement.lost),
    ]
    for what, figure in rows:
        table.add_row(what, str(figure))
    console.print(table)
    for sentence in outcome.broken:
        console.print(f"BROKEN: {sentence}")


if __name__ == "__main__":
    sys.exit(main())
