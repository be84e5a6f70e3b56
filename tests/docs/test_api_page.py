"""docs/api.md says what the code does: codes, states, the body, calls, settings."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Final

import pytest

from capillary.api.classify import RETRY_AFTER_LIMIT_S, PostVerdict, classify_post
from capillary.api.client import BADGE_PATH, MANAGEMENT_PATH
from capillary.api.codes import CALL_REFUSALS, CODE_MEANINGS, CREDENTIAL_CODES, DECISIVE_CODES, LINE_REFUSALS
from capillary.api.credential import TOKEN_HEADER, TOKEN_PATH
from capillary.api.request_workflow import (
    DECIDED,
    REQUEST_TYPE,
    REQUEST_WORKFLOW_PATH,
    Entity,
    IssueBadgeRequest,
    RequestState,
    post_body,
)
from capillary.api.retries import BACKOFF_CAP_S, BACKOFF_FIRST_S, READ_ATTEMPTS, READ_BUDGET_S
from capillary.api.settings import PlatformSettings
from capillary.api.settings_fields import BOUNDS
from capillary.engine.submit import IN_FLIGHT, NOT_TAKEN_IN_A_ROW
from capillary.engine.verdict import Policy
from capillary.ledger.plan import Order
from capillary.ledger.status import Outcome
from tests.docs.markdown import ROOT, Section, code_of, sections

PAGE: Final = ROOT / "docs" / "api.md"
SECTIONS: Final = {section.title: section for section in sections(PAGE)}
DASH: Final = "–"


def section(title: str) -> Section:
    return SECTIONS[title]


def test_the_table_of_codes_is_the_codes() -> None:
    expected = [
        (str(code), meaning, classify_post(400, [code], readable=True) if code in DECISIVE_CODES else DASH)
        for code, meaning in CODE_MEANINGS.items()
    ]
    assert section("Codes").rows() == expected


def test_every_code_that_decides_stands_with_its_verdict() -> None:
    listed: dict[int, str] = {}
    for reply, conclusion, _ in section("What a reply to the POST means").rows():
        for code in _codes(reply):
            assert listed.setdefault(code, conclusion) == conclusion
    assert set(listed) == DECISIVE_CODES
    for code, conclusion in listed.items():
        assert conclusion.startswith(classify_post(400, [code], readable=True)), code


def test_every_verdict_on_a_post_is_named() -> None:
    conclusions = " ".join(row[1] for row in section("What a reply to the POST means").rows())
    assert [verdict for verdict in PostVerdict if verdict not in conclusions] == []


@pytest.mark.parametrize(
    ("status", "readable", "verdict"),
    [
        (401, True, PostVerdict.UNAUTHORIZED),
        (413, False, PostVerdict.REQUEST_REFUSED),
        (429, False, PostVerdict.RATE_LIMITED),
        (400, True, PostVerdict.EVERYTHING_REFUSED),
        (400, False, PostVerdict.IN_DOUBT),
        *((status, True, PostVerdict.IN_DOUBT) for status in (408, 409, 425, 461, 499, 302, 500, 502, 503)),
    ],
)
def test_a_status_means_what_the_page_says(status: int, readable: bool, verdict: PostVerdict) -> None:
    assert classify_post(status, [], readable=readable) is verdict


def test_credential_codes_are_renewed_on_a_read_and_the_others_refused() -> None:
    rows = section("What a reply to a read means").rows()
    refused = next(row[0] for row in rows if row[1] == "refused")
    assert set(_codes(refused)) == {
        code
        for code in DECISIVE_CODES
        if classify_post(400, [code], readable=True) in {PostVerdict.EVERYTHING_REFUSED, PostVerdict.REQUEST_REFUSED}
    }
    renewed = next(row[0] for row in rows if "credential" in row[1])
    assert set(_codes(renewed)) - {401} == CREDENTIAL_CODES


def test_every_state_is_in_the_table_with_whether_it_is_decided() -> None:
    rows = {row[0].strip("`"): row[2] for row in section("States").rows()}
    assert rows.pop("any other") == "no"
    assert rows == {state: "yes" if state in DECIDED else "no" for state in RequestState}


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_its_rule(outcome: Outcome) -> None:
    assert f"`{outcome}`" in section("Outcomes").prose


def test_the_body_shown_is_the_body_sent() -> None:
    ((_, shown),) = [block for block in section("The body of a request").blocks if block[0] == "json"]
    request = IssueBadgeRequest(
        key="cb1.gold-tier.0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        badge_id="a1b2c3d4e5f60718293a4b5c",
        owner_type="Loyalty",
        reference_id="42",
        entity=Entity("75001", "75002", "75003", "75004"),
        hostname="https://eu.api.capillarytech.com",
        customers=(900001, 900002),
    )
    assert json.loads(shown) == post_body(request, authorization="Basic …")


def test_every_call_is_in_the_table() -> None:
    calls = [code_of(row[1])[0] for row in section("Calls").rows()]
    assert calls == [
        f"POST {TOKEN_PATH}",
        f"POST {REQUEST_WORKFLOW_PATH}/{REQUEST_TYPE}",
        f"GET {REQUEST_WORKFLOW_PATH}/requests/{{platform request id}}",
        f"GET {REQUEST_WORKFLOW_PATH}/requests",
        f"GET {BADGE_PATH}/{{badge id}}",
        f"GET {MANAGEMENT_PATH}/{{customer}}/badge/{{badge id}}?includeStatistics=true",
    ]


def test_every_header_of_a_credential_is_sent() -> None:
    sent = (ROOT / "plugins" / "capillary" / "api" / "credential.py").read_text(encoding="utf-8")
    named = [code_of(row[1])[0].split(":")[0] for row in section("Credentials").rows()]
    assert named == ["Authorization", TOKEN_HEADER, "X-CAP-UI-AUTH-TOKEN"]
    assert [header for header in named if f'"{header}"' not in sent] == []


def test_the_settings_are_the_connections() -> None:
    defaults = {each.name: each.default for each in fields(PlatformSettings)}
    rows = {row[0].strip("`"): row[1:3] for row in section("Settings").rows()}
    zone = rows.pop("cluster_timezone")
    assert zone[0] == defaults["cluster_timezone"]
    assert rows == {name: (str(defaults[name]), f"{low:,} to {high:,}") for name, (low, high, _) in BOUNDS.items()}


def test_what_changes_an_assumption_exists() -> None:
    known = {each.name for owner in (PlatformSettings, Order, Policy) for each in fields(owner)} | {"inner_conn_id"}
    rows = section("Assumptions").rows()
    assert [row for row in rows if len(row) != 4] == []
    assert {name for row in rows for name in code_of(row[3])} <= known
    assert [row[3] for row in rows if not code_of(row[3]) and row[3] != DASH] == []


def test_the_numbers_of_patience_are_the_codes() -> None:
    reads = section("What a reply to a read means").prose
    assert f"up to {READ_ATTEMPTS} times within {READ_BUDGET_S:.0f} s" in reads
    assert f"{BACKOFF_FIRST_S:.0f} s, doubled up to {BACKOFF_CAP_S:.0f} s" in reads
    assert f"at most {RETRY_AFTER_LIMIT_S:.0f} s" in section("Pace").prose
    posts = section("What a reply to the POST means").prose
    assert f"in flight ({IN_FLIGHT})" in posts
    assert NOT_TAKEN_IN_A_ROW == 5
    assert "Five sends in a row" in posts


def test_the_file_that_drops_the_echo_is_there() -> None:
    named = [word for word in code_of(section("The echo").prose) if word.endswith(".py")]
    assert named
    assert [name for name in named if not (ROOT / Path(name)).is_file()] == []


def _codes(cell: str) -> list[int]:
    """Return the platform's codes in a cell, ranges spelled out; HTTP statuses are left out."""
    cell = re.sub(r"HTTP \d{3}(?:(?:, | and )\d{3})*", "", cell)
    found: list[int] = []
    for first, last in re.findall(r"\b(\d{3,6})\b(?: to (\d{3,6}))?", cell):
        found.extend(range(int(first), int(last or first) + 1))
    return found


def test_the_codes_that_refuse_are_those_of_the_code() -> None:
    page = " ".join((ROOT / "docs/api.md").read_text().split())
    of_a_line = ", ".join(map(str, LINE_REFUSALS))
    of_the_call = ", ".join(map(str, CALL_REFUSALS))
    in_mid_call = [code for code in LINE_REFUSALS if code not in CALL_REFUSALS]
    assert f"Codes that refuse an enrolment: {of_a_line}." in page
    assert f"Codes that refuse the call are {of_the_call}." in page
    said = page.partition("After 810, ")[2].partition("everybody is `unconfirmed`")[0]
    assert in_mid_call == sorted(map(int, re.findall(r"\d+", f"810 {said}")))
    assert CODE_MEANINGS.keys() >= CALL_REFUSALS.keys()
