"""A project's life after it was applied: suspend, resume, cancel, delete."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Row, text

from data_miner.catalog import events
from data_miner.catalog.planning import drop_unwanted, replan
from data_miner.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class Deleted:
    """What is left to do once a project is deleted."""

    project_id: int
    dataset_uris: tuple[str, ...]
    """Published versions; their files are the user's and stay until somebody removes them."""


def suspend(conn: Connection, project_id: int) -> bool:
    """Hand out no more of its tasks; running ones end. False when it was suspended already."""
    if _locked(conn, project_id).suspended:
        return False
    _set_suspended(conn, project_id, "project.suspended", suspended=True)
    # Work that others want as well goes on under their name.
    drop_unwanted(conn, project_id)
    return True


def resume(conn: Connection, project_id: int, *, first_wave: int) -> bool:
    """Go on where it was. False when it was not suspended."""
    if not _locked(conn, project_id).suspended:
        return False
    _set_suspended(conn, project_id, "project.resumed", suspended=False)
    replan(conn, project_id, first_wave=first_wave)
    return True


def cancel(conn: Connection, project_id: int) -> int:
    """Suspend it and drop its live work, running or not; results and dead letters stay.

    Returns how many tasks were dropped. Work that another active project wants goes on for that
    one. `resume` plans anew what is missing.
    """
    _locked(conn, project_id)
    conn.execute(_HOLD, {"project_id": project_id})
    suspend(conn, project_id)
    dropped = conn.execute(_DROP, {"project_id": project_id}).rowcount
    conn.execute(_PASS_ON, {"project_id": project_id})
    details = {"tasks": dropped}
    events.write(conn, "project.cancelled", project_id=project_id, details=details)
    return dropped


def delete(conn: Connection, project_id: int) -> Deleted:
    """Forget the project: its work, its waves and what only it has made.

    Results that belong to videos stay: other projects may use them. Files in the store that no row
    names any more are swept later.
    """
    _locked(conn, project_id)
    uris = conn.scalars(
        text("SELECT uri FROM datasets WHERE project_id = :project_id ORDER BY version"),
        {"project_id": project_id},
    ).all()
    conn.execute(
        text(
            "UPDATE projects SET deleted_at = dataminer_now(), updated_at = dataminer_now(),"
            " owner_installation = NULL, owner_uid = NULL, applied_digest = NULL,"
            " retried_token = NULL WHERE project_id = :project_id"
        ),
        {"project_id": project_id},
    )
    drop_unwanted(conn, project_id)
    for statement in _FORGET:
        conn.execute(text(statement.replace("{OWN}", _OWN)), {"project_id": project_id})
    events.write(conn, "project.deleted", project_id=project_id)
    return Deleted(project_id, tuple(uris))


# In the order of ids, as everyone who locks more than one task and waits for it: in one statement,
# since what later ones lock would be out of this order.
_HOLD = text("""
    SELECT FROM tasks WHERE project_id = :project_id AND state <> 'failed' ORDER BY id FOR UPDATE
""")

# What others want may still be under this project's name, because its worker held the row when it
# was to be passed on: left there, it would stay for as long as this project does once nobody else
# wants it.
_DROP = text("""
    DELETE FROM tasks WHERE id = ANY (ARRAY(
        SELECT t.id FROM tasks t WHERE t.project_id = :project_id AND t.state <> 'failed'
          AND NOT EXISTS (SELECT FROM task_wishes w
                          WHERE w.id = t.id AND w.project_id <> :project_id AND NOT w.suspended)))
""")

_PASS_ON = text("""
    WITH best AS MATERIALIZED (
        SELECT t.id, w.project_id, w.priority
        FROM tasks t CROSS JOIN LATERAL (
            SELECT w.project_id, w.priority FROM task_wishes w
            WHERE w.id = t.id AND w.project_id <> :project_id AND NOT w.suspended
            ORDER BY w.priority DESC, w.project_id LIMIT 1) w
        WHERE t.project_id = :project_id AND t.state <> 'failed')
    UPDATE tasks t SET project_id = b.project_id, priority = b.priority
    FROM best b WHERE t.id = b.id
""")

# What hangs on the project's own sources and waves; nothing that is keyed by a video alone.
_OWN = """
    (subject LIKE 'p' || :project_id || '/%'
     OR recipe_id IN (SELECT recipe_id FROM recipes
                      WHERE stage IN ('dedup', 'cut', 'detect', 'export'))
        AND split_part(subject, '/', 1) IN (
            SELECT 'w' || wave_id FROM waves WHERE project_id = :project_id))
"""

_FORGET = (
    "DELETE FROM artifacts WHERE {OWN}",
    "DELETE FROM results WHERE {OWN}",
    "DELETE FROM datasets WHERE project_id = :project_id",
    "DELETE FROM project_sources WHERE project_id = :project_id",
    "DELETE FROM project_videos WHERE project_id = :project_id",
    "DELETE FROM project_stages WHERE project_id = :project_id",
    "DELETE FROM waves WHERE project_id = :project_id",
)


def _locked(conn: Connection, project_id: int) -> Row[tuple[bool]]:
    row = conn.execute(
        text(
            "SELECT suspended FROM projects WHERE project_id = :project_id"
            " AND deleted_at IS NULL FOR NO KEY UPDATE"
        ),
        {"project_id": project_id},
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no project with id {project_id}")
    return row


def _set_suspended(conn: Connection, project_id: int, kind: str, *, suspended: bool) -> None:
    conn.execute(
        text(
            "UPDATE projects SET suspended = :suspended, updated_at = dataminer_now()"
            " WHERE project_id = :project_id"
        ),
        {"suspended": suspended, "project_id": project_id},
    )
    events.write(conn, kind, project_id=project_id)
