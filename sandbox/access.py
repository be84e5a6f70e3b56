"""Who calls: Basic credentials, OAuth tokens and UI tokens, and what they allow.

``reference/basic-authentication``: Basic carries the till's name and the lower-case MD5 of its password.
``reference/oauth``: a token from ``/v3/oauth/token/generate`` travels in ``X-CAP-API-OAUTH-TOKEN``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sandbox.books import Books
from sandbox.documents import text
from sandbox.replies import PlatformError, Reply, ok
from sandbox.settings import SandboxSettings, Till

OAUTH_HEADER = "x-cap-api-oauth-token"
UI_HEADER = "x-cap-ui-auth-token"
ORGANISATION_HEADER = "x-cap-api-auth-org-id"
UI_SESSION_S = 24 * 60 * 60  # docs/faqs-on-user-management

TokenUse = Literal["api", "ui"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever makes a call, and their roles. ``external``: a server with OAuth and no user behind it."""

    user_id: int
    user_name: str
    may_make: bool
    may_check: bool
    external: bool = False


class Access:
    """Checks credentials against the settings. Tokens are signed with a secret kept in the books."""

    def __init__(self, books: Books, settings: Callable[[], SandboxSettings], clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._secret = books.secret("token signature").encode()

    def caller(self, headers: Mapping[str, str]) -> Actor:
        """Who sent these headers (names in lower case); error 401 when nobody that is known."""
        token = headers.get(OAUTH_HEADER)
        if token:
            actor = replace(_actor(self._till(self._verified(token, "api", 401))), external=True)
        else:
            actor = _actor(self._basic(headers.get("authorization", "")))
        ui_token = headers.get(UI_HEADER)
        if ui_token:
            return _actor(self._till(self._verified(ui_token, "ui", 2013)))
        return actor

    def workflow_caller(self, headers: Mapping[str, str]) -> Actor:
        """Like ``caller``, for calls of the workflow, where a UI token may be demanded."""
        actor = self.caller(headers)
        if self._settings().require_ui_token and not headers.get(UI_HEADER):
            raise PlatformError(2013, "X-CAP-UI-AUTH-TOKEN is missing.")
        return actor

    def check_organisation(self, headers: Mapping[str, str], *, needed: bool) -> None:
        """Refuses a wrong organisation id, and a missing one where it is needed."""
        given = headers.get(ORGANISATION_HEADER, "").strip()
        if not given and needed:
            raise PlatformError(2026)
        if given and given != str(self._settings().organisation):
            raise PlatformError(2005)

    def generate_token(self, document: dict[str, object]) -> Reply:
        """A new OAuth token for a client's key and secret."""
        settings = self._settings()
        key, secret = text(document, "key") or "", text(document, "secret") or ""
        for client in settings.clients:
            if client.key == key and hmac.compare_digest(client.secret.encode(), secret.encode()):
                token = self._signed(client.acts_as, "api", settings.token_ttl_s, client_id=client.key)
                return ok({"data": {"accessToken": token, "ttlSeconds": settings.token_ttl_s}, "errors": None})
        raise PlatformError(401, "key or secret is wrong.")

    def ui_token(self, username: str) -> str:
        """The token that a user gets who logs in to the platform's pages."""
        return self._signed(self._till(username).username, "ui", UI_SESSION_S)

    def checker(self) -> Actor:
        """The checker behind the sandbox's own page and its automatic checker."""
        return next(_actor(till) for till in self._settings().tills if till.may_check)

    def _till(self, username: str) -> Till:
        for till in self._settings().tills:
            if till.username == username:
                return till
        raise PlatformError(401, "The user is not known any more.")

    def _basic(self, header: str) -> Till:
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            raise PlatformError(401, "Send Basic credentials or X-CAP-API-OAUTH-TOKEN.")
        try:
            username, _, password_hash = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise PlatformError(401, "Basic credentials are not readable.") from error
        for till in self._settings().tills:
            known = hashlib.md5(till.password.encode(), usedforsecurity=False).hexdigest()
            if till.username == username and hmac.compare_digest(known.encode(), password_hash.encode()):
                return till
        raise PlatformError(401, "Till name or password hash is wrong.")

    def _signed(self, username: str, use: TokenUse, ttl_s: int, *, client_id: str = "") -> str:
        """A JSON web token (RFC 7519, HS256) with the claims that the documented sample shows."""
        now = int(self._clock())
        claims = {
            "iss": "Capillary",
            "sub": username,
            "client_id": client_id,
            "org_id": self._settings().organisation,
            "token_use": use,
            "iat": now,
            "exp": now + ttl_s,
            "jti": secrets.token_hex(8),
        }
        signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def _verified(self, token: str, use: TokenUse, code: int) -> str:
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._signature(signed).encode(), signature.encode()):
            raise PlatformError(code, "The token is not valid.")
        claims = json.loads(_decoded(signed.partition(".")[2]))
        if claims["token_use"] != use or claims["org_id"] != self._settings().organisation:
            raise PlatformError(code, "The token is not for this use.")
        if claims["exp"] <= self._clock():
            raise PlatformError(code, "The token has expired.")
        return str(claims["sub"])

    def _signature(self, signed: str) -> str:
        digest = hmac.digest(self._secret, signed.encode(errors="replace"), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _actor(till: Till) -> Actor:
    return Actor(till.user_id, till.user_name, till.may_make, till.may_check)


def _encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
