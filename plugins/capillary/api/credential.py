"""The credential that calls go out with: the till's Basic value, or an OAuth token and its age.

What is said when the platform refuses it: `Unauthorized` and `CallRefused` in ``errors``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from capillary.api.errors import ReplyUnreadable
from capillary.api.json_fields import fields, identifier, integer
from capillary.api.settings import PlatformSettings

#: `reference/oauth`: POST with key and secret, no other credential.
TOKEN_PATH: Final = "/v3/oauth/token/generate"  # noqa: S105 - a path
TOKEN_HEADER: Final = "X-CAP-API-OAUTH-TOKEN"  # noqa: S105 - a header's name
#: A token is renewed when it has less than this to live (or half its life, where that is shorter).
RENEW_BEFORE_S: Final = 60.0
#: Life of a token whose reply does not say; that of the documented sample.
DEFAULT_TTL_S: Final = 300


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    renew_at: float
    dead_at: float


class Credential:
    """Holds the token; the client makes the call that fetches it. Times: monotonic clock, seconds."""

    def __init__(
        self,
        settings: PlatformSettings,
        *,
        monotonic: Callable[[], float],
        on_secret: Callable[[str], None],
    ) -> None:
        """Take `on_secret`, which is told every new token so that logs can mask it."""
        self._settings = settings
        self._monotonic = monotonic
        self._on_secret = on_secret
        self._token: _Token | None = None

    @property
    def is_due(self) -> bool:
        """Whether a token must be fetched before the next call."""
        if not self._settings.uses_oauth:
            return False
        return self._token is None or self._monotonic() >= self._token.renew_at

    def accept(self, payload: object, *, asked_at: float) -> None:
        """Take the reply of the token call; its life is counted from when it was asked for.

        Raises:
            ReplyUnreadable: there is no token in it.
        """
        data = fields(fields(payload).get("data"))
        value = identifier(data.get("accessToken"))
        if value is None:
            raise ReplyUnreadable(what="OAuth token", reason="it holds no accessToken")
        life = float(integer(data.get("ttlSeconds")) or DEFAULT_TTL_S)
        self._on_secret(value)
        self._token = _Token(
            value=value,
            renew_at=asked_at + life - min(RENEW_BEFORE_S, life / 2),
            dead_at=asked_at + life,
        )

    def drop(self, used: Mapping[str, str]) -> None:
        """Forget the token of a refused call's headers, unless a newer one has come in the meantime."""
        if self._token is not None and self._token.value == used.get(TOKEN_HEADER):
            self._token = None

    def secrets(self) -> tuple[str, ...]:
        """Return the token, dead or alive, for masking."""
        return () if self._token is None else (self._token.value,)

    @property
    def token(self) -> str | None:
        """The token while it lives."""
        if self._token is None or self._monotonic() >= self._token.dead_at:
            return None
        return self._token.value

    def headers(self) -> dict[str, str] | None:
        """Return every header of a call, or None while a token is needed and there is none."""
        settings = self._settings
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "X-CAP-API-AUTH-ORG-ID": settings.organisation_id,
        }
        if settings.uses_oauth:
            token = self.token
            if token is None:
                return None
            headers[TOKEN_HEADER] = token
        else:
            headers["Authorization"] = settings.basic_authorization
        if settings.ui_token:
            headers["X-CAP-UI-AUTH-TOKEN"] = settings.ui_token
        return headers
