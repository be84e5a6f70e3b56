"""What Airflow reads about this package: the connection type `capillary` and its form."""

from __future__ import annotations

from typing import TypedDict

from capillary.api.settings import PlatformSettings
from capillary.api.settings_fields import BOUNDS, WHOLE

# Airflow's names hold hyphens: hence the functional form.
_ConnectionType = TypedDict(
    "_ConnectionType",
    {
        "connection-type": str,
        "hook-class-name": str,
        "hook-name": str,
        "ui-field-behaviour": dict[str, object],
        "conn-fields": dict[str, dict[str, object]],
    },
)
ProviderInfo = TypedDict(
    "ProviderInfo",
    {
        "package-name": str,
        "name": str,
        "description": str,
        "connection-types": list[_ConnectionType],
        "extra-links": list[str],
    },
)


def get_provider_info() -> ProviderInfo:
    """Return the entry of `apache_airflow_provider`; its form has the extras of `platform_connection`."""
    return {
        "package-name": "airflow-provider-capillary",
        "name": "Capillary",
        "description": "Loyalty badges through Capillary's maker-checker workflow.",
        "connection-types": [
            {
                "connection-type": "capillary",
                "hook-class-name": "capillary.hooks.CapillaryHook",
                "hook-name": "Capillary",
                "ui-field-behaviour": {
                    # The port is shown: the Test button in the list compares it, and sends 0 where none is stored.
                    "hidden-fields": ["schema"],
                    "relabeling": {
                        "host": "Base URL",
                        "port": "Port (443: the Test button in the list needs one)",
                        "login": "Till login (maker)",
                        "password": "Till password",
                    },
                    "placeholders": {"host": "https://eu.api.capillarytech.com", "port": "443"},
                },
                "conn-fields": _fields(),
            }
        ],
        "extra-links": ["capillary.links.CheckerPageLink"],
    }


def _fields() -> dict[str, dict[str, object]]:
    return {
        "organisation_id": _text("Organisation id", "The number under Organisation settings in InTouch."),
        "account_address": _text(
            "Account address", "The address when the account was first used. Fill it in when the base URL changes."
        ),
        "environment": _text("Environment", "A label that is shown everywhere, such as production."),
        "submitting": _switch("Submitting", "Off: nothing is sent. Asked before every POST. See also: capillary stop."),
        "checker_url": _text("Checker's page", "Where requests are approved; only shown.", format="url"),
        "cluster_timezone": _text("Cluster time zone", "IANA name. Europe: UTC; India, Singapore: Asia/Kolkata."),
        "inner_conn_id": _text("Inner connection", "Its till runs the wrapped call. Default: the till above."),
        "inner_hostname": _text("Inner hostname", "Where the wrapped call runs. Default: the base URL.", format="url"),
        "oauth_key": _text("OAuth key", "With it calls go out with OAuth; the till serves the wrapped call."),
        "oauth_secret": _text("OAuth secret", "Needed with the OAuth key.", format="password"),
        "ui_token": _text("UI token", "Token of an InTouch user, where it is needed.", format="password"),
        "calls_per_minute": _number("calls_per_minute", "Calls a minute", "Budget of the whole account."),
        "page_base": _number("page_base", "First list page", "Number of the first page of the list."),
        "page_size": _number("page_size", "Page size", "Requests a list page."),
        "visibility_lag_s": _number(
            "visibility_lag_s", "Visibility lag (s)", "How long a new request may be missing from the list."
        ),
        "post_timeout_s": _number("post_timeout_s", "POST timeout (s)", "Connecting is included."),
        "connect_timeout_s": _number("connect_timeout_s", "Connect timeout (s)", "Shorter than the other two."),
        "read_timeout_s": _number("read_timeout_s", "Read timeout (s)", "Connecting is included."),
        "verify": _text(
            "Verify TLS", "Path of a company's CA (PEM file or folder, on every worker), or false for a test system."
        ),
        "cert": _text("Client certificate", "Path of a PEM file with certificate and key, on every worker."),
        "proxy": _text("Proxy", "http://host:port; the environment's is not read.", format="password"),
        "allow_plain_http": _switch(
            "Allow plain HTTP", "On: credentials may cross the network unencrypted, to a test system.", default=False
        ),
    }


def _text(label: str, description: str, **schema: str) -> dict[str, object]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}


def _switch(label: str, description: str, *, default: bool = True) -> dict[str, object]:
    return {"label": label, "description": description, "schema": {"type": "boolean", "default": default}}


def _number(name: str, label: str, description: str) -> dict[str, object]:
    lowest, highest, _ = BOUNDS[name]
    field = PlatformSettings.__dataclass_fields__[name]
    kind = "integer" if name in WHOLE else "number"
    return {
        "label": label,
        "description": description,
        "schema": {"type": kind, "default": field.default, "minimum": lowest, "maximum": highest},
    }
