"""Brings the queue in line with what one project wants now."""

from __future__ import annotations

from sqlalchemy import Connection, text

from data_miner.queue.cancel import cancel
from data_miner.queue.plan import plan_project


def replan(conn: Connection, project_id: int, *, first_wave: int) -> int:
    """Cancel what nobody wants any more, pass on what others want, plan what is missing.

    Returns how many tasks were planned.
    """
    drop_unwanted(conn, project_id)
    planned = plan_project(conn, project_id, first_wave=first_wave)
    return sum(amount for what, amount in planned.items() if what != "waves")


def drop_unwanted(conn: Connection, project_id: int) -> int:
    """Cancel this project's tasks that nobody wants, and pass on those that only others want.

    Returns how many were cancelled. What another session is writing is left to the next sweep.
    """
    cancelled = cancel(conn, project_id=project_id)
    conn.execute(text("SELECT queue_sponsor()"))
    return cancelled
