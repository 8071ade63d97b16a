"""Turn what specs and facts call for into tasks."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from data_miner.queue.task import Claimed

AFTER = text(
    "SELECT stage, sum(planned)::integer AS planned"
    " FROM plan_after(CAST(:stages AS text[]), CAST(:subjects AS text[]),"
    " CAST(:videos AS text[]), CAST(:waves AS integer[]), CAST(:projects AS integer[]),"
    " :first_wave) WHERE planned > 0 GROUP BY stage"
)
PROJECT = text("SELECT what, amount FROM plan_project(:project, :first_wave) WHERE amount > 0")


def plan_after(
    connection: Connection, ended: Sequence[Claimed], *, first_wave: int
) -> dict[str, int]:
    """Plan what the end of these tasks makes possible; returns the stages with new work.

    Call it once, last in the transaction that finished them: it locks the rows of their waves, so
    that of two who end the last two members of a wave exactly one plans what follows. `first_wave`
    is the number of videos in a project's first wave.
    """
    if not ended:
        return {}
    rows = connection.execute(
        AFTER,
        {
            "stages": [task.stage for task in ended],
            "subjects": [task.subject for task in ended],
            "videos": [task.video_id for task in ended],
            "waves": [task.wave_id for task in ended],
            "projects": [task.project_id for task in ended],
            "first_wave": first_wave,
        },
    )
    return {row.stage: row.planned for row in rows}


def plan_project(connection: Connection, project_id: int, *, first_wave: int) -> dict[str, int]:
    """Plan all that one project wants: call it when its spec changed or it was resumed.

    Returns how many tasks each stage got, and under ``waves`` how many waves were opened.
    """
    rows = connection.execute(PROJECT, {"project": project_id, "first_wave": first_wave})
    return {row.what: row.amount for row in rows}
