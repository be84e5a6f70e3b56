from __future__ import annotations

import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sandbox.__main__ import main
from sandbox.badges import GOLD_CIRCLE, Badge
from sandbox.faults import Route
from sandbox.platform import Platform
from sandbox.server import running_sandbox
from sandbox.settings import MAKER, SWITCHES, SandboxSettings, SettingsError, Till
from tests.sandbox.calling import REQUESTS, WORKFLOW, basic, submission

ROOT = Path(__file__).parents[2]


@contextmanager
def _process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "sandbox", *arguments]
    with subprocess.Popen(  # noqa: S603 - the sandbox itself
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline().strip()
            assert first.startswith("sandbox ready at http://127.0.0.1:")
            yield process, first.rpartition(" ")[2]
        finally:
            process.kill()


def test_the_books_survive_kill_9_and_tokens_with_them(tmp_path: Path, credentials: dict[str, str]) -> None:
    books = str(tmp_path / "books.db")
    with _process("--books", books) as (process, url), httpx.Client(headers=credentials) as client:
        for number in range(5):
            client.post(url + WORKFLOW, json=submission(f"key-{number}", [number + 1]))
        client.post(url + "/_sandbox/approve", json={"request_key": "key-0"})
        client.post(url + "/_sandbox/reject", json={"request_key": "key-1", "message": "No."})
        before = client.get(url + REQUESTS).json()
        oauth = {"key": "sandbox-key", "secret": "sandbox-secret"}
        token = client.post(url + "/v3/oauth/token/generate", json=oauth).json()["data"]["accessToken"]
        process.kill()
        process.wait()
    with running_sandbox(SandboxSettings(books=books)) as sandbox:
        after = httpx.get(sandbox.url + REQUESTS, headers={"X-CAP-API-OAUTH-TOKEN": token}).json()
        assert after == before
        assert set(sandbox.platform.enrolments(GOLD_CIRCLE.badge_id)) == {1}
        assert sandbox.approve_all() == 3
        assert [record.state for record in sandbox.platform.requests()].count("approved") == 4
        twin = httpx.post(sandbox.url + WORKFLOW, json=submission("key-0", [9]), headers=credentials)
        assert twin.status_code == 200
        sandbox.approve("key-0")
        last = sandbox.platform.requests()[-1]
        assert (last.state, last.execution and last.execution.error_codes) == ("failed", (809,))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_promptly_with_exit_code_0(number: signal.Signals) -> None:
    with _process("--checker", "automatic") as (process, url), httpx.Client() as client:
        assert client.get(url + "/_sandbox/checker").status_code == 200
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")
        assert time.monotonic() - began < 3


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 2
    assert f"Port {port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--till", "nobody"], "USER:PASSWORD"),
        (["--till", "sandbox-checker:x"], "another name"),
        (["--page-limit", "0"], "page_limit"),
        (["--page-limit", "101"], "give 1 to 100"),
        (["--books", "/nowhere/at/all/books.db"], "/nowhere/at/all/books.db cannot be used (unable to open"),
        (["--books", str(ROOT)], "in a folder that exists"),
        (["--books", __file__], "file is not a database"),
        (["--port", "65536"], "give another one with --port"),
        (["--port", "-1"], "give another one with --port"),
        (["--host", "203.0.113.9"], "203.0.113.9 cannot be used"),
        (["--delay", "inf"], "delay_s"),
        (["--latency", "nan"], "latency_s"),
        (["--list-lag", "-1"], "list_lag_s"),
        (["--organisation", "-1"], "organisation"),
        (["--timezone", "Atlantis"], "IANA"),
    ],
    ids=str,
)
def test_wrong_choices_name_the_remedy(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_books_of_something_else_are_left_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    books = tmp_path / "other.db"
    with closing(sqlite3.connect(books)) as other:
        other.execute("CREATE TABLE request (id)")
    assert main(["--books", str(books)]) == 2
    assert "give a file of the sandbox's own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "username", "password"),
    [("other:pw", "other", "pw"), ("a:b:c", "a", "b:c"), (f"{MAKER.username}:pw", MAKER.username, "pw")],
)
def test_a_till_of_ones_own_makes_requests_and_its_oauth_client_too(given: str, username: str, password: str) -> None:
    till = replace(MAKER, username=username, password=password)
    organisation = {"X-CAP-API-AUTH-ORG-ID": "100458"}
    with _process("--till", given) as (_, url), httpx.Client(base_url=url, headers=organisation) as client:
        basics = {"Authorization": basic(till)}
        assert client.post(WORKFLOW, json=submission("key-1", [1]), headers=basics).status_code == 200
        oauth = {"key": "sandbox-key", "secret": "sandbox-secret"}
        token = client.post("/v3/oauth/token/generate", json=oauth).json()["data"]["accessToken"]
        tokens = {"X-CAP-API-OAUTH-TOKEN": token}
        assert client.post(WORKFLOW, json=submission("key-2", [2]), headers=tokens).status_code == 200
        former = {"Authorization": basic(MAKER)}
        assert client.post(WORKFLOW, json=submission("key-3", [3]), headers=former).status_code == 401


