"""The tables and the clock."""

from __future__ import annotations

from data_miner.db.migrations.script import run

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL of this version."""
    run("0001_tables", "up")


def downgrade() -> None:
    """Undo it."""
    run("0001_tables", "down")
