"""One read of all that a project calls for: its counts, its failures, its costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from data_miner.catalog.costs import totals
from data_miner.catalog.counts import Members, SourceYield, StageCount, stage_counts
from data_miner.catalog.failures import Failure, Skipped
from data_miner.catalog.wanted import query
from data_miner.errors import NotFoundError
from data_miner.pipeline import STAGES, Scope


@dataclass(frozen=True, slots=True)
class Survey:
    """What a project calls for, and what has become of it."""

    stages: tuple[StageCount, ...]
    """Of every stage that the project has, in pipeline order."""
    members: Members
    failures: tuple[Failure, ...]
    """Dead letters that the project called for, most frequent first."""
    put_off: tuple[Failure, ...]
    """What is tried again later, and why: a full disk, a site's wish, a first failure."""
    skipped: tuple[Skipped, ...]
    """What was left out, most frequent first; stage ``select`` is what `select` left out.

    A file that is cut off or damaged counts with what could not be read of it, as ``Partial``.
    """
    costs: Mapping[str, float]
    """Sums over the results that the project uses, with the tries that each needed, and over the
    tries of what has none yet, by counter: bytes_downloaded, cpu_seconds …

    Of a counter whose name begins with ``max_`` it is the greatest value instead. Work that is
    shared with other projects counts in full for each of them.
    """
    stage_costs: Mapping[str, Mapping[str, float]]
    """The same of each stage, by counter."""
    saved: Mapping[str, Mapping[str, float]]
    """By stage, of the results that were there when the project, or its last edit that made new
    recipes, asked for them: ``results`` and their ``cpu_seconds``. Stages without any are absent.
    """
    sources: tuple[SourceYield, ...]
    """In the order of the spec."""
    scores: Mapping[str, int]
    """Frames whose best score for the prompts is at most so high, by that upper bound as a number
    in text, ascending, the last one ``+Inf``; empty without prompts."""


def survey(conn: Connection, project_id: int) -> Survey:
    """Everything as of now. Raises NotFoundError when there is no such project.

    What it costs depends on the project, not on how much there is of others.
    """
    given = {"project_id": project_id}
    conn.execute(_BY_INDEX)
    names = conn.execute(_PRESENT, given).one_or_none()
    if names is None:
        raise NotFoundError(f"there is no project with id {project_id}")
    present = [s for s in STAGES if s.name in names.stages]
    per_video = [s.name for s in present if s.scope is Scope.VIDEO]
    parts: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for part, row in conn.execute(_SURVEY, {**given, "stages": per_video}):
        parts[part].append(row)
    (ends,) = parts["members"]
    sources = conn.execute(_SOURCES, given).all()
    kept = {row.source_index: row for row in conn.execute(_KEPT, given)}
    rows = {row["stage"]: row for row in parts["stage"]}
    stage_costs: dict[str, dict[str, float]] = defaultdict(dict)
    for row in sorted(parts["cost"], key=lambda row: str(row["key"])):
        stage_costs[row["stage"]][row["key"]] = float(row["amount"])
    return Survey(
        stages=stage_counts(present, rows, members=ends["members"], stopped=ends["stopped"]),
        members=Members(
            found=sum(row.found for row in sources),
            selected=sum(row.selected for row in sources),
            not_admitted=sum(row.not_admitted for row in sources),
            members=ends["members"],
            open=ends["open"],
            usable=ends["usable"],
            downloaded=ends["downloaded"],
        ),
        failures=_failures(parts["trouble"], "failed"),
        put_off=_failures(parts["trouble"], "waiting"),
        skipped=tuple(
            Skipped(row["stage"], row["reason"], row["count"], row["subject"], row["message"])
            for row in _frequent(parts["skipped"], "reason")
        ),
        costs=totals(stage_costs.values()),
        stage_costs={s.name: stage_costs[s.name] for s in present if s.name in stage_costs},
        saved={
            row["stage"]: {"results": row["results"], "cpu_seconds": row["cpu_seconds"]}
            for row in parts["saved"]
        },
        sources=tuple(
            SourceYield(
                source=row.source_index,
                found=row.found,
                selected=row.selected,
                used=kept[row.source_index].videos if row.source_index in kept else 0,
                images=kept[row.source_index].images if row.source_index in kept else 0,
            )
            for row in sources
        ),
        scores=_cumulative({row["edge"]: row["frames"] for row in parts["scores"]}),
    )


