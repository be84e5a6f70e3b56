"""`python -m tests.mutants [--only PART] [--jobs N] [--mutants NAMES]`: change the code a little, and see what fails.

The mutants are mutmut's, made in a copy of the project. Log lines and the words of messages are not mutated:
`tests/docs` holds the messages to the runbook. Prints a table of modules and the mutants that no test killed; the
exit code is 1 where less than `ENOUGH` of them were killed. Takes more than an hour on two cores.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from tests.crashes.installation_factory import scratch

ROOT: Final = Path(__file__).parents[2]
MUTMUT: Final = Path(sys.executable).with_name("mutmut")
#: Share of the mutants that must be killed.
ENOUGH: Final = 0.9
#: What the copy needs to run the tests, apart from the plugins.
COPIED: Final = ("tests", "sandbox", "dags", "pyproject.toml")
#: Lines that are only the words of a message, and log lines.
WORDS: Final = (r'^\s*f?"[^"]*"\s*$', r"_LOG\.", r"_LOG: Final")
#: A mutant's tests may take so many times as long as they do without it and pytest needs to begin, in seconds; then it
#: counts as killed, by the time limit.
TIMES_AS_LONG: Final = 2
TO_BEGIN_S: Final = 30
_RESULT: Final = re.compile(r"^\s*(?P<module>[\w.]+)\.(?P<name>x\S+__mutmut_\d+): (?P<status>.+)$", re.MULTILINE)
_CAUGHT: Final = frozenset({"killed", "timeout", "caught by type check"})


@dataclass(frozen=True, slots=True)
class Part:
    """Modules, and the tests that have to kill their mutants.

    Attributes:
        modules: paths under ``plugins/capillary``, without ``.py``.
        tests: paths under ``tests``.
        chosen: which of the tests, as for ``pytest -k``.
        mutants: names of the mutants, as shell patterns; default all. Of modules that an earlier part has played, only
            those that it left alive.
        with_airflow: the tests run Airflow. What a whole run of them leaves in a process (closed streams of logs,
            settings) fails some of them there whatever the mutant is, and a mutant that lives would count as killed. So
            every mutant's tests begin in a process that has run none, which takes some seconds more.
    """

    modules: Sequence[str]
    tests: Sequence[str]
    chosen: str = "not postgresql"
    mutants: Sequence[str] = ("*",)
    with_airflow: bool = False


_LEDGER: Final = ("ledger/request_rows", "ledger/settle")
_LEDGER_TESTS: Final = tuple(f"unit/ledger/test_{name}.py" for name in ("requests", "settle", "counts"))
_ROWS_TESTS: Final = tuple(
    f"unit/engine/test_{name}.py"
    for name in ("altered_keys", "doubt", "send", "settle", "settle_after_erasure", "sightings", "watch")
)
_SUBMISSION: Final = ("engine/send", "engine/submit", "engine/doubt", "engine/may_send", "ledger/auto_approval")

PARTS: Final[Mapping[str, Part]] = {
    "ledger": Part(_LEDGER, _LEDGER_TESTS),
    "postgresql": Part(_LEDGER, _LEDGER_TESTS, chosen="postgresql", mutants=("*postgresql*",)),
    # The same rows, as the engine changes them.
    "rows": Part(_LEDGER, _ROWS_TESTS),
    "replies": Part(
        ("api/classify", "api/response", "api/request_workflow", "engine/outcomes"), ("unit/api", "unit/engine")
    ),
    "submission": Part(_SUBMISSION, ("unit/engine",)),
    # Where a sender waits or is stopped, and where a ledger is restored or its clock is set under it.
    "waits": Part(
        _SUBMISSION,
        (
            *(f"glue/test_{name}.py" for name in ("submit_waits", "stop")),
            *(f"unit/ledger/test_{name}.py" for name in ("restored", "clocks")),
        ),
        with_airflow=True,
    ),
    # A file has no server that could change.
    "server": Part(
        _SUBMISSION,
        ("unit/ledger/test_server.py",),
        chosen="postgresql",
        mutants=("*__catch_up__*", "*__send_all__*", "*__send_batch__*", "*ǁsend__*", "*ǁ_claimed__*"),
    ),
}


def main() -> int:
    """Play the mutants of the parts that are asked for; return 1 when too many live."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes; default %(default)s")
    parser.add_argument("--mutants", default="", help="of these names alone, as mutmut prints them; * stands for any")
    asked = parser.parse_args()
    if not MUTMUT.exists():
        parser.error("mutmut is not installed here: `make mutants` installs it")
    fates: dict[str, Fate] = {}
    for name in [asked.only] if asked.only else PARTS:
        mutants = [asked.mutants] if asked.mutants else left_by(fates, PARTS[name])
        if not mutants:
            continue
        folder = scratch(f"mutants-{name}-")
        try:
            played = play(PARTS[name], folder, mutants, jobs=asked.jobs)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        _say(_summary(name, played))
        for fate in played:
            # What one part cannot kill another one may: SQLite never comes to a line of PostgreSQL's.
            if fate.mutant not in fates or fate.is_killed:
                fates[fate.mutant] = fate
    for fate in fates.values():
        if not fate.is_killed:
            _say(fate.change)
    _say(_table(fates.values()))
    return 0 if sum(fate.is_killed for fate in fates.values()) >= ENOUGH * len(fates) else 1


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant.

    Attributes:
        module: whose it is.
        mutant: its name.
        status: mutmut's word.
        change: what was changed, of one that lives.
    """

    module: str
    mutant: str
    status: str
    change: str

    @property
    def is_killed(self) -> bool:
        """Whether a test noticed it."""
        return self.status in _CAUGHT


def left_by(fates: Mapping[str, Fate], part: Part) -> list[str]:
    """Return the mutants that a part is to play: all of its patterns, or what earlier parts left of its modules."""
    modules = {f"capillary.{module.replace('/', '.')}" for module in part.modules}
    before = [fate for fate in fates.values() if fate.module in modules]
    if not before:
        return list(part.mutants)
    alive = [fate.mutant for fate in before if not fate.is_killed]
    return [mutant for mutant in alive if any(fnmatchcase(mutant, pattern) for pattern in part.mutants)]


def play(part: Part, folder: Path, mutants: Sequence[str], *, jobs: int) -> list[Fate]:
    """Make the mutants of a part and play those of these names, or patterns of names."""
    _copy(part, folder)
    with tempfile.TemporaryFile() as log:
        done = subprocess.run(  # noqa: S603 - our own words
            [str(MUTMUT), "run", "--max-children", str(jobs), *mutants], cwd=folder, stdout=log, stderr=log, check=False
        )
        if done.returncode:
            log.seek(0)
            raise SystemExit(f"mutmut failed:\n{log.read().decode(errors='replace')[-3_000:]}")
    listed = _output([str(MUTMUT), "results", "--all", "true"], folder)
    found = []
    for match in _RESULT.finditer(listed):
        module, name, status = match.group("module", "name", "status")
        if status == "not checked":
            continue
        mutant = f"{module}.{name}"
        change = "" if status in _CAUGHT else _output([str(MUTMUT), "show", mutant], folder)
        found.append(Fate(module, mutant, status, change))
    return found


def _copy(part: Part, folder: Path) -> None:
    # mutmut knows a module's name only below src.
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "plugins", folder / "src", ignore=ignored)
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    settings = folder / "pyproject.toml"
    settings.write_text(
        settings.read_text().replace('pythonpath = ["plugins", "."]', 'pythonpath = ["src", "."]')
        + "\n[tool.mutmut]\n"
        + 'source_paths = ["src"]\n'
        + f"only_mutate = {[f'src/capillary/{module}.py' for module in part.modules]}\n"
        + "do_not_mutate_patterns = ["
        + ", ".join(f"'''{pattern}'''" for pattern in WORDS)
        + "]\n"
        + 'also_copy = ["sandbox", "dags"]\n'
        + f"process_isolation = '{'forkserver' if part.with_airflow else 'fork'}'\n"
        + f"timeout_multiplier = {TIMES_AS_LONG}\n"
        + f"timeout_constant = {TO_BEGIN_S}\n"
        + f"pytest_add_cli_args = {['-p', 'no:cacheprovider', '-k', part.chosen]}\n"
        + f"pytest_add_cli_args_test_selection = {[f'tests/{test}' for test in part.tests]}\n"
    )


def _output(command: Sequence[str], folder: Path) -> str:
    return subprocess.run(  # noqa: S603 - our own words
        command, cwd=folder, stdout=subprocess.PIPE, check=True, text=True
    ).stdout


def _summary(part: str, fates: Sequence[Fate]) -> str:
    late = sum(fate.status == "timeout" for fate in fates)
    killed = sum(fate.is_killed for fate in fates)
    return f"{part}: {len(fates)} played, {killed} killed, {late} of them by the time limit"


def _table(fates: Iterable[Fate]) -> str:
    rows: dict[str, list[Fate]] = defaultdict(list)
    for fate in fates:
        rows[fate.module].append(fate)
        rows["all"].append(fate)
    lines = [f"{'module':<34}{'mutants':>9}{'killed':>9}{'alive':>9}{'share':>9}"]
    for module, of_module in sorted(rows.items(), key=lambda each: (each[0] == "all", each[0])):
        killed = sum(fate.is_killed for fate in of_module)
        total = len(of_module)
        lines.append(f"{module:<34}{total:>9}{killed:>9}{total - killed:>9}{killed / total:>9.1%}")
    return "\n".join(lines)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
