"""What the platform wants to be sent, for contenders that know nothing of this project. Standard library only.

The same for all of them, and as careful as the platform allows: the wrapped call's `requestId` is the same whenever
the same customers are sent again.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from base64 import b64encode
from collections.abc import Sequence
from contextlib import closing

ENDPOINT = "/api_gateway/v2/request-workflow/ISSUE-BADGE"
CUSTOMERS_PER_REQUEST = 500
SQL = "SELECT customer_id FROM vip ORDER BY customer_id"


def customers() -> list[int]:
    """Read the customers from the warehouse."""
    with closing(sqlite3.connect(os.environ["WAREHOUSE"])) as conn:
        return [row[0] for row in conn.execute(SQL)]


def slices() -> list[list[int]]:
    """Return the customers in slices, one for each request."""
    ids = customers()
    return [ids[start : start + CUSTOMERS_PER_REQUEST] for start in range(0, len(ids), CUSTOMERS_PER_REQUEST)]


def headers() -> dict[str, str]:
    """Return what every call carries (`reference/basic-authentication`)."""
    return {
        "Authorization": _authorization(),
        "X-CAP-API-AUTH-ORG-ID": os.environ["ORGANISATION"],
        "Content-Type": "application/json",
    }


def body(ids: Sequence[int]) -> dict[str, object]:
    """Return the body of a request (`reference/issue-badge-enrol-customers-for-badges`)."""
    return {
        "entityInfo": {"tillId": "1", "storeId": "2", "zoneId": "3", "conceptId": "4"},
        "payload": {
            "IntouchAPITask-Payload": {
                "hostname": os.environ["PLATFORM"],
                "path": "/api_gateway/v1/badges/badgeMeta/customer/issueBulk",
                "method": "POST",
                "pathParams": {},
                "queryParams": {},
                "body": {
                    "requestId": f"vip-{ids[0]}",
                    "badgeMetaId": os.environ["BADGE"],
                    "triggeredBy": {"ownerType": "Loyalty", "referenceId": "42"},
                    "customers": list(ids),
                },
                "headers": {"Authorization": _authorization(), "Content-Type": "application/json"},
            }
        },
    }


def _authorization() -> str:
    password = hashlib.md5(os.environ["TILL_PASSWORD"].encode(), usedforsecurity=False).hexdigest()
    login = f"{os.environ['TILL']}:{password}"
    return f"Basic {b64encode(login.encode()).decode()}"
