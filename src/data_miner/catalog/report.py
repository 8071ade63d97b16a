"""What the report of a dataset says about how it came to be; not part of the dataset's digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from sqlalchemy import Connection, text

from data_miner.catalog.progress import progress
from data_miner.stage import Json


def facts(conn: Connection, project_id: int) -> Mapping[str, Json]:
    """The report's data as plain JSON; what the export itself makes is not in it yet.

    ``funnel``: how many were left after each step (found … labelled), by its name, in order.
    ``failures_by_class``, ``skipped``: lists with stage, class or reason, count and an example.
    ``costs``, ``costs_per_image``: by counter. ``videos``: url, title and metadata of every member,
    by video_id. ``params``: of each recipe, by stage. ``stages``, ``waves``: counts.
    """
    state = progress(conn, project_id)
    funnel = asdict(state.funnel)
    del funnel["exported"]
    params = _params(conn, project_id)
    return {
        "project": state.name,
        "namespace": state.namespace,
        "generation": state.generation,
        "waves": state.waves,
        "funnel": funnel,
        "failures_by_class": [asdict(f) for f in state.failures],
        "skipped": [asdict(s) for s in state.skipped],
        "costs": dict(state.costs),
        "costs_per_image": dict(state.costs_per_image),
        "stages": [asdict(s) for s in state.stages],
        "params": params,
        "thresholds": params.get("filter", {}).get("thresholds"),
        "videos": _videos(conn, project_id),
    }


def _params(conn: Connection, project_id: int) -> dict[str, Json]:
    rows = conn.execute(
        text(
            "SELECT s.stage, c.params FROM project_stages s JOIN recipes c USING (recipe_id)"
            " WHERE s.project_id = :project_id"
        ),
        {"project_id": project_id},
    )
    return {row.stage: row.params for row in rows}


def _videos(conn: Connection, project_id: int) -> dict[str, Json]:
    rows = conn.execute(
        text(
            "SELECT v.video_id, v.url, v.title, v.metadata"
            " FROM project_videos pv JOIN videos v USING (video_id)"
            " WHERE pv.project_id = :project_id AND pv.wave_id IS NOT NULL ORDER BY v.video_id"
        ),
        {"project_id": project_id},
    )
    return {
        row.video_id: {"url": row.url, "title": row.title, "metadata": row.metadata} for row in rows
    }
