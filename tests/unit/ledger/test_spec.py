from __future__ import annotations

from dataclasses import fields, replace
from hashlib import md5, sha1, sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capillary.ledger.spec import KEY_PREFIX, Spec, carries, content_hash, has_our_form, hash_in, request_key
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


KEY = "cb1.gold-tier.0f1e2d3c4b5a69788796a5b4c3d2e1f0"

#: A key as a platform may show it → does it carry ours, and is it seen to be of our form by somebody who knows no key?
ECHOES = {
    "as sent": (KEY, True, True),
    "upper case": (KEY.upper(), True, True),
    "behind a prefix": (f"REQ-{KEY}", True, True),
    "behind a joined prefix": (f"req{KEY}", True, True),
    "before a suffix": (f"{KEY}/1", True, True),
    "dashes for dots": (KEY.replace(".", "-"), True, True),
    "no punctuation": ("cb1goldtier0f1e2d3c4b5a69788796a5b4c3d2e1f0", True, True),
    "in braces, with blanks": (f" {{ {KEY} }} ", True, True),
    "cut after 16 digits of the hash": (KEY[: -len("8796a5b4c3d2e1f0")], True, True),
    "cut after 15": (KEY[: -len("78796a5b4c3d2e1f0")], False, True),
    "behind a prefix and cut": (f"REQ-{KEY[:-10]}", True, True),
    "cut to its name": ("cb1.gold-tier", False, True),
    "its last 16 digits": ("8796a5b4c3d2e1f0", True, False),
    "its last 15 digits": ("796a5b4c3d2e1f0", False, False),
    "its hash alone": (hash_in(KEY), True, False),
    "MD5": (md5(KEY.encode(), usedforsecurity=False).hexdigest(), True, False),
    "SHA-1, upper case": (sha1(KEY.encode(), usedforsecurity=False).hexdigest().upper(), True, False),
    "SHA-256": (sha256(KEY.encode()).hexdigest(), True, False),
    "MD5 behind a prefix": (f"id:{md5(KEY.encode(), usedforsecurity=False).hexdigest()}", True, False),
    "another key of ours": (KEY.replace("0f1e", "0f1f"), False, True),
    "a hash of another": (md5(b"other", usedforsecurity=False).hexdigest(), False, False),
    "a stranger's": ("crm-4711", False, False),
    "a UUID that holds our prefix": ("3fcb1a00-cb1f-4cb1-8cb1-cb1e2d3c4b5a", False, False),
    "a name that holds our prefix": ("xcb1.spring", False, False),
    "blank": ("", False, False),
    "none": (None, False, False),
}


@pytest.mark.parametrize(("shown", "ours", "of_our_form"), ECHOES.values(), ids=ECHOES.keys())
def test_what_was_made_from_a_key_is_told_from_what_was_not(shown: str | None, ours: bool, of_our_form: bool) -> None:
    assert (carries(shown, KEY), has_our_form(shown)) == (ours, of_our_form)
