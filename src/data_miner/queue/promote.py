"""Make put-off work ready when it is due."""

from __future__ import annotations

from sqlalchemy import Connection, text

PROMOTE = text("SELECT queue_promote(:limit)")


def promote(connection: Connection, *, limit: int = 1000) -> int:
    """Move up to `limit` due tasks from waiting to ready; returns how many. `claim` does it too."""
    return int(connection.scalar(PROMOTE, {"limit": limit}) or 0)
