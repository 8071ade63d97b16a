"""The immutable versions of a project's dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from data_miner.catalog import events
from data_miner.catalog.discovered import as_json
from data_miner.stage import Json


@dataclass(frozen=True, slots=True)
class Dataset:
    """One published version."""

    version: int
    """From 1, without a gap within the project."""
    digest: str
    images: int
    uri: str
    created_at: datetime
    summary: Mapping[str, Json]


# Versions of one project are numbered one at a time. Not the project's row: who holds that may be
# waiting for the very task that is being finished here.
_LOCK = text("SELECT pg_advisory_xact_lock(1684892010, :project_id)")

_PUBLISH = text("""
    WITH newest AS (
        SELECT version, recipe_id, wave_id, digest FROM datasets
        WHERE project_id = :project_id ORDER BY version DESC LIMIT 1)
    INSERT INTO datasets (project_id, version, recipe_id, wave_id, digest, images, uri, summary)
    SELECT :project_id, coalesce((SELECT version FROM newest), 0) + 1,
           :recipe_id, :wave_id, :digest, :images, :uri, CAST(:summary AS jsonb)
    WHERE NOT EXISTS (
        SELECT FROM newest
        WHERE recipe_id = :recipe_id AND wave_id = :wave_id AND digest = :digest)
    RETURNING version
""")


def publish(
    conn: Connection,
    *,
    project_id: int,
    recipe_id: int,
    wave_id: int,
    digest: str,
    images: int,
    uri: str,
    summary: Mapping[str, Json],
) -> int | None:
    """Record a version and return its number; None when this very version is the newest already.

    Versions are only added: an edit that is taken back makes a new one with the old content.
    """
    conn.execute(_LOCK, {"project_id": project_id})
    version = conn.execute(
        _PUBLISH,
        {
            "project_id": project_id,
            "recipe_id": recipe_id,
            "wave_id": wave_id,
            "digest": digest,
            "images": images,
            "uri": uri,
            "summary": as_json(dict(summary)),
        },
    ).scalar_one_or_none()
    if version is not None:
        details = {"version": version, "digest": digest, "images": images, "uri": uri}
        events.write(conn, "dataset.published", project_id=project_id, details=details)
    return version


def publish_again(conn: Connection, project_id: int) -> bool:
    """Have the last export of the present recipe made again if another recipe's is the newest.

    An edit that is taken back finds all its results; what people find under the dataset's name
    is still the other one. The export finds its files there and only points at them.
    """
    return conn.execute(_STALE, {"project_id": project_id}).rowcount > 0


_STALE = text("""
    DELETE FROM results r USING (
        SELECT s.recipe_id, 'w' || w.wave_id AS subject, w.wave_id
        FROM projects p
        JOIN project_stages s ON s.project_id = p.project_id AND s.stage = 'export'
        JOIN waves w ON w.project_id = p.project_id AND w.epoch = p.wave_epoch
        JOIN results e ON e.recipe_id = s.recipe_id AND e.subject = 'w' || w.wave_id
                      AND e.outcome = 'done'
        WHERE p.project_id = :project_id
        ORDER BY w.n DESC LIMIT 1) last
    WHERE r.recipe_id = last.recipe_id AND r.subject = last.subject
      AND NOT EXISTS (
          SELECT FROM (SELECT recipe_id, wave_id FROM datasets
                       WHERE project_id = :project_id ORDER BY version DESC LIMIT 1) newest
          WHERE newest.recipe_id = last.recipe_id AND newest.wave_id = last.wave_id)
""")


def latest(conn: Connection, project_id: int) -> Dataset | None:
    """The newest version of a project; None before the first."""
    row = conn.execute(
        text(
            "SELECT version, digest, images, uri, created_at, summary FROM datasets"
            " WHERE project_id = :project_id ORDER BY version DESC LIMIT 1"
        ),
        {"project_id": project_id},
    ).one_or_none()
    return None if row is None else Dataset(*row)
