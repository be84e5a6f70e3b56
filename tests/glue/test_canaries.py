"""No secret and no personal datum gets out: canaries are let in everywhere and looked for everywhere.

In: passwords, the headers made of them, OAuth secret and token, UI token, the inner header that the platform
echoes in clear, customer ids, and a mobile number and an e-mail address where ids should be. The platform quotes
all of them back in its errors.
Out: logs of all loggers, standard output, XCom values, triggers and their events, exceptions with everything
chained to them, rendered fields, and every text of the ledger.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import sqlite3
import traceback
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import pytest
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from airflow.triggers.base import TriggerEvent
from sqlalchemy import String, create_engine, select, text

from capillary import wiring
from capillary.api.json_body import read_json
from capillary.api.json_fields import fields
from capillary.api.transport import AiohttpTransport, Reply
from capillary.engine import polling
from capillary.ledger.database import Ledger
from capillary.ledger.guards import Guards
from capillary.ledger.migrate import create
from capillary.ledger.schema import metadata
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from capillary.triggers import BadgeRequestTrigger
from sandbox.server import running_sandbox
from sandbox.settings import CHECKER, OAuthClient, SandboxSettings, Till
from tests.glue.conftest import BADGE, SQL, Place

PASSWORD: Final = "canary-password-7431"
INNER_PASSWORD: Final = "canary-inner-8842"
OAUTH_SECRET: Final = "canary-oauth-secret-2206"
MOBILE: Final = "+919876500321"
E_MAIL: Final = "canary.person@brand.example"
FIRST_CUSTOMER: Final = 770_000_000_000_100
NO_GUARDS: Final = Guards(max_jump=None, max_invalid_share=None, max_requests=None, max_open_requests=None)

MAKER = Till(username="canary.till", password=PASSWORD, user_id=1, user_name="maker", may_make=True, may_check=False)
INNER = Till(
    username="canary.inner", password=INNER_PASSWORD, user_id=2, user_name="inner", may_make=True, may_check=False
)
CLIENT = OAuthClient(key="canary-key", secret=OAUTH_SECRET, acts_as=MAKER.username)


def forms_of(login: str, password: str) -> list[str]:
    """Every shape in which a till's password may show."""
    md5 = hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()
    derived = [base64.b64encode(f"{login}:{secret}".encode()).decode() for secret in (md5, password)]
    return [password, md5, *derived]


