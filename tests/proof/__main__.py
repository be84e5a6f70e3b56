"""`python -m tests.proof [NAME ...]`: run the proofs, record what they printed, write the table of docs/proof.md.

Without a name all of them run, which takes two hours. `NAME --printed FILE` records what a run has printed before, and
no name with `--table` writes the table alone. The exit code is 1 when one failed or printed no result; such a run is
not recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.proof.proofs import PROOFS, Proof

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "proof.md"
RECORDS: Final = ROOT / "docs" / "proof.json"
BEGIN: Final = "<!-- python -m tests.proof writes from here -->"
END: Final = "<!-- to here -->"

Records = dict[str, dict[str, str]]


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    names = [proof.name for proof in PROOFS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; default all")
    parser.add_argument("--printed", type=Path, help="take what the one proof named has printed from this file")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.names) - set(names)):
        parser.error(f"there is no proof {', '.join(unknown)}; there are {', '.join(names)}")
    if asked.printed and len(asked.names) != 1:
        parser.error("--printed is what one proof has printed: name it")
    wanted = [] if asked.table else [proof for proof in PROOFS if proof.name in (asked.names or names)]
    failed = 0
    for proof in wanted:
        if asked.printed:
            held, printed = True, asked.printed.read_text()
            ended = datetime.fromtimestamp(asked.printed.stat().st_mtime, UTC)
        else:
            held, printed = _run(proof)
            ended = datetime.now(UTC)
        result = proof.result(printed)
        if not held or result is None:
            failed += 1
            sys.stdout.write(f"{printed[-2_000:]}\n{proof.name}: {'no result' if held else 'failed'}\n")
            continue
        sys.stdout.write(f"{proof.name}: {result}\n")
        records = read_records()
        records[proof.name] = {"printed": result, "on": f"{ended:%Y-%m-%d}"}
        RECORDS.write_text(json.dumps(records, indent=2, sort_keys=True) + "\n")
    write_table()
    return 1 if failed else 0


def read_records() -> Records:
    """Return what was recorded, by the proofs' names."""
    records: Records = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
    return records


def table(records: Mapping[str, Mapping[str, str]]) -> str:
    """Return the page's table."""
    lines = ["| | what | command | in `make test` | it printed | on |", "|---|---|---|---|---|---|"]
    for proof in PROOFS:
        record = records.get(proof.name, {"printed": "not run yet", "on": ""})
        cells = (proof.name, proof.what, f"`{proof.command}`", proof.in_test, record["printed"], record["on"])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_table() -> None:
    """Replace the table of the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(read_records())}\n{END}{after}")


def _run(proof: Proof) -> tuple[bool, str]:
    """Return whether a proof holds, and what it printed."""
    sys.stdout.write(f"{proof.name}: {proof.command}\n")
    sys.stdout.flush()
    here = Path(sys.executable).parent
    done = subprocess.run(  # noqa: S603 - our own words
        shlex.split(proof.command),
        cwd=ROOT,
        env={**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout


if __name__ == "__main__":
    sys.exit(main())
