"""docs/faults.md names the contenders and faults of the code, and this project's row is what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from local_airflow.ports import free_port
from measure.faults.contenders import CONTENDERS, OURS, NotInstalled, measure
from measure.faults.fault import Fault
from measure.faults.page import BEGIN, END, NOT_INSTALLED, PAGE, PageDamaged, Row, write
from measure.faults.scene import CHECKOUT, CUSTOMERS, MeasuringFailed, scene
from measure.faults.verdict import Cell, Said, judge
from tests.docs.markdown import sections

SECTIONS: Final = {section.title: section for section in sections(PAGE)}
CLEAN: Final = tuple(Cell(fault, 0, 0, Said.OK) for fault in Fault)


def table() -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in SECTIONS["The table"].rows()}


def test_the_table_has_the_contenders_and_the_faults_of_the_code() -> None:
    assert list(table()) == [contender.name for contender in CONTENDERS]
    head = next(line for line in SECTIONS["The table"].lines if line.startswith("|"))
    assert [cell.strip() for cell in head.split("|")[2:-1]] == list(Fault)
    assert [row[0] for row in SECTIONS["What was done"].rows()] == list(Fault)


def test_every_cell_is_a_measured_one() -> None:
    said = "|".join(Said)
    for cells in table().values():
        assert len(cells) == len(Fault)
        for cell in cells:
            assert re.fullmatch(rf"[\d,]+ twice, [\d,]+ lost, ({said})|{NOT_INSTALLED}", cell)


def test_the_contenders_are_described_with_their_files() -> None:
    rows = SECTIONS["The contenders"].rows()
    assert [row[0] for row in rows] == [contender.name for contender in CONTENDERS]
    assert all((CHECKOUT / row[2].strip("`")).is_file() for row in rows)
    (command,) = (content for language, content in SECTIONS["Run it again"].blocks if language == "sh")
    assert f"python -m measure.faults {OURS.word} " in command
    named = re.findall(r"`(\w+)`", SECTIONS["Run it again"].prose)
    assert named[: len(CONTENDERS)] == [contender.word for contender in CONTENDERS]


def test_the_page_says_when_and_with_which_versions() -> None:
    stated = re.search(r"^Taken on \d{4}-\d\d-\d\d with (.+)\.$", SECTIONS["The table"].prose, re.MULTILINE)
    assert stated is not None
    packages = {fact.split(" ")[0] for fact in stated[1].split(", ")}
    missing = [each for each in CONTENDERS if NOT_INSTALLED in table()[each.name]]
    assert packages >= {package.split(" ")[0] for each in CONTENDERS if each not in missing for package in each.made_of}


def test_this_project_submits_nobody_twice_and_reports_no_failure(tmp_path: Path) -> None:
    """Measured again; the page says the same."""
    cells = measure(OURS, tmp_path, port=free_port(), say=lambda _: None)
    assert cells == CLEAN
    assert table()[OURS.name] == tuple(map(str, cells))


def test_who_gives_up_has_lost_somebody(tmp_path: Path) -> None:
    with scene(Fault.DROPPED, tmp_path / "scene") as nobody_came:
        assert judge(nobody_came, ended_well=False) == Cell(Fault.DROPPED, 0, len(CUSTOMERS), Said.STOPPED)
        assert judge(nobody_came, ended_well=True).said is Said.OK
        with pytest.raises(MeasuringFailed, match="never struck, since the contender sent 0 requests"):
            nobody_came.assert_struck()


def test_the_page_is_rewritten_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    cells = (Cell(Fault.DROPPED, 1_500, 0, Said.OK), *CLEAN[1:])
    write([Row(OURS, cells), Row(CONTENDERS[1], ())], page)
    written = page.read_text(encoding="utf-8")
    assert written.startswith(f"before\n{BEGIN}\n| ")
    assert written.endswith(f"\n{END}\nafter\n")
    assert "| this project | 1,500 twice, 0 lost, ok | 0 twice, 0 lost, ok | 0 twice, 0 lost, ok |\n" in written
    assert f"| {CONTENDERS[1].name} |{f' {NOT_INSTALLED} |' * 3}\n" in written
    assert "airflow-provider-capillary" in written
    assert "dlt 1" not in written


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(PageDamaged, match="put "):
        write([], page)
    assert page.read_text(encoding="utf-8") == "nothing"


def test_what_cannot_be_installed_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("measure.faults.contenders.sys.executable", str(tmp_path / "no-python"))
    dlt = next(each for each in CONTENDERS if each.word == "dlt")
    with pytest.raises(NotInstalled, match=r"dlt==.*FileNotFoundError"):
        measure(dlt, tmp_path, port=free_port(), say=lambda _: None)
