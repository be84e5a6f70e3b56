"""The platform's routes: each reads the call, asks a service, and sends its reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from sandbox.admin import add_admin_routes
from sandbox.badge_reads import BadgeReads
from sandbox.checker import add_checker_routes, decide_automatically
from sandbox.documents import parse
from sandbox.gate import BADGES, WORKFLOW, Gate
from sandbox.platform import Platform
from sandbox.replies import CODES, PlatformError, Reply, error_body


def sandbox_app(platform: Platform) -> ASGIApp:
    """The whole sandbox as an ASGI application, with the automatic checker beside it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        checker = asyncio.create_task(decide_automatically(platform))
        yield
        checker.cancel()
        with suppress(asyncio.CancelledError):
            await checker

    app = FastAPI(title="Sandbox platform", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    _add_workflow_routes(app, platform)
    _add_badge_routes(app, platform)
    add_checker_routes(app, platform)
    add_admin_routes(app, platform)

    @app.exception_handler(PlatformError)
    async def refused(_: Request, error: PlatformError) -> Response:
        return _sent(error.reply())

    @app.exception_handler(HTTPException)
    async def no_such_route(_: Request, error: HTTPException) -> Response:
        message = CODES[error.status_code].message if error.status_code in CODES else str(error.detail)
        return _sent(Reply(error.status_code, error_body(error.status_code, message)))

    return Gate(app, platform)


def _add_workflow_routes(app: FastAPI, platform: Platform) -> None:
    access, workflow = platform.access, platform.workflow

    @app.post("/v3/oauth/token/generate")
    async def token(request: Request) -> Response:
        return _sent(access.generate_token(parse(await request.body(), code=400)))

    @app.post(WORKFLOW + "{request_type}")
    async def create(request_type: str, request: Request) -> Response:
        actor = access.workflow_caller(request.headers)
        access.check_organisation(request.headers, needed=True)
        return _sent(workflow.create(actor, request_type, parse(await request.body(), code=2008)))

    @app.put(WORKFLOW + "{request_type}")
    async def decide(request_type: str, request: Request) -> Response:
        actor = access.workflow_caller(request.headers)
        access.check_organisation(request.headers, needed=True)
        return _sent(workflow.decide(actor, request_type, parse(await request.body(), code=2008)))

    @app.get(WORKFLOW + "requests")
    async def list_requests(request: Request) -> Response:
        access.workflow_caller(request.headers)
        access.check_organisation(request.headers, needed=False)
        return _sent(workflow.read_list(request.query_params))

    @app.get(WORKFLOW + "requests/{request_id}")
    async def read_request(request_id: str, request: Request) -> Response:
        access.workflow_caller(request.headers)
        access.check_organisation(request.headers, needed=False)
        return _sent(workflow.read(request_id))


def _add_badge_routes(app: FastAPI, platform: Platform) -> None:
    access, engine, reads = platform.access, platform.engine, BadgeReads(platform)

    @app.post(BADGES + "/badgeMeta/customer/issueBulk")
    async def issue_bulk(request: Request) -> Response:
        access.caller(request.headers)
        document = parse(await request.body(), code=400)
        return _sent(engine.issue_bulk(document, now=platform.clock()).reply)

    @app.post(BADGES + "/badgeMeta/customer/revokeIssue")
    async def revoke_issue(request: Request) -> Response:
        access.caller(request.headers)
        return _sent(engine.revoke(parse(await request.body(), code=400), now=platform.clock()))

    @app.get(BADGES + "/badgeMeta")
    async def badges(request: Request) -> Response:
        access.caller(request.headers)
        return _sent(reads.read_list(request.query_params))

    @app.get(BADGES + "/badgeMeta/{badge_id}")
    async def badge(badge_id: str, request: Request) -> Response:
        access.caller(request.headers)
        return _sent(reads.one(badge_id))

    @app.put(BADGES + "/badgeMeta/{badge_id}/activate")
    async def activate(badge_id: str, request: Request) -> Response:
        access.caller(request.headers)
        return _sent(reads.activate(badge_id, active=True))

    @app.put(BADGES + "/badgeMeta/{badge_id}/deactivate")
    async def deactivate(badge_id: str, request: Request) -> Response:
        access.caller(request.headers)
        return _sent(reads.activate(badge_id, active=False))

    @app.get(BADGES + "/customer/{customer}")
    @app.get(BADGES + "/management/{customer}")
    async def of_customer(customer: str, request: Request) -> Response:
        access.caller(request.headers)
        return _sent(reads.of_customer(customer, request.headers, request.query_params))

    @app.get(BADGES + "/management/{customer}/badge/{badge_id}")
    async def enrolments(customer: str, badge_id: str, request: Request) -> Response:
        access.caller(request.headers)
        return _sent(reads.enrolments(customer, badge_id, request.headers, request.query_params))

    @app.get("/v2/customers/lookup")
    async def lookup(request: Request) -> Response:
        access.caller(request.headers)
        return _sent(reads.lookup(request.query_params))


def _sent(reply: Reply) -> Response:
    headers = {"X-CAP-REQUEST-ID": str(uuid4()), **dict(reply.headers)}
    return Response(reply.body, reply.status, headers=headers, media_type="application/json")
