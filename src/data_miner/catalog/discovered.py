"""Writes the videos that a source gave: the videos, who found them, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, TextClause, text

from data_miner.catalog import events
from data_miner.stage import Json


def write(
    conn: Connection,
    *,
    project_id: int,
    recipe_id: int,
    source_index: int,
    videos: Sequence[Mapping[str, Json]],
) -> None:
    """Record one source's videos; a video that it names twice counts at its first place.

    A video is left out only while every source of the recipe that found it leaves it out.
    """
    first: dict[str, Mapping[str, Json]] = {}
    for video in videos:
        first.setdefault(video["video_id"], video)
    # In the order of their ids, so that two sources that share videos never wait in a circle.
    rows = [_row(first[video_id]) for video_id in sorted(first)]
    if rows:
        given = {
            "rows": as_json(rows),
            "project_id": project_id,
            "recipe_id": recipe_id,
            "source_index": source_index,
        }
        for statement in (_VIDEOS, _MEMBERS, _SOURCES):
            conn.execute(statement, given)
    details = {"source": source_index, "found": len(rows)}
    details["selected"] = sum(row["skip_reason"] is None for row in rows)
    events.write(conn, "source.listed", project_id=project_id, stage="discover", details=details)


def as_json(value: Json) -> str:
    """The value as text that PostgreSQL's jsonb takes: it has no place for NUL characters."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\\u0000", "\\ufffd")


def _row(video: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "video_id": video["video_id"],
        "url": video["url"],
        "source_type": video["source_type"],
        "source_info": video.get("source_info"),
        "title": video.get("title"),
        "metadata": video.get("metadata") or {},
        "rank": int(video["rank"]),
        "query": video.get("query"),
        "skip_reason": video.get("skip_reason"),
    }


_GIVEN: Final = """jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
    video_id text, url text, source_type text, source_info text, title text, metadata jsonb,
    rank int, query text, skip_reason text)"""


def _query(template: str) -> TextClause:
    return text(template.replace("{GIVEN}", _GIVEN))


# A file that was found again elsewhere has moved; what is known already is kept or made better.
_VIDEOS = _query("""
    INSERT INTO videos AS v (video_id, url, source_type, source_info, title, metadata)
    SELECT video_id, url, source_type, source_info, title, metadata FROM {GIVEN}
    ORDER BY video_id COLLATE "C"
    ON CONFLICT (video_id) DO UPDATE SET
        url = excluded.url,
        title = coalesce(excluded.title, v.title),
        metadata = v.metadata || excluded.metadata,
        updated_at = dataminer_now()
    WHERE v.url <> excluded.url
       OR v.title IS DISTINCT FROM coalesce(excluded.title, v.title)
       OR v.metadata <> v.metadata || excluded.metadata
""")

_MEMBERS = _query("""
    INSERT INTO project_videos AS pv (project_id, video_id, skip_reason)
    SELECT :project_id, video_id, skip_reason FROM {GIVEN}
    ORDER BY video_id COLLATE "C"
    ON CONFLICT (project_id, video_id) DO UPDATE SET skip_reason = CASE
        WHEN pv.wave_id IS NOT NULL THEN NULL
        WHEN EXISTS (SELECT FROM project_sources s
                     WHERE s.project_id = pv.project_id AND s.video_id = pv.video_id
                       AND s.recipe_id = :recipe_id AND s.source_index <> :source_index)
             AND pv.skip_reason IS NULL THEN NULL
        ELSE excluded.skip_reason END
    WHERE pv.skip_reason IS DISTINCT FROM excluded.skip_reason
""")

_SOURCES = _query("""
    INSERT INTO project_sources AS s
        (project_id, recipe_id, source_index, video_id, rank, query)
    SELECT :project_id, :recipe_id, :source_index, video_id, rank, query FROM {GIVEN}
    ORDER BY video_id COLLATE "C"
    ON CONFLICT (project_id, recipe_id, source_index, video_id)
    DO UPDATE SET rank = excluded.rank, query = excluded.query
    WHERE (s.rank, s.query) IS DISTINCT FROM (excluded.rank, excluded.query)
""")
