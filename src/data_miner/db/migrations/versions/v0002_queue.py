"""The verbs of the queue."""

from __future__ import annotations

from data_miner.db.migrations.script import run

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL of this version."""
    run("0002_queue", "up")


def downgrade() -> None:
    """Undo it."""
    run("0002_queue", "down")
