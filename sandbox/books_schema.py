"""The tables of the books and their rows.

Texts and numbers stand before the large columns, so that filters and counts never read a payload.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS badge (
    number INTEGER PRIMARY KEY,
    badge_id TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS request (
    seq INTEGER PRIMARY KEY,
    platform_request_id TEXT NOT NULL UNIQUE,
    request_type TEXT NOT NULL,
    state TEXT NOT NULL,
    decided INTEGER NOT NULL DEFAULT 0,
    started REAL NOT NULL,
    ended REAL,
    start_time TEXT NOT NULL,
    end_time TEXT,
    user_id INTEGER NOT NULL,
    user_name TEXT NOT NULL,
    till_id TEXT NOT NULL,
    store_id TEXT NOT NULL,
    zone_id TEXT NOT NULL,
    concept_id TEXT NOT NULL,
    request_key TEXT,
    badge_id TEXT,
    customers INTEGER NOT NULL,
    enrolled INTEGER,
    refused INTEGER,
    message TEXT,
    output_status INTEGER,
    steps TEXT NOT NULL DEFAULT '',
    output_headers TEXT,
    payload BLOB NOT NULL,
    output_body BLOB
);
CREATE INDEX IF NOT EXISTS request_started ON request (started, seq);
CREATE INDEX IF NOT EXISTS request_ended ON request (ended, seq);
CREATE INDEX IF NOT EXISTS request_waiting ON request (decided, started);
CREATE INDEX IF NOT EXISTS request_key ON request (request_key);
CREATE TABLE IF NOT EXISTS used_key (request_key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bulk_call (
    call INTEGER PRIMARY KEY,
    stem TEXT NOT NULL UNIQUE,
    request_key TEXT NOT NULL,
    owner_type TEXT NOT NULL,
    reference_id TEXT,
    issued_on REAL NOT NULL,
    event_at REAL NOT NULL,
    expires REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS issual (
    badge INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    call INTEGER NOT NULL,
    place INTEGER NOT NULL,
    revoked_on REAL,
    PRIMARY KEY (badge, customer, call)
) WITHOUT ROWID;
"""

#: The columns that a reply needs, in the order of ``RequestRow``.
COLUMNS = (
    "seq, platform_request_id, request_type, state, decided, started, ended, start_time, end_time, user_id, "
    "user_name, request_key, badge_id, customers, enrolled, refused, message, output_status, steps, "
    "output_headers"
)


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request as the books hold it. Times in seconds since 1970 UTC, ``*_time`` cluster-local text.

    ``decided`` is 1 once the request is in a terminal state. ``steps`` is what decisions have added to
    ``details``, as JSON members with a leading comma.
    ``payload`` and ``output_body`` are JSON bytes; ``b""`` where they were not asked for or are not there.
    """

    seq: int
    platform_request_id: str
    request_type: str
    state: str
    decided: int
    started: float
    ended: float | None
    start_time: str
    end_time: str | None
    user_id: int
    user_name: str
    request_key: str | None
    badge_id: str | None
    customers: int
    enrolled: int | None
    refused: int | None
    message: str | None
    output_status: int | None
    steps: str
    output_headers: str | None
    payload: bytes
    output_body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequest:
    """What is known of a request when it arrives."""

    platform_request_id: str
    request_type: str
    state: str
    started: float
    start_time: str
    user_id: int
    user_name: str
    entity: tuple[str, str, str, str]
    request_key: str | None
    badge_id: str | None
    customers: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class IssualRow:
    """One enrolment: its bulk call's facts and its own."""

    customer: int
    stem: str
    place: int
    request_key: str
    owner_type: str
    reference_id: str | None
    issued_on: float
    event_at: float
    expires: float
    revoked_on: float | None
