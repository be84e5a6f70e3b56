from __future__ import annotations

import re
import time
from collections.abc import Callable

import httpx
import pytest

from sandbox.checker_lines import age
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.settings import SandboxSettings
from tests.sandbox.calling import WORKFLOW, Caller, MakeCaller, submission

PAGE = "/_sandbox/checker"


async def _token(call: Caller) -> str:
    found = re.search(r'name="token" value="([^"]+)"', (await call.client.get(PAGE)).text)
    assert found is not None
    return found.group(1)


async def _press(call: Caller, **form: str) -> httpx.Response:
    return await _press_from({}, call, **form)


async def _press_from(headers: dict[str, str], call: Caller, **form: str) -> httpx.Response:
    form = {"token": await _token(call), **form}
    return await call.client.post(f"{PAGE}/decide", data=form, headers=headers)


async def test_home_leads_to_the_page(sandbox: MakeCaller) -> None:
    reply = await sandbox().client.get("/")
    assert (reply.status_code, reply.headers["location"]) == (302, PAGE)


async def test_the_page_shows_what_waits_and_what_was_decided(sandbox: MakeCaller) -> None:
    call = sandbox()
    await call.submit("key-<one>", list(range(1, 1001)))
    await call.submit("key-two", [1])
    call.clock.now += 3 * 3600
    call.platform.reject("key-two", "No <b>budget</b>.")
    page = (await call.client.get(PAGE)).text
    assert re.search(r'Waiting: <span id="waiting-count" data-live>1<', page)
    assert re.search(r'Decided: <span id="decided-count" data-live>1<', page)
    assert "1 request with 1,000 customers waits for a decision." in page
    assert "1,000" in page
    assert "3 h" in page
    assert "Gold Circle 2026" in page
    assert "key-&lt;one&gt;" in page
    assert "No &lt;b&gt;budget&lt;/b&gt;." in page
    assert 'http-equiv="refresh"' not in page
    assert "<script src" not in page
    assert call.maker["Authorization"] not in page


async def test_a_form_approves_one(sandbox: MakeCaller) -> None:
    call = sandbox()
    request_id = await call.submit("key-1", [1])
    await call.submit("key-2", [2])
    reply = await _press(call, action="approve", request=request_id)
    assert (reply.status_code, reply.headers["location"]) == (303, PAGE)
    assert [record.state for record in call.platform.requests()] == ["approved", "AdminTask"]


async def test_a_form_rejects_with_a_message(sandbox: MakeCaller) -> None:
    call = sandbox()
    request_id = await call.submit("key-1", [1, 2, 3])
    page = (await call.client.get(f"{PAGE}/{request_id}")).text
    assert "1, 2, 3" in page
    assert 'name="message"' in page
    assert 'http-equiv="refresh"' not in page
    assert call.maker["Authorization"] not in page
    await _press(call, action="reject", request=request_id, message="Not this month.")
    (record,) = call.platform.requests()
    assert (record.state, record.message) == ("rejected", "Not this month.")
    page = (await call.client.get(f"{PAGE}/{request_id}")).text
    assert "Not this month." in page
    assert "<form" not in page


async def test_a_form_approves_all_if_their_number_is_typed(sandbox: MakeCaller) -> None:
    call = sandbox()
    for number in range(3):
        await call.submit(f"key-{number}", [number + 1])
    assert (await _press(call, action="approve_all", count=" 3 ")).status_code == 303
    assert {record.state for record in call.platform.requests()} == {"approved"}


@pytest.mark.parametrize("count", ["", "2", "4", "03", "three", "-3", "3.0", "\u0663"])
async def test_another_number_approves_nobody(sandbox: MakeCaller, count: str) -> None:
    call = sandbox()
    for number in range(3):
        await call.submit(f"key-{number}", [number + 1])
    reply = await _press(call, action="approve_all", count=count)
    assert reply.status_code == 409
    assert "Nothing was decided" in reply.text
    assert "3 requests wait now" in reply.text
    assert {record.state for record in call.platform.requests()} == {"AdminTask"}


