"""The list of requests: its filters, its order, its pages (``reference/get-all-requests``)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sandbox.books import Books
from sandbox.books_schema import RequestRow
from sandbox.payloads import REQUEST_TYPES
from sandbox.replies import PlatformError
from sandbox.settings import ListRows, ListTotals, SandboxSettings

FILTER_COLUMNS = {
    "requestType": "request_type",
    "userId": "user_id",
    "conceptId": "concept_id",
    "zoneId": "zone_id",
    "storeId": "store_id",
    "tillId": "till_id",
}
SORT_COLUMNS = {"": "started", "startDate": "started", "endDate": "ended"}
SORT_ORDERS = {"": "DESC", "asc": "ASC", "desc": "DESC"}
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
MAX_PAGE = 2**31


@dataclass(frozen=True, slots=True)
class RequestPage:
    """One page: its rows, and the four numbers of ``pagination``. ``number`` is 0 for the first page."""

    rows: list[RequestRow]
    total_elements: int
    total_pages: int
    number: int


def read_page(books: Books, settings: SandboxSettings, parameters: Mapping[str, str], *, now: float) -> RequestPage:
    """The page that the query parameters ask for. A parameter without a value counts as absent."""
    given = {name: value.strip() for name, value in parameters.items()}
    column = SORT_COLUMNS.get(given.get("sortBy", ""))
    direction = SORT_ORDERS.get(given.get("sortOrder", ""))
    if column is None:
        raise PlatformError(2011, reference="sortBy")
    if direction is None:
        raise PlatformError(2012, reference="sortOrder")
    where, values = _conditions(settings, given, now)
    size = min(_number(given, "limit", settings.page_limit, least=1), settings.page_limit_max)
    number = max(0, _number(given, "PageNo", settings.page_base, least=0) - settings.page_base)
    offset = number * size
    take = size
    if settings.list_rows is ListRows.DUPLICATES and offset:
        offset, take = offset - 1, size + 1
    total = books.count_requests(where, values)
    rows = books.requests(
        where,
        values,
        order=f"{column} {direction}, seq {direction}",
        limit=take,
        offset=offset,
        bodies=True,
    )
    if settings.list_totals is ListTotals.PAGE:
        return RequestPage(rows, len(rows), min(len(rows), 1), number)
    return RequestPage(rows, total, math.ceil(total / size), number)


def _conditions(settings: SandboxSettings, given: Mapping[str, str], now: float) -> tuple[str, list[object]]:
    conditions = ["started <= ?"]
    values: list[object] = [now - settings.list_lag_s]

    def narrow(condition: str, *more: object) -> None:
        conditions.append(condition)
        values.extend(more)

    if settings.list_rows is ListRows.HIDES:
        narrow("seq % 2 = 1")
    if given.get("requestType", "") not in ("", *REQUEST_TYPES):
        raise PlatformError(2009, reference="requestType")
    for name, column in FILTER_COLUMNS.items():
        if value := given.get(name):
            narrow(f"{column} = ?", value)
    first, last = _day(given, "startDate"), _day(given, "endDate")
    _assert_days(settings, first, last, today=datetime.fromtimestamp(now, settings.zone).date())
    if first:
        narrow("substr(start_time, 1, 10) >= ?", first)
    if last:
        narrow("substr(start_time, 1, 10) <= ?", last)
    if states := [state for state in given.get("states", "").split(",") if state]:
        narrow(f"state IN ({', '.join('?' * len(states))})", *states)
    return " AND ".join(conditions), values


def _assert_days(settings: SandboxSettings, first: str | None, last: str | None, *, today: date) -> None:
    """Refuses days that the switches rule out. Without ``startDate`` all days are asked for."""
    start, end = date.fromisoformat(first or "0001-01-01"), date.fromisoformat(last) if last else today
    reaches, most = settings.list_reaches_days, settings.list_range_days
    if reaches and (today - start).days > reaches:
        raise PlatformError(2008, f"startDate may lie {reaches} days back at most.", reference="startDate")
    if most and (end - start).days >= most:
        raise PlatformError(2008, f"startDate and endDate may span {most} days at most.", reference="startDate")


def _number(given: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    value = given.get(name, "")
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or not least <= int(value[:20]) <= MAX_PAGE:
        raise PlatformError(2008, f"{name} must be a whole number of {least} or more.", reference=name)
    return int(value)


def _day(given: Mapping[str, str], name: str) -> str | None:
    value = given.get(name, "")
    if not value:
        return None
    try:
        day = date.fromisoformat(value) if DAY.fullmatch(value) else None
    except ValueError:
        day = None
    if day is None:
        raise PlatformError(2008, f"{name} must be a date like 2026-01-31.", reference=name)
    return day.isoformat()
