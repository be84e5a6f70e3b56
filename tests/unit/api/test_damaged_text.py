"""Text that is damaged: words are read leniently, ids and states strictly, and no row costs the others."""

from __future__ import annotations

import json
import zlib
from datetime import date
from typing import Any

import pytest

from capillary.api.badges import parse_execution
from capillary.api.envelope import read_envelope
from capillary.api.errors import ReplyUnreadable
from capillary.api.json_body import NOT_JSON, read_json
from capillary.api.request_workflow import OUR_KEYS, UNREADABLE_STATE, parse_page, parse_request
from capillary.api.transport import Reply
from capillary.ledger.spec import KEY_PREFIX
from tests.unit.api.documented import ECHOED, KEY, PLATFORM_ID, bulk, decided, inner, item, page, row
from tests.unit.api.scripted import oauth_settings, platform, token_reply

DAY = date(2026, 11, 21)
OTHER = "4355e800-e71c-11f1-8f3e-325096b39f48"
GOOD = row() | {"requestId": OTHER}


def body(damaged: dict[str, Any], old: bytes, new: bytes) -> bytes:
    """A page of a damaged row and a good one; `old` stands in the first alone."""
    raw = json.dumps(page(damaged, GOOD)).encode()
    assert raw.count(old) >= 1
    return raw.replace(old, new, 1)


def shown(raw: bytes, content_type: str = "") -> Any:  # noqa: ANN401 - JSON as it comes
    return parse_page(read_json(raw, content_type=content_type))


MESSAGE = decided("rejected", None, message="MESSAGE")
DEEP = b'"' + b"[" * 50_000 + b"]" * 50_000


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (b"caf\xe9", "caf\ufffd"),
        (b"\xff\xfe\x80", "\ufffd\ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"caf\xc3\xa9", "caf\u00e9"),
        (b"one\ntwo", "one\ntwo"),
        (b"a\x00b\x01", "ab\x01"),
        (b"\\ud800", None),
    ],
)
def test_a_message_in_any_bytes_costs_nothing(new: bytes, message: str | None) -> None:
    read = shown(body(MESSAGE, b"MESSAGE", new))
    assert [each.platform_request_id for each in read.rows] == [PLATFORM_ID, OTHER]
    assert (read.rows[0].state, read.rows[0].checker_message, read.unreadable_rows) == ("rejected", message, 0)


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("application/json; charset=ISO-8859-1", "latin-1"),
        ('application/json;charset="windows-1252"', "cp1252"),
        ("application/json; charset=utf-8", "utf-8"),
        ("application/json; charset=ISO-8859-1", "utf-8"),
        ("application/json; charset=UTF-16", "utf-16"),
        ("application/json", "utf-16-le"),
        ("application/json", "utf-32-be"),
        ("", "utf-8-sig"),
        ("application/json; charset=klingon", "utf-8"),
        ("application/json; charset=unicode_escape", "utf-8"),
        ("application/json; charset=", "utf-8"),
    ],
)
def test_the_charset_is_read_where_it_is_needed(content_type: str, encoding: str) -> None:
    raw = json.dumps(page(decided("rejected", None, message="caf\u00e9")), ensure_ascii=False).encode(encoding)
    (request,) = shown(raw, content_type).rows
    assert (request.checker_message, request.request_key) == ("caf\u00e9", KEY)


@pytest.mark.parametrize("charset", ["klingon", "unicode_escape", "hex", "rot13", "utf-7", "idna", "x" * 99])
def test_a_charset_that_is_none_leaves_the_good_letters(charset: str) -> None:
    read = read_json(b'{"a": "caf\xe9 \\u0041"}', content_type=f"application/json; charset={charset}")
    assert read == {"a": "caf\ufffd A"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"customers": [900001', b'"customers": [' + b"9" * 5_000),
        (b'"customers": [900001', b'"customers": [NaN'),
        (b'"customers": [900001', b'"customers": [-Infinity'),
        (b'"customers": [900001', b'"customers": [1e999'),
    ],
)
def test_a_number_that_is_none_costs_its_own_row_its_customers(old: bytes, new: bytes) -> None:
    read = shown(body(row(), old, new))
    assert [each.customers for each in read.rows] == [None, (900001, 900002)]
    assert (read.rows[0].request_key, read.unreadable_rows) == (KEY, 0)


@pytest.mark.parametrize(
    "new",
    [DEEP + b'"', DEEP[1:], b'"it\\\'s"', b'"he said "no" to it"', b"nothing", b'"\\u12"', b"01", b"'x'"],
    ids=[
        "deep in quotes",
        "deep",
        "escaped apostrophe",
        "bare quotes",
        "no value",
        "half an escape",
        "zeros",
        "apostrophes",
    ],
)
def test_a_row_that_is_no_json_costs_only_itself_and_keeps_its_id(new: bytes) -> None:
    read = shown(body(MESSAGE, b'"MESSAGE"', new))
    assert [each.platform_request_id for each in read.rows] == [PLATFORM_ID, OTHER]
    if read.rows[0].state == UNREADABLE_STATE:
        assert (read.rows[0].request_key, read.rows[0].customers) == (None, None)
    assert (read.rows[1].request_key, read.unreadable_rows) == (KEY, 0)


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(page(row(), GOOD)).encode()[:-40],
        json.dumps(page(row(), GOOD)).encode()[:700],
        json.dumps(page(row(), GOOD)).encode().replace(b'"pagination"', b"pagination"),
        json.dumps(page(row(), GOOD)).encode() + b"}",
        b"[" * 100_000,
        b'{"data": ' + b"[" * 100_000,
    ],
)
def test_what_is_cut_or_broken_around_its_rows_is_no_json(raw: bytes) -> None:
    assert read_json(raw) is NOT_JSON


