"""Which trace a task belongs to, and what its tries have cost."""

from __future__ import annotations

from data_miner.db.migrations.script import run

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL of this version."""
    run("0007_traces", "up")


def downgrade() -> None:
    """Undo it."""
    run("0007_traces", "down")
