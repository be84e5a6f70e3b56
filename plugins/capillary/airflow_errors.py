"""The glue's own errors, and every error of the project in Airflow's terms: what is retried, what fails at once.

Which of them a retry may end is what they stand under; in brackets the module of one that is raised there alone::

    CapillaryError
      TerminalError
        FieldsInvalid
          ArgumentInvalid (checked_operator)
        PlanMissing
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy.exc import IntegrityError

from capillary.errors import CapillaryError, TerminalError, TransientError, named
from capillary.ledger.opening import DATABASE_ERRORS, broke_off

#: State of the task that plans → why there is no plan.
_NOT_PLANNED: Final[Mapping[str, str]] = MappingProxyType(
    {"failed": "has failed", "upstream_failed": "did not run, because a task before it failed"}
)


class PlanMissing(TerminalError):
    """A task was given no plan, or something that is none.

    Args:
        given: what was handed over.
        planned_by: the task that plans.
        state: Airflow's word for how that task ended; empty where it is not known.
    """

    def __init__(self, given: object, *, planned_by: str = "", state: str = "") -> None:
        if state in _NOT_PLANNED:
            said = (
                f"nothing was planned: the task {planned_by} {_NOT_PLANNED[state]}. Read its log and correct what it "
                f"names; then clear {planned_by} and the tasks after it"
            )
        elif isinstance(given, Sequence) and not isinstance(given, str | bytes):
            said = (
                f"a mapped task's plans ({len(given)}) were handed over in place of one. Map this task, too: "
                ".partial(…).expand(plan=….output)"
            )
        else:
            said = (
                f"no plan was handed over ({type(given).__name__}): the task that plans has failed, or its XCom was "
                "cleared. Look at its log, then clear it and the tasks after it"
            )
        super().__init__(said)


@contextmanager
def airflow_failures(*, but: tuple[type[CapillaryError], ...] = ()) -> Iterator[None]:
    """Turn the project's errors into Airflow's, once: what may pass is retried, what cannot fails at once.

    Airflow's log shows the class that is raised here, so the sentence begins with the error's own name. A database's
    own text is left out: it quotes values, customer ids among them.

    Args:
        but: errors that the caller takes care of itself.
    """
    try:
        yield
    except but:
        raise
    except TransientError as error:
        raise AirflowException(named(error)) from None
    except CapillaryError as error:
        raise AirflowFailException(named(error)) from None
    except IntegrityError as error:
        raise AirflowException(
            f"the ledger's rows are not those that this task has read ({type(error.orig).__name__}): the ledger was "
            "restored or changed by hand in the meantime. Nothing of this step was written. The retry continues from "
            "the ledger as it is then; if it fails again, clear the task that plans with its downstream tasks"
        ) from None
    except DATABASE_ERRORS as error:
        said = broke_off(error)
        raise (AirflowException if isinstance(said, TransientError) else AirflowFailException)(named(said)) from None
