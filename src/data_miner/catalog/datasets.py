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
    INSERT INTO datasets AS d
        (project_id, version, recipe_id, wave_id, digest, images, uri, summary)
    SELECT :project_id,
           coalesce((SELECT max(version) FROM datasets WHERE project_id = :project_id), 0) + 1,
           :recipe_id, :wave_id, :digest, :images, :uri, CAST(:summary AS jsonb)
    ON CONFLICT (recipe_id, wave_id) DO UPDATE SET
        version = excluded.version, digest = excluded.digest, images = excluded.images,
        uri = excluded.uri, summary = excluded.summary, created_at = dataminer_now()
    WHERE d.digest <> excluded.digest
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
    """Record a version and return its number; None when this very version is recorded already."""
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
