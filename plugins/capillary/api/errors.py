"""What can go wrong between this project and the platform, and whether it may be tried again.

Every error carries its facts as fields. None carries a payload, a header or a customer id, and every message
ends with what to do.

Which of them a retry may end is what they stand under; in brackets the module of one that is raised there alone::

    CapillaryError
      TerminalError
        CallRefused
        EverythingRefused
        RequestRefused
        SettingsInvalid
      TransientError
        ConnectFailed (transport)
          ProxyFailed (transport)
          TlsFailed (transport)
        InDoubt
        NotTaken
          RateLimited
          Unauthorized
        PlatformUnavailable
        ReplyUnreadable
          ReplyTooLarge
        TransportFailed (transport)
          TooLarge (transport)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Required, TypedDict, Unpack

from capillary.errors import CapillaryError, TerminalError, TransientError

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


class _Known(TypedDict, total=False):
    """What is known of an answer.

    `retry_after_s` is the platform's own word (seconds, 0 to 900).
    """

    reason: Required[str]
    http_status: int | None
    code: int | None
    trace_id: str | None
    retry_after_s: float | None


class _Answered(CapillaryError):
    """A call failed; what is not known of the answer is None. The reason in words is made by `response.explain`."""

    verdict: ClassVar[str]
    remedy: ClassVar[str]

    def __init__(self, subject: str, **known: Unpack[_Known]) -> None:
        self.reason = known["reason"]
        self.http_status = known.get("http_status")
        self.code = known.get("code")
        self.trace_id = known.get("trace_id")
        self.retry_after_s = known.get("retry_after_s")
        facts = _facts(self.http_status, self.code, self.trace_id)
        super().__init__(f"{subject}: {self.reason}{facts}{self.what_to_do()}.")

    def what_to_do(self) -> str:
        """Return the sentence that the message ends with, and the full stop before it."""
        return f". {self.remedy}"


class _Post(_Answered):
    """What became of a POST."""

    def __init__(self, *, request_key: str | None = None, **known: Unpack[_Known]) -> None:
        self.request_key = request_key
        super().__init__(f"Request {request_key} {self.verdict}", **known)


class _Read(_Answered):
    """What became of a read. `what` was read; it ends the bracket that the verdict opens."""

    def __init__(self, *, what: str, **known: Unpack[_Known]) -> None:
        self.what = what
        super().__init__(f"{self.verdict}{what})", **known)


class NotTaken(_Post, TransientError):
    """The platform has certainly not taken the request; it may be sent again."""

    verdict = "was not taken"
    remedy = "Send it again later under the same key"


class RateLimited(NotTaken):
    """HTTP 429: the account has used its calls up. The account's pace is blocked already."""

    remedy = "Send it again once the account's pace allows it; if this happens often, lower calls_per_minute"


class Unauthorized(NotTaken):
    """HTTP 401 or code 2013: the credential was not accepted; the next clearance renews an OAuth token."""

    remedy = (
        "Retry the task; it requests a new OAuth token. If this happens again, correct login, password, OAuth key or "
        "UI token in the connection"
    )


class InDoubt(_Post, TransientError):
    """A POST was started and no trustworthy answer came back: the platform may have taken the request.

    Never send the key again before its absence is confirmed (docs/design.md, I4). `platform_request_id` is the one that
    the answer named, in whatever state it was; `answered` the request that it spoke of, where it could be read.
    """

    verdict = "is in doubt"
    remedy = "Look for its key in the platform's list before doing anything else with it"

    def __init__(
        self,
        *,
        request_key: str | None = None,
        platform_request_id: str | None = None,
        answered: WorkflowRequest | None = None,
        **known: Unpack[_Known],
    ) -> None:
        self.platform_request_id = platform_request_id
        self.answered = answered
        super().__init__(request_key=request_key, **known)


class RequestRefused(_Post, TerminalError):
    """The platform will not take this request as it stands; others may pass."""

    verdict = "was refused for its own content"
    remedy = "Check the badge, owner type, reference and customers, or lower customers_per_request"


class EverythingRefused(_Post, TerminalError):
    """The platform would refuse every request of this account: sending stops, and the request stays unsent."""

    verdict = "was refused, and every other would be"
    remedy = (
        "Correct the connection, the permissions or the workflow on the platform. Then clear the run from its planning "
        "task on; if it has sent something, trigger a new run for the others"
    )


class PlatformUnavailable(_Read, TransientError):
    """A read failed after its retries. `told`: the reason says what to do."""

    verdict = "The platform did not answer ("

    def __init__(self, *, what: str, told: bool = False, **known: Unpack[_Known]) -> None:
        self._told = told
        super().__init__(what=what, **known)

    def what_to_do(self) -> str:
        """Return the remedy, with the seconds that the platform asks for."""
        if self._told:
            return ""
        wait = "" if self.retry_after_s is None else f" after {self.retry_after_s:.0f} s"
        return f". Retry{wait}; if this happens again, check base_url and the network, or ask the platform's support"


class CallRefused(_Read, TerminalError):
    """A read was refused for good."""

    verdict = "The platform refused the call ("
    remedy = "Correct the connection (base_url, organisation_id, credentials) or the till's permissions"


class ReplyUnreadable(_Read, TransientError):
    """A reply could not be parsed. Nothing may be concluded from it."""

    verdict = "The platform's reply cannot be read ("
    remedy = "Retry the task; if this happens again, check that base_url is the API host and not a web page"


class ReplyTooLarge(ReplyUnreadable):
    """A reply is larger than is read. Trying again gives the same; a list may be read in smaller pages."""
