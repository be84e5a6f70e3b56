"""Real processes: started together, watched, and none of them left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package that nothing else here needs
import pytest

from local_airflow.errors import ComponentFailedError
from local_airflow.processes import Processes, end_left_behind, tail

#: A process with a child that changes its process group, as Airflow's tasks do, and that ignores SIGTERM.
FAMILY = """
import os, pathlib, signal, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c", "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); time.sleep(60)"],
    process_group=0,
)
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {child.pid}")
if len(sys.argv) > 2:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(60)
"""


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def eventually(condition: Callable[[], bool], limit_s: float = 5) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path / "processes.json", tmp_path)
    yield processes
    hurry = threading.Event()
    hurry.set()
    processes.stop(hurry)


def family(processes: Processes, tmp_path: Path, *arguments: str) -> list[int]:
    pids = tmp_path / "pids"
    processes.start("family", python(FAMILY, pids, *arguments), os.environ)
    eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    return [int(pid) for pid in pids.read_text().split()]


def test_stopping_ends_grandchildren_in_groups_of_their_own(processes: Processes, tmp_path: Path) -> None:
    pids = family(processes, tmp_path)
    assert all(alive(pid) for pid in pids)
    assert os.getpgid(pids[1]) != pids[0]
    processes.stop()
    assert not any(alive(pid) for pid in pids)
    assert not (tmp_path / "processes.json").exists()


def test_who_does_not_listen_is_killed_after_the_grace(processes: Processes, tmp_path: Path) -> None:
    pids = family(processes, tmp_path, "deaf")
    began = time.monotonic()
    processes.stop(grace_s=0.3)
    assert 0.3 <= time.monotonic() - began < 2
    assert not any(alive(pid) for pid in pids)


def test_a_second_signal_waits_for_nobody(processes: Processes, tmp_path: Path) -> None:
    pids = family(processes, tmp_path, "deaf")
    hurry = threading.Event()
    hurry.set()
    began = time.monotonic()
    processes.stop(hurry, grace_s=30)
    assert time.monotonic() - began < 2
    assert not any(alive(pid) for pid in pids)


def test_servers_end_after_those_who_call_them(processes: Processes, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    code = (
        "import pathlib, signal, sys, time\n"
        "def end(*_):\n"
        "    with pathlib.Path(sys.argv[1]).open('a') as file: file.write(sys.argv[2] + '\\n')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    processes.start("scheduler", python(code, ended, "scheduler"), os.environ)
    processes.start("api-server", python(code, ended, "api-server"), os.environ, serves=True)
    eventually(lambda: all("ready" in tail(processes.log_of(name)) for name in processes.pids()))
    processes.stop()
    assert ended.read_text().split() == ["scheduler", "api-server"]


def test_a_database_ends_last_and_by_sigint(processes: Processes, tmp_path: Path) -> None:
    """PostgreSQL waits at SIGTERM until everybody has left, and is killed after the grace."""
    ended = tmp_path / "ended"
    code = (
        "import pathlib, signal, sys, time\n"
        "def end(number, _):\n"
        "    with pathlib.Path(sys.argv[1]).open('a') as file: file.write(f'{sys.argv[2]} {number}\\n')\n"
        "    sys.exit(0)\n"
        "for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    processes.start("postgresql", python(code, ended, "postgresql"), os.environ, stores=True)
    processes.start("api-server", python(code, ended, "api-server"), os.environ, serves=True)
    eventually(lambda: all("ready" in tail(processes.log_of(name)) for name in processes.pids()))
    processes.stop()
    assert ended.read_text().splitlines() == ["api-server 15", "postgresql 2"]


def test_a_death_is_told_with_name_code_and_last_lines(processes: Processes) -> None:
    processes.start("steady", python("import time; time.sleep(60)"), os.environ)
    processes.start("frail", python("import sys; [print(n) for n in range(30)]; sys.exit(7)"), os.environ)
    eventually(lambda: processes.exit_code("frail") is not None)
    with pytest.raises(ComponentFailedError) as caught:
        processes.check()
    assert str(caught.value).startswith("frail: ended by itself with exit code 7.")
    assert caught.value.tail.splitlines() == [str(number) for number in range(10, 30)]
    assert caught.value.exit_code == 3


def test_a_command_that_is_done_waits_for_long_and_a_failed_one_told(processes: Processes) -> None:
    processes.start("good", python("print('done')"), os.environ)
    eventually(lambda: processes.done("good"))
    processes.check()
    assert processes.pids() == {}
    processes.start("bad", python("import sys; sys.exit('no space left')"), os.environ)
    with pytest.raises(ComponentFailedError, match=r"bad: failed with exit code 1(.|\n)*no space left"):
        eventually(lambda: processes.done("bad"))


def test_what_a_killed_run_left_behind_is_ended_by_the_next(tmp_path: Path) -> None:
    pids_file = tmp_path / "pids"
    run = (
        "import os, pathlib, sys, time\n"
        "from local_airflow.processes import Processes\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "command = [sys.executable, '-c', sys.argv[2], str(here / 'pids')]\n"
        "Processes(here / 'processes.json', here).start('scheduler', command, os.environ)\n"
        "time.sleep(60)\n"
    )
    killed = subprocess.Popen(  # noqa: S603 - this test's own code
        python(run, tmp_path, FAMILY), cwd=Path(__file__).parents[2]
    )
    eventually(lambda: pids_file.exists() and len(pids_file.read_text().split()) == 2)
    pids = [int(pid) for pid in pids_file.read_text().split()]
    killed.kill()
    killed.wait()
    assert all(alive(pid) for pid in pids)
    # The leader may be gone by itself: its session is still found.
    os.kill(pids[0], signal.SIGKILL)
    eventually(lambda: not alive(pids[0]))
    assert end_left_behind(tmp_path / "processes.json") == ["scheduler"]
    eventually(lambda: not alive(pids[1]))
    assert end_left_behind(tmp_path / "processes.json") == []


def test_a_stranger_with_a_recorded_id_is_left_alone(tmp_path: Path) -> None:
    record = tmp_path / "processes.json"
    with subprocess.Popen(  # noqa: S603 - this test's own code
        python("import time; time.sleep(60)"), start_new_session=True
    ) as stranger:
        record.write_text(json.dumps([{"name": "scheduler", "pid": stranger.pid, "created": 1_000_000.0}]))
        assert end_left_behind(record) == []
        assert alive(stranger.pid)
        stranger.kill()


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"name": "x"}]'])
def test_an_unreadable_record_ends_nobody(content: str, tmp_path: Path) -> None:
    record = tmp_path / "processes.json"
    record.write_text(content)
    assert end_left_behind(record) == []
