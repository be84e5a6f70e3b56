"""One container: a root file system of its own over this machine's, and namespaces that die with its first process."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # its stubs are a package that nothing else here needs

from tests.cluster.images import PASSWD, Image
from tests.cluster.network import Place
from tests.cluster.services import Service
from tests.deployment.composition import CHECKOUT

#: Root's writes into /opt/airflow and the like land here, in memory.
_LAYER: Final = "layer"
_LOOK_S: Final = 0.05


class Container:
    """One replica of a service.

    Args:
        service: what it runs.
        number: of the replica, from 1.
        image: what it begins with.
        place: in the networks.
        home: a folder in memory for its own files, in a file system that is not this machine's root.
        log: what its processes print.
        volumes: the host's folders by volume.
    """

    def __init__(
        self,
        service: Service,
        number: int,
        image: Image,
        place: Place,
        home: Path,
        log: Path,
        volumes: Mapping[str, Path],
    ) -> None:
        self.service = service
        self.name = f"{service.name}-{number}"
        self.place = place
        self._image = image
        self._home = home
        self._log = log
        self._volumes = volumes
        self._user = service.user or image.user
        self._process: subprocess.Popen[bytes] | None = None
        self._namespace = ""

    @property
    def address(self) -> str:
        """Its address in the first of its networks."""
        return next(iter(self.place.addresses.values()))

    @property
    def _environment(self) -> dict[str, str]:
        return {**self._image.environment, "HOSTNAME": self.place.hostname, **self.service.environment}

    @property
    def _command(self) -> list[str]:
        service, image = self.service, self._image
        if service.entrypoint is None:
            command = [*image.entrypoint, *(service.command or image.command)]
        else:
            command = [*service.entrypoint, *service.command]
        return ["dumb-init", "--", *command] if service.init else command

    def create(self, namespace: str, hosts: str) -> None:
        """Lay its files out, as they are before its first start.

        Args:
            namespace: of the network.
            hosts: text of /etc/hosts.
        """
        self._namespace = namespace
        upper = self._home / _LAYER
        for folder in (upper, self._home / "work", self._home / "root"):
            folder.mkdir(parents=True)
        for place, (owner, mode) in self._image.folders.items():
            _folder(upper, place, owner=owner, group=self._image.user[1] if owner else 0, mode=mode)
        for place, source in self._image.copies.items():
            target = _within(upper, place)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        written = {
            **self.service.configs,
            "/etc/hosts": hosts,
            "/etc/hostname": f"{self.place.hostname}\n",
            "/etc/resolv.conf": "",
            "/etc/passwd": PASSWD,
        }
        for place, content in written.items():
            target = _within(upper, place)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
            target.chmod(0o644)
        for place in (*self._image.binds, *self.service.volumes):
            _within(upper, place).mkdir(parents=True, exist_ok=True)
        for place, volume in self.service.volumes.items():
            self._fill(self._volumes[volume], self._image.folders.get(place, (0, 0o755)))
        (self._home / "enter").write_text(self._script())

    def _fill(self, volume: Path, folder: tuple[int, int]) -> None:
        if not volume.exists():
            owner, mode = folder
            _folder(volume, "/", owner=owner, group=self._image.user[1] if owner else 0, mode=mode)

    def _script(self) -> str:
        """What root does in the new namespaces before the first process takes its place."""
        root = self._home / "root"
        layers = f"lowerdir=/,upperdir={self._home / _LAYER},workdir={self._home / 'work'}"
        lines = [
            ["hostname", self.place.hostname],
            ["mount", "-t", "overlay", "overlay", "-o", layers, str(root)],
            ["mount", "-t", "proc", "proc", f"{root}/proc"],
            ["mount", "--rbind", "/dev", f"{root}/dev"],
            ["mount", "-t", "tmpfs", "-o", f"size={self.service.shm_bytes}", "shm", f"{root}/dev/shm"],  # noqa: S108
            ["mount", "-t", "tmpfs", "-o", "mode=1777", "tmp", f"{root}/tmp"],  # noqa: S108
            # The checkout is not in the image: only what is bound below is seen of it.
            ["mkdir", "-p", f"{root}{CHECKOUT}"],
            ["mount", "-t", "tmpfs", "checkout", f"{root}{CHECKOUT}"],
        ]
        for place, source in self._image.binds.items():
            lines += [["mkdir", "-p", f"{root}{place}"], ["mount", "-o", "bind,ro", str(source), f"{root}{place}"]]
        for place, volume in self.service.volumes.items():
            lines.append(["mount", "--bind", str(self._volumes[volume]), f"{root}{place}"])
        if self.service.read_only:
            lines.append(["mount", "-o", "remount,ro,bind", str(root)])
        last = ["exec", "chroot", str(root), *self._as_user(), *self._command]
        return "\n".join(["set -eu", *(shlex.join(line) for line in lines), shlex.join(last), ""])

    def _as_user(self) -> list[str]:
        user, group = self._user
        who = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        if self.service.unprivileged:
            who += ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        return [*who, "env", f"--chdir={self._image.workdir}"]

    def start(self) -> None:
        """Start its first process; what its files were changed to stays."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the file's own commands
                [
                    "/usr/bin/nsenter",
                    f"--net=/run/netns/{self._namespace}",
                    "/usr/bin/unshare",
                    "--mount",
                    "--uts",
                    "--ipc",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "/bin/sh",
                    str(self._home / "enter"),
                ],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """How its first process ended, negative by a signal; None while it runs or before it was started."""
        return None if self._process is None else self._process.poll()

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def first(self) -> psutil.Process | None:
        """Its first process, with whose death the kernel ends all the others; None where there is none."""
        if self._process is None:
            return None
        with suppress(psutil.Error):
            return next(iter(psutil.Process(self._process.pid).children()), None)
        return None

    def kill(self) -> None:
        """Kill the first process, and so all, with SIGKILL."""
        if first := self.first():
            with suppress(psutil.Error):
                first.send_signal(signal.SIGKILL)

    def stop(self) -> float:
        """Ask it to end, wait as long as its grace lasts, kill it then. Returns the seconds that it took."""
        began = time.monotonic()
        if first := self.first():
            with suppress(psutil.Error):
                first.send_signal(self._image.stop_signal)
        while self.is_running and time.monotonic() - began < self.service.stop_grace_s:
            time.sleep(_LOOK_S)
        self.kill()
        if self._process is not None:
            self._process.wait()
        return time.monotonic() - began

    def renew(self, service: Service, hosts: str) -> None:
        """Lay its files out again, for what the file says now: what `docker compose up` does after `down`."""
        self.service = service
        shutil.rmtree(self._home)
        self.create(self._namespace, hosts)

    def entry(self) -> list[str] | None:
        """The words before a command that put it beside the first process, as its user, with its environment.

        None if it is down.
        """
        first = self.first()
        if first is None:
            return None
        enter = ["/usr/bin/nsenter", f"--target={first.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        given = [f"{name}={value}" for name, value in self._environment.items()]
        return ["env", "-i", *given, *enter, *self._as_user()]

    def inside(self, command: Sequence[str]) -> subprocess.Popen[str] | None:
        """Start a command beside its first process; None if it is down."""
        entry = self.entry()
        if entry is None:
            return None
        return subprocess.Popen(  # noqa: S603 - the file's own commands
            [*entry, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def _within(upper: Path, place: str) -> Path:
    return upper / place.lstrip("/")


def _folder(upper: Path, place: str, *, owner: int, group: int, mode: int) -> None:
    folder = _within(upper, place)
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, owner, group)
    folder.chmod(mode)