def test_of_a_name_that_comes_twice_the_last_value_counts() -> None:
    assert read_json(b'{"state": "approved", "state": "AdminTask"}') == {"state": "AdminTask"}


@pytest.mark.parametrize(
    "new", [b"4355e\xff00", b"4355e\\ud80000", b"4355e\\ufffd00", b"4355e\x0000", "4355\u00e900".encode()]
)
def test_a_damaged_id_is_no_id(new: bytes) -> None:
    """Without the damage, or with another character in its place, it would be another request's."""
    read = shown(body(row(), b"4355e800", new))
    assert [each.platform_request_id for each in read.rows] == [OTHER]
    assert (read.unreadable_rows, len(read.unreadable)) == (1, 1)


@pytest.mark.parametrize(
    "new", [b"Admin\xffask", b"approved\\ud800", b"approved\\u0000", b"\\ufffdapproved", b"app\x01roved"]
)
def test_a_damaged_state_is_none_of_the_platforms(new: bytes) -> None:
    read = shown(body(row(), b"AdminTask", new))
    assert [each.state for each in read.rows] == [UNREADABLE_STATE, "AdminTask"]
    assert (read.rows[0].request_key, read.unreadable_rows) == (KEY, 0)
    with pytest.raises(ReplyUnreadable, match="no state"):
        parse_request(read_json(json.dumps(row()).encode().replace(b"AdminTask", new)))


@pytest.mark.parametrize(
    "new", [b"cb1.v\xffp", b"\xffb1.vip", b"c\\ud800b1.vip", b"c\\ud8001.vip", b"cb1.vip\x00", "cb1.v\u00efp".encode()]
)
def test_a_body_with_a_damaged_key_that_may_be_ours_is_not_shown(new: bytes) -> None:
    """Its customers would make it a stranger's, and a key that was fixed somebody else's request."""
    read = shown(body(row(), b"cb1.vip", new))
    assert (read.rows[0].request_key, read.rows[0].customers, read.rows[0].badge_id) == (None, None, None)
    assert read.rows[1].request_key == KEY


def test_a_damaged_key_of_somebody_else_stays_somebody_elses() -> None:
    read = shown(body(row(), b"cb1.vip", b"Pr\xfcfung"))
    assert (read.rows[0].request_key or "").startswith("Pr\ufffdfung")
    assert OUR_KEYS == KEY_PREFIX


def test_a_row_without_an_id_is_somebody_elses_where_it_says_so() -> None:
    """One row of a stranger must not keep an account from sending forever."""
    nobody = {"requestId": None}
    of_another_type = row() | nobody | {"requestType": "goodwill-points", "details": {}}
    of_another_call = of_another_type | {"details": {"IntouchAPITask-Payload": {"path": "/v2/points/goodwill"}}}
    with_another_key = row() | nobody | {"details": {"IntouchAPITask-Payload": inner(key="ERP-7")}}
    read = parse_page(page(GOOD, of_another_type, of_another_call, with_another_key))
    assert (len(read.rows), read.foreign_rows, read.unreadable_rows) == (1, 3, 0)


ANOTHER_CALL = {"IntouchAPITask-Payload": inner() | {"path": "/v2/points/goodwill"}}


@pytest.mark.parametrize(
    "shown",
    [
        # The public pages show this type on every request, ours among them.
        {"requestType": "customer-status-change"},
        {"requestType": "customer-status-change", "details": {"IntouchAPITask-Payload": inner() | {"body": {}}}},
        {"details": ANOTHER_CALL},
        {"requestType": "customer-status-change", "details": ANOTHER_CALL},
        {"details": {"IntouchAPITask-Payload": {"path": "/v2/points/goodwill"}}},
    ],
    ids=["our key and call", "our call", "our key and type", "our key", "our type"],
)
def test_a_row_without_an_id_that_may_be_ours_is_nobody_elses(shown: dict[str, Any]) -> None:
    read = parse_page(page(GOOD, row() | {"requestId": None} | shown))
    assert (len(read.rows), read.foreign_rows, read.unreadable_rows) == (1, 0, 1)


