"""The inner ``requestId`` as replies show it: as it was sent, or altered (*assumption*: as sent)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import md5
from typing import Final

from sandbox.documents import child
from sandbox.payloads import read_task
from sandbox.replies import dumps
from sandbox.settings import EchoedKey

_ALTERED: Final[Mapping[EchoedKey, Callable[[str], str]]] = {
    EchoedKey.UPPER: str.upper,
    EchoedKey.PREFIXED: lambda key: f"req-{key}",
    EchoedKey.DASHES: lambda key: key.replace(".", "-"),
    EchoedKey.CUT: lambda key: key[: max(len(key) - 12, 1)],
    EchoedKey.HEADLESS: lambda key: key[-20:],
    EchoedKey.HASHED: lambda key: md5(key.encode(), usedforsecurity=False).hexdigest(),
}


def echoed(payload: bytes, kind: EchoedKey) -> bytes:
    """The payload with its request key as replies show it."""
    alter = _ALTERED.get(kind)
    if alter is None:
        return payload
    task = read_task(payload)
    body = child(task, "body")
    if body is None or not isinstance(body.get("requestId"), str):
        return payload
    return dumps(task | {"body": body | {"requestId": alter(str(body["requestId"]))}})
