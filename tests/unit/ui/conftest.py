"""The databases of the ledger's own tests."""

from __future__ import annotations

from tests.unit.ledger.conftest import empty_database, postgresql_server

__all__ = ["empty_database", "postgresql_server"]
