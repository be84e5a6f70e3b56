"""Keeps pages of other sites from pressing the sandbox's buttons with a visitor's browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

OWN_SITE = frozenset({"", "none", "same-origin"})


def is_cross_site(scope: Scope) -> bool:
    """Whether a call that may change something was started by another site's page.

    Browsers say where a call comes from in ``Sec-Fetch-Site`` and ``Origin``; programs send neither.
    """
    if scope["method"] in ("GET", "HEAD"):
        return False
    headers = Headers(scope=scope)
    origin = headers.get("origin", "")
    foreign = bool(origin) and urlsplit(origin).netloc != headers.get("host")
    return foreign or headers.get("sec-fetch-site", "") not in OWN_SITE
