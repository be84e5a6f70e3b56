"""What the connections of campaigns answer: each is asked once, all at the same time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy import Engine

from capillary.api.badges import Badge
from capillary.api.outside_text import on_one_line
from capillary.api.settings import PlatformSettings
from capillary.check.connections import (
    ANSWER_WITHIN_S,
    answers_within,
    ledger_says,
    platform_says,
    read_badges,
    warehouse_says,
)
from capillary.check.finding import Finding, Verdict
from capillary.check.plans import Planning
from capillary.errors import CapillaryError
from capillary.ledger.stops import Stop


@dataclass(frozen=True, slots=True)
class Answers:
    """What the connections say, each asked once.

    Attributes:
        platforms: by connection: settings.
        warehouses: by connection: an engine that has answered.
        ledgers: by connection: what is stopped, and the ledger's clock.
        badges: by connection and badge id.
    """

    platforms: dict[str, PlatformSettings] = field(default_factory=dict)
    warehouses: dict[str, Engine] = field(default_factory=dict)
    ledgers: dict[str, tuple[tuple[Stop, ...], datetime]] = field(default_factory=dict)
    badges: dict[tuple[str, str], Badge | CapillaryError | None] = field(default_factory=dict)


def ask(answers: Answers, users: Mapping[tuple[str, str], list[str]]) -> Iterator[Finding]:
    """Ask all connections at once; what answers is kept."""
    by_attribute: Mapping[str, Callable[[Answers, str], Finding]] = {
        "capillary_conn_id": _ask_platform,
        "warehouse_conn_id": _ask_warehouse,
        "ledger_conn_id": _ask_ledger,
    }
    asked = sorted(users)
    told = answers_within(
        ANSWER_WITHIN_S, [(conn_id, partial(by_attribute[attribute], answers, conn_id)) for attribute, conn_id in asked]
    )
    for (attribute, conn_id), said in zip(asked, told, strict=True):
        if isinstance(said, Finding):
            yield said
            continue
        words = str(said)
        if not isinstance(said, CapillaryError):  # a provider's own; its words may quote a password
            words = f"it cannot be used ({type(said).__name__}). Correct its fields and its extra"
        yield Finding(Verdict.FAILS, _connection(conn_id), f"used by {', '.join(users[attribute, conn_id])}", words)


def _ask_platform(answers: Answers, conn_id: str) -> Finding:
    settings, said = platform_says(conn_id)
    answers.platforms[conn_id] = settings
    if not settings.submitting:  # of each campaign that is live it is told that its runs fail
        return Finding(Verdict.BEWARE, _connection(conn_id), "", on_one_line(said))
    return Finding(Verdict.OK, _connection(conn_id), "", on_one_line(said))


def _ask_warehouse(answers: Answers, conn_id: str) -> Finding:
    engine = answers.warehouses[conn_id] = warehouse_says(conn_id)
    return Finding(Verdict.OK, _connection(conn_id), "", f"a {engine.dialect.name} database that answers")


def _ask_ledger(answers: Answers, conn_id: str) -> Finding:
    answers.ledgers[conn_id] = ledger_says(conn_id)
    return Finding(Verdict.OK, _connection(conn_id), "", "a ledger of this version that keeps its promises")


def _connection(conn_id: str) -> str:
    return f"connection {conn_id!r}"


def ask_for_badges(answers: Answers, plannings: list[Planning]) -> None:
    """Read the badges that runs look at before they plan, each once."""
    wanted = defaultdict[str, dict[str, None]](dict)
    for planning in plannings:
        task = planning.task
        if task.preflight and task.capillary_conn_id in answers.platforms and isinstance(task.badge_id, str):
            wanted[task.capillary_conn_id][task.badge_id] = None
    for conn_id, badge_ids in wanted.items():
        for badge_id, badge in read_badges(answers.platforms[conn_id], list(badge_ids)).items():
            answers.badges[conn_id, badge_id] = badge
