"""What became of every stop: which is in force, and who released the others."""

from __future__ import annotations

from capillary.ledger.database import Ledger
from capillary.ledger.stop_ends import StopEnd, stop_ends
from capillary.ledger.stops import Scope, order_stop, resume
from tests.unit.ledger.conftest import Clock

SCOPE = Scope("platform.example/100", "spring")


def ends(ledger: Ledger) -> dict[Scope, StopEnd]:
    with ledger.read() as tx:
        return dict(stop_ends(tx))


def test_a_stop_is_in_force_until_it_is_released_and_again_after_that(ledger: Ledger, clock: Clock) -> None:
    assert ends(ledger) == {}
    stop = order_stop(ledger, SCOPE, by="ann", reason="wrong list")
    assert ends(ledger) == {SCOPE: StopEnd(stop, None, None)}
    clock.advance(minutes=5)
    resume(ledger, SCOPE, by="bob")
    released = clock.now
    assert ends(ledger) == {SCOPE: StopEnd(None, released, "bob")}
    clock.advance(minutes=5)
    again = order_stop(ledger, SCOPE, by="cy", reason="again")
    assert ends(ledger) == {SCOPE: StopEnd(again, released, "bob")}


def test_each_scope_is_told_by_itself(ledger: Ledger) -> None:
    whole = Scope(SCOPE.account)
    order_stop(ledger, whole, by="ann", reason="a")
    stop = order_stop(ledger, SCOPE, by="ann", reason="b")
    resume(ledger, whole, by="bob")
    found = ends(ledger)
    assert found[whole].in_force is None
    assert found[SCOPE].in_force == stop
