"""docs/deployment.md names what docker-compose.yml has, and nothing that it has not."""

from __future__ import annotations

import re

from capillary.campaign import BadgeCampaign
from tests.deployment.composition import CHECKOUT, document, variables

MANUAL = (CHECKOUT / "docs" / "deployment.md").read_text()
#: A row of the table: | `NAME` | default or **needed** | what it is |
_ROWS = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \|$", MANUAL, re.MULTILINE)


def test_every_variable_is_explained_with_its_default() -> None:
    written = {name: None if default == "**needed**" else default.strip("`") for name, default, _ in _ROWS}
    assert written == {name: "none" if default == "" else default for name, default in variables().items()}


def test_the_env_file_of_the_manual_holds_what_is_needed() -> None:
    [block] = re.findall(r"^cat > \.env <<EOF\n(.*?)^EOF$", MANUAL, re.MULTILINE | re.DOTALL)
    written = set(re.findall(r"^([A-Z_]+)=", block, re.MULTILINE))
    assert written == {name for name, default in variables().items() if default is None}


def test_services_and_volumes_of_the_manual_exist() -> None:
    known = {*document()["services"], *document()["volumes"], "airflow-provider-capillary"}
    assert set(re.findall(r"(?<![\w./-])airflow-[a-z-]+", MANUAL)) <= known
    for command in re.findall(r"docker compose (?:exec|logs|stop|restart)((?: [\w-]+)+)", MANUAL):
        service = next(word for word in command.split() if not word.startswith("-"))
        assert service in known, command


def test_the_age_of_airflows_cleaning_is_above_the_longest_wait() -> None:
    default = BadgeCampaign.model_fields["deadline"].default
    assert f"({default.days} days unless set)" in MANUAL
    [age] = re.findall(r"(\d+) days is a good one", MANUAL)
    assert int(age) >= 2 * default.days


def test_it_says_that_nothing_of_it_was_run() -> None:
    assert "has not been run" in MANUAL
