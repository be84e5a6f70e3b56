"""The README's commands exist, and its example is a campaign."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sandbox.badges import DEFAULT_BADGES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_every_make_command_exists() -> None:
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", README, flags=re.MULTILINE))
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, flags=re.MULTILINE))
    assert {"run", "test", "up", "help"} <= named <= targets


def test_ci_runs_the_readmes_commands_and_nothing_else() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    commands = [line for line in script.splitlines() if line and not line.startswith(("#", "set ", "cd "))]
    commands.remove("bash .ci/debian")  # packages for the tests
    assert sorted(commands) == sorted(line.split("#")[0].strip() for line in blocks("sh")[0].splitlines())


def test_the_example_is_the_one_of_the_campaigns_page() -> None:
    """That one is executed as a DAG file."""
    page = (ROOT / "docs" / "campaigns.md").read_text()
    (example,) = blocks("python")
    assert example in page


def test_the_examples_badge_is_in_the_sandbox_and_no_other_campaigns() -> None:
    """Else most of its customers had the badge already, and its first run would enrol nobody."""
    (badge_id,) = re.findall(r'badge_id="([0-9a-f]{24})"', blocks("python")[0])
    assert badge_id in {badge.badge_id for badge in DEFAULT_BADGES if badge.active}
    others = "".join(file.read_text() for file in (ROOT / "dags").glob("*.py"))
    assert badge_id not in others
    used = re.findall(r'badge_id="([0-9a-f]{24})"', others)
    assert len(set(used)) == len(used) == 3


@pytest.mark.parametrize("path", re.findall(r"`((?:docs|tests|dags|sandbox|plugins)/[\w/.]+)`", README))
def test_every_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists() or path.startswith("dags/vips.")
