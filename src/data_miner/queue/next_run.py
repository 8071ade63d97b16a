"""When put-off work is due."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

AT = text("SELECT min(run_at) FROM tasks WHERE state = 'waiting'")
SECONDS = text("SELECT queue_seconds_to_next_run()")


def next_run_at(connection: Connection) -> datetime | None:
    """The database's time at which the next put-off task is due; None when none is put off."""
    at: datetime | None = connection.scalar(AT)
    return at


def seconds_to_next_run(connection: Connection) -> float | None:
    """The same as a duration from now, 0 when it is overdue: how long a worker may sleep."""
    seconds = connection.scalar(SECONDS)
    return None if seconds is None else float(seconds)
