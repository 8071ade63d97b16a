"""Which programs can work on a schema that is newer than they are."""

from __future__ import annotations

from data_miner.db.migrations.script import run

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL of this version."""
    run("0006_support", "up")


def downgrade() -> None:
    """Undo it."""
    run("0006_support", "down")
