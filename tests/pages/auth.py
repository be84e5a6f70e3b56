"""Airflow's simple auth manager, but for one user who may read a single DAG."""

from __future__ import annotations

from typing import Any, Final

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

#: Who, and which DAG.
NARROW: Final = "una"
THEIRS: Final = "new_arrivals"


class NarrowAuthManager(SimpleAuthManager):
    """As a company's own may be: what a user may read differs from DAG to DAG."""

    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:  # noqa: ANN401 - Airflow's
        """Refuse the narrow user every DAG but theirs."""
        if user.get_name() == NARROW and details is not None and details.id not in {None, THEIRS}:
            return False
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
