"""Take back work that nobody wants any more."""

from __future__ import annotations

from sqlalchemy import Connection, text

CANCEL = text("SELECT queue_cancel(CAST(:project AS integer))")


def cancel(connection: Connection, *, project_id: int | None = None) -> int:
    """Delete the tasks that no project wants, running ones too; returns how many.

    With `project_id`, only those which that project sponsors. A worker learns of it at its next
    `extend`. Rows that another session is writing right now are left to the next sweep.
    """
    return int(connection.scalar(CANCEL, {"project": project_id}) or 0)
