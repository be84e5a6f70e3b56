"""The daily questions: what each shows, as columns of CSV and JSON, and as what people read."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final, TextIO, TypeAlias

from capillary.commands.output_formats import Row, print_blocks, print_table
from capillary.engine.attention import said_of
from capillary.engine.remedies import advice, meaning_of
from capillary.ledger.answers import Asked, CustomerAttempt, OpenRequest, PlannedRun
from capillary.ledger.attention import attention
from capillary.ledger.database import Transaction
from capillary.ledger.questions import customer_history, failed_customers, open_requests, planned_runs
from capillary.ledger.reports import FailureCount
from capillary.ledger.status import Outcome

#: Rows as they stream in; closed before the ledger is.
Rows: TypeAlias = Generator[Row]


@dataclass(frozen=True, slots=True)
class Question:
    """One of the commands.

    Attributes:
        help: of the command.
        answer: the rows, from the ledger; of one customer, where the question is about one.
        columns: of CSV and JSON: all.
        table: those that people are shown.
        nothing: said where there are no rows.
        for_people: writes the rows for people.
        since: what the option `--since` is about; empty where there is none.
    """

    help: str
    answer: Callable[[Transaction, int, Asked], Rows]
    columns: Sequence[str]
    table: Sequence[str]
    nothing: str
    since: str = ""
    for_people: Callable[[Iterable[Row], Sequence[str], TextIO], int] = print_table


def _customer(tx: Transaction, customer_id: int, asked: Asked) -> Rows:
    found = customer_history(tx, customer_id, account=asked.account, campaign=asked.campaign)
    return (_attempt(each) for each in found)


def _waiting(tx: Transaction, _: int, asked: Asked) -> Rows:
    return (asdict(each) for each in open_requests(tx, asked))


def _runs(tx: Transaction, _: int, asked: Asked) -> Rows:
    return (_run(each) for each in planned_runs(tx, asked))


def _attention(tx: Transaction, _: int, asked: Asked) -> Rows:
    for matter in attention(tx):
        if asked.account not in (None, matter.account) or asked.campaign not in (None, matter.campaign):
            continue
        said = said_of(matter, tx.now)
        yield {
            **{name: getattr(matter, name) for name in _MATTER},
            "title": said.title,
            "means": said.means,
            "to_do": said.to_do,
        }


def _failure(tx: Transaction, _: int, asked: Asked) -> Rows:
    for each in failed_customers(tx, asked):
        failure = FailureCount(each.outcome or Outcome.UNCONFIRMED, each.code, 1)
        yield {**_attempt(each), "to_do": advice(failure).to_do}


def _attempt(attempt: CustomerAttempt) -> Row:
    """Return an attempt with the meaning of its code; the code of one who has the badge means no failure."""
    return asdict(attempt) | {"meaning": None if attempt.code is None else meaning_of(attempt.code)}


def _run(run: PlannedRun) -> Row:
    counts = run.funnel
    named = {field.name: getattr(run, field.name) for field in fields(run) if field.name != "funnel"}
    return named | {
        "canary": counts.canary,
        "eligible": counts.eligible,
        "invalid": counts.invalid,
        "duplicates": counts.duplicates,
        "known_before": counts.known_before,
        "over_cap": counts.over_cap,
        "planned": counts.planned,
        **{str(outcome): counts.outcomes[outcome] for outcome in Outcome},
        "open": counts.open,
        "discarded": counts.discarded,
        "requests": counts.requests,
        "requests_open": counts.requests_open,
        "auto_approved": counts.requests_auto_approved,
    }


_ATTEMPT: Final = tuple(field.name for field in fields(CustomerAttempt))
_WITH_MEANING: Final = (*_ATTEMPT[: _ATTEMPT.index("code") + 1], "meaning", *_ATTEMPT[_ATTEMPT.index("code") + 1 :])
_FUNNEL: Final = (
    *("eligible", "invalid", "duplicates", "known_before", "over_cap", "planned"),
    *(str(outcome) for outcome in Outcome),
    *("open", "discarded"),
)

#: Of a matter; what it is, means and asks for is said in three more.
_MATTER: Final = (
    *("kind", "account", "campaign", "dag_id", "run_id", "requests", "customers", "since", "until", "failed_checks"),
    "urgency",
)

QUESTIONS: Final = {
    "attention": Question(
        help="what needs a person now, the most urgent first: what it is, what it means, the one thing to do",
        answer=_attention,
        columns=("title", "means", "to_do", *_MATTER),
        table=("urgency", "title", "means", "to_do", "dag_id", "run_id", "since"),
        nothing="nothing needs anybody",
        for_people=print_blocks,
    ),
    "failed": Question(
        help="customers whose last attempt ended without the badge: outcome, code, the checker's words",
        answer=_failure,
        columns=(*_WITH_MEANING, "to_do"),
        table=(
            *("campaign", "occasion", "customer_id", "outcome", "code", "meaning", "checker_message"),
            *("request_error", "settled_at", "request_key"),
        ),
        nothing="nobody's last attempt ended without the badge",
        since="settled",
    ),
    "waiting": Question(
        help="requests that are not settled: age, approvals that a human owes, account and connection",
        answer=_waiting,
        columns=tuple(field.name for field in fields(OpenRequest)),
        table=(
            *("campaign", "occasion", "age_s", "approvals", "status", "states", "customers", "connection", "account"),
            *("request_key", "platform_request_ids", "resends", "failed_checks", "request_error"),
        ),
        nothing="every request is settled",
        since="first sent",
    ),
    "customer": Question(
        help="every attempt at one customer: status, outcome, code, the checker's words, request and run",
        answer=_customer,
        columns=_WITH_MEANING,
        table=(
            *("campaign", "occasion", "attempt", "status", "outcome", "code", "meaning", "checker_message"),
            *("request_error", "issued_id", "request_key", "platform_request_ids", "dag_id", "run_id"),
            *("first_sent_at", "settled_at", "badge_id", "account"),
        ),
        nothing="the ledger has no row of this customer: no run has planned them, or they were given back unsent, or "
        "erased",
        for_people=print_blocks,
    ),
    "runs": Question(
        help="runs and their funnels: where the customers of each went",
        answer=_runs,
        columns=(
            *(field.name for field in fields(PlannedRun) if field.name != "funnel"),
            *("canary", *_FUNNEL, "requests", "requests_open", "auto_approved"),
        ),
        table=("planned_at", "campaign", "canary", *_FUNNEL, "requests_open", "auto_approved", "run_id"),
        nothing="no run has planned anything",
        since="planned",
    ),
}
