from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capillary.ledger.spec import KEY_PREFIX, Spec, content_hash, hash_in, request_key
from tests.unit.ledger.orders import SPEC

PRINT = SPEC.fingerprint()


def test_a_spec_comes_back_from_its_config() -> None:
    assert Spec.from_config(SPEC.config()) == SPEC
    assert Spec.from_config(SPEC.config()).fingerprint() == PRINT


@pytest.mark.parametrize("name", [field.name for field in fields(Spec)])
def test_every_field_of_a_spec_is_in_its_fingerprint(name: str) -> None:
    assert replace(SPEC, **{name: "other"}).fingerprint() != PRINT


def test_the_same_content_gives_the_same_key() -> None:
    assert request_key(PRINT, "gold", "Spring", 1, [1, 2]) == request_key(PRINT, "gold", "Spring", 1, iter([1, 2]))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(request_key("0" * 64, "gold", "Spring", 1, [1, 23]), id="spec"),
        pytest.param(request_key(PRINT, "gold", "spring", 1, [1, 23]), id="occasion's spelling"),
        pytest.param(request_key(PRINT, "gold", "Spring", 2, [1, 23]), id="attempt"),
        pytest.param(request_key(PRINT, "gold", "Spring", 1, [1, 24]), id="customers"),
        pytest.param(request_key(PRINT, "gold", "Spring", 1, [23, 1]), id="order"),
        pytest.param(request_key(PRINT, "gold", "Spring", 1, [12, 3]), id="same digits"),
    ],
)
def test_other_content_gives_another_key(other: str) -> None:
    assert request_key(PRINT, "gold", "Spring", 1, [1, 23]) != other


def test_the_campaigns_name_is_for_people_and_says_nothing_of_the_content() -> None:
    keys = [request_key(PRINT, name, "badge:1", 1, [1, 2]) for name in ("Gold tier!", "silver", "…")]
    assert [key.split(".")[1] for key in keys] == ["gold-tier", "silver", "x"]
    assert {hash_in(key) for key in keys} == {content_hash(PRINT, "badge:1", 1, [1, 2])}


@given(st.text(max_size=200), st.integers(1, 10_000))
def test_a_key_is_short_plain_and_ours(name: str, attempt: int) -> None:
    key = request_key(PRINT, name, name, attempt, [2**63 - 1])
    assert key.startswith(KEY_PREFIX)
    assert len(key) <= 61
    assert set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
    assert len(key.split(".")[1]) >= 1
