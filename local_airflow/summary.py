"""The report of a finished run: its funnel, its failures by code, its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from local_airflow.errors import CampaignUnavailableError, LocalAirflowError

#: Steps of the funnel in their order, with what each means. Indented ones are parts of the one above.
FUNNEL = (
    ("eligible", "eligible", "rows that the query returned"),
    ("invalid", "  invalid", "no customer id"),
    ("duplicates", "  duplicates", "the same customer again"),
    ("known_before", "  known before", "planned or done by an earlier run"),
    ("over_cap", "  over the cap", "left for a later run"),
    ("planned", "  planned", "put into requests"),
    ("enrolled", "    enrolled", "the platform said so, customer by customer"),
    ("already_enrolled", "    already enrolled", "had the badge before"),
    ("rejected", "    rejected", "by the checker"),
    ("failed", "    failed", "the platform refused the customer"),
    ("not_accepted", "    not accepted", "the platform refused the request"),
    ("unconfirmed", "    unconfirmed", "the platform's words leave it open"),
    ("open", "    open", "not decided yet"),
    ("discarded", "    given back", "never sent; a later run takes them"),
)
#: What `planned` means in a run that wrote nothing.
OF_A_DRY_RUN = "would be put into requests"
#: Steps that matter only where somebody is in them.
HIDDEN_AT_ZERO = frozenset({"over_cap", "rejected", "failed", "not_accepted", "unconfirmed", "open", "discarded"})
#: The platform's words, which a dry run does not ask for.
ENDINGS = frozenset({"enrolled", "already_enrolled"})


@dataclass(frozen=True, slots=True)
class Failure:
    """Customers who ended alike, for the same reason. `code` is the platform's; None where it gave none."""

    outcome: str
    code: int | None
    meaning: str
    customers: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a campaign's task `report` returns."""

    passed: bool
    sentence: str
    dry_run: bool
    canary_passed: bool
    waits_for_canary: bool
    left_over: int
    requests: int
    funnel: Mapping[str, int]
    failures: Sequence[Failure]

    @classmethod
    def parse(cls, value: object) -> Report:
        """Read it from what the task returned.

        Raises:
            CampaignUnavailableError: it is not a report at all.
            LocalAirflowError: it is one of another version.
        """
        if not isinstance(value, Mapping):
            raise CampaignUnavailableError(
                "the run has ended, but no task `report` returned a report: give a campaign, not another DAG"
            )
        report: Mapping[str, Any] = value
        try:
            return cls(
                passed=report["verdict"] == "pass",
                sentence=str(report["sentence"]),
                dry_run=bool(report["dry_run"]),
                canary_passed=bool(report["canary_passed"]),
                waits_for_canary=bool(report["waits_for_canary"]),
                left_over=int(report["left_over"]),
                requests=int(report["requests"]),
                funnel={name: int(report["funnel"][name]) for name, _, _ in FUNNEL},
                failures=[
                    Failure(
                        outcome=str(failure["outcome"]),
                        code=None if failure["code"] is None else int(failure["code"]),
                        meaning=str(failure["meaning"]),
                        customers=int(failure["customers"]),
                    )
                    for failure in report["failures"]
                ],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise LocalAirflowError(
                f"the report of the run cannot be read ({type(error).__name__}: {error}): its task `report` "
                "and local_airflow/summary.py must be of the same version"
            ) from error


def print_report(report: Report, console: Console) -> None:
    """Print the funnel, the failures and the verdict."""
    console.print(_funnel(report), soft_wrap=False)
    if report.failures:
        console.print(_failures(report), soft_wrap=False)
    verdict, style = ("PASS", "bold green") if report.passed else ("FAIL", "bold red")
    console.print(Text.assemble((verdict, style), " ", report.sentence))


def _funnel(report: Report) -> Table:
    table = Table(title="Dry run" if report.dry_run else "Funnel", title_justify="left", title_style="bold")
    table.add_column("step")
    table.add_column("customers", justify="right")
    table.add_column("meaning", style="bright_black")
    for name, label, meaning in FUNNEL:
        customers = report.funnel[name]
        hidden = HIDDEN_AT_ZERO | ENDINGS if report.dry_run else HIDDEN_AT_ZERO
        if customers or name not in hidden:
            said = OF_A_DRY_RUN if report.dry_run and name == "planned" else meaning
            table.add_row(label, f"{customers:,}", said)
    return table


def _failures(report: Report) -> Table:
    table = Table(title="Failures by code", title_justify="left", title_style="bold")
    table.add_column("outcome")
    table.add_column("code", justify="right")
    table.add_column("meaning")
    table.add_column("customers", justify="right")
    for failure in sorted(report.failures, key=lambda failure: -failure.customers):
        code = "-" if failure.code is None else str(failure.code)
        table.add_row(failure.outcome, code, failure.meaning, f"{failure.customers:,}")
    return table
