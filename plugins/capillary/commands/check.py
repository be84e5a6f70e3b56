"""The command that looks before a run: ``python -m capillary check [FOLDER|FILE]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from capillary.commands.stop import line_of

if TYPE_CHECKING:
    from capillary.check.finding import Finding

#: The first word of this command.
COMMAND: Final = "check"


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add it to the parser of ``python -m capillary``."""
    parser = commands.add_parser(
        COMMAND,
        help="check before a run that DAG files load and that queries, connections and badges work. Nothing is changed",
        description="Check DAG files, their queries, connections and badges before a run. Nothing is changed. "
        "Exit code 1 where a run would fail.",
    )
    parser.add_argument("path", nargs="?", type=_path, metavar="FOLDER|FILE", help="default: Airflow's DAGs folder")
    parser.add_argument("--campaign", type=line_of(250), metavar="NAME", help="this campaign, or DAG, alone")
    parser.add_argument("--files-only", action="store_true", help="use no connection: only check that the files load")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="run the queries, too, and count who would be planned; nothing is written",
    )
    parser.add_argument("--quiet", action="store_true", help="show only what is wrong")


def _path(text: str) -> Path:
    if not text.strip():  # an unset variable: it would be the working directory, with every file in it
        raise argparse.ArgumentTypeError("it is empty: give a folder or a file, or leave it out")
    return Path(text)


def run(arguments: argparse.Namespace) -> int:
    """Check, and print a line for each finding; return the exit code.

    Raises:
        NothingToCheck: there is no such path, or no DAG file in it.
    """
    # Airflow writes its log to standard output, and what is wrong stands in the findings.
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "CRITICAL")
    from capillary.check.before_run import Asked, check  # noqa: PLC0415 - Airflow costs seconds
    from capillary.check.dag_files import dags_folder  # noqa: PLC0415 - same
    from capillary.check.finding import Verdict  # noqa: PLC0415 - same

    findings = check(
        Asked(
            path=arguments.path or dags_folder(),
            campaign=arguments.campaign,
            files_only=arguments.files_only,
            dry_run=arguments.dry_run,
        )
    )
    wrong = [finding for finding in findings if finding.verdict is not Verdict.OK]
    lines = [*([] if arguments.quiet else _right(findings)), *map(str, wrong)]
    counts = Counter(finding.verdict for finding in wrong)
    if not arguments.quiet:
        said = ", ".join(f"{verdict} {counts[verdict]}" for verdict in Verdict if counts[verdict])
        unseen = "; connections, queries and badges were not looked at" if arguments.files_only else ""
        lines.append(f"{COMMAND}: {said or 'nothing wrong'}{unseen}")
    for line in lines:
        sys.stdout.write(f"{line}\n")
    return 1 if counts[Verdict.FAILS] else 0


def _right(findings: Sequence[Finding]) -> list[str]:
    """Return a line for each place, of all that is right there."""
    from capillary.check.finding import Verdict  # noqa: PLC0415 - Airflow costs seconds

    words = defaultdict[str, list[str]](list)
    for finding in findings:
        if finding.verdict is Verdict.OK:
            words[finding.where].append(finding.words)
    return [f"{Verdict.OK}: {where}: {'; '.join(said)}" for where, said in words.items()]
