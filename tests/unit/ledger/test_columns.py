"""Nothing from outside meets a column that cannot hold it: on either database it is cut, or refused by name.

SQLite keeps whatever comes, so a value that is too long for PostgreSQL would show there alone, in production.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Integer, String, Text, inspect, select

from capillary.api.account import ACCOUNT_LIMIT
from capillary.api.badges import BulkItem, Execution
from capillary.api.request_workflow import KEY_LIMIT, PLATFORM_ID_LIMIT, STATE_LIMIT, parse_request
from capillary.engine.customer_id import InvalidId, customer_id_of, shape_of
from capillary.engine.outcomes import read_outcomes
from capillary.engine.sightings import record_rows
from capillary.ledger import history, pace, scans, stops, unknown_keys
from capillary.ledger.bounds import MAX_INTEGER, checked, code_kept, cut
from capillary.ledger.database import Ledger
from capillary.ledger.errors import ValueUnfit
from capillary.ledger.import_requests import Forgotten, adopt
from capillary.ledger.plan import commit_plan
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import (
    FACTS,
    Seen,
    claim,
    note_answer,
    note_doubt,
    note_held_doubt,
    record_sighting,
    refuse,
    release,
)
from capillary.ledger.schema import (
    badge_enrolment,
    badge_occasion,
    badge_request,
    badge_run,
    badge_sighting,
    badge_unknown_key,
    metadata,
)
from capillary.ledger.settle import Ending, settle
from capillary.ledger.spec import KEY_PREFIX, request_key
from capillary.ledger.staging import InvalidRow, staging
from capillary.ledger.status import Outcome
from tests.unit.engine.scripted_client import row
from tests.unit.ledger.orders import DOUBT, ORDER, SPEC, customers_of, is_empty, plan, requests_of, send

#: Too long for every column, with NUL, with half of a surrogate pair, and all of it.
BAD: Final = {
    "long": "x" * 5_000,
    "long, of two bytes": "ß" * 5_000,
    "NUL": "a\x00b",
    "half a pair": "a\ud800b",
    "all": "\x00\udfff" + "y" * 5_000,
}
bad_words = pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
NUMBERS: Final = (2**31, 2**63, 10**30, -(2**31) - 1)


def length_of(column: Column[Any]) -> int | None:
    return column.type.length if isinstance(column.type, String) else None


def one_sent(ledger: Ledger) -> tuple[int, Any]:
    """Return a request that was claimed, and its claim."""
    planned = plan(ledger, [1, 2], ORDER)
    request_id = requests_of(ledger, planned)[0].id
    return request_id, send(ledger, request_id)


def assert_every_text_fits(ledger: Ledger) -> None:
    """Nothing in any table is longer than its column, and all of it can be read back."""
    with ledger.read() as tx:
        for table in metadata.tables.values():
            for found in tx.conn.execute(select(table)).mappings():
                for column in table.columns:
                    value = found[column.name]
                    if isinstance(column.type, String) and value is not None:
                        assert column.type.length is None or len(value) <= column.type.length
                        assert "\x00" not in value
                        value.encode()


#: A plan's own names → the column that keeps each.
NAMES: Final[Mapping[str, Column[Any]]] = {
    "dag_id": badge_run.c.dag_id,
    "run_id": badge_run.c.run_id,
    "task_id": badge_run.c.task_id,
    "capillary_conn_id": badge_run.c.capillary_conn_id,
    "campaign": badge_run.c.campaign,
    "occasion": badge_occasion.c.occasion,
    "note": badge_run.c.note,
}


@bad_words
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_the_ledger_cannot_keep_is_refused_by_name_before_anything_is_written(
    ledger: Ledger, name: str, bad: str
) -> None:
    facts: dict[str, Any] = {name: bad}
    limit = length_of(NAMES[name])
    if limit is None and "\x00" not in bad and "\ud800" not in bad:
        planned = plan(ledger, [1], replace(ORDER, **facts))  # a note may be of any length
        assert planned.planned == 1
        assert_every_text_fits(ledger)
        return
    with pytest.raises(ValueUnfit, match=rf"^{name}: it ") as caught:
        plan(ledger, [1], replace(ORDER, **facts))
    if limit is not None and len(bad) > limit:
        assert str(limit) in str(caught.value)
    assert is_empty(ledger)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_longest_length_is_kept_whole(ledger: Ledger, name: str) -> None:
    longest: dict[str, Any] = {name: "ß" * (length_of(NAMES[name]) or 10_000)}
    assert plan(ledger, [1], replace(ORDER, **longest)).planned == 1
    with ledger.read() as tx:
        column = NAMES[name]
        assert tx.conn.execute(select(column)).scalar_one() == longest[name]


@bad_words
@pytest.mark.parametrize("name", ["account", "badge_id"])
def test_a_spec_that_the_ledger_cannot_keep_is_refused_by_name(ledger: Ledger, name: str, bad: str) -> None:
    facts: dict[str, Any] = {name: bad}
    with pytest.raises(ValueUnfit, match=f"^{name}: "):
        plan(ledger, [1], replace(ORDER, spec=replace(SPEC, **facts)))
    assert is_empty(ledger)


@bad_words
@pytest.mark.parametrize("name", ["reference_id", "till_id", "store_id", "zone_id", "concept_id", "hostname"])
def test_a_specs_other_words_are_kept_as_json(ledger: Ledger, name: str, bad: str) -> None:
    facts: dict[str, Any] = {name: bad}
    assert plan(ledger, [1], replace(ORDER, spec=replace(SPEC, **facts))).planned == 1
    assert_every_text_fits(ledger)


@bad_words
def test_what_a_reply_says_is_cut(ledger: Ledger, bad: str) -> None:
    request_id, held = one_sent(ledger)
    with ledger.write() as tx:
        assert note_doubt(tx, held, reason=bad)
        assert note_answer(tx, held, bad)
        assert note_held_doubt(tx, request_id, key=held.key, tries=held.tries, reason=bad)
    with ledger.write() as tx:
        assert release(tx, held, reason=bad)
    held = send(ledger, request_id)
    with ledger.write() as tx:
        assert refuse(tx, held, code=2008, reason=bad)
    assert_every_text_fits(ledger)


@pytest.mark.parametrize("code", NUMBERS)
def test_a_code_that_is_none_is_left_out_and_the_refusal_stands(ledger: Ledger, code: int) -> None:
    request_id, held = one_sent(ledger)
    with ledger.write() as tx:
        assert refuse(tx, held, code=code, reason="refused")
        found = tx.conn.execute(select(badge_request.c.status, badge_request.c.error_code)).one()
        ended = tx.conn.execute(select(badge_enrolment.c.outcome, badge_enrolment.c.error_code)).all()
    assert tuple(found) == ("settled", None)
    assert [tuple(each) for each in ended] == [("not_accepted", None)] * 2
    assert request_id


@bad_words
def test_a_sightings_words_are_cut_and_its_id_is_refused(ledger: Ledger, bad: str) -> None:
    request_id, _ = one_sent(ledger)
    with ledger.write() as tx:
        record_sighting(tx, request_id, Seen("p-1", bad, decided=True, checker_message=bad))
        record_sighting(tx, request_id, Seen("p-1", bad[::-1], decided=True, checker_message=bad[::-1]))
    assert_every_text_fits(ledger)
    with pytest.raises(ValueUnfit, match=r"^platform request id: "), ledger.write() as tx:
        record_sighting(tx, request_id, Seen(bad, "approved", decided=True))


@bad_words
def test_what_helps_to_find_a_request_is_cut(ledger: Ledger, bad: str) -> None:
    request_id, _ = one_sent(ledger)
    first: dict[str, Any] = dict.fromkeys(FACTS, bad)
    then: dict[str, Any] = dict.fromkeys(FACTS, bad[::-1])
    with ledger.write() as tx:
        record_sighting(tx, request_id, Seen("p-1", "AdminTask", decided=False, **first))
        record_sighting(tx, request_id, Seen("p-1", "AdminTask", decided=False, **then))
    assert_every_text_fits(ledger)


@bad_words
def test_an_issued_id_that_does_not_fit_is_left_out_and_the_outcome_stands(ledger: Ledger, bad: str) -> None:
    request_id, _ = one_sent(ledger)
    customers = customers_of(ledger, request_id)
    with ledger.write() as tx:
        record_sighting(tx, request_id, Seen("p-1", "approved", decided=True))
        endings = {each: Ending(Outcome.ENROLLED, issued_id=bad, error_code=10**30) for each in customers}
        assert settle(tx, request_id, sightings_read=["p-1"], endings=endings)
        found = tx.conn.execute(
            select(badge_enrolment.c.outcome, badge_enrolment.c.issued_id, badge_enrolment.c.error_code)
        ).all()
    assert [tuple(each) for each in found] == [("enrolled", None, None)] * 2


@pytest.mark.parametrize("length", [62, 64, 65, 100, 100_000])
def test_an_unknown_key_of_any_length_stops_submitting_and_no_reading(ledger: Ledger, length: int) -> None:
    """One row with a key of 100 characters stopped every reading of the account on PostgreSQL."""
    key = KEY_PREFIX + "x" * (length - len(KEY_PREFIX))
    planned = plan(ledger, [1, 2], ORDER)
    mine = requests_of(ledger, planned)[0]
    with ledger.write() as tx:
        recorded = record_rows(tx, SPEC.account, "sender", [row("p-1", key), row("p-2", mine.request_key)])
        kept = [each.key for each in unknown_keys.unknown_keys(tx, SPEC.account)]
    assert recorded.new == 1, "the row beside it is recorded"
    assert kept == [key[:64]]
    assert recorded.unknown_key is not None
    assert_every_text_fits(ledger)


@bad_words
def test_an_unknown_key_of_any_kind_is_kept(ledger: Ledger, bad: str) -> None:
    with ledger.write() as tx:
        unknown_keys.note(tx, SPEC.account, "sender", [KEY_PREFIX + bad])
        (kept,) = unknown_keys.unknown_keys(tx, SPEC.account)
    assert kept.key.startswith(KEY_PREFIX)
    assert_every_text_fits(ledger)


@bad_words
def test_a_persons_word_on_a_key_is_refused_where_it_does_not_fit(ledger: Ledger, bad: str) -> None:
    for account, by, named in ((bad, "ann", "account"), (SPEC.account, bad, "by")):
        with pytest.raises(ValueUnfit, match=f"^{named}: "), ledger.write() as tx:
            scans.note_not_ours(tx, account, "cb1.x", by=by)
    assert is_empty(ledger)


@bad_words
def test_an_unknown_key_of_any_kind_may_be_said_to_be_not_ours(ledger: Ledger, bad: str) -> None:
    with ledger.write() as tx:
        scans.note_not_ours(tx, SPEC.account, KEY_PREFIX + bad, by="ann")
    with ledger.read() as tx:
        assert scans.are_not_ours(tx, SPEC.account, [KEY_PREFIX + bad, "cb1.another"]) == {KEY_PREFIX + bad}
    assert_every_text_fits(ledger)


@bad_words
def test_a_stop_whose_words_do_not_fit_is_refused_by_name(ledger: Ledger, bad: str) -> None:
    whole = stops.Scope(SPEC.account)
    refused: dict[str, Callable[[], object]] = {
        "account": lambda: stops.stop(ledger, stops.Scope(bad), by="ann", reason="why"),
        "campaign": lambda: stops.stop(ledger, stops.Scope(SPEC.account, bad), by="ann", reason="why"),
        "by": lambda: stops.stop(ledger, whole, by=bad, reason="why"),
        "reason": lambda: stops.stop(ledger, whole, by="ann", reason=f"{bad}\x00"),
    }
    for name, act in refused.items():
        with pytest.raises(ValueUnfit, match=f"^{name}: "):
            act()
    assert is_empty(ledger)
    stops.stop(ledger, whole, by="ann", reason="why")
    with pytest.raises(ValueUnfit, match=r"^by: "):
        stops.resume(ledger, whole, by=bad)
    with ledger.read() as tx:
        assert [each.scope for each in stops.in_force(tx)] == [whole]


@bad_words
def test_an_account_or_a_reader_that_does_not_fit_is_refused_by_name(ledger: Ledger, bad: str) -> None:
    for write in (
        lambda tx: scans.lease(tx, bad, by="reader", older_than=timedelta(0)),
        lambda tx: unknown_keys.note(tx, bad, "sender", ["cb1.x"]),
        lambda tx: history.take_as_read(tx, bad, "sender", since=date(2026, 11, 23)),
        lambda tx: scans.distrust(tx, bad),
        lambda tx: pace.take_slot(tx, bad, calls_per_minute=100),
        lambda tx: pace.block(tx, bad, seconds=1),
    ):
        with pytest.raises(ValueUnfit, match=r"^account: "), ledger.write() as tx:
            write(tx)
    for write in (
        lambda tx: unknown_keys.note(tx, SPEC.account, bad, ["cb1.x"]),
        lambda tx: history.take_as_read(tx, SPEC.account, bad, since=date(2026, 11, 23)),
        lambda tx: scans.note_whole(tx, SPEC.account, sender=bad, begun_at=tx.now, pages=1),
    ):
        with pytest.raises(ValueUnfit, match=r"^sender: "), ledger.write() as tx:
            write(tx)
    with pytest.raises(ValueUnfit, match=r"^reader: "), ledger.write() as tx:
        scans.lease(tx, SPEC.account, by=bad, older_than=timedelta(0))
    request_id = requests_of(ledger, planned := plan(ledger, [1], ORDER))[0].id
    with pytest.raises(ValueUnfit, match=r"^sender: "), ledger.write() as tx:
        claim(tx, request_id, badge_run_id=OpenPlan(planned.badge_run_id or 0), sender=bad, doubt_after=DOUBT)


def forgotten(**changes: Any) -> Forgotten:  # noqa: ANN401 - fields of a forgotten request
    facts: dict[str, Any] = {
        "key": request_key(SPEC.fingerprint(), "spring", "forgotten", 1, [1]),
        "campaign": "spring",
        "occasion": "forgotten",
        "spec": SPEC,
        "attempt": 1,
        "customers": [1],
        "seen": Seen("p-9", "AdminTask", decided=False),
        "sent_at": None,
    }
    return Forgotten(**(facts | changes))


@bad_words
def test_an_import_refuses_names_that_do_not_fit(ledger: Ledger, bad: str) -> None:
    for name in ("key", "campaign", "occasion"):
        with pytest.raises(ValueUnfit, match=f"^{name}: "):
            forgotten(**{name: bad})
    with pytest.raises(ValueUnfit, match=r"^capillary_conn_id: "), ledger.write() as tx:
        adopt(tx, forgotten(sent_at=tx.now), run_id="import", capillary_conn_id=bad)
    assert is_empty(ledger)


@pytest.mark.parametrize(
    "value", ["", *BAD.values(), *map(str, NUMBERS[1:]), 2**63, 1e300, b"\x00", None, object, "1\x002"], ids=repr
)
def test_a_row_of_the_warehouse_that_is_no_customer_is_kept_as_its_shape(ledger: Ledger, value: object) -> None:
    with pytest.raises(InvalidId) as caught:
        customer_id_of(value)
    with staging() as staged:
        staged.add([(1, 7)], [InvalidRow(2, str(caught.value.reason), shape_of(value))])
        commit_plan(ledger, staged, ORDER)
    invalid = metadata.tables["badge_invalid"].c
    assert checked(invalid.shape, "shape", shape_of(value)) == shape_of(value)
    assert checked(invalid.reason, "reason", str(caught.value.reason))


JSON: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([*NUMBERS, 1e300, float("nan")])
    | st.text(st.characters(exclude_categories=[]), max_size=80)
    | st.sampled_from(list(BAD.values())),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    platform_request_id=JSON,
    state=JSON | st.just("approved"),
    key=JSON | JSON.map(lambda value: f"{KEY_PREFIX}{value}"),
    message=JSON,
    issued_id=JSON,
    code=JSON,
    customers=JSON,
)
def test_no_reply_of_the_platform_breaks_the_database(
    ledger: Ledger,
    platform_request_id: object,
    state: object,
    key: object,
    message: object,
    issued_id: object,
    code: object,
    customers: object,
) -> None:
    """From the reply to the rows: whatever a row of the list holds, its page is recorded and its words are kept."""
    line = {"customerId": 1, "issuedId": issued_id, "status": "ACTIVE", "error": {"code": code} if code else None}
    reply = {
        "requestId": "p-1" if platform_request_id is None else platform_request_id,
        "requestType": "ISSUE-BADGE",
        "state": "approved" if state is None else state,
        "details": {
            "IntouchAPITask-Payload": {"body": {"requestId": key, "customers": customers}},
            "IntouchAPITask_Output": {"status": code, "body": {"data": {"issuedBadges": [line]}}},
            "AdminTask-Payload": {"actionMessage": message},
        },
    }
    try:
        seen = parse_request(reply)
    except Exception as error:  # noqa: BLE001 - told by its name
        assert type(error).__name__ == "ReplyUnreadable"  # noqa: PT017 - most examples are read
        return
    plan(ledger, [1], replace(ORDER, run_id=f"run {seen.platform_request_id[:20]}", canary=False))
    with ledger.write() as tx:
        request_id = tx.conn.execute(select(badge_request.c.id).order_by(badge_request.c.id).limit(1)).scalar_one()
        record_rows(tx, SPEC.account, "sender", [seen])
        record_sighting(
            tx,
            request_id,
            Seen(seen.platform_request_id, seen.state, decided=True, checker_message=seen.checker_message),
        )
        reading = read_outcomes(replace(seen, customers=None, state="approved"), (1,))
        names = tx.conn.execute(
            select(badge_sighting.c.platform_request_id).where(badge_sighting.c.request_id == request_id)
        ).scalars()
        settle(tx, request_id, sightings_read=list(names), endings=reading.by_customer)
    assert_every_text_fits(ledger)


#: Columns of text → the test above that writes to it, or who fills it with words of our own.
WRITERS: Final[Mapping[str, Callable[..., None] | str]] = {
    "badge_occasion.account": test_a_spec_that_the_ledger_cannot_keep_is_refused_by_name,
    "badge_occasion.occasion": test_a_name_that_the_ledger_cannot_keep_is_refused_by_name_before_anything_is_written,
    "badge_occasion.badge_id": test_a_spec_that_the_ledger_cannot_keep_is_refused_by_name,
    "badge_spec.account": test_a_spec_that_the_ledger_cannot_keep_is_refused_by_name,
    "badge_spec.fingerprint": "a hash of 64 digits",
    "badge_spec.config": test_a_specs_other_words_are_kept_as_json,
    "badge_run.account": test_a_spec_that_the_ledger_cannot_keep_is_refused_by_name,
    **{
        f"badge_run.{name}": test_a_name_that_the_ledger_cannot_keep_is_refused_by_name_before_anything_is_written
        for name in NAMES
        if name != "occasion"
    },
    "badge_run.token": "32 digits at random",
    "badge_request.request_key": test_an_import_refuses_names_that_do_not_fit,
    "badge_request.status": "a word of RequestStatus",
    "badge_request.sender": test_an_account_or_a_reader_that_does_not_fit_is_refused_by_name,
    "badge_request.error": test_what_a_reply_says_is_cut,
    "badge_request.answered_id": test_what_a_reply_says_is_cut,
    "badge_sighting.platform_request_id": test_a_sightings_words_are_cut_and_its_id_is_refused,
    "badge_auto_approval.account": "an occasion's, as it was kept",
    "badge_auto_approval.platform_request_id": "a sighting's, which is refused before",
    "badge_sighting.state": test_a_sightings_words_are_cut_and_its_id_is_refused,
    "badge_sighting.checker_message": test_a_sightings_words_are_cut_and_its_id_is_refused,
    **{f"badge_sighting.{fact}": test_what_helps_to_find_a_request_is_cut for fact in FACTS},
    "badge_enrolment.outcome": "a word of Outcome",
    "badge_enrolment.issued_id": test_an_issued_id_that_does_not_fit_is_left_out_and_the_outcome_stands,
    "badge_result.outcome": "a word of Outcome",
    "badge_invalid.reason": test_a_row_of_the_warehouse_that_is_no_customer_is_kept_as_its_shape,
    "badge_invalid.shape": test_a_row_of_the_warehouse_that_is_no_customer_is_kept_as_its_shape,
    "badge_pace.account": test_an_account_or_a_reader_that_does_not_fit_is_refused_by_name,
    "badge_scan.account": test_an_account_or_a_reader_that_does_not_fit_is_refused_by_name,
    "badge_scan.leased_by": test_an_account_or_a_reader_that_does_not_fit_is_refused_by_name,
    "badge_scan.whole_by": test_an_account_or_a_reader_that_does_not_fit_is_refused_by_name,
    "badge_history.account": test_an_account_or_a_reader_that_does_not_fit_is_refused_by_name,
    "badge_history.sender": test_an_account_or_a_reader_that_does_not_fit_is_refused_by_name,
    "badge_history.unread": "days",
    "badge_unknown_key.account": test_an_account_or_a_reader_that_does_not_fit_is_refused_by_name,
    "badge_unknown_key.sender": test_an_account_or_a_reader_that_does_not_fit_is_refused_by_name,
    "badge_unknown_key.key": test_an_unknown_key_of_any_kind_is_kept,
    "badge_not_ours.account": test_a_persons_word_on_a_key_is_refused_where_it_does_not_fit,
    "badge_not_ours.key": test_an_unknown_key_of_any_kind_may_be_said_to_be_not_ours,
    "badge_not_ours.said_by": test_a_persons_word_on_a_key_is_refused_where_it_does_not_fit,
    "badge_stop.account": test_a_stop_whose_words_do_not_fit_is_refused_by_name,
    "badge_stop.campaign": test_a_stop_whose_words_do_not_fit_is_refused_by_name,
    "badge_stop.stopped_by": test_a_stop_whose_words_do_not_fit_is_refused_by_name,
    "badge_stop.reason": test_a_stop_whose_words_do_not_fit_is_refused_by_name,
    "badge_stop.resumed_by": test_a_stop_whose_words_do_not_fit_is_refused_by_name,
    "badge_server.system_identifier": "digits of the server's own",
    "badge_server.timeline": "eight digits of the server's own",
    "badge_server.requests_file": "a number of the server's own",
}


def test_every_column_of_text_has_its_test() -> None:
    text_columns = {
        str(column) for table in metadata.tables.values() for column in table.columns if isinstance(column.type, String)
    }
    assert text_columns == set(WRITERS)


def test_the_bounds_at_the_edge_are_the_columns() -> None:
    assert length_of(badge_unknown_key.c.key) == length_of(badge_request.c.request_key) == KEY_LIMIT
    assert length_of(badge_sighting.c.platform_request_id) == PLATFORM_ID_LIMIT
    assert length_of(badge_sighting.c.state) == STATE_LIMIT
    accounts = {length_of(table.c.account) for table in metadata.tables.values() if "account" in table.c}
    assert accounts == {ACCOUNT_LIMIT}
    ours = request_key(SPEC.fingerprint(), "x" * 200, "y" * 200, 10, [1])
    assert len(ours) < KEY_LIMIT, "a key that was cut is none of ours"


def test_the_columns_of_a_ledger_are_as_long_as_the_codes(ledger: Ledger) -> None:
    with ledger.read() as tx:
        if tx.is_sqlite:
            return
        found = inspect(tx.conn)
        for table in metadata.tables.values():
            lengths = {each["name"]: getattr(each["type"], "length", None) for each in found.get_columns(table.name)}
            for column in table.columns:
                if isinstance(column.type, String):
                    assert lengths[column.name] == column.type.length


@pytest.mark.parametrize(
    ("code", "kept"),
    [(None, None), (0, 0), (809, 809), (MAX_INTEGER, MAX_INTEGER), *((number, None) for number in NUMBERS)],
)
def test_a_code_is_kept_where_it_fits(code: int | None, kept: int | None) -> None:
    assert code_kept(code) == kept


def test_what_is_cut_is_cut_to_the_column() -> None:
    assert cut(badge_sighting.c.state, "x" * 65) == "x" * 64
    assert cut(badge_request.c.error, "x" * 65) == "x" * 65
    assert cut(badge_request.c.error, "a\x00b\ud800c") == "abc"
    assert isinstance(badge_request.c.error.type, Text)


def test_a_customer_id_and_a_count_have_room() -> None:
    """2**63 - 1 customers are none that could be, and an id beyond it is not a customer's."""
    assert isinstance(badge_enrolment.c.customer_id.type, BigInteger)
    assert isinstance(badge_run.c.eligible.type, BigInteger)
    assert isinstance(badge_request.c.error_code.type, Integer)
    execution = Execution(200, (BulkItem(1, "x" * 65, None, None, failed=False),), ())
    reading = read_outcomes(replace(row("p", "k", "approved"), execution=execution), (1,))
    assert reading.by_customer == {1: Ending(Outcome.ENROLLED)}
