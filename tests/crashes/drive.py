"""Bring an installation to its end as Airflow and a checker would: start again what failed, approve, wait, report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.crashes.installation import LATER_S, Installation
from tests.crashes.job import RETRIED, Ending, Task, TaskEnd

#: Starts of one task before the case counts as one that never comes to rest.
STARTS: Final = 8
#: Rounds of the checker and of the waiting task after that.
ROUNDS: Final = 6


def at_rest(installation: Installation, task: Task, **options: Any) -> Ending:  # noqa: ANN401 - the arguments of `Installation.start`
    """Start a task until it comes to an end that Airflow does not try again; return its last end."""
    ending = installation.run(task, **options)
    for _ in range(STARTS - 1):
        if ending.how not in RETRIED:
            break
        installation.clock.jump(LATER_S)
        ending = installation.run(task, **options)
    return ending


def to_the_end(
    installation: Installation, plans: Mapping[str, Mapping[str, Any]], *, submit: Iterable[str] = ()
) -> list[str]:
    """Let the runs' tasks come to their ends while a checker approves; return what did not.

    Args:
        installation: whose processes have all ended.
        plans: what the planning task returned, by run.
        submit: runs whose submitting task is started first.
    """
    for run_id in submit:
        ending = at_rest(installation, Task.SUBMIT, run_id=run_id, plan=plans[run_id])
        if ending.how in RETRIED:
            return [f"submit of {run_id} does not come to rest: {ending.said}"]
    for _ in range(ROUNDS):
        installation.sandbox.approve_all()
        installation.clock.jump(LATER_S)
        ends = [installation.run(Task.WAIT, plan=plan, run_id=run_id) for run_id, plan in plans.items()]
        if all(end.how in {TaskEnd.RETURNED, TaskEnd.SKIPPED, TaskEnd.TERMINAL} for end in ends):
            break
    else:
        return [f"the wait does not end: {', '.join(f'{end.how} {end.said}' for end in ends)}"]
    reports = {run_id: installation.run(Task.REPORT, plan=plan, run_id=run_id) for run_id, plan in plans.items()}
    return [
        f"the report of {run_id} says {report.value['sentence']}"
        for run_id, report in reports.items()
        if report.how is TaskEnd.RETURNED and report.value["verdict"] != "pass"
    ]
