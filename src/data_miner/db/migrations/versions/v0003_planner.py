"""The planner: what specs and facts call for becomes tasks."""

from __future__ import annotations

from data_miner.db.migrations.script import run

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL of this version."""
    run("0003_planner", "up")


def downgrade() -> None:
    """Undo it."""
    run("0003_planner", "down")
