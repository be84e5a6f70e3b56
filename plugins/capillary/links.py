"""Links on a task's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from capillary.errors import CapillaryError
from capillary.hooks import CapillaryHook

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class CheckerPageLink(BaseOperatorLink):
    """The page where the checker decides: `checker_url` of the operator's `capillary_conn_id`."""

    @property
    def name(self) -> str:
        """Label of the button."""
        return "Checker's page"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's
        """Return the address, or an empty string where there is none.

        Airflow asks in the task's process, when it ends or defers. A broken connection is the task's own
        failure to tell; a link must not add a second one.
        """
        conn_id = getattr(operator, CapillaryHook.conn_name_attr, None)
        if not isinstance(conn_id, str) or not conn_id:
            return ""
        try:
            return CapillaryHook(conn_id).get_settings().checker_url
        except CapillaryError:
            return ""