@dataclass
class Found:
    """Everything that came out, by where."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    raised: int = 0

    def note(self, where: str, what: object) -> None:
        """Keep what came out."""
        self.texts.append((where, json.dumps(what, default=repr) if isinstance(what, Mapping | list) else str(what)))

    def note_error(self, where: str, error: BaseException) -> None:
        """Keep an exception with all that is chained to it, shown to the reader or not."""
        self.raised += 1
        self.note(where, "".join(traceback.format_exception(error)))
        linked: list[BaseException | None] = [error]
        while linked:
            each = linked.pop()
            if each is not None:
                self.note(where, f"{each!r} {each.args!r}")
                linked += [each.__cause__, each.__context__]


def quoted_reply(status: int, canaries: list[str]) -> Reply:
    """An error in whose words the platform quotes everything it was told."""
    words = f"customer {canaries[0]} refused: {'; '.join(canaries[1:])}"
    body = {"data": None, "errors": [{"code": 2008, "message": words}, {"code": 77_777, "message": words}]}
    return Reply(status, {"content-type": "application/json", "x-cap-request-id": "trace-1"}, json.dumps(body).encode())


@dataclass
class Fault:
    """What happens to the calls of one kind in one run."""

    name: str
    applies: Callable[[str, str], bool]
    reply: Callable[[Reply, list[str]], Reply]
    times: int = 1


def _html(_: Reply, canaries: list[str]) -> Reply:
    return Reply(200, {"content-type": "text/html"}, f"<html>{' '.join(canaries)}</html>".encode())


def _half(reply: Reply, _: list[str]) -> Reply:
    return Reply(reply.status, reply.headers, reply.body[: len(reply.body) // 2])


def _status(status: int) -> Callable[[Reply, list[str]], Reply]:
    return lambda _, canaries: quoted_reply(status, canaries)


def _submits(method: str, path: str) -> bool:
    return method == "POST" and path.endswith("ISSUE-BADGE")


def _reads(method: str, path: str) -> bool:
    return method == "GET" and "request-workflow" in path


def _asks_for_a_badge(_: str, path: str) -> bool:
    return "badgeMeta" in path


def _asks_for_a_token(_: str, path: str) -> bool:
    return "oauth" in path


FAULTS = [
    Fault("nothing", lambda *_: False, _html),
    *[Fault(f"submit {status}", _submits, _status(status)) for status in (400, 401, 403, 409, 429, 500)],
    Fault("submit html", _submits, _html),
    Fault("submit cut off", _submits, _half),
    *[Fault(f"read {status}", _reads, _status(status), times=6) for status in (400, 401, 500)],
    Fault("read html", _reads, _html, times=6),
    Fault("read cut off", _reads, _half, times=6),
    Fault("badge 400", _asks_for_a_badge, _status(400)),
    Fault("badge 500", _asks_for_a_badge, _status(500), times=6),
]
FAULTS_OF_OAUTH = [
    Fault("token 400", _asks_for_a_token, _status(400), times=6),
    Fault("token 500", _asks_for_a_token, _status(500), times=6),
    Fault("token html", _asks_for_a_token, _html, times=6),
    *[fault for fault in FAULTS if fault.name in {"nothing", "submit 401", "submit 500", "read 401", "read 500"}],
]


@dataclass
class Aviary:
    """A place full of canaries."""

    place: Place
    found: Found
    monkeypatch: pytest.MonkeyPatch
    ui_token: str
    fault: Fault = field(default_factory=lambda: FAULTS[0])
    runs: int = 0
    oauth: bool = False

    @property
    def customers(self) -> list[int]:
        """This run's customers."""
        return [FIRST_CUSTOMER + self.runs * 10 + n for n in range(3)]

    def canaries(self) -> list[str]:
        """Everything that must not get out, in every shape: what this connection knows, and whom it enrols."""
        outer = [OAUTH_SECRET, *self.found.tokens] if self.oauth else forms_of(MAKER.username, PASSWORD)
        secrets = [*outer, *forms_of(INNER.username, INNER_PASSWORD), self.ui_token]
        everybody = [str(FIRST_CUSTOMER + run * 10 + n) for run in range(self.runs + 1) for n in range(3)]
        return [*everybody[::-1], MOBILE, E_MAIL, *secrets]

    def connect(self, *, oauth: bool) -> None:
        """Define the platform's connection, with a till or with an OAuth client."""
        self.oauth = oauth
        client = {"oauth_key": CLIENT.key, "oauth_secret": OAUTH_SECRET} if oauth else {}
        till = {} if oauth else {"login": MAKER.username, "password": PASSWORD}
        extra = {
            "organisation_id": "100458",
            "calls_per_minute": 60_000,
            "visibility_lag_s": 0,
            "post_timeout_s": 2,
            "connect_timeout_s": 1,
            "ui_token": self.ui_token,
            "inner_conn_id": "capillary_inner",
        }
        self.place.connect("capillary_inner", conn_type="generic", login=INNER.username, password=INNER_PASSWORD)
        self.place.connect(
            "capillary", conn_type="capillary", host=self.place.sandbox.url, extra=extra | client, **till
        )

    def fly(self, fault: Fault) -> None:
        """One run of a campaign under a fault, from the query to the report."""
        self.runs += 1
        self.fault = fault
        rows = [*self.customers, MOBILE, E_MAIL, f" {self.customers[0]}"]
        # By the driver: what SQLAlchemy logs of this test's own rows is not a leak.
        with closing(sqlite3.connect(self.place.warehouse.removeprefix("sqlite:///"))) as conn, conn:
            conn.execute("DELETE FROM vip")
            conn.executemany("INSERT INTO vip VALUES (?)", [(row,) for row in rows])
        run_id = f"run {self.runs}"
        arguments: dict[str, Any] = {**BADGE, "occasion": run_id, "customers_per_request": 2}
        dry = PlanBadgesOperator(task_id="extract", sql=SQL, guards=NO_GUARDS, dry_run=True, **arguments)
        self._run(dry, f"dry {run_id}")
        operator = PlanBadgesOperator(task_id="extract", sql=SQL, guards=NO_GUARDS, **arguments)
        plan = self._run(operator, run_id) or self._run(operator, run_id)
        self._run(handed(IssueBadgeOperator, plan=plan), run_id)
        self._run(handed(IssueBadgeOperator, plan=plan), run_id)  # the retry
        self._wait(plan, run_id)
        self.place.sandbox.approve_all(f"approved for {run_id}")
        self.fault = FAULTS[0]
        self._wait(plan, run_id)
        self._run(handed(ReportBadgesOperator, plan=plan), run_id)

    def _run(self, operator: Any, run_id: str) -> Any:  # noqa: ANN401 - any operator, any XCom
        rendered = {name: getattr(operator, name) for name in operator.template_fields}
        self.found.note("rendered fields", rendered)
        context = self.place.context(run_id, operator.task_id)
        try:
            value = operator.execute(context)
        except TaskDeferred as deferred:
            return deferred
        except AirflowException as error:
            self.found.note_error("exception", error)
            return None
        finally:
            self.found.note("XCom", dict(self.place.pushed.values))
        self.found.note("XCom", value)
        return value

    def _wait(self, plan: object, run_id: str) -> None:
        deferred = self._run(handed(BadgeRequestSensor, plan=plan), run_id)
        if not isinstance(deferred, TaskDeferred):
            return
        assert isinstance(deferred.trigger, BadgeRequestTrigger)
        path, arguments = deferred.trigger.serialize()
        self.found.note("trigger", {"path": path, **arguments})
        event = fired(deferred.trigger)
        self.found.note("event", event.payload if event is not None else {})


