"""What callers send to the workflow: reading a create and a decide body, and refusing what is not whole.

Only the shape is checked here. Whether the badge or its owner type is right shows when the wrapped call runs
(an assumption: the documentation does not say which faults are found when).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from sandbox.documents import child, text, whole
from sandbox.replies import PlatformError, dumps

REQUEST_TYPE = "ISSUE-BADGE"
REQUEST_TYPES = (
    "CUSTOMER-STATUS-CHANGE",
    "POINTS-REDEMPTION",
    "GOODWILL-POINTS",
    "EARN-BADGE",
    REQUEST_TYPE,
    "RETRO-TRANSACTION",
)
ISSUE_BULK_PATH = "/api_gateway/v1/badges/badgeMeta/customer/issueBulk"
TASK = "IntouchAPITask-Payload"
APPROVED, REJECTED = "approved", "rejected"


@dataclass(frozen=True, slots=True)
class Submission:
    """A create body that has the right shape. ``task`` is what every reply will echo."""

    entity: tuple[str, str, str, str]
    task: dict[str, object]
    request_key: str | None
    badge_id: str | None
    customers: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A decide body that has the right shape."""

    request_id: str
    action: str
    decision: str
    message: str


def check_type(request_type: str) -> None:
    """Refuses a type that the platform does not have (2009), or that has no workflow here (2021)."""
    if request_type not in REQUEST_TYPES:
        raise PlatformError(2009)
    if request_type != REQUEST_TYPE:
        raise PlatformError(2021)


def read_submission(document: dict[str, object]) -> Submission:
    """The facts of a create body; error 2008 or 2027 to 2029 where one is missing."""
    entity_info, payload = child(document, "entityInfo"), child(document, "payload")
    if entity_info is None:
        raise PlatformError(2008, "entityInfo is mandatory.", reference="entityInfo")
    given = child(payload, TASK) if payload is not None else None
    if given is None:
        raise PlatformError(2008, f"payload.{TASK} is mandatory.", reference=f"payload.{TASK}")
    for name, code in (("hostname", 2027), ("path", 2028), ("method", 2029)):
        if text(given, name) is None:
            raise PlatformError(code, reference=f"payload.{TASK}.{name}")
    body = _object(given, "body")
    body = {**body, "customers": _customers(body)}
    task: dict[str, object] = {name: given[name] for name in ("hostname", "path", "method")}
    task["pathParams"] = given.get("pathParams") or {}
    if "queryParams" in given:
        task["queryParams"] = given["queryParams"]
    task["body"] = body
    task["headers"] = _object(given, "headers")
    customers = body["customers"]
    return Submission(
        entity=(
            _entity(entity_info, "tillId"),
            _entity(entity_info, "storeId"),
            _entity(entity_info, "zoneId"),
            _entity(entity_info, "conceptId"),
        ),
        task=task,
        request_key=text(body, "requestId"),
        badge_id=text(body, "badgeMetaId"),
        customers=len(customers) if isinstance(customers, list) else 0,
    )


def read_decision(document: dict[str, object]) -> Decision:
    """The facts of a decide body; every field is mandatory, though the message may be empty."""
    request_id, action = text(document, "requestId"), text(document, "actionName")
    if request_id is None or action is None:
        raise PlatformError(2008, "requestId and actionName are mandatory.")
    payload = child(document, "payload") or {}
    named = child(payload, f"{action}-Payload") or child(payload, "AdminTask-Payload")
    if named is None:
        raise PlatformError(2008, f"payload.{action}-Payload is mandatory.")
    decision, message = named.get("actionDecision"), named.get("actionMessage")
    if decision not in (APPROVED, REJECTED):
        raise PlatformError(2008, f"actionDecision must be {APPROVED} or {REJECTED}.", reference="actionDecision")
    if not isinstance(message, str):
        raise PlatformError(2008, "actionMessage is mandatory.", reference="actionMessage")
    return Decision(request_id, action, str(decision), message)


def is_callable(task: dict[str, object]) -> bool:
    """Whether the wrapped call can be made: a URI that leads to issueBulk, and headers that are texts."""
    host = urlsplit((text(task, "hostname") or "").strip("<>"))
    headers = child(task, "headers") or {}
    return (
        host.scheme in ("http", "https")
        and bool(host.netloc)
        and text(task, "path") == ISSUE_BULK_PATH
        and (text(task, "method") or "").upper() == "POST"
        and all(isinstance(value, str) for value in headers.values())
    )


def read_task(payload: bytes) -> dict[str, object]:
    """The echoed task as the books keep it."""
    task = json.loads(payload)
    if not isinstance(task, dict):
        raise TypeError("The books hold a request whose payload is not an object; start with new books.")
    return task


def members(document: dict[str, object]) -> str:
    """An object's members as JSON text, each with a leading comma."""
    inner = dumps(document)[1:-1].decode()
    return f",{inner}" if inner else ""


def _object(document: dict[str, object], name: str) -> dict[str, object]:
    found = child(document, name)
    if found is None:
        raise PlatformError(2008, f"{name} is mandatory.", reference=f"payload.{TASK}.{name}")
    return found


def _customers(body: dict[str, object]) -> object:
    """The customers as they are echoed: a number alone becomes an array of one."""
    given = body.get("customers")
    return given if whole(given) is None else [given]


def _entity(entity_info: dict[str, object], name: str) -> str:
    value = text(entity_info, name)
    if value is None:
        raise PlatformError(2008, f"entityInfo.{name} is mandatory.", reference=f"entityInfo.{name}")
    return value
