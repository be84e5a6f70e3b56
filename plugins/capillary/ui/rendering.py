"""How a page becomes HTML: templates, numbers, times, addresses, and the headers that keep a page to itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote, unquote, urlencode

from fastapi import Depends, Header, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from capillary.counted import counted
from capillary.ui.airflow_facts import CampaignDag
from capillary.ui.once_on import once_on

#: Where Airflow mounts the pages.
PREFIX: Final = "/capillary"
_FOLDER: Final = Path(__file__).parent
#: A customer's id must stand in no log, and servers log addresses. So it stands behind their #, which a browser keeps
#: to itself, and the module sends it in this header, percent-encoded.
PLACE: Final = "X-Badge-Place"
#: Airflow's UI writes a run's id into its addresses as it is, and knows its tabs by them.
_AS_AIRFLOW: Final = "~:+@"
STATIC: Final = _FOLDER / "static"
#: How our sentences write a moment (`capillary.ledger.stops`, `capillary.ledger.canary`, `capillary.engine.attention`).
_MOMENT: Final = re.compile(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d) UTC\b", re.ASCII)
#: A checker's words and customer ids come from outside: beside the escaping nothing on a page may run or load.
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of our pages and of Airflow's, below the path that Airflow is served under.

    Attributes:
        base: that path without the slash at its end; mostly empty.
    """

    base: str

    @classmethod
    def of(cls, request: Request) -> Addresses:
        """Return the addresses as this request's server has them."""
        scope = request.scope
        # Airflow's own path, which Starlette notes where it mounts an application; `root_path` grows with every mount.
        return cls(str(scope.get("app_root_path", scope.get("root_path", ""))))

    def page(self, *parts: str, **query: object) -> str:
        """Return the address of one of our pages; a value of None is left out."""
        return self._joined((PREFIX[1:], *parts), query)

    def airflow(self, *parts: str, **query: object) -> str:
        """Return the address of one of Airflow's pages."""
        return self._joined(parts, query)

    def customer(self, customer_id: int) -> str:
        """Return the address of our page of a customer."""
        return f"{self.page('customer')}#{customer_id}"

    def run(self, dag_id: str, run_id: str) -> str:
        """Return the address of our page of a run; in Airflow's UI it is a tab of the run."""
        return self.page("runs", dag_id, run_id)

    def _joined(self, parts: tuple[str, ...], query: Mapping[str, object]) -> str:
        said = {name: str(value) for name, value in query.items() if value is not None}
        path = "/".join((self.base, *(quote(part, safe=_AS_AIRFLOW) for part in parts)))
        return f"{path}?{urlencode(said)}" if said else path


def page(request: Request, template: str, *, status: int = 200, renew_s: int = 0, **shown: object) -> HTMLResponse:
    """Return a page.

    Args:
        request: who asks where.
        template: its file.
        status: of HTTP.
        renew_s: the page is fetched again after so many seconds; 0: never.
        shown: what the template names.
    """
    address = Addresses.of(request)
    text = _TEMPLATES.get_template(template).render(address=address, renew_s=renew_s, **shown)
    etag = f'"{sha256(text.encode()).hexdigest()[:32]}"'
    return HTMLResponse(text, status, headers={**HEADERS, "ETag": etag})


def _place(said: Annotated[str, Header(alias=PLACE)] = "") -> str:
    return unquote(said)


#: What stands behind the # of a page's address.
PlaceDep = Annotated[str, Depends(_place)]


def protect(response: Response) -> Response:
    """Give a response that is not a page the headers of one."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _number(value: int) -> str:
    return f"{value:,}"


def _when(moment: datetime | None, *, age: bool = False) -> Markup:
    """Return a moment as the module in the browser shows it in the user's zone; without it, in UTC."""
    if moment is None:
        return Markup("–")
    utc = moment.astimezone(UTC)
    attribute = Markup(" data-age") if age else Markup()
    return Markup('<time datetime="{}"{}>{} UTC</time>').format(
        utc.isoformat(timespec="milliseconds"), attribute, f"{utc:%Y-%m-%d %H:%M:%S}"
    )


def _ago(moment: datetime | None) -> Markup:
    return _when(moment, age=True)


def timed(sentence: str) -> Markup:
    """Return a sentence that was made for this page, its moments as the module shows them: in the user's zone."""
    pieces = _MOMENT.split(sentence)  # text, moment, text, …
    return Markup("").join(_at(each) if nth % 2 else escape(each) for nth, each in enumerate(pieces))


def _at(said: str) -> Markup:
    try:
        return _when(datetime.fromisoformat(said).replace(tzinfo=UTC))
    except ValueError:  # the 31st of February, in somebody's own words
        return escape(f"{said} UTC")


def _once_on(dag: CampaignDag) -> Markup:
    return Markup(once_on(dag, datetime.now(UTC), _when))  # noqa: S704 - our own words and times


def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,  # an update of the package reaches code and templates together, at the next start
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": _number, "when": _when, "ago": _ago, "once_on": _once_on, "timed": timed}
    made.globals |= {"counted": counted}
    for name in made.list_templates():
        made.get_template(name)  # now, and not from the next version's files
    return made


_TEMPLATES: Final = _templates()
