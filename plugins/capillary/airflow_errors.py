"""The project's errors in Airflow's terms: what is retried, and what fails at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy.exc import IntegrityError

from capillary.errors import CapillaryError, TransientError, named
from capillary.ledger.opening import DATABASE_ERRORS, broke_off


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
