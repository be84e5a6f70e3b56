"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# `python -m capillary` sets it in its own process; tests call it in theirs.
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")


@pytest.fixture(autouse=True)
def environment_stays() -> Iterator[None]:
    """A test leaves the process's environment as it was: Airflow's settings are in it, and the next test reads them."""
    before = dict(os.environ)
    yield
    changed = [name for name, _ in (before.items() ^ os.environ.items()) if name != "PYTEST_CURRENT_TEST"]
    assert not changed, f"left behind in the environment: {sorted(set(changed))}"
