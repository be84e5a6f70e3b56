from __future__ import annotations

import json
import tomllib
from importlib.util import find_spec
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
from airflow.sdk import BaseOperatorLink, Connection
from jsonschema import Draft202012Validator, validate  # type: ignore[import-untyped] # it ships no types

from capillary.api.settings import PlatformSettings
from capillary.api.settings_fields import BOUNDS
from capillary.connections.platform_connection import EXTRAS, settings_of
from capillary.hooks import CapillaryHook
from capillary.provider_info import get_provider_info

ROOT = Path(__file__).parents[2]
INFO: dict[str, Any] = dict(get_provider_info())
FORM: dict[str, Any] = INFO["connection-types"][0]


def test_airflow_accepts_the_provider_info() -> None:
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    validate(INFO, json.loads(Path(spec.origin).with_name("provider_info.schema.json").read_text()))


def test_the_form_has_a_field_for_every_extra_and_no_other() -> None:
    assert set(FORM["conn-fields"]) == EXTRAS


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_a_field_has_words_and_the_default_and_bounds_of_its_setting(name: str) -> None:
    field = FORM["conn-fields"][name]
    assert field["label"]
    assert field["description"]
    Draft202012Validator.check_schema(field["schema"])
    if name in BOUNDS:
        assert (field["schema"]["minimum"], field["schema"]["maximum"]) == BOUNDS[name][:2]
    if "default" in field["schema"]:
        assert field["schema"]["default"] == PlatformSettings.__dataclass_fields__[name].default


def test_the_port_can_be_stored_since_the_test_button_in_the_list_sends_0_where_none_is() -> None:
    behaviour = FORM["ui-field-behaviour"]
    assert behaviour["hidden-fields"] == ["schema"]
    assert "Test button" in behaviour["relabeling"]["port"]
    with_port, without = (
        settings_of(
            Connection(
                conn_id="c",
                conn_type="capillary",
                host="https://eu.api.example",
                port=port,
                login="till",
                password="p",
                extra='{"organisation_id": "7"}',
            ),
            None,
        )
        for port in (443, None)
    )
    assert with_port.account == without.account == "eu.api.example/7"


def test_secrets_are_typed_unseen() -> None:
    hidden = {k for k, v in FORM["conn-fields"].items() if v["schema"].get("format") == "password"}
    assert hidden == {"oauth_secret", "ui_token", "proxy"}


def test_the_names_lead_to_what_they_name() -> None:
    assert locate(FORM["hook-class-name"]) is CapillaryHook
    assert (FORM["connection-type"], FORM["hook-name"]) == (CapillaryHook.conn_type, CapillaryHook.hook_name)
    for link in INFO["extra-links"]:
        found = locate(link)
        assert isinstance(found, type)
        assert issubclass(found, BaseOperatorLink)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert INFO["package-name"] == project["name"]
    entry = project["entry-points"]["apache_airflow_provider"]["provider_info"]
    assert locate(entry.replace(":", ".")) is get_provider_info
