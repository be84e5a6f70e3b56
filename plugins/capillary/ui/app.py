"""The application under /capillary: every route, each behind Airflow's own question of who may see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException

from capillary.errors import CapillaryError
from capillary.ui import badges_routes, run_routes, stop_routes
from capillary.ui.reading import LedgerReader
from capillary.ui.rendering import HEADERS, PLACE, STATIC, Addresses, page

#: What a page says of a status that Airflow or a route has given.
_TITLES = {
    401: "Log in to Airflow first",
    403: "You may not see this",
    404: "Not found",
    405: "Not a page",
    503: "The ledger cannot be read now",
}


#: What the framework says of an address in a word or two → what a person reads.
_SENTENCES = {
    (404, "Not Found"): "Nothing of the badge pages is at this address.",
    (405, "Method Not Allowed"): "A button of a page asks this address to do something. It shows nothing by itself.",
}


def pages(ledger: LedgerReader | None = None) -> FastAPI:
    """Return the application.

    Args:
        ledger: replaces the one of connection `badge_ledger` in tests.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.ledger.close()

    app = FastAPI(title="Badge pages", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    app.state.ledger = ledger or LedgerReader()
    for router in (badges_routes.ROUTER, run_routes.ROUTER, stop_routes.ROUTER):
        app.include_router(router)
    # Open to everybody: the module, the style sheet and the icons hold nothing of anybody.
    app.mount("/static", _Static(directory=STATIC), name="static")
    app.add_exception_handler(CapillaryError, _unreadable)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _broken)

    @app.get("/")
    async def home(request: Request) -> Response:
        return RedirectResponse(Addresses.of(request).page("badges"), 307)

    return app


class _Static(StaticFiles):
    """Files that a browser asks for again each time: an update of the package must reach it."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response: Response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


async def _unreadable(request: Request, error: Exception) -> Response:
    """Say that the ledger cannot be read, and why; an error of ours names the place and the remedy."""
    return _said(request, 503, str(error))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException | StarletteHTTPException)  # noqa: S101 - for the type
    status, detail = error.status_code, str(error.detail)
    return _said(request, status, _SENTENCES.get((status, detail), detail))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - for the type
    said = "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors())
    return _said(request, 422, said)


async def _broken(request: Request, error: Exception) -> Response:
    """Say that a page of ours has failed; Starlette raises the error again, so that the log has it."""
    sentence = f"This page has failed ({type(error).__name__}). The log of Airflow's API server says where."
    return _said(request, 500, sentence)


def _said(request: Request, status: int, sentence: str) -> Response:
    if request.method != "GET":
        return JSONResponse({"detail": sentence}, status, headers=dict(HEADERS))
    title = _TITLES.get(status, "This did not work")
    ways = tuple(_ways(request, status))
    # A ledger that is away comes back by itself, and so does its page.
    return page(
        request,
        "notice.html",
        status=status,
        renew_s=10 if status == 503 else 0,
        title=title,
        sentence=sentence,
        ways=ways,
    )


def _ways(request: Request, status: int) -> Iterator[tuple[str, str]]:
    """Yield where a person may go from here: words and address, the nearest first."""
    address = Addresses.of(request)
    if status == 401:
        yield "Log in", address.airflow("api", "v2", "auth", "login", next=request.url.path)
        return
    dag_id, run_id = (request.path_params.get(name) for name in ("dag_id", "run_id"))
    if dag_id and run_id and status in {404, 422}:
        if request.headers.get(PLACE) or status == 422:
            yield "See the run", address.run(dag_id, run_id)
        yield "See the DAG", address.airflow("dags", dag_id)
    if request.scope.get("path", "").removeprefix(request.scope.get("root_path", "")) != "/badges":
        yield "Badges", address.page("badges")
    yield "Airflow", address.airflow("")
