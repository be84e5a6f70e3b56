"""The module in the browser: no link becomes a script or another host, and no customer's id reaches an address.

It runs in Node.js, without a browser. Where there is none it is skipped, but not in CI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from capillary.ui.rendering import STATIC

NODE = shutil.which("node")
#: A link of a page → what it becomes, and where a click leads inside Airflow's UI.
LINKS: dict[str, tuple[str | None, str | None]] = {
    "https://airflow.example/javascript:alert(1)//": (
        "https://airflow.example/javascript:alert(1)//",
        "/javascript:alert(1)//",
    ),
    "https://airflow.example/data:text/html,x": ("https://airflow.example/data:text/html,x", "/data:text/html,x"),
    "https://airflow.example//evil.example/x": ("https://airflow.example//evil.example/x", None),
    "https://airflow.example/dags/gold_tier": ("https://airflow.example/dags/gold_tier", "/dags/gold_tier"),
    "https://airflow.example/capillary/customer#7": (
        "https://airflow.example/plugin/badges/customer#7",
        "/plugin/badges/customer#7",
    ),
    "https://airflow.example/capillary/runs/gold_tier/r1#4-1000042": (
        "https://airflow.example/dags/gold_tier/runs/r1/plugin/badges_run#4-1000042",
        "/dags/gold_tier/runs/r1/plugin/badges_run#4-1000042",
    ),
    "https://airflow.example/capillary/confirm/retry/gold_tier/r1?take=-&take=failed%3A500": (
        "https://airflow.example/plugin/badges/confirm/retry/gold_tier/r1?take=-&take=failed%3A500",
        "/plugin/badges/confirm/retry/gold_tier/r1?take=-&take=failed%3A500",
    ),
    "https://checker.example/queue": ("https://checker.example/queue", None),
    "javascript:alert(1)": (None, None),
    "data:text/html,x": (None, None),
}


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    if NODE is None:
        assert not os.environ.get("CI"), "CI installs Node.js (.ci/debian)"
        pytest.skip("Node.js is not installed: apt-get install nodejs")
    script = Path(__file__).with_name("shell_test.mjs")
    command = [NODE, str(script), str(STATIC / "shell.js"), json.dumps(list(LINKS))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own script
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_a_link_leads_to_the_same_host_by_the_same_scheme_or_nowhere(said: dict[str, Any]) -> None:
    assert dict(zip(LINKS, said["wired"], strict=True)) == {link: made for link, (made, _) in LINKS.items()}


def test_a_click_leads_within_airflow_and_never_runs_a_script(said: dict[str, Any]) -> None:
    for link, (prevented, path) in zip(LINKS, said["shown"], strict=True):
        made, within = LINKS[link]
        assert path == within, link
        assert prevented is (within is not None or made is None), link


def test_the_bar_loses_the_customers_id_and_the_history_keeps_it(said: dict[str, Any]) -> None:
    assert said["replaced"] == [{"key": "k", "badgePlace": "1000042"}, "https://airflow.example/capillary/customer"]
    assert said["place"] == said["again"] == "https://airflow.example/capillary/customer#1000042"


def test_who_must_log_in_again_is_sent_back_without_the_customers_id(said: dict[str, Any]) -> None:
    assert said["fetched"] == [["https://airflow.example/capillary/customer", "1000042"]]
    assert said["login"].endswith("?next=https%3A%2F%2Fairflow.example%2Fplugin%2Fbadges%2Fcustomer")


def test_a_run_that_was_just_made_is_shown_by_a_fresh_airflow(said: dict[str, Any]) -> None:
    made = "manual__2026-11-27T06:49:00+00:00"
    assert said["gone"] == [
        ["loads", f"https://airflow.example/dags/gold_tier/runs/{made}/plugin/badges_run"],
        ["navigates", "/dags/gold_tier/runs/r1/plugin/badges_run"],
        ["loads", f"https://airflow.example/capillary/runs/gold_tier/{made}"],
        ["loads", "https://airflow.example/capillary/runs/gold_tier/r1"],
    ]


def test_a_page_that_the_browser_kept_as_it_was_left_is_drawn_again(said: dict[str, Any]) -> None:
    assert said["back"] == ["x", True], "once, where it was kept; and nobody listens when it is closed"


def test_the_tab_of_a_run_is_left_each_time_that_the_window_becomes_narrow(said: dict[str, Any]) -> None:
    assert said["narrow"] == [[1, 1, 2], None], "narrow, wide, narrow; and nobody listens when the tab is closed"


def test_a_list_that_somebody_points_at_keeps_its_rows_for_a_minute(said: dict[str, Any]) -> None:
    assert said["renewed"] == [True, False, False, True]