def handed(operator: type[Any], **rendered: object) -> Any:  # noqa: ANN401 - an operator of that class
    """Return an operator whose template came out as what another task has handed over, or nothing."""
    task = operator(task_id=operator.__name__, **dict.fromkeys(rendered, "{{ handed }}"))
    for name, value in rendered.items():
        setattr(task, name, value)
    return task


def fired(trigger: BadgeRequestTrigger) -> TriggerEvent | None:
    """Let a trigger poll until it fires: at its deadline, which comes after one more poll."""

    async def first() -> TriggerEvent | None:
        events = cast("AsyncGenerator[TriggerEvent]", trigger.run())
        async with aclosing(events):
            return await anext(events)

    trigger.poll_interval_s = 0.1
    trigger.deadline = datetime.now(UTC).isoformat()
    return asyncio.run(first())


@pytest.fixture
def aviary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, no_pauses: None
) -> Iterator[Aviary]:
    url, warehouse = f"sqlite:///{tmp_path}/ledger.db", f"sqlite:///{tmp_path}/warehouse.db"
    with Ledger(url, new=True) as empty:
        create(empty.engine)
    engine = create_engine(warehouse)
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE vip (customer_id)"))
    engine.dispose()
    listen_to_everything(caplog)
    monkeypatch.setattr(polling, "QUIET_S", 0.01)
    settings = SandboxSettings(tills=(MAKER, INNER, CHECKER), clients=(CLIENT,))
    with running_sandbox(settings) as sandbox, Ledger(url) as ledger:
        place = Place(sandbox, ledger, warehouse, monkeypatch)
        monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
        place.connect("badge_ledger", conn_type="sqlite", host=f"{tmp_path}/ledger.db")
        place.connect("warehouse", conn_type="sqlite", host=f"{tmp_path}/warehouse.db")
        aviary = Aviary(place, Found(), monkeypatch, sandbox.platform.access.ui_token(MAKER.username))
        monkeypatch.setattr(wiring, "AiohttpTransport", spoiling(aviary))
        yield aviary


