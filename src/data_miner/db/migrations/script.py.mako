"""${message}."""

from __future__ import annotations

from data_miner.db.migrations.script import run

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL beside this file, upwards."""
    run("FOLDER", "up")


def downgrade() -> None:
    """Run it downwards."""
    run("FOLDER", "down")
