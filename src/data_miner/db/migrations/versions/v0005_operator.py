"""Who owns a project, who leads, what shall be removed, and who is told."""

from __future__ import annotations

from data_miner.db.migrations.script import run

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL of this version."""
    run("0005_operator", "up")


def downgrade() -> None:
    """Undo it."""
    run("0005_operator", "down")
