"""The platform's codes: what each means for a POST, for a read, and for one customer of a decided request.

An enrolment counts as `failed`, and may be asked for again, only after a code that is known to refuse it. Any other
code, known or not, proves nothing: after it a customer is `unconfirmed`, and asked for again only once the platform
has said that there is no enrolment.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Of a POST or a read ---

#: Refused for this request's own content: invalid payload, earning entity, batch limit.
REQUEST_CODES: Final = frozenset({2008, 2014, 1060})
#: Would refuse every request: permission, organisation, type, configuration, access denied.
EVERYTHING_CODES: Final = frozenset(
    {1064, 2001, 2005, 2009, *range(2018, 2025), *range(2026, 2030), 4000},
)
#: The credential could not be verified: bad, expired, or the identity service failed.
CREDENTIAL_CODES: Final = frozenset({2013})
#: Authorisation status unavailable (`reference/authorisation`): nothing was looked at yet.
BUSY_CODES: Final = frozenset({4001})
#: Says that the key or the request is known already; whether it lives must be looked up.
DOUBTFUL_CODES: Final = frozenset({809, 2002})

#: Codes that decide by themselves what a POST's answer means.
DECISIVE_CODES: Final = DOUBTFUL_CODES | EVERYTHING_CODES | REQUEST_CODES | CREDENTIAL_CODES | BUSY_CODES

#: Codes after which a read is repeated. 521: several actions run for the customer.
READ_AGAIN_CODES: Final = frozenset({4001, 521, 461, 503})

# Of one customer's line, or of the wrapped call ---

#: The request id was used before: a twin of the request ran, and this execution says nothing of customers.
SAYS_NOTHING: Final = 809
#: The customer has an active enrolment already; the line may carry an issued id nevertheless.
ALREADY: Final = 1040

_BULK: Final = "reference/enrol-customers-for-badges"
_EARN: Final = "reference/issue-badge-to-the-customer"
_CLAIM: Final = "reference/claim-badge"
_READS: Final = "reference/get-badges-for-customer"
_GENERAL: Final = "reference/errors-and-warnings"
_WORKFLOW: Final = "reference/error-codes-request-workflow"

#: Refusals of a customer's enrolment, each with the page that names it. Those of other badge calls are checks of the
#: badge, its owner or the customer that come before anything is written.
LINE_REFUSALS: Final[Mapping[int, str]] = MappingProxyType(
    {
        714: "the page on creating a badge",
        716: _BULK,
        717: _CLAIM,
        801: _BULK,
        803: _BULK,
        804: _BULK,
        810: _EARN,
        812: _EARN,
        815: _EARN,
        816: _BULK,
        1026: _READS,
        1028: _READS,
        1039: _BULK,
        1054: "reference/import-earned-badges-of-customer",
    }
)

#: Of one customer, or of the badge at a moment: a call that ends with such a code may have enrolled those before.
_IN_MID_CALL: Final = frozenset({810, 812, 815, 816, 1026, 1028, 1039})

#: Refusals of the wrapped call as a whole, each with the page that names it: it was not executed for anybody. They
#: speak of the caller, of the call's form, or of what a badge is from its beginning.
CALL_REFUSALS: Final[Mapping[int, str]] = MappingProxyType(
    {
        **{code: source for code, source in LINE_REFUSALS.items() if code not in _IN_MID_CALL},
        400: _CLAIM,
        401: _GENERAL,
        403: _GENERAL,
        405: _GENERAL,
        415: _GENERAL,
        1060: _GENERAL,
        1061: _GENERAL,
        1062: _GENERAL,
        1064: _GENERAL,
        2001: _WORKFLOW,
        2005: _WORKFLOW,
        2008: _WORKFLOW,
        2013: _WORKFLOW,
        2022: _WORKFLOW,
        2023: _WORKFLOW,
        2026: _WORKFLOW,
        4000: "reference/authorisation",
    }
)

# For people ---

#: The platform's codes in a short phrase each. Sources: `reference/error-codes-request-workflow` (2xxx),
#: the badge pages, `reference/errors-and-warnings`, `reference/authorisation`.
CODE_MEANINGS: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "a value is not one of those allowed",
        401: "the credential was not accepted",
        403: "not authorised",
        404: "not found, or the customer has no such enrolment",
        405: "method not allowed",
        409: "the organisation's configuration exists already",
        415: "content type not supported",
        461: "search is busy",
        500: "the platform had an internal error",
        503: "the platform is unavailable",
        521: "several actions run for the same customer",
        714: "the owner type is not allowed",
        716: "the owner type is missing",
        717: "the owner's reference id is missing",
        720: "the dates are in the wrong order",
        722: "the start is in the past",
        723: "the start cannot change once the badge is live",
        724: "the expiry is in the past",
        725: "the badge name exists already",
        728: "the badge has no owner",
        732: "the group rank is missing",
        733: "the group name exists already",
        737: "the claim was not found",
        744: "the redemption was refused",
        750: "the event date is in the future",
        801: "only badges of type ISSUE_EARN can be enrolled for",
        803: "the triggering module is missing",
        804: "the request id is missing",
        809: "the request id has been used before",
        810: "the badge must be claimed first",
        811: "the customer must be enrolled first",
        812: "the customer id is missing",
        814: "there is no active earn to revoke",
        815: "the badge is not live",
        816: "the event date is outside the badge's duration",
        826: "the window type cannot change",
        900: "claimed already",
        1026: "the customer was not found",
        1028: "the customer identifier has a wrong type",
        1039: "the badge is not active, not started or expired",
        1040: "the customer has an active enrolment for this badge already",
        1051: "enrolments or customers to revoke are missing",
        1054: "the badge does not exist in this organisation",
        1060: "more items than the platform takes in one call",
        1061: "an attribution header is missing its partner",
        1062: "an attribution header is wrong",
        1064: "the organisation id is not valid",
        2001: "the user has no permission for this",
        2002: "the request was completed already",
        2005: "the organisation header is missing or not valid",
        2007: "the request id or the action name is not known",
        2008: "the payload is not valid",
        2009: "the request type is not supported",
        2011: "the list cannot be sorted by this",
        2012: "the sort order is not valid",
        2013: "the credential could not be verified, or the identity service failed",
        2014: "the earning entity id is not valid",
        2015: "the goodwill points are not valid",
        2018: "a configuration property is wrong",
        2019: "a configuration property is wrong",
        2020: "a configuration property is wrong",
        2021: "the workflow is missing or inactive",
        2022: "the wrapped call's address cannot be built",
        2023: "the wrapped call's headers cannot be read",
        2024: "the workflow could not be built or deployed",
        2026: "the organisation header is missing",
        2027: "the extension's hostname is missing",
        2028: "the extension's path is missing",
        2029: "the extension's method is missing",
        2030: "the file could not be uploaded",
        4000: "access is denied",
        4001: "the authorisation status is unavailable for the moment",
        999999: "the platform's validator failed",
    }
)
