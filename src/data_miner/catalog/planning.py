"""Brings the queue in line with what one project wants now."""

from __future__ import annotations

from sqlalchemy import Connection

from data_miner.queue.plan import plan_project
from data_miner.queue.tidy import tidy


def replan(conn: Connection, project_id: int, *, first_wave: int) -> int:
    """Plan what is missing, cancel what nobody wants any more, pass on what only others want.

    Returns how many tasks were planned.
    """
    # Planned first: a video that changes waves is wanted again by then, and keeps its task.
    planned = plan_project(conn, project_id, first_wave=first_wave)
    drop_unwanted(conn, project_id)
    return sum(amount for what, amount in planned.items() if what != "waves")


def drop_unwanted(conn: Connection, project_id: int) -> int:
    """Cancel this project's tasks that nobody wants, and pass on those that only others want.

    Returns how many were cancelled. What another session is writing is left to the next sweep.
    """
    return tidy(conn, project_id=project_id).cancelled
