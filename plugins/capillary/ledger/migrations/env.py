"""Alembic's entry: the connection comes from :func:`capillary.ledger.migrate.upgrade`, in its transaction."""

from __future__ import annotations

from alembic import context

from capillary.ledger.revision import VERSION_TABLE
from capillary.ledger.schema import metadata

# The name by which Alembic imports this file; anybody else who imports it migrates nothing.
if __name__ == "env_py":
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transactional_ddl=False,  # the transaction is the caller's
    )
    context.run_migrations()