def test_settings_are_judged_when_switched_too() -> None:
    platform = Platform(SandboxSettings())
    with pytest.raises(SettingsError, match="page_base"):
        platform.switch(page_base=2)
    with pytest.raises(SettingsError, match="no switch"):
        platform.switch(books="elsewhere.db")
    with pytest.raises(SettingsError, match="complete, duplicates, hides"):
        platform.switch(list_rows="sometimes")
    with pytest.raises(SettingsError, match="auto_approve"):
        platform.switch(auto_approve="yes")
    assert platform.settings.page_base == 0
    platform.close()


def test_no_password_is_shown(credentials: dict[str, str]) -> None:
    till = Till(username="a", password="pass-word", user_id=1, user_name="a", may_make=True, may_check=True)
    assert "pass-word" not in repr(SandboxSettings(tills=(till,), clients=()))
    assert credentials["Authorization"].startswith("Basic ")


def test_the_readme_explains_every_switch_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "sandbox" / "README.md").read_text()
    assert [name for name in sorted(SWITCHES) if f"`{name}`" not in readme] == []
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    options = {word.strip("[],") for word in shown.split() if word.strip("[").startswith("--")}
    assert [option for option in sorted(options - {"--help"}) if f"`{option}" not in readme] == []


def test_a_badge_can_be_added_and_is_kept(tmp_path: Path) -> None:
    books = str(tmp_path / "books.db")
    badge_id = "0123456789abcdef01234567"
    document = {"badge_id": badge_id, "name": "Extra", "starts": 0, "expires": 4e9, "enrolled_for_days": 3}
    with running_sandbox(SandboxSettings(books=books)) as sandbox:
        assert httpx.post(f"{sandbox.url}/_sandbox/badges", json=document).status_code == 200
    platform = Platform(SandboxSettings(books=books))
    badge = platform.catalogue.get(badge_id)
    platform.close()
    assert isinstance(badge, Badge)
    assert (badge.name, badge.enrolled_for_days, badge.number) == ("Extra", 3, 9)


def test_many_threads_submit_and_decide_at_once(credentials: dict[str, str]) -> None:
    with running_sandbox() as sandbox:

        def work(first: int) -> None:
            with httpx.Client(base_url=sandbox.url, headers=credentials) as client:
                for number in range(first, first + 20):
                    assert client.post(WORKFLOW, json=submission(f"key-{number}", [number])).status_code == 200
                    sandbox.approve(f"key-{number}")

        threads = [threading.Thread(target=work, args=(first,)) for first in (1, 101, 201, 301)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [record.state for record in sandbox.platform.requests()] == ["approved"] * 80
        assert len(sandbox.platform.enrolments(GOLD_CIRCLE.badge_id)) == 80
        assert sandbox.platform.calls[Route.SUBMIT] == 80


def test_the_books_over_the_admin_routes_hold_no_credential(credentials: dict[str, str]) -> None:
    with running_sandbox() as sandbox, httpx.Client(base_url=sandbox.url, headers=credentials) as client:
        client.post(WORKFLOW, json=submission("key-1", [7]))
        assert client.post("/_sandbox/approve-all").json() == {"decided": 1}
        reply = client.get("/_sandbox/requests")
        assert [record["state"] for record in reply.json()] == ["approved"]
        assert credentials["Authorization"] not in reply.text
        assert list(client.get(f"/_sandbox/enrolments/{GOLD_CIRCLE.badge_id}").json()) == ["7"]
        assert client.get("/_sandbox/enrolments/none").status_code == 404
        assert client.get("/_sandbox/calls").json() == {"submit": 1}


def test_the_sandbox_shares_no_code_with_the_client() -> None:
    modules = list((ROOT / "sandbox").glob("*.py"))
    assert len(modules) > 20
    imports = re.compile(r"^\s*(from|import) (capillary|airflow)\b", re.MULTILINE)
    assert [module.name for module in modules if imports.search(module.read_text())] == []
