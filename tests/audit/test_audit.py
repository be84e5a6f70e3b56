"""The audit asks for each pin once or twice, and fails where something is known; the audit itself is `make audit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.version import Version

from tests.audit.__main__ import CONSTRAINTS, REGISTRY, Pin, Vulnerability, _record, known_of, main, pins_of, report

PIN = Pin("badge", Version("1.2"))
KNOWN = Vulnerability(id="PYSEC-1", aliases=("CVE-1",), fixed_in=("1.3",), link="https://example.org/1")


def _body(version: str, *entries: Mapping[str, Any]) -> dict[str, Any]:
    return {"info": {"version": version, "name": "badge"}, "vulnerabilities": [*entries]}


def _registry(records: Mapping[str, dict[str, Any]]) -> tuple[httpx.Client, list[str]]:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(path := str(request.url).removeprefix(f"{REGISTRY}/").removesuffix("/json"))
        return httpx.Response(200, json=records[path]) if path in records else httpx.Response(404)

    return httpx.Client(transport=httpx.MockTransport(answer)), asked


def _answering(answers: Sequence[Callable[[], httpx.Response]]) -> httpx.Client:
    left = iter(answers)
    return httpx.Client(transport=httpx.MockTransport(lambda _request: next(left)()))


def _refused() -> httpx.Response:
    raise httpx.ConnectError("refused")


def test_the_latest_version_is_read_off_the_projects_record() -> None:
    entry = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": ["1.3"], "link": "https://example.org/1"}
    client, asked = _registry({"badge": _body("1.2.0", entry)})
    assert known_of(client, PIN) == [KNOWN]
    assert asked == ["badge"]


def test_an_older_version_has_a_record_of_its_own() -> None:
    client, asked = _registry({"badge": _body("2.0"), "badge/1.2": _body("1.2", {"id": "PYSEC-1"})})
    assert known_of(client, PIN) == [Vulnerability(id="PYSEC-1")]
    assert asked == ["badge", "badge/1.2"]


@pytest.mark.parametrize("records", [{}, {"badge": _body("2.0")}], ids=["no project", "no such version"])
def test_without_a_record_nothing_is_said(records: Mapping[str, dict[str, Any]]) -> None:
    client, _ = _registry(records)
    assert known_of(client, PIN) is None


def test_what_was_withdrawn_does_not_count() -> None:
    client, _ = _registry({"badge": _body("1.2", {"id": "PYSEC-1", "withdrawn": "2026-01-01T00:00:00Z"})})
    assert known_of(client, PIN) == []


@pytest.mark.parametrize(
    "first", [_refused, lambda: httpx.Response(503), lambda: httpx.Response(429)], ids=["refused", "503", "429"]
)
def test_a_passing_error_is_asked_again(first: Callable[[], httpx.Response], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vars(_record)["retry"], "sleep", lambda _seconds: None)
    client = _answering([first, first, lambda: httpx.Response(200, json=_body("1.2"))])
    assert known_of(client, PIN) == []


def test_a_lasting_error_is_none_of_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vars(_record)["retry"], "sleep", lambda _seconds: None)
    with pytest.raises(httpx.ConnectError):
        known_of(_answering([_refused] * 3), PIN)
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        known_of(_answering([lambda: httpx.Response(403)]), PIN)
    with pytest.raises(ValueError, match="vulnerabilities"):
        known_of(_answering([lambda: httpx.Response(200, json={"info": {"version": "1.2"}})]), PIN)


def test_a_vulnerability_fails_and_names_its_remedy() -> None:
    assert report({PIN: [KNOWN], Pin("other", Version("1")): None}, {}) == (
        [
            "badge 1.2: PYSEC-1, fixed in 1.3 (https://example.org/1)",
            "1 of 2 pins audited, 1 harmful vulnerabilities known",
            "not audited, the registry has no record of them: other 1",
        ],
        1,
    )


@pytest.mark.parametrize("name", ["PYSEC-1", "CVE-1"])
def test_a_judged_one_is_printed_with_its_reason_and_passes(name: str) -> None:
    assert report({PIN: [KNOWN]}, {name: "it is never called"}) == (
        [
            "badge 1.2: PYSEC-1, judged: it is never called (https://example.org/1)",
            "1 of 1 pins audited, 0 harmful vulnerabilities known",
        ],
        0,
    )


def test_an_audit_of_nothing_is_no_pass() -> None:
    assert report({PIN: None}, {})[1] == 2
    assert report({PIN: []}, {})[1] == 0


def test_every_line_of_the_constraints_is_a_pin() -> None:
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if line and not line.startswith("#")]
    assert len(pins_of(CONSTRAINTS)) == len(lines) > 100


def test_pins_are_read_whatever_their_marker(tmp_path: Path) -> None:
    (file := tmp_path / "pins.txt").write_text('# why\n\nbadge[a]==1.2 ; python_version < "3.9"  # since\n')
    assert pins_of(file) == [PIN]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("badge==1.2\nother>=1\n", "pins.txt:2: 'other>=1' is not a pin"),
        ("badge\n", "pins.txt:1: 'badge' is not a pin"),
        ("badge==1.*\n", "pins.txt:1: 'badge==1.*' is not a pin"),
        ("badge==1,!=2\n", "pins.txt:1: 'badge==1,!=2' is not a pin"),
        ("-e .\n", "pins.txt:1: '-e .' is not a pin"),
        ("", "has no pins"),
    ],
    ids=["range", "bare", "any", "two", "editable", "empty"],
)
def test_what_is_no_pin_is_named(text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file := tmp_path / "pins.txt").write_text(text)
    assert main([str(file)]) == 2
    assert says in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "gone.txt")]) == 2
    assert "gone.txt" in capsys.readouterr().err
