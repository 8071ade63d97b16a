"""Status computed from facts under the reference's names."""

from __future__ import annotations

from data_miner.db.migrations.script import run

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL of this version."""
    run("0004_reference", "up")


def downgrade() -> None:
    """Undo it."""
    run("0004_reference", "down")