def _cumulative(counts: Mapping[str, int]) -> Mapping[str, int]:
    found, total = {}, 0
    for edge in sorted({*counts, "+Inf"} if counts else (), key=float):
        total += counts.get(edge, 0)
        found[edge] = total
    return found


def _failures(rows: Sequence[Mapping[str, Any]], state: str) -> tuple[Failure, ...]:
    return tuple(
        Failure(
            stage=row["stage"],
            error_class=row["error_class"],
            count=row["count"],
            subject=row["subject"],
            error=" ".join(row["error"].split()),
        )
        for row in _frequent(rows, "error_class")
        if row["state"] == state
    )


def _frequent(rows: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return sorted(rows, key=lambda row: (-row["count"], row["stage"], row[name]))


# How many videos a project has is more than the planner knows: it takes a small one for a big one,
# and reads the results and tasks of all projects for it.
_BY_INDEX = text("""
    SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
           set_config('enable_seqscan', 'off', true)
""")

_PRESENT = text("""
    SELECT ARRAY(SELECT stage FROM project_stages s WHERE s.project_id = p.project_id) AS stages
    FROM projects p WHERE p.project_id = :project_id
""")

# First all that is ours, once, then what there is to say of it. Asked for the few that have failed,
# PostgreSQL would look for them among all that ever did.
_SURVEY = query("""
    WITH {MINE},
    asked AS MATERIALIZED (
        SELECT max(c.created_at) AS at FROM own JOIN recipes c USING (recipe_id)
    ),
    seen AS MATERIALIZED (
        SELECT m.stage, m.subject, own.ends_member,
               r.outcome, r.frames, r.reason, r.cost, t.spent, t.state, t.error_class, t.error,
               r.outcome IS NOT NULL AND (r.project_id IS DISTINCT FROM :project_id
                   OR r.finished_at < (SELECT at FROM asked)) AS was_there,
               CASE WHEN m.stage = 'filter' THEN r.facts -> 'scores' END AS scores,
               extract(epoch FROM r.finished_at - r.started_at) AS seconds,
               CASE WHEN m.stage = 'extract' THEN r.facts ->> 'partial' END AS partial
        FROM mine m
        JOIN own USING (stage)
        LEFT JOIN results r ON r.recipe_id = m.recipe_id AND r.subject = m.subject
        LEFT JOIN tasks t ON t.recipe_id = m.recipe_id AND t.subject = m.subject
    ),
    ends AS (
        SELECT subject,
               bool_or(outcome = 'skipped') AS skipped,
               bool_or(state = 'failed') AS failed,
               bool_or(ends_member AND outcome = 'done') AS through,
               bool_or(outcome = 'done' AND frames = 0) AS empty,
               bool_or(stage = 'download' AND outcome = 'done') AS downloaded,
               min(s.n) FILTER (WHERE outcome = 'skipped' OR frames = 0 OR state = 'failed')
                   AS stopped_at
        FROM seen
        JOIN unnest(CAST(:stages AS text[])) WITH ORDINALITY AS s(stage, n) USING (stage)
        GROUP BY subject
    ),
    reasons AS (
        SELECT stage, subject, reason FROM seen WHERE outcome = 'skipped'
        UNION ALL
        SELECT stage, subject, 'Partial: ' || partial FROM seen WHERE partial IS NOT NULL
        UNION ALL
        SELECT 'select', pv.video_id, pv.skip_reason
        FROM own JOIN project_sources s
            ON own.stage = 'discover' AND s.recipe_id = own.recipe_id
           AND s.project_id = :project_id
        JOIN project_videos pv ON pv.project_id = s.project_id AND pv.video_id = s.video_id
        WHERE pv.skip_reason IS NOT NULL
        GROUP BY pv.video_id, pv.skip_reason
    )
    SELECT 'stage' AS part, to_jsonb(x) AS row FROM (
        SELECT stage,
               count(*) AS subjects,
               count(*) FILTER (WHERE outcome = 'done' AND state IS NULL) AS done,
               count(*) FILTER (WHERE outcome = 'skipped' AND state IS NULL) AS skipped,
               count(*) FILTER (WHERE outcome = 'done' AND frames = 0) AS empty,
               count(*) FILTER (WHERE state = 'running') AS running,
               count(*) FILTER (WHERE state = 'ready') AS ready,
               count(*) FILTER (WHERE state = 'waiting') AS waiting,
               count(*) FILTER (WHERE state = 'failed') AS failed,
               coalesce(sum(frames), 0) AS frames,
               avg(seconds) FILTER (WHERE outcome = 'done') AS mean_seconds
        FROM seen GROUP BY stage) x
    UNION ALL SELECT 'members', to_jsonb(x) FROM (
        SELECT count(*) AS members,
               count(*) FILTER (WHERE NOT coalesce(skipped OR failed OR through OR empty, false))
                   AS open,
               count(*) FILTER (WHERE through OR empty) AS usable,
               count(*) FILTER (WHERE downloaded) AS downloaded,
               coalesce(array_agg(stopped_at) FILTER (WHERE stopped_at IS NOT NULL), '{}')
                   AS stopped
        FROM ends) x
    UNION ALL SELECT 'trouble', to_jsonb(x) FROM (
        SELECT state, stage, error_class, count(*), min(subject) AS subject,
               (array_agg(coalesce(error, '') ORDER BY subject))[1] AS error
        FROM seen
        WHERE state IN ('failed', 'waiting') AND error_class IS NOT NULL
        GROUP BY state, stage, error_class) x
    UNION ALL SELECT 'skipped', to_jsonb(x) FROM (
        SELECT stage, split_part(reason, ':', 1) AS reason, count(*), min(subject) AS subject,
               (array_agg(reason ORDER BY subject))[1] AS message
        FROM reasons GROUP BY stage, split_part(reason, ':', 1)) x
    UNION ALL SELECT 'cost', to_jsonb(x) FROM (
        SELECT stage, c.key, CASE WHEN c.key LIKE 'max\\_%' THEN max(c.value::text::float8)
                                  ELSE sum(c.value::text::float8) END AS amount
        FROM seen CROSS JOIN LATERAL (
            SELECT * FROM jsonb_each(cost) UNION ALL SELECT * FROM jsonb_each(spent)
        ) AS c(key, value)
        WHERE jsonb_typeof(c.value) = 'number'
        GROUP BY stage, c.key) x
    UNION ALL SELECT 'saved', to_jsonb(x) FROM (
        SELECT stage, count(*) AS results,
               coalesce(sum(CAST(cost ->> 'cpu_seconds' AS float8)), 0) AS cpu_seconds
        FROM seen WHERE was_there GROUP BY stage) x
    UNION ALL SELECT 'scores', to_jsonb(x) FROM (
        SELECT s.edge, sum(CAST(s.frames AS int)) AS frames
        FROM seen CROSS JOIN LATERAL jsonb_each_text(scores) AS s(edge, frames)
        GROUP BY s.edge) x
""")

# A video that several sources have found counts for the first of them.
_SOURCES = text("""
    SELECT f.source_index, count(*) AS found,
           count(*) FILTER (WHERE pv.skip_reason IS NULL) AS selected,
           count(*) FILTER (
               WHERE pv.skip_reason IS NULL AND w.epoch IS DISTINCT FROM p.wave_epoch)
               AS not_admitted
    FROM projects p
    CROSS JOIN LATERAL (
        SELECT s.video_id, min(s.source_index) AS source_index
        FROM project_stages d
        JOIN project_sources s ON s.project_id = d.project_id AND s.recipe_id = d.recipe_id
        WHERE d.project_id = p.project_id AND d.stage = 'discover'
        GROUP BY s.video_id) f
    JOIN project_videos pv ON pv.project_id = p.project_id AND pv.video_id = f.video_id
    LEFT JOIN waves w ON w.wave_id = pv.wave_id
    WHERE p.project_id = :project_id
    GROUP BY f.source_index ORDER BY f.source_index
""")

_KEPT = query("""
    WITH {MINE}
    SELECT f.source_index, count(DISTINCT k.video_id) AS videos, sum(k.images) AS images
    FROM kept k
    CROSS JOIN LATERAL (
        SELECT min(s.source_index) AS source_index
        FROM own JOIN project_sources s ON own.stage = 'discover' AND s.recipe_id = own.recipe_id
        WHERE s.project_id = :project_id AND s.video_id = k.video_id) f
    WHERE f.source_index IS NOT NULL
    GROUP BY f.source_index
""")
