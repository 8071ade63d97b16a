"""Entered by Alembic; data_miner.db.migrate gives it the connection."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from data_miner.db.migrate import MIGRATION_LOCK
from data_miner.db.tables import metadata


def migrate(connection: Connection) -> None:
    """Run all steps in one transaction, alone."""
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.run_migrations()


migrate(context.config.attributes["connection"])
