"""The plugin by which Airflow finds the pages.

Every process of Airflow imports it, workers too. The pages themselves are imported by the API server alone.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

_LOG = logging.getLogger("capillary.ui")
#: One ES module draws both: the page Badges, and the tab of a DAG run. Addresses are relative to Airflow's own.
_SHELL = "capillary/static/shell.js"


class CapillaryPlugin(AirflowPlugin):
    """Badges in the navigation, a tab on every DAG run, and the application that serves both."""

    name = "capillary"
    react_apps = [  # noqa: RUF012 - Airflow's own attribute
        {
            "name": "Badges",
            "bundle_url": _SHELL,
            "destination": "nav",
            "url_route": "badges",
            "nav_top_level": True,
            "icon": "capillary/static/badge.svg",
        },
        {
            "name": "Badges",
            # Another address: Airflow's UI loads one address once, and takes one component from it.
            "bundle_url": f"{_SHELL}?run",
            "destination": "dag_run",
            "url_route": "badges_run",
            "icon": "capillary/static/badge.svg",
        },
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override] # built where it is asked for
        """The application under /capillary; the API server asks for it when it starts."""
        try:
            from capillary.ui.app import pages  # noqa: PLC0415 - no worker needs it

            return [{"app": pages(), "url_prefix": "/capillary", "name": "Badge pages"}]
        except Exception:  # noqa: BLE001 - whatever it is, Airflow's own pages must come up without ours
            _LOG.exception("the badge pages cannot be served: nothing is under /capillary")
            return []
