"""Keys that the ledger does not know, kept for the credential user that was shown them."""

from __future__ import annotations

from capillary.ledger import history, scans, unknown_keys
from capillary.ledger.database import Ledger
from capillary.ledger.request_rows import Seen, record_sighting
from capillary.ledger.unknown_keys import UnknownKey
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import ORDER, SPEC, plan, requests_of

ACCOUNT = SPEC.account
ONE, TWO = "0123456789abcdef", "fedcba9876543210"


def kept(ledger: Ledger, account: str = ACCOUNT) -> list[tuple[str, str]]:
    with ledger.read() as tx:
        return [(each.key, each.sender) for each in unknown_keys.unknown_keys(tx, account)]


def note(ledger: Ledger, sender: str, *keys: str) -> None:
    with ledger.write() as tx:
        unknown_keys.note(tx, ACCOUNT, sender, keys)


def test_every_key_is_kept_for_who_was_shown_it_the_newest_first(ledger: Ledger, clock: Clock) -> None:
    note(ledger, ONE, "cb1.a", "cb1.b")
    clock.advance(seconds=1)
    note(ledger, TWO, "cb1.a")
    clock.advance(seconds=1)
    note(ledger, ONE, "cb1.b", "cb1.b")
    assert kept(ledger) == [("cb1.b", ONE), ("cb1.a", TWO), ("cb1.a", ONE)]
    assert kept(ledger, "https://platform.example/200") == []


def test_one_users_keys_go_and_the_others_stay(ledger: Ledger) -> None:
    note(ledger, ONE, "cb1.a")
    note(ledger, TWO, "cb1.a")
    with ledger.write() as tx:
        unknown_keys.clear(tx, ACCOUNT, ONE)
    assert kept(ledger) == [("cb1.a", TWO)]


def test_a_whole_reading_takes_away_what_it_did_not_show_and_nothing_before_its_end(ledger: Ledger) -> None:
    note(ledger, ONE, "cb1.gone", "cb1.stays")
    note(ledger, TWO, "cb1.gone")
    with ledger.write() as tx:
        today = tx.now.date()
        history.take_as_read(tx, ACCOUNT, ONE, since=today)
        history.read_again(tx, ACCOUNT, ONE)
    note(ledger, ONE, "cb1.stays")
    assert len(kept(ledger)) == 3, "the account stays stopped while the reading is under way"
    with ledger.write() as tx:
        history.advance(tx, ACCOUNT, ONE, history.Days(today, today), refused=False)
        history.finish(tx, ACCOUNT, TWO, today=today)
    assert len(kept(ledger)) == 3, "it is not through, and the other user's is not a reading of this one"
    with ledger.write() as tx:
        assert history.finish(tx, ACCOUNT, ONE, today=today).read_at is not None
    assert sorted(kept(ledger)) == [("cb1.gone", TWO), ("cb1.stays", ONE)]


def test_a_key_goes_when_it_was_seen_as_a_request_of_the_ledger_and_not_when_it_is_only_planned(ledger: Ledger) -> None:
    """A lost ledger plans the same customers under the same key: that is no reason to send them a second time."""
    request = requests_of(ledger, plan(ledger, [1, 2], ORDER))[0]
    note(ledger, ONE, request.request_key)
    note(ledger, TWO, request.request_key, "cb1.a")
    with ledger.write() as tx:
        unknown_keys.drop_known(tx, ACCOUNT)
    assert len(kept(ledger)) == 3
    with ledger.write() as tx:
        record_sighting(tx, request.id, Seen("p-1", "AdminTask", decided=False))
        unknown_keys.drop_known(tx, ACCOUNT)
    assert kept(ledger) == [("cb1.a", TWO)]


def test_a_key_that_a_person_calls_not_ours_goes_for_every_user_of_the_account(ledger: Ledger) -> None:
    note(ledger, ONE, "cb1.a")
    note(ledger, TWO, "cb1.a", "cb1.b")
    with ledger.write() as tx:
        scans.note_not_ours(tx, "https://platform.example/200", "cb1.b", by="anna")
        scans.note_not_ours(tx, ACCOUNT, "cb1.a", by="anna")
        unknown_keys.drop_known(tx, ACCOUNT)
        assert unknown_keys.unknown_keys(tx, ACCOUNT) == (UnknownKey("cb1.b", TWO),)
