"""Codes that refuse an enrolment: the only ones after which a customer counts as `failed`, and may be asked for again.

Any other code, known or not, proves nothing: after it a customer is `unconfirmed`, and asked for again only once the
platform has said that there is no enrolment.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

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

#: Refusals of the wrapped call as a whole, each with the page that names it: it was not executed for anybody.
#: Of one customer: a call that ends with such a code may have enrolled those before.
_OF_A_CUSTOMER: Final = frozenset({812, 1026, 1028})

CALL_REFUSALS: Final[Mapping[int, str]] = MappingProxyType(
    {
        **{code: source for code, source in LINE_REFUSALS.items() if code not in _OF_A_CUSTOMER},
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
