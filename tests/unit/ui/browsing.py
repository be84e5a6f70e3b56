"""The plain pages of one run in Chromium, without Airflow: what the module in the browser lets a person send."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Page, Request, Route, async_playwright, expect

from tests.chromium import CHROMIUM, LACKED, PATIENCE_MS
from tests.unit.ui.run_pages import Airflow

SITE: Final = "http://airflow.example"


class Sent(list[tuple[str, str, dict[str, Any]]]):
    """What a browser has sent to Airflow: method, path and body.

    Attributes:
        refused: Airflow refuses these methods.
        answers: our own pages are answered while it is set.
        asked: how many were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0
        self.refused: set[str] = set()


@asynccontextmanager
async def browsing(airflow: Airflow, *, javascript: bool = True) -> AsyncIterator[tuple[Page, Sent]]:
    """Yield a browser's page to which our pages are served, and what it sends to Airflow."""
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "CI installs Chromium (.ci/debian)"
        pytest.skip(LACKED)
    sent = Sent()
    transport = httpx.ASGITransport(airflow.app)

    async def answer(route: Route, request: Request) -> None:
        at = urlsplit(request.url)
        if not at.path.startswith("/capillary/"):
            if at.path.startswith("/api/"):
                sent.append((request.method, at.path, json.loads(request.post_data or "{}")))
            refused = request.method in sent.refused
            await route.fulfill(
                status=403 if refused else 200, json={"detail": "no"} if refused else {"dag_run_id": "second"}
            )
            return
        sent.asked += 1
        await sent.answers.wait()
        path = at.path.removeprefix("/capillary") + (f"?{at.query}" if at.query else "")
        async with httpx.AsyncClient(transport=transport, base_url=SITE) as client:
            reply = await client.request(request.method, path, headers=await request.all_headers())
        await route.fulfill(status=reply.status_code, headers=dict(reply.headers), body=reply.content)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            context = await browser.new_context(java_script_enabled=javascript, base_url=SITE)
            await context.route("**/*", answer)
            page = await context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            expect.set_options(timeout=PATIENCE_MS)
            yield page, sent
        finally:
            await browser.close()