@pytest.mark.parametrize("bad", [None, "x", 7, [], {}, row() | {"requestId": None}, row() | {"requestId": "x" * 65}])
def test_any_other_row_without_an_id_has_a_name_that_tells_nothing(bad: object) -> None:
    first, again = parse_page(page(GOOD, bad)), parse_page(page(bad, GOOD))
    assert first.unreadable == again.unreadable
    (name,) = first.unreadable
    assert name.startswith("unreadable:")
    assert len(name) == 19


def names(*rows: str) -> list[str]:
    """Return the name of each row, written as JSON or as something like it, of a page of its own."""
    found = []
    for each in rows:
        raw = json.dumps(page(GOOD, 0)).replace(", 0]", f", {each}]")
        (name,) = shown(raw.encode()).unreadable
        found.append(name)
    return found


BROKEN = ['{"requestId": nul, "userId": 7001}', '{"requestId": nul, "userId": 7002}', '{"requestId": nul}']
UNNAMED = ['{"requestId": null, "userId": 7001}', '{"requestId": null, "userId": 7002}', '{"requestId": null}']


@pytest.mark.parametrize(
    "rows", [BROKEN, UNNAMED, ["null", "7", '"x"', "[]", "{}"]], ids=["broken", "unnamed", "other"]
)
def test_rows_of_other_content_have_other_names(rows: list[str]) -> None:
    assert len(set(names(*rows))) == len(rows), "a person who knows one of them vouches for that one alone"
    assert names(*rows) == names(*rows)


def test_the_order_of_a_rows_fields_makes_no_other_name() -> None:
    first, again = names('{"requestId": null, "userId": 7001}', '{"userId": 7001, "requestId": null}')
    assert first == again


@pytest.mark.parametrize("written", ['{"requestId": null, %s}', '{"requestId": nul, %s}'])
def test_a_name_holds_nothing_of_what_is_echoed_and_all_of_the_rest(written: str) -> None:
    mine, later, other = names(
        *(written % each for each in ('"authorization": "Basic YQ=="', '"authorization": "Basic Yg=="', '"b": 1'))
    )
    assert mine == later
    assert mine != other


def test_a_row_that_cannot_be_written_has_a_name() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    (name,) = parse_page(page(GOOD, deep)).unreadable
    assert name == f"unreadable:{zlib.crc32(b'nothing'):08x}"


def test_the_name_does_not_depend_on_the_echoed_credential() -> None:
    raw = json.dumps(page(row() | {"requestId": None}))
    assert (
        parse_page(json.loads(raw)).unreadable
        == parse_page(json.loads(raw.replace(ECHOED, "Basic b3RoZXI="))).unreadable
    )


def test_a_damaged_issued_id_is_none() -> None:
    raw = json.dumps(bulk(item(issued="b" * 23 + "\ufffd"), item(900002)))
    execution = parse_execution(read_json(raw))
    assert [line.issued_id for line in execution.items or ()] == [None, "b" * 24]


async def test_a_read_of_one_takes_no_other() -> None:
    wire = platform(*[Reply(200, {}, json.dumps({"data": GOOD}).encode())] * 5)
    with pytest.raises(ReplyUnreadable, match="another one"):
        await wire.client().read_request(PLATFORM_ID)
    upper = platform(Reply(200, {}, json.dumps({"data": row() | {"requestId": PLATFORM_ID.upper()}}).encode()))
    read = await upper.client().read_request(PLATFORM_ID)
    assert read is not None
    assert read.platform_request_id == PLATFORM_ID


async def test_a_token_with_a_line_break_is_none() -> None:
    """A header cannot hold it, and the error of whoever tries would."""
    with pytest.raises(ReplyUnreadable) as caught:
        await platform(*[token_reply("canary\ntoken")] * 5).client(oauth_settings()).clear_to_send()
    assert "canary" not in str(caught.value) + repr(vars(caught.value))


async def test_a_damaged_reply_is_in_no_error() -> None:
    raw = json.dumps({"data": row()}).encode()[:-1] + b"\xff"
    with pytest.raises(ReplyUnreadable) as caught:
        await platform(*[Reply(200, {}, raw)] * 5).client().read_request(PLATFORM_ID)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert ECHOED not in repr(caught.value)


async def test_the_list_reads_the_content_type() -> None:
    raw = json.dumps(page(decided("rejected", None, message="caf\u00e9")), ensure_ascii=False).encode("latin-1")
    wire = platform(Reply(200, {"content-type": "application/json;charset=latin1"}, raw))
    read = await wire.client().list_requests(page=0, start_date=DAY)
    assert read.rows[0].checker_message == "caf\u00e9"


@pytest.mark.parametrize("depth", [500, 5_000])
def test_errors_in_many_brackets_are_read_without_falling(depth: int) -> None:
    deep: Any = {"code": 404}
    for _ in range(depth):
        deep = [deep]
    assert read_envelope({"errors": deep}).codes == ()
