"""Whatever JSON comes, the parsers answer or say that they cannot read it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from capillary.api.badges import Execution, parse_badge, parse_execution, parse_issuals
from capillary.api.envelope import Envelope, read_envelope
from capillary.api.errors import ReplyUnreadable
from capillary.api.json_body import read_json
from capillary.api.request_workflow import parse_page, parse_request
from tests.unit.api.documented import bulk, decided, item, page

DOCUMENT = page(decided("approved", bulk(item(), item(error={"code": 1040}))))
NAMES = sorted({part for part in json.dumps(DOCUMENT).split('"') if part.isidentifier() or "-" in part} - {"null"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


def _issuals(data: object) -> object:
    return parse_issuals(data, customer_id=900001, badge_id="a" * 24)


def garbled(document: object, path: list[int], value: object) -> object:
    """Return the document with one value, found by walking along `path`, put in another's place."""
    if not path or not isinstance(document, dict | list) or not document:
        return value
    if isinstance(document, list):
        at = path[0] % len(document)
        return [*document[:at], garbled(document[at], path[1:], value), *document[at + 1 :]]
    name = sorted(document)[path[0] % len(document)]
    return document | {name: garbled(document[name], path[1:], value)}


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), VALUES)
def test_nothing_but_a_reading_or_unreadable(path: list[int], value: object) -> None:
    document = read_json(json.dumps(garbled(DOCUMENT, path, value)))
    for parse in (parse_page, parse_request, parse_badge, _issuals):
        for given_value in (document, value):
            try:
                parse(given_value)
            except ReplyUnreadable:
                continue
    assert isinstance(parse_execution(value), Execution)
    assert isinstance(read_envelope(document), Envelope)
