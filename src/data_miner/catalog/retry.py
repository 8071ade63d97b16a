"""Tries again what has failed, without changing what is already decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from data_miner.catalog import events
from data_miner.catalog.planning import replan
from data_miner.catalog.wanted import query
from data_miner.errors import NotFoundError
from data_miner.pipeline import BY_NAME, Scope
from data_miner.queue.retry import retry as queue_retry


@dataclass(frozen=True, slots=True)
class Retried:
    """What is tried again."""

    tasks: int
    """Dead letters that are ready again, with their whole budget of attempts."""
    left_wave: tuple[str, ...]
    """Videos of this project that were too late for their wave and join a later one."""


def retry(
    conn: Connection,
    project_id: int,
    *,
    first_wave: int,
    stage: str | None = None,
    error_class: str | None = None,
) -> Retried:
    """Make a project's dead letters ready again, all or those of one stage or one error class.

    A video whose wave has been gathered without it leaves that wave, in every project that shares
    the work: what was published stays as it is. What a failed cut or detection was missing from is
    exported again. Raises NotFoundError for an id that no project has.
    """
    there = conn.execute(
        text(
            "SELECT FROM projects WHERE project_id = :project_id AND deleted_at IS NULL"
            " FOR NO KEY UPDATE"
        ),
        {"project_id": project_id},
    ).one_or_none()
    if there is None:
        raise NotFoundError(f"there is no project with id {project_id}")
    given = {"project_id": project_id, "stage": stage, "error_class": error_class}
    failed = conn.execute(_FAILED, given).all()
    if not failed:
        return Retried(0, ())
    queue_retry(conn, [t.id for t in failed])
    left = _leave_waves(conn, failed)
    _export_again(conn, failed)
    details = {"tasks": len(failed), "stage": stage, "error_class": error_class}
    events.write(conn, "project.retried", project_id=project_id, details=details)
    for other in sorted({project for project, _ in left} | {project_id}):
        replan(conn, other, first_wave=first_wave)
    return Retried(len(failed), tuple(video for project, video in left if project == project_id))


# Locked in the order of ids, as everyone who locks more than one task and waits for it.
_FAILED = query("""
    WITH {MINE}
    SELECT t.id, t.stage, t.recipe_id, t.video_id, t.wave_id
    FROM tasks t
    WHERE t.id = ANY (ARRAY(
        SELECT f.id FROM mine m JOIN tasks f USING (recipe_id, subject)
        WHERE f.state = 'failed'
          AND (CAST(:stage AS text) IS NULL OR f.stage = :stage)
          AND (CAST(:error_class AS text) IS NULL OR f.error_class = :error_class)))
      AND t.state = 'failed'
    ORDER BY t.id FOR UPDATE OF t
""")

_LEAVE = text("""
    UPDATE project_videos pv SET wave_id = NULL, wave_position = NULL
    FROM project_stages s, project_stages d
    WHERE s.recipe_id = :recipe_id AND s.project_id = pv.project_id
      AND pv.video_id = ANY(:videos) AND pv.wave_id IS NOT NULL
      AND d.project_id = pv.project_id AND d.stage = 'dedup'
      AND (EXISTS (SELECT FROM results r
                   WHERE r.recipe_id = d.recipe_id AND r.subject = 'w' || pv.wave_id)
           OR EXISTS (SELECT FROM tasks t
                      WHERE t.recipe_id = d.recipe_id AND t.subject = 'w' || pv.wave_id))
    RETURNING pv.project_id, pv.video_id
""")


def _leave_waves(conn: Connection, failed: Sequence[Row[Any]]) -> list[tuple[int, str]]:
    """Take members out of waves that are gathered, or being gathered, without them."""
    by_recipe: dict[int, list[str]] = {}
    for task in failed:
        if BY_NAME[task.stage].scope is Scope.VIDEO:
            by_recipe.setdefault(task.recipe_id, []).append(task.video_id)
    left: set[tuple[int, str]] = set()
    for recipe_id, videos in sorted(by_recipe.items()):
        rows = conn.execute(_LEAVE, {"recipe_id": recipe_id, "videos": sorted(videos)})
        left |= {(row.project_id, row.video_id) for row in rows}
    return sorted(left)


# Each export holds all that the waves before it have: they are written anew from there on. The
# tasks go first, so that what one of them has just finished is seen by the statement after.
_EXPORTS = tuple(
    text(
        """
        DELETE FROM {table} r
        USING waves first, waves w, project_stages s
        WHERE first.wave_id = ANY(:waves)
          AND w.project_id = first.project_id AND w.epoch = first.epoch AND w.n >= first.n
          AND s.project_id = w.project_id AND s.stage = 'export'
          AND r.recipe_id = s.recipe_id AND r.subject = 'w' || w.wave_id
    """.replace("{table}", table)
    )
    for table in ("tasks", "results")
)


def _export_again(conn: Connection, failed: Sequence[Row[Any]]) -> None:
    waves = {t.wave_id for t in failed if BY_NAME[t.stage].scope is Scope.WAVE_VIDEO}
    if waves:
        for statement in _EXPORTS:
            conn.execute(statement, {"waves": sorted(waves)})
