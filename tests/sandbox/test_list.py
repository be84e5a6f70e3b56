from __future__ import annotations

import httpx
import pytest

from tests.sandbox.calling import Caller, MakeCaller, code_of


async def _filled(sandbox: MakeCaller, count: int, **settings: object) -> Caller:
    call = sandbox(**settings)
    for number in range(count):
        await call.submit(f"key-{number}", [number + 1])
        call.clock.now += 1
    return call


def _keys(reply: httpx.Response) -> list[str]:
    return [row["details"]["IntouchAPITask-Payload"]["body"]["requestId"] for row in reply.json()["data"]]


async def test_pagination_has_exactly_four_keys_and_rows_look_like_a_single_read(sandbox: MakeCaller) -> None:
    call = await _filled(sandbox, 3)
    reply = await call.page(limit=2)
    assert list(reply.json()) == ["data", "pagination"]
    assert reply.json()["pagination"] == {
        "totalElements": 3,
        "totalPages": 2,
        "numberOfElements": 2,
        "number": 0,
    }
    row = reply.json()["data"][0]
    assert (await call.read(row["requestId"])).json()["data"] == row


@pytest.mark.parametrize(("base", "pages"), [(0, [0, 1, 2]), (1, [1, 2, 3])])
async def test_every_request_is_on_one_page(sandbox: MakeCaller, base: int, pages: list[int]) -> None:
    call = await _filled(sandbox, 5, page_base=base)
    replies = [await call.page(limit=2, PageNo=page, sortBy="startDate", sortOrder="asc") for page in pages]
    assert [_keys(reply) for reply in replies] == [["key-0", "key-1"], ["key-2", "key-3"], ["key-4"]]
    assert [reply.json()["pagination"]["number"] for reply in replies] == [0, 1, 2]
    beyond = await call.page(limit=2, PageNo=pages[-1] + 1)
    assert beyond.json()["data"] == []
    assert beyond.json()["pagination"]["totalElements"] == 5


async def test_with_page_base_1_page_0_is_the_first_page_again(sandbox: MakeCaller) -> None:
    call = await _filled(sandbox, 3, page_base=1)
    zero, one = await call.page(limit=2, PageNo=0), await call.page(limit=2, PageNo=1)
    assert _keys(zero) == _keys(one)


async def test_limits_have_a_default_and_a_maximum(sandbox: MakeCaller) -> None:
    call = await _filled(sandbox, 5, page_limit=2, page_limit_max=4)
    assert len(_keys(await call.page())) == 2
    assert len(_keys(await call.page(limit=1000))) == 4


async def test_empty_parameters_count_as_absent(sandbox: MakeCaller) -> None:
    call = await _filled(sandbox, 2)
    reply = await call.page(
        **dict.fromkeys(["userId", "sortBy", "sortOrder", "startDate", "endDate", "states", "limit"], ""),
        PageNo="",
        requestType="",
    )
    assert _keys(reply) == ["key-1", "key-0"]


@pytest.mark.parametrize(
    ("parameters", "keys"),
    [
        ({"states": "approved"}, ["key-1"]),
        ({"states": "AdminTask,approved"}, ["key-0", "key-1", "key-3"]),
        ({"states": "admintask"}, []),
        ({"userId": 75_000_001}, ["key-0", "key-1", "key-2", "key-3"]),
        ({"userId": 1}, []),
        ({"tillId": "501"}, ["key-0", "key-1", "key-2", "key-3"]),
        ({"zoneId": "501"}, []),
        ({"requestType": "ISSUE-BADGE"}, ["key-0", "key-1", "key-2", "key-3"]),
        ({"requestType": "EARN-BADGE"}, []),
        ({"startDate": "2026-09-22"}, ["key-3"]),
        ({"endDate": "2026-09-21"}, ["key-0", "key-1", "key-2"]),
        ({"startDate": "2026-09-21", "endDate": "2026-09-22"}, ["key-0", "key-1", "key-2", "key-3"]),
        ({"startDate": "2026-09-23"}, []),
        ({"sortBy": "endDate", "sortOrder": "desc", "states": "approved,rejected"}, ["key-2", "key-1"]),
    ],
    ids=str,
)
async def test_filters(sandbox: MakeCaller, parameters: dict[str, str | int], keys: list[str]) -> None:
    call = await _filled(sandbox, 3)
    call.clock.now += 4.5 * 3600  # past midnight in the cluster's zone, not in UTC
    await call.submit("key-3", [4])
    call.platform.approve("key-1")
    call.clock.now += 1
    call.platform.reject("key-2")
    reply = await call.page(**{"sortBy": "startDate", "sortOrder": "asc", **parameters})
    assert _keys(reply) == keys
    assert reply.json()["pagination"]["totalElements"] == len(keys)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"sortBy": "startTime"}, 2011),
        ({"sortOrder": "ASC"}, 2012),
        ({"requestType": "issue-badge"}, 2009),
        ({"startDate": "21-09-2026"}, 2008),
        ({"endDate": "2026-02-30"}, 2008),
        ({"limit": 0}, 2008),
        ({"limit": "many"}, 2008),
        ({"PageNo": -1}, 2008),
        ({"PageNo": "9" * 40}, 2008),
    ],
    ids=str,
)
async def test_wrong_parameters_are_refused(sandbox: MakeCaller, parameters: dict[str, str | int], code: int) -> None:
    call = await _filled(sandbox, 1)
    reply = await call.page(**parameters)
    assert (reply.status_code, code_of(reply)) == (400, code)


