"""A platform that answers by script, with a clock that only sleeping moves."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from capillary.api.client import Client
from capillary.api.request_workflow import Entity, IssueBadgeRequest
from capillary.api.settings import PlatformSettings
from capillary.api.transport import Reply

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PASSWORD = "canary-password"
OAUTH_SECRET = "canary-oauth-secret"
CUSTOMERS = (900001, 900002)
REQUEST = IssueBadgeRequest(
    key="cb1.vip.0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    badge_id="a" * 24,
    owner_type="Loyalty",
    reference_id="134",
    entity=Entity(till_id="501", store_id="502", zone_id="503", concept_id="504"),
    hostname="https://platform.example",
    customers=CUSTOMERS,
)


def settings(**changes: object) -> PlatformSettings:
    fields: dict[str, object] = {
        "base_url": "https://platform.example",
        "organisation_id": "100458",
        "login": "till.one",
        "password": PASSWORD,
    }
    return PlatformSettings(**(fields | changes))  # type: ignore[arg-type]


def oauth_settings(**changes: object) -> PlatformSettings:
    return settings(oauth_key="key-one", oauth_secret=OAUTH_SECRET, **changes)


def reply(status: int, body: object = None, **headers: str) -> Reply:
    """A reply of that JSON body (bytes as they are); `Retry_After="5"` becomes `retry-after`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.lower().replace("_", "-"): value for name, value in headers.items()}, raw)


def errors(*codes: int, message: str = "no") -> dict[str, object]:
    return {"data": None, "errors": [{"code": code, "message": message} for code in codes], "warnings": None}


def token_reply(token: str = "token-1", *, ttl_seconds: int = 300) -> Reply:  # noqa: S107 - no real one
    return reply(200, {"data": {"accessToken": token, "ttlSeconds": ttl_seconds}, "errors": None})


@dataclass(frozen=True)
class Call:
    method: str
    url: str
    headers: Mapping[str, str]
    json_body: object
    params: Mapping[str, str]
    timeout_s: float
    at: float


@dataclass
class Platform:
    """Transport, pace and clock in one. `answers` are replies, or errors to raise, in order."""

    answers: list[Reply | BaseException] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    blocks: list[float] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)
    new_secrets: list[str] = field(default_factory=list)
    clock: float = 1000.0
    closed: bool = False

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        json_body: object | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        self.events.append(f"{method} {url.removeprefix('https://platform.example')}")
        self.calls.append(Call(method, url, headers, json_body, params or {}, timeout_s, self.clock))
        if not self.answers:
            raise AssertionError(f"a call the script does not know: {self.events}")
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True

    async def take(self) -> None:
        self.events.append("slot")

    async def block(self, seconds: float) -> None:
        self.blocks.append(seconds)

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.clock += seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.clock - 1000.0)

    @property
    def posts(self) -> list[Call]:
        """Submitted requests, token calls left out."""
        return [call for call in self.calls if call.method == "POST" and "oauth" not in call.url]

    def client(self, of: PlatformSettings | None = None, log: logging.Logger | None = None) -> Client:
        options: dict[str, logging.Logger] = {} if log is None else {"log": log}
        return Client(
            of or settings(),
            transport=self,
            pace=self,
            sleep=self.sleep,
            monotonic=lambda: self.clock,
            random=Random(7),  # noqa: S311 - jitter
            now=self.now,
            on_secret=self.new_secrets.append,
            **options,
        )


def platform(*answers: Reply | BaseException) -> Platform:
    return Platform(answers=list(answers))
