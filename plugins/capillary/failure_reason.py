"""Why a task failed, kept where the pages of Airflow's UI can read it: no API of Airflow hands out the end of a log.

Our own sentences alone are kept. They name no customer, and they are the ones that the task's log ends with.
"""

from __future__ import annotations

import logging
from typing import Final

from airflow.sdk import get_current_context

#: The XCom of a failed task. Airflow deletes it when the task starts again.
FAILURE: Final = "failure"
#: Longer than any sentence but one that names many wrong fields.
_LONGEST: Final = 2_000

_LOG: Final = logging.getLogger("capillary.failure")


def kept(sentence: str) -> str:
    """Keep why the running task fails, and return it. Never raises: the failure itself is what has to be told.

    Args:
        sentence: of an error of this project.
    """
    try:
        context = get_current_context()
    except RuntimeError:
        return sentence  # outside of a task: a command, or a test
    shortened = sentence if len(sentence) <= _LONGEST else f"{sentence[: _LONGEST - 1]}…"
    try:
        context["ti"].xcom_push(key=FAILURE, value=shortened)
    except Exception as error:  # noqa: BLE001 - whatever Airflow's answer is, the task's own failure counts
        _LOG.warning("the reason could not be kept for the pages (%s)", type(error).__name__)
    return sentence