async def test_what_came_after_the_look_is_not_approved_with_the_rest(sandbox: MakeCaller) -> None:
    call = sandbox()
    for number in range(2):
        await call.submit(f"key-{number}", [number + 1])
    token = await _token(call)
    await call.submit("key-later", [9])
    reply = await call.client.post(f"{PAGE}/decide", data={"token": token, "action": "approve_all", "count": "2"})
    assert reply.status_code == 409
    assert {record.state for record in call.platform.requests()} == {"AdminTask"}


async def test_a_request_that_somebody_else_decided_stays_as_it_is(sandbox: MakeCaller) -> None:
    call = sandbox()
    request_id = await call.submit("key-1", [1])
    await call.submit("key-2", [2])
    call.platform.approve("key-1")
    reply = await _press(call, action="reject", request=request_id)
    assert (reply.status_code, reply.headers["content-type"].split(";")[0]) == (409, "text/html")
    assert "Somebody else has decided this request already." in reply.text
    assert call.platform.requests()[0].state == "approved"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
async def test_posts_from_other_sites_are_refused(sandbox: MakeCaller, headers: dict[str, str]) -> None:
    call = sandbox()
    await call.submit("key-1", [1])
    assert (await _press_from(headers, call, action="approve_all", count="1")).status_code == 403
    assert (await call.client.post("/_sandbox/approve-all", headers=headers)).status_code == 403
    assert call.platform.requests()[0].state == "AdminTask"


async def test_posts_of_the_page_itself_carry_its_origin(sandbox: MakeCaller) -> None:
    call = sandbox()
    await call.submit("key-1", [1])
    own = {"Origin": "http://sandbox", "Sec-Fetch-Site": "same-origin"}
    assert (await _press_from(own, call, action="approve_all", count="1")).status_code == 303
    assert call.platform.requests()[0].state == "approved"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"action": "approve_all", "count": "1", "token": ""}, 403),
        ({"action": "approve_all", "count": "1", "token": "guess"}, 403),
        ({"action": "delete"}, 400),
        ({"action": "approve", "request": "none"}, 404),
    ],
    ids=str,
)
async def test_wrong_forms_are_refused(sandbox: MakeCaller, form: dict[str, str], status: int) -> None:
    call = sandbox()
    await call.submit("key-1", [1])
    reply = await _press(call, **form)
    assert (reply.status_code, reply.headers["content-type"].split(";")[0]) == (status, "text/html")
    assert f'href="{PAGE}"' in reply.text
    assert call.platform.requests()[0].state == "AdminTask"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (2 * 86_400, "2 d")]
)
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text


def _until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def _submit(sandbox: RunningSandbox, headers: dict[str, str], keys: range) -> None:
    with httpx.Client(base_url=sandbox.url, headers=headers) as client:
        for number in keys:
            assert client.post(WORKFLOW, json=submission(f"key-{number}", [number])).status_code == 200


def test_the_automatic_checker_decides_and_rejects_every_third(credentials: dict[str, str]) -> None:
    settings = SandboxSettings(checker="automatic", reject_every=3)  # type: ignore[arg-type]  # as the CLI gives it
    with running_sandbox(settings) as sandbox:
        _submit(sandbox, credentials, range(1, 8))
        _until(lambda: all(record.ended for record in sandbox.platform.requests()))
        records = sandbox.platform.requests()
        assert [n for n, record in enumerate(records, 1) if record.state == "rejected"] == [3, 6]
        assert records[2].message == "Rejected by the automatic checker."


def test_the_automatic_checker_keeps_its_delay_and_can_be_switched(credentials: dict[str, str]) -> None:
    with running_sandbox() as sandbox:
        sandbox.switch(checker="automatic", delay_s=0.6)
        _submit(sandbox, credentials, range(1, 3))
        _until(lambda: all(record.ended for record in sandbox.platform.requests()))
        for record in sandbox.platform.requests():
            assert record.ended is not None
            assert 0.6 <= record.ended - record.started < 2
        sandbox.switch(checker="manual")
        time.sleep(0.2)
        _submit(sandbox, credentials, range(3, 4))
        time.sleep(0.8)
        assert sandbox.platform.requests()[-1].state == "AdminTask"
