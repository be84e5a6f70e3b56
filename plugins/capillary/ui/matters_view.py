"""One thing that needs a person as the page Badges shows it: its words, its colour, and what its reader may do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from capillary.engine.attention import Said, said_of
from capillary.engine.remedies import retry_of
from capillary.ledger.matters import Kind, Matter, Urgency
from capillary.ui.access import Reader
from capillary.ui.airflow_facts import CampaignDag
from capillary.ui.failed_runs import Failures
from capillary.ui.headline import Tone
from capillary.ui.run_view import checker_url

#: The colour of each urgency, which says nothing alone.
_TONES: Final[Mapping[Urgency, Tone]] = {
    Urgency.RED: Tone.BAD,
    Urgency.YELLOW: Tone.WARN,
    Urgency.BLUE: Tone.WAIT,
    Urgency.GREEN: Tone.GOOD,
    Urgency.GREY: Tone.CALM,
}
_TAGS: Final[Mapping[Kind, str]] = {
    Kind.UNKNOWN_KEY: "Unknown request",
    Kind.AUTO_APPROVED: "Auto-approved",
    Kind.STOPPED: "Stopped",
    Kind.FILE_BROKEN: "File broken",
    Kind.RUN_FAILED: "Run failed",
    Kind.IN_DOUBT: "In doubt",
    Kind.DISTRUSTED: "List not trusted",
    Kind.KEEPING_LATE: "No housekeeping",
    Kind.LIST_UNREAD: "List not read",
    Kind.UNSETTLED: "Not settled",
    Kind.WAITING: "Checker",
    Kind.FAILED: "No badge",
    Kind.CANARY_WAITS: "Held back",
    Kind.CANARY_PASSED: "Rest left",
    Kind.PAUSED: "Paused",
}


#: What happened at `Matter.since`.
_SINCE: Final[Mapping[Kind, str]] = {
    Kind.UNKNOWN_KEY: "seen",
    Kind.AUTO_APPROVED: "seen approved",
    Kind.STOPPED: "stopped",
    Kind.IN_DOUBT: "sent",
    Kind.DISTRUSTED: "missed",
    Kind.KEEPING_LATE: "last ended",
    Kind.LIST_UNREAD: "last read",
    Kind.UNSETTLED: "seen decided",
    Kind.WAITING: "sent",
    Kind.RUN_FAILED: "ended",
    Kind.FAILED: "planned",
    Kind.CANARY_WAITS: "planned",
    Kind.CANARY_PASSED: "planned",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MatterShown:
    """One thing that needs a person, in words.

    Attributes:
        matter: what the ledger or Airflow knows.
        said: the words.
        tone, tag: how urgent, and its kind in two words.
        run: dag_id and run_id of the run to look at first; None without one, or where the reader may not see it.
        log: where Airflow shows the log of the task that failed, below the address of its run; empty without one.
        since: what happened at the matter's moment, in a word or two.
        read_at: when the platform's list was last read, of what waits to be decided; None elsewhere.
        may_look: whether this reader may have the list read now, for a run that waits.
        checker_url: the checker's page, where a human has to decide there; empty elsewhere.
        may_resume: the connection by which this reader may resume; None where they may not, or nothing is stopped.
        may_trigger: whether this reader may start a run of the campaign that submits, and nothing is in its way.
        worth_retrying: whether a retry now would take anybody.
    """

    matter: Matter
    said: Said
    tone: Tone
    tag: str
    run: tuple[str, str] | None
    log: tuple[str, ...]
    since: str
    read_at: datetime | None
    may_look: bool
    checker_url: str
    may_resume: str | None
    may_trigger: bool
    worth_retrying: bool

    @property
    def is_stored(self) -> bool:
        """Whether Airflow keeps what it means as a sentence of then, which is shown as it is."""
        return self.matter.kind in {Kind.RUN_FAILED, Kind.FILE_BROKEN}


def shown_matter(
    matter: Matter,
    reader: Reader,
    now: datetime,
    connections: Sequence[str],
    dags: Mapping[str, CampaignDag],
    failures: Failures,
    stopped: Collection[tuple[str | None, str | None]] = (),
) -> MatterShown:
    """Return a matter as it is shown; what the state of its run adds comes with `standing`.

    Args:
        matter: of the ledger, or of Airflow.
        reader: who looks.
        now: up to when ages are counted.
        connections: of its account, the last used first.
        dags: the campaigns.
        failures: of their runs.
        stopped: account and campaign of each stop; None: the whole account.
    """
    visible = matter.dag_id is not None and matter.run_id is not None and matter.dag_id in reader.dag_ids
    if not visible:
        matter = replace(matter, dag_id=None, run_id=None)
    dag = dags.get(matter.dag_id or "")
    connection = matter.connection or next(iter(connections), None)
    task = failures.tasks.get((matter.dag_id or "", matter.run_id or "")) if matter.kind is Kind.RUN_FAILED else None
    # Its page would refuse the order as long as this stands in the way.
    held_back = (matter.account, None) in stopped or (matter.account, matter.campaign) in stopped
    may_run = dag is not None and dag.live and not dag.broken and not held_back
    return MatterShown(
        matter=matter,
        said=said_of(matter, now, on_page=True),
        tone=_TONES[matter.urgency],
        tag=_TAGS[matter.kind],
        run=(matter.dag_id, matter.run_id) if matter.dag_id and matter.run_id else None,
        log=task.log if task else (),
        since=_SINCE.get(matter.kind, ""),
        read_at=None,
        may_look=False,
        checker_url=checker_url(connection) if matter.asks_checker and connection else "",
        may_resume=reader.may_stop_any(connections) if matter.kind is Kind.STOPPED else None,
        may_trigger=dag is not None and may_run and not _is_held(matter, dag) and reader.may_trigger(dag.dag_id),
        worth_retrying=retry_of(matter.failures).may_help,
    )


def standing(shown: MatterShown, state: str, reader: Reader, read_at: datetime | None) -> MatterShown:
    """Return a matter with what the state of its run in Airflow adds."""
    if shown.matter.kind is Kind.CANARY_PASSED and state not in {"success", "failed"}:
        return replace(shown, may_trigger=False)  # the next page would refuse: the run is not over
    if shown.matter.kind is not Kind.WAITING:
        return shown
    dag_id = shown.matter.dag_id
    may_look = state == "running" and dag_id is not None and reader.may_clear(dag_id)
    return replace(shown, read_at=read_at, may_look=may_look)


def _is_held(matter: Matter, dag: CampaignDag) -> bool:
    """Return whether a retry would plan nobody, as an open request holds every run with *Canary* on."""
    return matter.kind is Kind.FAILED and matter.holding is not None and dag.canary
