"""Who finds whom by name."""

from __future__ import annotations

import pytest

from tests.cluster.network import Networks, Place, hosts


def test_a_place_has_an_address_of_its_own_in_each_network() -> None:
    networks = Networks({"outside": {}, "data": {"internal": True}})
    first, second = networks.place(["outside", "data"]), networks.place(["data"])
    assert first.addresses == {"outside": "10.89.0.2", "data": "10.89.1.2"}
    assert second.addresses == {"data": "10.89.1.3"}
    assert first.hostname != second.hostname
    with pytest.raises(KeyError):
        networks.place(["elsewhere"])


def test_a_service_is_found_where_a_network_is_shared_and_nowhere_else() -> None:
    worker = Place("aaaaaaaaaaaa", {"outside": "10.89.0.2", "data": "10.89.1.2"})
    database = Place("bbbbbbbbbbbb", {"data": "10.89.1.3"})
    sandbox = Place("cccccccccccc", {"outside": "10.89.0.3"})
    everybody = {"worker": [worker], "postgres": [database], "sandbox": [sandbox]}
    seen = hosts(worker, everybody).splitlines()
    assert seen[0] == "127.0.0.1 localhost"
    assert "10.89.1.3 postgres bbbbbbbbbbbb" in seen
    assert "10.89.0.3 sandbox cccccccccccc" in seen
    assert "10.89.0.2 aaaaaaaaaaaa" in seen
    assert "postgres" not in hosts(sandbox, everybody)
    assert "sandbox" not in hosts(database, everybody)


def test_every_replica_is_found_by_its_service() -> None:
    first, second, caller = (Place(name, {"data": f"10.89.1.{number}"}) for number, name in enumerate("abc", start=2))
    seen = hosts(caller, {"worker": [first, second], "caller": [caller]}).splitlines()
    assert [line.split()[0] for line in seen if " worker " in line] == ["10.89.1.2", "10.89.1.3"]
