"""The checker's page in Chromium, where there is one: widths, keyboard, and what a renewal leaves alone."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from sandbox import checker
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.settings import SandboxSettings
from tests.chromium import CHROMIUM, needs_chromium
from tests.sandbox.calling import WORKFLOW, submission

pytestmark = needs_chromium
KEYS = {"Tab": 9, "Enter": 13}
START_LIMIT_S = 30.0
LIMIT_S = 30.0


class Tab:
    """One page of the browser, spoken to by its DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._calls = 0

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": parameters})
        while (said := await self._socket.receive_json(timeout=LIMIT_S)).get("id") != self._calls:
            pass
        assert "error" not in said, said
        return dict(said["result"])

    async def js(self, expression: str) -> Any:  # noqa: ANN401 - what the page says
        said = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def open(self, url: str, *, width: int) -> None:
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && !!document.getElementById('waiting')")

    async def press(self, key: str) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=KEYS[key], **text)

    async def until(self, condition: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not await self.js(condition):  # noqa: ASYNC110 - the page tells nobody
                await asyncio.sleep(0.05)


@asynccontextmanager
async def browser() -> AsyncIterator[Tab]:
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            CHROMIUM, *options, f"--user-data-dir={profile}", "about:blank", stdout=quiet, stderr=quiet
        )
        try:
            async with aiohttp.ClientSession() as session, session.ws_connect(await _address(session, profile)) as ws:
                yield Tab(ws)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _address(session: aiohttp.ClientSession, profile: str) -> str:
    told = Path(profile, "DevToolsActivePort")
    async with asyncio.timeout(START_LIMIT_S):
        while True:
            with suppress(FileNotFoundError, IndexError, aiohttp.ClientError, StopIteration):
                port = told.read_text().splitlines()[0]  # noqa: ASYNC240 - a line, once
                async with session.get(f"http://127.0.0.1:{port}/json") as reply:
                    pages = (each for each in await reply.json() if each["type"] == "page")
                    return str(next(pages)["webSocketDebuggerUrl"])
            await asyncio.sleep(0.1)


def _submit(sandbox: RunningSandbox, credentials: dict[str, str], *keys: str) -> None:
    for number, key in enumerate(keys, start=1):
        reply = httpx.post(sandbox.url + WORKFLOW, json=submission(key, [number]), headers=credentials)
        assert reply.status_code == 200


@pytest.fixture(autouse=True)
def _renewed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "REFRESH_S", 0.2)


async def test_both_buttons_are_in_sight_at_every_width(credentials: dict[str, str]) -> None:
    seen = """[...document.querySelectorAll('li summary')].every((each) => {
        const box = each.getBoundingClientRect();
        return box.left >= 0 && box.right <= innerWidth && box.height >= 44 && each.checkVisibility();
    }) && document.documentElement.scrollWidth <= innerWidth"""
    with running_sandbox() as sandbox:
        _submit(sandbox, credentials, f"cb1.{'a-long-name-' * 3}.{'0' * 20}", "key-2")
        async with browser() as tab:
            for width in (320, 390, 1280):
                await tab.open(f"{sandbox.url}/", width=width)
                assert await tab.js("document.querySelectorAll('li summary').length") == 4
                assert await tab.js(seen), width
                first = "document.querySelector('li summary').getBoundingClientRect().bottom <= innerHeight"
                assert await tab.js(first), width


async def test_a_renewal_leaves_focus_text_and_selection(credentials: dict[str, str]) -> None:
    with running_sandbox() as sandbox:
        _submit(sandbox, credentials, "key-1", "key-2")
        async with browser() as tab:
            await tab.open(f"{sandbox.url}/", width=390)
            for key in ("Tab", "Tab", "Enter", "Tab"):
                await tab.press(key)
            await tab.call("Input.insertText", text="Fine by me")
            await tab.js("getSelection().selectAllChildren(document.querySelectorAll('li code')[1])")
            await tab.js("document.querySelector('textarea').focus({preventScroll: true})")
            _submit(sandbox, credentials, "key-3")
            await tab.until("document.querySelectorAll('li').length === 3 && document.title.startsWith('3 waiting')")
            assert await tab.js("document.activeElement.value") == "Fine by me"
            assert await tab.js("document.querySelector('details').open")
            assert await tab.js("document.getElementById('all-count').textContent") == "3"
            await tab.js("getSelection().selectAllChildren(document.querySelectorAll('li code')[1])")
            _submit(sandbox, credentials, "key-4")
            await tab.until("document.querySelectorAll('li').length === 4")
            assert await tab.js("getSelection().toString()") == "key-2"


async def test_what_somebody_else_decides_hands_the_focus_on(credentials: dict[str, str]) -> None:
    with running_sandbox() as sandbox:
        _submit(sandbox, credentials, "key-1", "key-2")
        async with browser() as tab:
            await tab.open(f"{sandbox.url}/", width=390)
            await tab.press("Tab")
            assert await tab.js("document.activeElement.closest('li').textContent.includes('key-1')")
            sandbox.approve("key-1")
            await tab.until("document.querySelectorAll('li[id^=d-]').length === 1")
            assert await tab.js("document.activeElement.id") == "waiting"
            await tab.press("Tab")
            assert await tab.js("document.activeElement.closest('li').textContent.includes('key-2')")


async def test_a_request_is_rejected_by_keyboard_alone(credentials: dict[str, str]) -> None:
    with running_sandbox() as sandbox:
        _submit(sandbox, credentials, "key-1")
        async with browser() as tab:
            await tab.open(f"{sandbox.url}/", width=1280)
            for key in ("Tab", "Tab", "Tab", "Enter", "Tab"):
                await tab.press(key)
            assert sandbox.platform.requests()[0].state == "AdminTask"
            await tab.call("Input.insertText", text="Not now.")
            for key in ("Tab", "Enter"):
                await tab.press(key)
            await tab.until("document.querySelectorAll('li[id^=d-]').length === 1")
        (record,) = sandbox.platform.requests()
        assert (record.state, record.message) == ("rejected", "Not now.")


async def test_a_restart_of_the_sandbox_is_said_and_forms_work_after_it(
    credentials: dict[str, str], tmp_path: Path
) -> None:
    settings = SandboxSettings(books=str(tmp_path / "books.db"))
    async with browser() as tab:
        with running_sandbox(settings) as sandbox:
            port = int(sandbox.url.rpartition(":")[2])
            _submit(sandbox, credentials, "key-1")
            await tab.open(f"{sandbox.url}/", width=390)
        await tab.until("!document.getElementById('stale').hidden")
        with running_sandbox(settings, port=port) as sandbox:
            await tab.until("document.getElementById('stale').hidden")
            await tab.js("document.querySelector('li button').click()")
            await tab.until("document.querySelectorAll('li[id^=d-]').length === 1")
            assert sandbox.platform.requests()[0].state == "approved"
