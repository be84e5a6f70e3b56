"""docs/api.md says what a connection means as the code reads it: addresses and options."""

from __future__ import annotations

import json
import re

import pytest
from airflow.sdk import Connection

from capillary.connections.http_connection import MEANT, OPTIONS, UNABLE
from capillary.connections.platform_connection import settings_of
from tests.docs.markdown import ROOT, code_of, sections

[SECTION] = [each for each in sections(ROOT / "docs" / "api.md") if each.title == "The connection"]
ROWS = SECTION.rows()
ADDRESSES = [row for row in ROWS if len(row) == 4]
OF_THE_PROVIDER = [row for row in ROWS if len(row) == 2]


@pytest.mark.parametrize("row", ADDRESSES, ids=lambda row: row[0])
def test_an_address_is_read_as_the_table_says(row: tuple[str, ...]) -> None:
    host, port, schema, called = (cell.strip("`") for cell in row)
    connection = Connection(
        conn_id="capillary",
        conn_type="http",
        host=host,
        port=int(port) if port.isdecimal() else None,
        schema=schema if schema.isascii() else None,
        login="till",
        password="not-a-password",
        extra=json.dumps({"organisation_id": "7"}),
    )
    assert settings_of(connection).base_url == called


def test_the_tables_name_every_option_of_the_provider_and_no_other() -> None:
    assert len(ADDRESSES) == 6
    assert {name for row in OF_THE_PROVIDER for name in code_of(row[0])} == OPTIONS
    refused = [set(code_of(row[0])) for row in OF_THE_PROVIDER if row[1].startswith("refused")]
    assert refused == [set(UNABLE)]
    assert {name for row in OF_THE_PROVIDER[:4] for name in code_of(row[0])} == MEANT


def test_the_uri_that_is_shown_is_read() -> None:
    [uri] = re.findall(r"`(http://login:\S+)`", SECTION.prose)
    settings = settings_of(Connection(conn_id="capillary", uri=uri))  # type: ignore[call-arg] # one of two ways
    assert (settings.base_url, settings.organisation_id) == ("https://gateway.example:8443/prod", "100458")
