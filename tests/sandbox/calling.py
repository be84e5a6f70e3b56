"""A platform with a clock to turn, and a caller with credentials."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.badges import GOLD_CIRCLE
from sandbox.platform import Platform
from sandbox.settings import CHECKER, MAKER, Till

WORKFLOW = "/api_gateway/v2/request-workflow/ISSUE-BADGE"
REQUESTS = "/api_gateway/v2/request-workflow/requests"
START = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC


def basic(till: Till) -> str:
    """The Authorization header of a till."""
    password_hash = hashlib.md5(till.password.encode(), usedforsecurity=False).hexdigest()
    return "Basic " + base64.b64encode(f"{till.username}:{password_hash}".encode()).decode()


def submission(key: str, customers: object, **inner: object) -> dict[str, Any]:
    """A create body; ``inner`` replaces fields of the wrapped call's body, ``...`` takes one out."""
    body: dict[str, object] = {
        "triggeredBy": {"ownerType": "Goodwill_Module", "referenceId": "134"},
        "customers": customers,
        "requestId": key,
        "badgeMetaId": GOLD_CIRCLE.badge_id,
        **inner,
    }
    return {
        "entityInfo": {"tillId": "501", "storeId": "502", "zoneId": "503", "conceptId": "504"},
        "payload": {
            "IntouchAPITask-Payload": {
                "hostname": "https://platform.example",
                "path": "/api_gateway/v1/badges/badgeMeta/customer/issueBulk",
                "method": "POST",
                "pathParams": {},
                "body": {name: value for name, value in body.items() if value is not ...},
                "headers": {"Authorization": basic(MAKER), "content-type": "application/json"},
            }
        },
    }


@dataclass
class Clock:
    """A clock that stands still until it is turned."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Caller:
    """A platform in this process and the calls that tests make to it."""

    platform: Platform
    clock: Clock
    client: httpx.AsyncClient
    maker: dict[str, str] = field(
        default_factory=lambda: {"Authorization": basic(MAKER), "X-CAP-API-AUTH-ORG-ID": "100458"}
    )
    checker: dict[str, str] = field(
        default_factory=lambda: {"Authorization": basic(CHECKER), "X-CAP-API-AUTH-ORG-ID": "100458"}
    )

    async def post(self, body: object, **headers: str) -> httpx.Response:
        return await self.client.post(WORKFLOW, json=body, headers={**self.maker, **headers})

    async def submit(self, key: str, customers: object, **inner: object) -> str:
        """Submits, and returns the platform request id."""
        reply = await self.post(submission(key, customers, **inner))
        assert reply.status_code == 200, reply.text
        return str(reply.json()["data"]["requestId"])

    async def decide(
        self, request_id: str, decision: str = "approved", message: str = "Fine.", action: str = "AdminTask"
    ) -> httpx.Response:
        body = {
            "requestId": request_id,
            "actionName": action,
            "payload": {f"{action}-Payload": {"actionDecision": decision, "actionMessage": message}},
        }
        return await self.client.put(WORKFLOW, json=body, headers=self.checker)

    async def read(self, request_id: str) -> httpx.Response:
        return await self.client.get(f"{REQUESTS}/{request_id}", headers=self.maker)

    async def page(self, **parameters: str | int) -> httpx.Response:
        return await self.client.get(REQUESTS, params=parameters, headers=self.maker)


MakeCaller = Callable[..., Caller]


def code_of(reply: httpx.Response) -> int:
    """The code of a reply's first error."""
    return int(reply.json()["errors"][0]["code"])
