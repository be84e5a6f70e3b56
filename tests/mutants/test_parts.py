"""What the mutation run names exists, and its table adds up; the run itself is `make mutants`."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import _RESULT, PARTS, ROOT, Fate, Part, _table, left_by


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_every_module_and_test_of_a_part_exists(part: Part) -> None:
    assert all((ROOT / "plugins" / "capillary" / f"{module}.py").is_file() for module in part.modules)
    assert all((ROOT / "tests" / test).exists() for test in part.tests)


def test_mutmuts_list_is_read() -> None:
    listed = (
        "    capillary.engine.send.x_body_of__mutmut_5: survived\n    capillary.a.xǁSenderǁsend__mutmut_18: killed\n"
    )
    assert [match.group("module", "name", "status") for match in _RESULT.finditer(listed)] == [
        ("capillary.engine.send", "x_body_of__mutmut_5", "survived"),
        ("capillary.a", "xǁSenderǁsend__mutmut_18", "killed"),
    ]


def test_the_table_counts_by_module() -> None:
    fates = [Fate("b", "b.1", "killed", ""), Fate("a", "a.1", "survived", "-"), Fate("b", "b.2", "timeout", "")]
    rows = [line.split() for line in _table(fates).splitlines()[1:]]
    assert rows == [["a", "1", "0", "1", "0.0%"], ["b", "2", "2", "0", "100.0%"], ["all", "3", "2", "1", "66.7%"]]


def test_a_later_part_plays_what_an_earlier_one_left_of_its_modules() -> None:
    waits = Part(("engine/send",), (), mutants=("*ǁsend__*", "*__claim__*"))
    assert left_by({}, waits) == ["*ǁsend__*", "*__claim__*"]
    fates = {
        fate.mutant: fate
        for fate in (
            Fate("capillary.engine.send", "capillary.engine.send.xǁSenderǁsend__mutmut_1", "survived", "-"),
            Fate("capillary.engine.send", "capillary.engine.send.xǁSenderǁsend__mutmut_2", "killed", ""),
            Fate("capillary.engine.send", "capillary.engine.send.x__claim__mutmut_3", "no tests", "-"),
            Fate("capillary.engine.send", "capillary.engine.send.x_body_of__mutmut_1", "survived", "-"),
            Fate("capillary.engine.doubt", "capillary.engine.doubt.x__claim__mutmut_1", "survived", "-"),
        )
    }
    assert left_by(fates, waits) == [
        "capillary.engine.send.xǁSenderǁsend__mutmut_1",
        "capillary.engine.send.x__claim__mutmut_3",
    ]
    killed = {"m": Fate("capillary.engine.send", "m", "killed", "")}
    assert left_by(killed, waits) == []
