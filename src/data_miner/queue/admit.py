"""Let found videos in, wave by wave."""

from __future__ import annotations

from sqlalchemy import Connection, text

ADMIT = text("SELECT admit_waves(CAST(:project AS integer), :first_wave)")


def admit(connection: Connection, *, first_wave: int, project_id: int | None = None) -> int:
    """Open the waves that may open, of one project or of all; returns how many were opened.

    A worker calls it, in a transaction of its own, when a claim brought less than it asked for.
    It waits for nobody: 0 while another session admits, and then the next call finds the rest.
    """
    opened = connection.scalar(ADMIT, {"project": project_id, "first_wave": first_wave})
    return int(opened or 0)
