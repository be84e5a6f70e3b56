"""One platform has one account, however its address and its organisation are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capillary.api.account import account_named, account_of, origin_of

SAME = [
    pytest.param("https://eu.example", "eu.example/100458", id="as it is"),
    pytest.param("http://eu.example", "eu.example/100458", id="http"),
    pytest.param("eu.example", "eu.example/100458", id="no scheme"),
    pytest.param("HTTPS://EU.Example/", "eu.example/100458", id="case"),
    pytest.param("https://eu.example.", "eu.example/100458", id="final dot"),
    pytest.param("https://eu.example:443", "eu.example/100458", id="port of https"),
    pytest.param("http://eu.example:80/", "eu.example/100458", id="port of http"),
    pytest.param("http://eu.example:443", "eu.example/100458", id="port of the other scheme"),
    pytest.param("https://eu.example:", "eu.example/100458", id="empty port"),
    pytest.param("https://eu.example:08443", "eu.example:8443/100458", id="port with a zero"),
    pytest.param("https://ｅｕ。example", "eu.example/100458", id="full width"),
    pytest.param("https://bücher.example", "xn--bcher-kva.example/100458", id="international"),
    pytest.param("https://BÜCHER.example", "xn--bcher-kva.example/100458", id="international, capitals"),
    pytest.param("https://XN--Bcher-Kva.example", "xn--bcher-kva.example/100458", id="punycode"),
    pytest.param("http://localhost.:8080", "localhost:8080/100458", id="localhost with its dot"),
    pytest.param("http://127.0.0.1:8080", "127.0.0.1:8080/100458", id="IPv4"),
    pytest.param("http://127.0.0.1.:8080", "127.0.0.1:8080/100458", id="IPv4 with a dot"),
    pytest.param("http://[0:0:0:0:0:0:0:1]:8080", "[::1]:8080/100458", id="IPv6, long"),
    pytest.param("http://[2001:DB8::0A]", "[2001:db8::a]/100458", id="IPv6, capitals and zeros"),
    pytest.param("http://[::ffff:192.0.2.1]", "192.0.2.1/100458", id="IPv4 in IPv6"),
    pytest.param("https://eu.example/test", "eu.example/test/100458", id="path"),
    pytest.param("https://eu.example//test//", "eu.example/test/100458", id="doubled slashes"),
    pytest.param("https://eu.example/a/../test/./", "eu.example/test/100458", id="dot segments"),
    pytest.param("https://eu.example/../test", "eu.example/test/100458", id="above the root"),
    pytest.param("https://eu.example/a/%2e%2E/test", "eu.example/test/100458", id="encoded dot segments"),
    pytest.param("https://eu.example/%74es%74", "eu.example/test/100458", id="needlessly encoded"),
    pytest.param("https://eu.example/a%2fb%c3%a9", "eu.example/a%2Fb%C3%A9/100458", id="encoded with small digits"),
    pytest.param("https://eu.example/a%2Fbé", "eu.example/a%2Fb%C3%A9/100458", id="not encoded"),
    pytest.param("https://eu.example/Test", "eu.example/Test/100458", id="a path's case tells two apart"),
]


@pytest.mark.parametrize(("address", "account"), SAME)
def test_an_address_has_one_spelling(address: str, account: str) -> None:
    assert account_of(address, "100458") == account


@pytest.mark.parametrize(("address", "account"), SAME)
def test_an_account_taken_for_an_address_stays_as_it_is(address: str, account: str) -> None:
    known = account.removesuffix("/100458")
    assert address
    assert account_of(known, "100458") == account


@pytest.mark.parametrize(
    ("organisation", "normal"),
    [
        ("100458", "100458"),
        ("00100458", "100458"),
        ("000", "0"),
        ("Acme", "Acme"),
        ("acme", "acme"),
        ("0x1A", "0x1A"),
        ("-5", "-5"),
    ],
)
def test_an_organisation_has_one_spelling(organisation: str, normal: str) -> None:
    assert account_of("eu.example", organisation) == f"eu.example/{normal}"


def test_a_path_of_digits_is_not_taken_for_the_organisation() -> None:
    accounts = {
        account_of("eu.example/100", "458"),
        account_of("eu.example", "458"),
        account_of("eu.example/458", "100"),
    }
    assert accounts == {"eu.example/100/458", "eu.example/458", "eu.example/458/100"}
    assert sorted(account.rpartition("/")[2] for account in accounts) == ["100", "458", "458"]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "https://",
        "ftp://eu.example",
        "https://eu.example:port",
        "https://eu.example:0",
        "https://eu..example",
        "https://.example",
        "https://eu%2eexample",
        "https://eu\\example",
        "https://eu example",
        "https://127.1",
        "https://2130706433",
        "https://0177.0.0.1",
        "https://0x7f.0.0.1",
        "https://1.2.3.4.5",
        "https://[::1",
        "https://[zone]",
        "https://[fe80::1%25eth0]",
        "https://eu.example/%",
        "https://eu.example/%g0",
    ],
)
def test_what_names_no_host_in_one_spelling_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"^(it|its|a) ") as refused:
        account_of(address, "100458")
    assert address[8:] not in str(refused.value) or len(address) <= 8, "an address may hold a secret"


@given(st.lists(st.text("aZ0%~.é /;", max_size=6), max_size=4))
def test_the_spelling_of_a_spelling_is_itself(segments: list[str]) -> None:
    try:
        account = account_of(f"https://eu.example/{'/'.join(segments)}", "1")
    except ValueError:
        return
    assert account_of(account.removesuffix("/1"), "1") == account
    assert account.isascii()


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://EU.example.:443/test", "https://eu.example"),
        ("http://eu.example:443", "http://eu.example:443"),
        ("eu.example:8080/x", "https://eu.example:8080"),
        ("http://[0::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_keeps_its_scheme_and_its_port(address: str, origin: str) -> None:
    assert origin_of(address) == origin


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("eu.api.example/100", "eu.api.example/100"),
        ("https://EU.api.example/100", "eu.api.example/100"),
        ("http://eu.api.example.:80/test/../0100", "eu.api.example/100"),
        ("eu.api.example:8080/test/Org_1", "eu.api.example:8080/test/Org_1"),
        ("[0::1]/7", "[::1]/7"),
    ],
)
def test_an_account_that_a_person_names_is_in_the_ledgers_spelling(text: str, account: str) -> None:
    assert account_named(text) == account


@pytest.mark.parametrize(
    "text",
    [
        *("", "100", "eu.api.example", "https://eu.api.example", "eu.api.example/", "/100", "https:///100"),
        *("eu.api.example/1 0", "eu api/100", "ftp://eu.api.example/1", "user@eu.api.example/1", "eu.api.example?/1"),
    ],
)
def test_what_can_be_no_account_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"an account is written as|is not an organisation id|^it is no|^it |^its "):
        account_named(text)
