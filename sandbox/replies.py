"""What the platform answers with: replies, error codes and their envelope.

The workflow's own error envelope is never shown in the documentation; it is assumed to be that of the badge
endpoints (``reference/enrol-customers-for-badges``). The HTTP status of each 2xxx code is an assumption as
well (``reference/error-codes-request-workflow`` gives none).
"""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """An error code: its usual HTTP status and its wording."""

    status: int
    message: str


CODES: dict[int, Code] = {
    400: Code(400, "Invalid request."),
    401: Code(401, "Authentication failed."),
    404: Code(404, "Not found."),
    405: Code(405, "Method not allowed."),
    429: Code(429, "Too many requests."),
    716: Code(400, "Owner type is missing."),
    801: Code(400, "Only badges of earn type ISSUE_EARN can be issued."),
    803: Code(400, "Triggering module information is missing."),
    804: Code(400, "requestId is missing."),
    809: Code(400, "Duplicate requestId."),
    816: Code(400, "Issue event date is outside the badge's duration."),
    1026: Code(404, "Customer not found."),
    1028: Code(400, "Invalid customer identifier type."),
    1039: Code(400, "Only an active badge can be issued; it must not be upcoming or expired."),
    1040: Code(400, "An active issue for the badge already exists."),
    1051: Code(400, "Either revokeIssuals or customers is mandatory."),
    1054: Code(400, "GLOBAL.BADGE_NOT_FOUND"),
    1060: Code(400, "Batch limit exceeded."),
    2001: Code(403, "You do not have permissions for this action."),
    2002: Code(400, "Workflow is already completed by the user."),
    2005: Code(400, "Organisation id in the header is invalid."),
    2007: Code(400, "Wrong request id or action name."),
    2008: Code(400, "Invalid payload."),
    2009: Code(400, "Request type is not supported."),
    2011: Code(400, "Invalid sortBy; use startDate or endDate."),
    2012: Code(400, "Invalid sort order; use asc or desc."),
    2013: Code(401, "Verification failed."),
    2021: Code(400, "Workflow is missing or inactive."),
    2026: Code(400, "Organisation id is missing in the header."),
    2027: Code(400, "Extension hostname is missing."),
    2028: Code(400, "Extension path is missing."),
    2029: Code(400, "Extension method is missing."),
    4001: Code(503, "Authorization status unavailable!"),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer. ``body`` is JSON unless a header says otherwise."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class PlatformError(Exception):
    """The platform says no, with one of its codes.

    Args:
        code: a key of ``CODES``.
        detail: added to the code's wording; never a credential.
        status: HTTP status where it is not the code's usual one.
        reference: the field that is wrong.
    """

    def __init__(self, code: int, detail: str = "", *, status: int = 0, reference: str | None = None) -> None:
        known = CODES[code]
        self.code = code
        self.status = status or known.status
        self.reason = f"{known.message} {detail}".strip()
        self.reference = reference
        super().__init__(f"{code}: {self.reason}")

    def reply(self) -> Reply:
        """The refusal as the platform words it."""
        return Reply(self.status, error_body(self.code, self.reason, self.reference))


def error_body(code: int, message: str, reference: str | None = None) -> bytes:
    """The error envelope with one error in it."""
    error = {"code": code, "message": message, "reference": reference}
    return dumps({"data": None, "errors": [error], "warnings": None})


def dumps(document: object) -> bytes:
    """A JSON document in as few bytes as possible."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def ok(document: object) -> Reply:
    """A 200 with a document."""
    return Reply(200, dumps(document))
