"""Writes what a finished task made: its files, and the rows that its stage found out.

Called in the transaction that finishes the tasks, between `queue.finish` and `queue.plan_after`,
and only for tasks that were still ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, insert, text

from data_miner.catalog import datasets, discovered, events
from data_miner.db.tables import artifacts
from data_miner.queue.task import Claimed
from data_miner.stage import Artifact, Done, Json, Outcome, Skip


def record(conn: Connection, claimed: Claimed, outcome: Outcome) -> None:
    """Write what one task made. Raises as `record_all` does."""
    record_all(conn, [(claimed, outcome)])


def record_all(conn: Connection, finished: Sequence[tuple[Claimed, Outcome]]) -> None:
    """Write what several tasks of one transaction made.

    Raises ValueError for a Done whose records have a name that nobody here writes.
    """
    # Projects in order: numbering a version waits for others that number one of the same project.
    for claimed, outcome in sorted(finished, key=lambda pair: (pair[0].project_id, pair[0].id)):
        if isinstance(outcome, Done):
            _files(conn, claimed, outcome.artifacts)
            for name, value in sorted(outcome.records.items()):
                if name not in _RECORDERS:
                    raise ValueError(f"{claimed.stage} records {name!r}, which nobody writes")
                _RECORDERS[name](conn, claimed, value)
            if sha256 := outcome.facts.get("source_sha256"):
                _source(conn, claimed, str(sha256))
        elif isinstance(outcome, Skip):
            events.write(
                conn,
                "task.skipped",
                project_id=claimed.project_id,
                video_id=claimed.video_id,
                stage=claimed.stage,
                subject=claimed.subject,
                details={"reason": outcome.reason},
            )


_REPLACE = text("""
    WITH old AS (
        UPDATE artifacts SET deleted_at = dataminer_now()
        WHERE recipe_id = :recipe_id AND subject = :subject AND deleted_at IS NULL
    )
    SELECT coalesce(max(generation), 0) + 1 FROM artifacts
    WHERE recipe_id = :recipe_id AND subject = :subject
""")


def _files(conn: Connection, claimed: Claimed, made: Sequence[Artifact]) -> None:
    """The files of a result in their order; those of an earlier making of it are replaced."""
    key = {"recipe_id": claimed.recipe_id, "subject": claimed.subject}
    generation = conn.execute(_REPLACE, key).scalar_one()
    if not made:
        return
    conn.execute(
        insert(artifacts),
        [
            {
                **key,
                "position": position,
                "kind": file.kind,
                "uri": file.uri,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "media": dict(file.media),
                "generation": generation,
            }
            for position, file in enumerate(made)
        ],
    )


_SOURCE = text("""
    UPDATE project_videos pv SET source_sha256 = :sha256
    FROM project_stages s
    WHERE pv.video_id = :video_id AND s.project_id = pv.project_id AND s.stage = 'download'
      AND s.recipe_id = :recipe_id AND pv.source_sha256 IS DISTINCT FROM :sha256
""")


def _source(conn: Connection, claimed: Claimed, sha256: str) -> None:
    """Which content every project that wants this download has from now on."""
    if claimed.stage == "download":
        conn.execute(
            _SOURCE,
            {
                "sha256": sha256,
                "video_id": claimed.video_id,
                "recipe_id": claimed.recipe_id,
            },
        )


_VIDEO = text("""
    UPDATE videos
    SET title = coalesce(:title, title), metadata = metadata || CAST(:metadata AS jsonb),
        updated_at = dataminer_now()
    WHERE video_id = :video_id
      AND (title IS DISTINCT FROM coalesce(:title, title)
           OR metadata IS DISTINCT FROM metadata || CAST(:metadata AS jsonb))
""")


def _video(conn: Connection, claimed: Claimed, value: Json) -> None:
    """What the download learnt about its video."""
    conn.execute(
        _VIDEO,
        {
            "video_id": claimed.video_id,
            "title": value.get("title"),
            "metadata": discovered.as_json(value.get("metadata") or {}),
        },
    )


def _videos(conn: Connection, claimed: Claimed, value: Json) -> None:
    discovered.write(
        conn,
        project_id=claimed.project_id,
        recipe_id=claimed.recipe_id,
        source_index=int(claimed.subject.rpartition("/")[2]),
        videos=value,
    )


def _dataset(conn: Connection, claimed: Claimed, value: Mapping[str, Any]) -> None:
    if claimed.wave_id is None:
        raise ValueError(f"{claimed.subject}: a dataset version belongs to a wave")
    datasets.publish(
        conn,
        project_id=claimed.project_id,
        recipe_id=claimed.recipe_id,
        wave_id=claimed.wave_id,
        digest=value["digest"],
        images=int(value["images"]),
        uri=value["uri"],
        summary=value.get("summary") or {},
    )


_RECORDERS: Final[Mapping[str, Callable[[Connection, Claimed, Json], None]]] = {
    "videos": _videos,
    "video": _video,
    "dataset": _dataset,
}
