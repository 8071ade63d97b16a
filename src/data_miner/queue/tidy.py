"""Bring the live tasks of one project in line with who wants them now."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

TIDY = text("SELECT cancelled, passed_on FROM queue_tidy(:project)")


@dataclass(frozen=True, slots=True)
class Tidied:
    """What changed hands."""

    cancelled: int
    """Tasks of the project that nobody wants any more; deleted, running or not."""
    passed_on: int
    """Shared tasks that another project sponsors now than before."""


def tidy(connection: Connection, *, project_id: int) -> Tidied:
    """Cancel and pass on what one project sponsors or wants, without a look at other tasks.

    A worker learns of a cancelled task at its next `extend`. Rows that another session is writing
    right now are left to the next sweep.
    """
    row = connection.execute(TIDY, {"project": project_id}).one()
    return Tidied(row.cancelled, row.passed_on)