def listen_to_everything(caplog: pytest.LogCaptureFixture) -> None:
    """Hear every logger at DEBUG. SQLAlchemy's own at INFO: at DEBUG it prints the rows it reads, as its docs say."""
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        of_sqlalchemy = name.split(".")[0] == "sqlalchemy"
        caplog.set_level(logging.INFO if of_sqlalchemy else logging.DEBUG, logger=name)
        if not logging.getLogger(name).propagate:
            logging.getLogger(name).addHandler(caplog.handler)
    for name in ("capillary", "aiohttp", "asyncio", "sqlalchemy.engine", "airflow"):
        caplog.set_level(logging.INFO if name.startswith("sqlalchemy") else logging.DEBUG, logger=name)


def spoiling(aviary: Aviary) -> type[AiohttpTransport]:
    """A transport that makes the call, notes the tokens it brings, and spoils the reply as the fault says."""

    class Spoiling(AiohttpTransport):
        async def call(self, method: str, url: str, **options: Any) -> Reply:  # noqa: ANN401 - as it comes
            reply = await super().call(method, url, **options)
            token = fields(fields(read_json(reply.body)).get("data")).get("accessToken")
            if isinstance(token, str):
                aviary.found.tokens.add(token)
            fault = aviary.fault
            if fault.times and fault.applies(method, url):
                aviary.fault = Fault(fault.name, fault.applies, fault.reply, fault.times - 1)
                return fault.reply(reply, aviary.canaries())
            return reply

    return Spoiling


def texts_of(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Every text of the ledger, by table and column."""
    with ledger.read() as tx:
        for table in metadata.sorted_tables:
            for column in table.columns:
                if isinstance(column.type, String):
                    for value in tx.conn.execute(select(column).where(column.is_not(None))).scalars():
                        yield f"ledger {table.name}.{column.name}", value


@pytest.mark.parametrize("oauth", [False, True], ids=["till", "oauth"])
def test_nothing_gets_out(
    aviary: Aviary, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], oauth: bool
) -> None:
    aviary.connect(oauth=oauth)
    for fault in FAULTS_OF_OAUTH if oauth else FAULTS:
        aviary.fly(fault)
    found = aviary.found
    found.texts += texts_of(aviary.place.ledger)
    formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
    found.texts += [("log", formatter.format(record)) for record in caplog.records]
    out = capfd.readouterr()
    found.texts += [("standard output", out.out), ("standard error", out.err)]

    _assert_the_search_is_worth_something(aviary, oauth=oauth)
    canaries = aviary.canaries()
    leaks = {
        f"{where}: …{what[max(0, what.index(canary) - 60) : what.index(canary)]}<canary {number} of {len(canaries)}>"
        for where, what in found.texts
        for number, canary in enumerate(canaries)
        if canary in what
    }
    assert sorted(leaks) == []


def _assert_the_search_is_worth_something(aviary: Aviary, *, oauth: bool) -> None:
    found = aviary.found
    places = {where.split(" ")[0] for where, _ in found.texts}
    assert places >= {"rendered", "XCom", "trigger", "event", "exception", "ledger", "log"}
    assert found.raised >= 5
    handed_on = [what for where, what in found.texts if where == "XCom"]
    assert any('"mark": {' in what and '"sample": ["' in what for what in handed_on), "a dry run's"
    assert bool(found.tokens) == oauth
    assert any("capillary.submit" in what for where, what in found.texts if where == "log")
    sent = aviary.place.sent()
    assert len(set(sent)) == len(sent) > 8
    assert set(sent) <= {FIRST_CUSTOMER + n for n in range((aviary.runs + 1) * 10)}
    echoed = aviary.place.sandbox.platform.books.requests(bodies=True)[0].payload
    assert base64.b64encode(forms_of(INNER.username, INNER_PASSWORD)[1].encode()) not in echoed
    assert forms_of(INNER.username, INNER_PASSWORD)[2].encode() in echoed, "the platform does echo it"


def test_customers_given_inline_are_no_rendered_field(aviary: Aviary) -> None:
    aviary.connect(oauth=False)
    aviary.runs = 1
    operator = IssueBadgeOperator(task_id="submit", customers=aviary.customers, guards=NO_GUARDS, **BADGE)
    aviary._run(operator, "inline")
    assert not any(str(customer) in what for _, what in aviary.found.texts for customer in aviary.customers)
