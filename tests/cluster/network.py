"""The file's networks, as bridges in a network namespace that belongs to the cluster alone."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: The first address of every network is the bridge's, from which this program calls in.
_FIRST_HOST = 2


@dataclass(slots=True)
class Place:
    """A container's place in the networks: its host name, and its address in each."""

    hostname: str
    addresses: dict[str, str] = field(default_factory=dict)


class Networks:
    """Bridges, and who is plugged into them.

    Args:
        given: the file's networks; an internal one leads nowhere. Neither does any other here: this namespace has no
            way out.
    """

    def __init__(self, given: Mapping[str, Mapping[str, Any]]) -> None:
        self._bridges = {name: f"br-{name}"[:15] for name in given}
        self._internal = {name for name, options in given.items() if (options or {}).get("internal")}
        self._prefixes = {name: f"10.89.{number}" for number, name in enumerate(given)}
        self._next = dict.fromkeys(given, _FIRST_HOST)
        self._plugged = 0

    def lay(self) -> None:
        """Make the bridges."""
        _ip("link", "set", "lo", "up")
        for name, bridge in self._bridges.items():
            _ip("link", "add", bridge, "type", "bridge")
            _ip("address", "add", f"{self._prefixes[name]}.1/24", "dev", bridge)
            _ip("link", "set", bridge, "up")

    def place(self, networks: Sequence[str]) -> Place:
        """Draw a host name as Docker does, and an address in each network."""
        place = Place(secrets.token_hex(6))
        for name in networks:
            place.addresses[name] = f"{self._prefixes[name]}.{self._next[name]}"
            self._next[name] += 1
        return place

    def plug(self, place: Place) -> str:
        """Make the namespace of a place, with a cable to each network; returns its name."""
        namespace = f"c-{place.hostname}"
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        for number, (name, address) in enumerate(place.addresses.items()):
            self._plugged += 1
            cable, inside = f"v{self._plugged}", f"eth{number}"
            _ip("link", "add", cable, "type", "veth", "peer", "name", inside, "netns", namespace)
            _ip("link", "set", cable, "master", self._bridges[name], "up")
            _ip("-n", namespace, "address", "add", f"{address}/24", "dev", inside)
            _ip("-n", namespace, "link", "set", inside, "up")
            if name not in self._internal:
                _ip("-n", namespace, "route", "add", "default", "via", f"{self._prefixes[name]}.1")
        return namespace


def hosts(own: Place, others: Mapping[str, Sequence[Place]]) -> str:
    """The hosts file of a place: services, and containers, that share a network with it."""
    lines = ["127.0.0.1 localhost", *(f"{address} {own.hostname}" for address in own.addresses.values())]
    lines += [
        f"{address} {service} {place.hostname}"
        for service, places in others.items()
        for place in places
        for network, address in place.addresses.items()
        if network in own.addresses and place is not own
    ]
    return "\n".join([*lines, ""])


def _ip(*words: str) -> None:
    done = subprocess.run(["/usr/sbin/ip", *words], capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
