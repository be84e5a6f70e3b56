"""One answer of the platform, parsed, and the error it becomes when it is not good."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from capillary.api.classify import PostVerdict, ReadVerdict, classify_post, classify_read, platform_time, retry_after_s
from capillary.api.codes import CODE_MEANINGS, DECISIVE_CODES
from capillary.api.envelope import Envelope, presentable, read_envelope
from capillary.api.errors import (
    CallRefused,
    EverythingRefused,
    InDoubt,
    NotTaken,
    PlatformUnavailable,
    RateLimited,
    ReplyUnreadable,
    RequestRefused,
    Unauthorized,
)
from capillary.api.json_body import NotJson, read_json
from capillary.api.json_fields import fields
from capillary.api.transport import Reply

#: Reply header with the platform's trace id, in both spellings of the public pages.
TRACE_HEADER: Final = "x-cap-request-id"
_OTHER_TRACE_HEADER: Final = "x-cap-requestid"
#: Statuses with which the platform may say that there is no such thing. Others speak of the caller or of the call.
_ABSENT_STATUSES: Final = frozenset({400, 404, 409, 410, 422})
_TRACE_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply: status, parsed payload (`NOT_JSON` when it is none), and what it says of errors."""

    status: int
    payload: object = field(repr=False)
    envelope: Envelope = field(repr=False)
    retry_after_s: float | None
    trace_id: str | None
    size: int = 0
    platform_time: datetime | None = None

    @property
    def is_good_status(self) -> bool:
        """Whether the HTTP status is 2xx."""
        return 200 <= self.status < 300

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON at all."""
        return not isinstance(self.payload, NotJson)

    @property
    def data(self) -> object:
        """What stands under `data`."""
        return fields(self.payload).get("data")

    @property
    def code(self) -> int | None:
        """The code that decides: the first with a rule of its own, else the first."""
        codes = self.envelope.codes
        return next((code for code in codes if code in DECISIVE_CODES), codes[0] if codes else None)

    def says_there_is_none(self, codes: frozenset[int]) -> bool:
        """Whether the platform itself says so, by these codes alone, in the `errors` of an envelope without data.

        A bare code, or one in `status`, may be a gateway's that never asked the platform.
        """
        is_answer = self.is_good_status or self.status in _ABSENT_STATUSES
        return is_answer and not self.data and bool(self.envelope.listed) and codes.issuperset(self.envelope.listed)

    @property
    def read_verdict(self) -> ReadVerdict:
        """What it means as the answer to a read; a list without rows may still have its pagination."""
        payload = fields(self.payload)
        readable = payload.get("data") is not None or isinstance(payload.get("pagination"), dict)
        return classify_read(self.status, self.envelope.codes, readable=readable)


def read_answer(reply: Reply, *, now: datetime) -> Answer:
    """Parse a reply; nothing is raised, whatever it holds."""
    payload = read_json(reply.body, content_type=reply.headers.get("content-type", ""))
    trace = reply.headers.get(TRACE_HEADER) or reply.headers.get(_OTHER_TRACE_HEADER) or ""
    return Answer(
        status=reply.status,
        payload=payload,
        envelope=read_envelope(payload),
        retry_after_s=retry_after_s(reply.headers, now=now),
        trace_id=trace if _TRACE_ID.fullmatch(trace) else None,
        size=len(reply.body),
        platform_time=platform_time(reply.headers),
    )


def explain(answer: Answer, *, secrets: Iterable[str], ui_token_expired_at: datetime | None) -> str:
    """Return the reason for a person: what the code means, the platform's words, and a dead UI token."""
    code = answer.code
    if code is not None:
        reason = CODE_MEANINGS.get(code, f"the platform's code {code} is not known here")
    elif not answer.is_json and answer.is_good_status:
        reason = "the answer is not JSON"
    elif 300 <= answer.status < 400:
        reason = "the platform redirects to another address"
    else:
        reason = f"the platform answered HTTP {answer.status}"
        reason += "" if answer.envelope.known_shape else " without saying why"
    if answer.envelope.message:
        reason += f'; its words: "{presentable(answer.envelope.message, secrets)}"'
    if answer.status in {401, 403} and ui_token_expired_at is not None:
        reason += f"; the UI token expired at {ui_token_expired_at:%Y-%m-%d %H:%M} UTC"
    return reason


PostError = NotTaken | InDoubt | RequestRefused | EverythingRefused


def post_error(answer: Answer, *, reason: str, request_key: str) -> PostError:
    """Return the error that an answer to a POST without a readable request id becomes."""
    status, code, trace_id = answer.status, answer.code, answer.trace_id
    match classify_post(status, answer.envelope.codes, readable=answer.envelope.known_shape):
        case PostVerdict.REQUEST_REFUSED:
            return RequestRefused(
                http_status=status, code=code, reason=reason, request_key=request_key, trace_id=trace_id
            )
        case PostVerdict.EVERYTHING_REFUSED:
            return EverythingRefused(
                http_status=status, code=code, reason=reason, request_key=request_key, trace_id=trace_id
            )
        case PostVerdict.IN_DOUBT:
            return InDoubt(reason=reason, request_key=request_key, http_status=status, code=code, trace_id=trace_id)
        case verdict:
            kinds = {PostVerdict.RATE_LIMITED: RateLimited, PostVerdict.UNAUTHORIZED: Unauthorized}
            return kinds.get(verdict, NotTaken)(
                reason=reason,
                request_key=request_key,
                http_status=status,
                code=code,
                retry_after_s=answer.retry_after_s,
                trace_id=trace_id,
            )


def read_error(answer: Answer, *, what: str, reason: str) -> PlatformUnavailable | CallRefused | ReplyUnreadable:
    """Return the error that an answer to a read becomes; a verdict `RENEW` counts as one more try."""
    verdict = answer.read_verdict
    if verdict is ReadVerdict.UNREADABLE:
        return ReplyUnreadable(what=what, reason=reason, http_status=answer.status, trace_id=answer.trace_id)
    if verdict is ReadVerdict.REFUSED:
        return refused(answer, what=what, reason=reason)
    return PlatformUnavailable(
        what=what,
        reason=reason,
        http_status=answer.status,
        code=answer.code,
        retry_after_s=answer.retry_after_s,
        trace_id=answer.trace_id,
    )


def refused(answer: Answer, *, what: str, reason: str) -> CallRefused:
    """Return the error of an answer to a read that repeating cannot fix."""
    return CallRefused(what=what, reason=reason, http_status=answer.status, code=answer.code, trace_id=answer.trace_id)
