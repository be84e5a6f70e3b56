"""`python -m tests.cluster [short | upkeep | long --kills 50 --requests 200 --seed 1] [--keep]`: 0 where all holds."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.cluster import needed
from tests.cluster.cluster import running_cluster
from tests.cluster.engine import ClusterFailed
from tests.cluster.images import ImageMissing, build, images
from tests.cluster.long import campaigns as storm_campaigns
from tests.cluster.long import long, write_streak
from tests.cluster.manual import CommandFailed, secrets
from tests.cluster.memory import Memory
from tests.cluster.pods import write_campaign as write_pods
from tests.cluster.short import CAMPAIGNS, SETTINGS, short, write_example, write_killed
from tests.cluster.table import print_long, print_short, print_upkeep
from tests.cluster.upkeep import CAMPAIGNS as KEPT_CAMPAIGNS
from tests.cluster.upkeep import upkeep
from tests.fire.campaigns import write_upkeep
from tests.fire.storm import Order


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what stands for the image, then go on in namespaces of its own."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = _parser().parse_args(given)
    if asked.inside is not None:
        return inside(asked)
    if (refused := needed.main()) != 0:
        return refused
    # Whoever ends this shall leave no container behind.
    signal.signal(signal.SIGTERM, _end)
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    folder.chmod(0o755)
    try:
        _prepare(folder, asked.form)
        again = [sys.executable, "-m", "tests.cluster", *given, "--inside", str(folder)]
        with subprocess.Popen([*needed.NAMESPACES, *again]) as process:  # noqa: S603 - ourselves
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument(
        "form",
        nargs="?",
        choices=["short", "upkeep", "long"],
        default="short",
        help="which form (short); the long one is a storm, then the upkeep",
    )
    parser.add_argument("--kills", type=int, default=50, help="long: how many containers are killed (50)")
    parser.add_argument("--requests", type=int, default=200, help="long: requests before the last runs (200)")
    parser.add_argument("--seed", type=int, default=1, help="long: of every draw (1)")
    parser.add_argument("--keep", action="store_true", help="keep the folder with volumes and logs")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    return parser


def _end(*_: object) -> None:
    # A second one would cut the ending off.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _prepare(folder: Path, form: str) -> None:
    """Make the image's part of the checkout with the form's campaigns in it, and the secrets."""
    built = folder / "image"
    built.mkdir()
    images(built)
    build(built)
    if form == "short":
        for campaign in CAMPAIGNS:
            campaign.write(built / "dags")
        write_killed(built / "dags")  # over its file
        write_example(built / "dags")
        write_pods(built / "dags")
    else:
        write_upkeep(built / "dags")
        for campaign in (*KEPT_CAMPAIGNS, *(storm_campaigns() if form == "long" else ())):
            campaign.write(built / "dags")
    if form == "long":
        write_streak(built / "dags")
    (folder / "secrets.json").write_text(json.dumps(secrets(folder)))


def inside(asked: argparse.Namespace) -> int:
    """Run the cluster as the first process of the namespaces, and print what came of it."""
    signal.signal(signal.SIGTERM, _end)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    began = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"{time.monotonic() - began:7.1f} s  {line}")

    # Nothing of this machine's /run is touched; the containers' own files are in memory, beside their root.
    subprocess.run(["mount", "-t", "tmpfs", "run", "/run"], check=True)  # noqa: S607 - root's own
    memory, disk = Path("/run/containers"), asked.inside / "disk"
    memory.mkdir()
    disk.mkdir()
    given = json.loads((asked.inside / "secrets.json").read_text())
    if asked.form == "short":
        given |= SETTINGS
    try:
        with Memory() as used, running_cluster(asked.inside / "image", given, memory=memory, disk=disk) as cluster:
            up_s = time.monotonic() - began
            tell("all healthy")
            if asked.form == "short":
                return print_short(short(cluster, tell), up_s, used, console)
            came = None
            order = Order(kills=asked.kills, requests=asked.requests, seed=asked.seed)
            if asked.form == "long":
                came = long(cluster, order, tell)
            kept = upkeep(cluster, given, tell)
            broken = print_upkeep(kept, up_s, used, console)
            return broken if came is None else max(broken, print_long(came, order, up_s, used, console))
    except (ClusterFailed, CommandFailed, TimeoutError) as error:
        console.print(f"BROKEN: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
