"""`python -m tests.audit [FILE]`: hold the pins of constraints.txt against what PyPI knows of vulnerabilities.

PyPI has a record of each version, and one of the project that stands for its latest version; both list the
vulnerabilities of theirs (docs.pypi.org/api/json). Mirrors often have the project's record alone, where pip-audit
finds nothing at all. So the project is asked first, its version only where the pin is another; a pin without a record
is named as not audited.

The exit code is 1 where a pin is known to be vulnerable, 2 where the pins could not be read or nothing be asked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import httpx
from packaging.requirements import Requirement
from packaging.version import Version
from pydantic import BaseModel
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

CONSTRAINTS: Final = Path(__file__).parents[2] / "constraints.txt"
REGISTRY: Final = "https://pypi.org/pypi"
#: Ids of vulnerabilities that cannot harm this project, each with the reason. They are printed, and do not fail.
JUDGED: Final[Mapping[str, str]] = {}
#: Seconds for a record: the largest have a megabyte.
_TIMEOUT_S: Final = 30.0


class Vulnerability(BaseModel, frozen=True):
    """One entry of a record, as PyPI spells it; it takes them from the databases of PyPA and of GitHub."""

    id: str
    aliases: tuple[str, ...] = ()
    fixed_in: tuple[str, ...] = ()
    link: str | None = None
    withdrawn: str | None = None


class _Info(BaseModel):
    version: str


class _Record(BaseModel):
    info: _Info
    vulnerabilities: tuple[Vulnerability, ...]


@dataclass(frozen=True, slots=True)
class Pin:
    """A line of constraints.txt."""

    name: str
    version: Version

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is known against each pin; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=CONSTRAINTS, help="default: %(default)s")
    try:
        pins = pins_of(parser.parse_args(arguments).file)
        with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=True) as client, ThreadPoolExecutor(8) as threads:
            known = dict(zip(pins, threads.map(partial(known_of, client), pins), strict=True))
    except (OSError, ValueError, httpx.HTTPError) as error:
        sys.stderr.write(f"the pins could not be audited: {error}\n")
        return 2
    lines, code = report(known, JUDGED)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return code


def pins_of(file: Path) -> list[Pin]:
    """Every pin of a constraints file, whatever machine its marker is for.

    Raises:
        ValueError: a line pins nothing, or the file has none.
    """
    pins = []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if not (words := line.partition("#")[0].strip()):
            continue
        try:
            pins.append(_pin(Requirement(words)))
        except ValueError as error:
            raise ValueError(f"{file}:{number}: {words!r} is not a pin; write name==version") from error
    if not pins:
        raise ValueError(f"{file} has no pins; `make constraints` writes them")
    return pins


def known_of(client: httpx.Client, pin: Pin) -> list[Vulnerability] | None:
    """What is known against a pin; None where the registry has no record of that version.

    Raises:
        httpx.HTTPError: the registry does not answer, three times.
        ValueError: it answers something else than a record.
    """
    record = _record(client, pin.name)
    if record and Version(record.info.version) != pin.version:
        record = _record(client, f"{pin.name}/{pin.version}")
    if not record:
        return None
    return [entry for entry in record.vulnerabilities if not entry.withdrawn]


def report(known: Mapping[Pin, Sequence[Vulnerability] | None], judged: Mapping[str, str]) -> tuple[list[str], int]:
    """Lines to print and the exit code: 1 where a vulnerability is not judged, 2 where no pin has a record."""
    lines = []
    harmful = 0
    for pin, entries in known.items():
        for entry in entries or ():
            reason = next((judged[name] for name in (entry.id, *entry.aliases) if name in judged), None)
            harmful += reason is None
            remedy = f"judged: {reason}" if reason else f"fixed in {', '.join(entry.fixed_in) or 'no version yet'}"
            lines.append(f"{pin}: {entry.id}, {remedy} ({entry.link})")
    unknown = [str(pin) for pin, entries in known.items() if entries is None]
    lines.append(f"{len(known) - len(unknown)} of {len(known)} pins audited, {harmful} harmful vulnerabilities known")
    if unknown:
        lines.append(f"not audited, the registry has no record of them: {', '.join(unknown)}")
    if len(unknown) == len(known):
        return lines, 2
    return lines, 1 if harmful else 0


def _pin(requirement: Requirement) -> Pin:
    (specifier,) = requirement.specifier
    if specifier.operator != "==":
        raise ValueError(specifier)
    return Pin(requirement.name, Version(specifier.version))


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error or error.response.status_code == httpx.codes.TOO_MANY_REQUESTS
    return isinstance(error, httpx.TransportError)


@retry(
    retry=retry_if_exception(_is_passing),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=1, max=10),
    reraise=True,
)
def _record(client: httpx.Client, path: str) -> _Record | None:
    response = client.get(f"{REGISTRY}/{path}/json")
    if response.status_code == httpx.codes.NOT_FOUND:
        return None
    return _Record.model_validate_json(response.raise_for_status().content)


if __name__ == "__main__":
    sys.exit(main())