async def test_an_unknown_id_is_2007(sandbox: MakeCaller) -> None:
    call = await _filled(sandbox, 1)
    reply = await call.read("23e06c3e-a5c3-11ee-9a63-9ab214749657")
    assert (reply.status_code, code_of(reply)) == (404, 2007)


async def test_reads_need_a_credential_and_no_organisation(sandbox: MakeCaller) -> None:
    call = await _filled(sandbox, 1)
    with_one = {"Authorization": call.maker["Authorization"]}
    path = "/api_gateway/v2/request-workflow/requests"
    assert (await call.client.get(path, headers=with_one)).status_code == 200
    assert (await call.client.get(path)).status_code == 401
    wrong = {**with_one, "X-CAP-API-AUTH-ORG-ID": "1"}
    assert (await call.client.get(path, headers=wrong)).json()["errors"][0]["code"] == 2005


async def test_a_new_request_may_show_later_in_the_list_than_alone(sandbox: MakeCaller) -> None:
    call = sandbox(list_lag_s=60)
    request_id = await call.submit("key-0", [1])
    call.clock.now += 59
    assert _keys(await call.page()) == []
    assert (await call.read(request_id)).status_code == 200
    call.clock.now += 1
    assert _keys(await call.page()) == ["key-0"]


async def test_pages_may_repeat_rows_or_hide_some(sandbox: MakeCaller) -> None:
    call = await _filled(sandbox, 4)
    asked: dict[str, str | int] = {"limit": 2, "sortBy": "startDate", "sortOrder": "asc"}
    call.platform.switch(list_rows="duplicates")
    assert _keys(await call.page(PageNo=0, **asked)) == ["key-0", "key-1"]
    second = await call.page(PageNo=1, **asked)
    assert _keys(second) == ["key-1", "key-2", "key-3"]
    assert second.json()["pagination"]["totalElements"] == 4
    call.platform.switch(list_rows="hides")
    assert _keys(await call.page(**asked)) == ["key-0", "key-2"]


async def test_totals_may_count_one_page_only(sandbox: MakeCaller) -> None:
    call = await _filled(sandbox, 3, list_totals="page")
    asked: dict[str, str | int] = {"limit": 2, "sortBy": "startDate", "sortOrder": "asc"}
    replies = [await call.page(PageNo=page, **asked) for page in range(3)]
    assert [_keys(reply) for reply in replies] == [["key-0", "key-1"], ["key-2"], []]
    totals = [
        (reply.json()["pagination"]["totalElements"], reply.json()["pagination"]["totalPages"]) for reply in replies
    ]
    assert totals == [(2, 1), (1, 1), (0, 0)]


@pytest.mark.parametrize(
    ("switches", "days", "code"),
    [
        ({"list_range_days": 30}, {"startDate": "2026-08-23"}, None),
        ({"list_range_days": 30}, {"startDate": "2026-08-22"}, 2008),
        ({"list_range_days": 30}, {"startDate": "2026-08-22", "endDate": "2026-09-20"}, None),
        ({"list_range_days": 30}, {"endDate": "2026-09-20"}, 2008),
        ({"list_reaches_days": 90}, {"startDate": "2026-06-23"}, None),
        ({"list_reaches_days": 90}, {"startDate": "2026-06-22", "endDate": "2026-06-30"}, 2008),
        ({"list_reaches_days": 90}, {}, 2008),
    ],
    ids=str,
)
async def test_long_ranges_and_old_days_may_be_refused(
    sandbox: MakeCaller, switches: dict[str, int], days: dict[str, str | int], code: int | None
) -> None:
    call = await _filled(sandbox, 1, **switches)  # on 2026-09-21
    reply = await call.page(**days)
    assert (reply.status_code, code_of(reply) if code else None) == (400 if code else 200, code)
