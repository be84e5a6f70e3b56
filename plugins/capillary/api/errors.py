"""What can go wrong between this project and the platform, and whether it may be tried again.

Every error carries its facts as fields. None carries a payload, a header or a customer id, and every message
ends with what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from capillary.errors import TerminalError, TransientError

if TYPE_CHECKING:
    from capillary.api.request_workflow import WorkflowRequest


def _facts(http_status: int | None, code: int | None, trace_id: str | None) -> str:
    """Return the known facts of an answer in brackets, e.g. ` (HTTP 400, code 2008, trace abc)`."""
    facts = [
        f"{word} {fact}"
        for word, fact in (("HTTP", http_status), ("code", code), ("trace", trace_id))
        if fact is not None
    ]
    return f" ({', '.join(facts)})" if facts else ""


class SettingsInvalid(TerminalError):
    """A field of the connection is missing or wrong."""

    def __init__(self, *, field: str, problem: str, remedy: str) -> None:
        """Name the field as `PlatformSettings` spells it; the value itself is never repeated."""
        self.field = field
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"Capillary connection, field {field!r}: {problem}. {remedy}.")


class NotTaken(TransientError):
    """The platform has certainly not taken the request; it may be sent again.

    `retry_after_s` is the platform's own word (seconds, 0 to 900) or None when it gave none.
    """

    remedy = "Send it again later under the same key"

    def __init__(
        self,
        *,
        reason: str,
        request_key: str | None = None,
        http_status: int | None = None,
        code: int | None = None,
        retry_after_s: float | None = None,
        trace_id: str | None = None,
    ) -> None:
        self.reason = reason
        self.request_key = request_key
        self.http_status = http_status
        self.code = code
        self.retry_after_s = retry_after_s
        self.trace_id = trace_id
        super().__init__(
            f"Request {request_key} was not taken: {reason}{_facts(http_status, code, trace_id)}. {self.remedy}."
        )


class RateLimited(NotTaken):
    """HTTP 429: the account has used its calls up. The account's pace is blocked already."""

    remedy = "Send it again once the account's pace allows it; lower calls_per_minute if this is frequent"


class Unauthorized(NotTaken):
    """HTTP 401 or code 2013: the credential was not accepted; the next clearance renews an OAuth token."""

    remedy = (
        "Clear to send once more, which renews an OAuth token; "
        "if it comes back, correct login, password, OAuth key or UI token in the connection"
    )


class InDoubt(TransientError):
    """A POST was started and no trustworthy answer came back: the platform may have taken the request.

    Never send the key again before its absence is confirmed (docs/design.md, I4). `platform_request_id` is the one that
    the answer named, in whatever state it was; `answered` the request that it spoke of, where it could be read.
    """

    def __init__(
        self,
        *,
        reason: str,
        request_key: str | None = None,
        http_status: int | None = None,
        code: int | None = None,
        trace_id: str | None = None,
        platform_request_id: str | None = None,
        answered: WorkflowRequest | None = None,
    ) -> None:
        self.reason = reason
        self.request_key = request_key
        self.http_status = http_status
        self.code = code
        self.trace_id = trace_id
        self.platform_request_id = platform_request_id
        self.answered = answered
        super().__init__(
            f"Request {request_key} is in doubt: {reason}{_facts(http_status, code, trace_id)}. "
            "Look for its key in the platform's list before anything else is done with it."
        )


class _Refused(TerminalError):
    """A POST was answered with a clear no."""

    verdict = "was refused"
    remedy = "Correct it"

    def __init__(
        self,
        *,
        http_status: int,
        code: int | None,
        reason: str,
        request_key: str | None = None,
        trace_id: str | None = None,
    ) -> None:
        self.http_status = http_status
        self.code = code
        self.reason = reason
        self.request_key = request_key
        self.trace_id = trace_id
        super().__init__(
            f"Request {request_key} {self.verdict}: {reason}{_facts(http_status, code, trace_id)}. {self.remedy}."
        )


class RequestRefused(_Refused):
    """The platform will not take this request as it stands; others may pass."""

    verdict = "was refused for its own content"
    remedy = "Check badge, owner type, reference and customers, or lower customers_per_request"


class EverythingRefused(_Refused):
    """The platform would refuse every request of this account: stop the wave; the request stays unsent."""

    verdict = "was refused, and every other would be"
    remedy = "Correct the connection, the permissions or the workflow on the platform, then submit again"


class PlatformUnavailable(TransientError):
    """A read failed after its retries. `retry_after_s`: the platform's own word, 0 to 900 s, or None.

    `told`: the reason says what to do.
    """

    def __init__(
        self,
        *,
        what: str,
        reason: str,
        http_status: int | None = None,
        code: int | None = None,
        retry_after_s: float | None = None,
        trace_id: str | None = None,
        told: bool = False,
    ) -> None:
        self.what = what
        self.reason = reason
        self.http_status = http_status
        self.code = code
        self.retry_after_s = retry_after_s
        self.trace_id = trace_id
        wait = "" if retry_after_s is None else f" after {retry_after_s:.0f} s"
        remedy = f"Try again{wait}; if it stays so, check base_url and the network, or ask the platform's support"
        super().__init__(
            f"The platform did not answer ({what}): {reason}{_facts(http_status, code, trace_id)}"
            f"{'' if told else f'. {remedy}'}."
        )


class CallRefused(TerminalError):
    """A read was refused for good."""

    def __init__(
        self,
        *,
        what: str,
        reason: str,
        http_status: int | None = None,
        code: int | None = None,
        trace_id: str | None = None,
    ) -> None:
        self.what = what
        self.reason = reason
        self.http_status = http_status
        self.code = code
        self.trace_id = trace_id
        super().__init__(
            f"The platform refused the call ({what}): {reason}{_facts(http_status, code, trace_id)}. "
            "Correct the connection (base_url, organisation_id, credentials) or the till's permissions."
        )


class ReplyUnreadable(TransientError):
    """A reply could not be parsed. Nothing may be concluded from it."""

    def __init__(self, *, what: str, reason: str, http_status: int | None = None, trace_id: str | None = None) -> None:
        self.what = what
        self.reason = reason
        self.http_status = http_status
        self.trace_id = trace_id
        super().__init__(
            f"The platform's reply cannot be read ({what}): {reason}{_facts(http_status, None, trace_id)}. "
            "Try again; if it stays so, check that base_url is the API host and not a web page."
        )


class ReplyTooLarge(ReplyUnreadable):
    """A reply is larger than is read. Trying again gives the same; a list may be read in smaller pages."""
