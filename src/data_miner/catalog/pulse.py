"""One cheap look at the whole queue, for whoever keeps many projects and their workers in line."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

from data_miner.db.engine import snapshot

LATELY_SECONDS: Final = 900
"""How far back tasks are measured."""
MOVED_SECONDS: Final = 20
"""How long the end of shared work is told: longer than the time between two looks."""


@dataclass(frozen=True, slots=True)
class Depth:
    """Live tasks and dead letters of one recipe that one project sponsors."""

    recipe_id: int
    project_id: int
    """The sponsor: of work that projects share, the most urgent active one that wants it."""
    stage: str
    ready: int
    running: int
    waiting: int
    """Put off, for whatever reason."""
    throttled: int
    """Of those, the ones that a site has put off: more workers would not help."""
    failed: int
    oldest_ready_seconds: float | None
    """Age of the oldest task that is ready; None when none is."""
    claims: int
    """How often these tasks were claimed in all: changes also where no count does."""


@dataclass(frozen=True, slots=True)
class WorkerFact:
    """A worker that is alive."""

    worker_id: str
    host: str
    pool: str
    slots: int
    drain: bool
    """It was asked to take nothing more, or is disabled. From the moment that is committed, it
    claims nothing."""
    seen_seconds: float
    """Time since it was seen last."""
    held: int
    """Tasks that it runs."""
    busiest_seconds: float
    """How long the longest of them has been running; 0 when there is none."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """The queue as of one moment."""

    depths: tuple[Depth, ...]
    workers: tuple[WorkerFact, ...]
    """Not stopped, and seen lately."""
    stage_seconds: Mapping[str, float]
    """Mean time from claim to result, over the last 15 minutes; a stage that ended nothing in
    them is absent."""
    finished_per_second: Mapping[str, float]
    """Results a second since the first of those was begun, at most over 15 minutes; absent as
    above."""
    wants: Mapping[int, frozenset[int]]
    """Recipe ids of each active project's stages, by project_id."""
    keys: Mapping[int, tuple[str, str]]
    """(namespace, name) by project_id, of rows that this installation applied last."""
    active: frozenset[int]
    """Projects that are neither suspended nor deleted, of all installations."""
    moved: Mapping[int, int]
    """By project_id, a number that changes when work that it shares, and that another project
    sponsors, begins or ends. Absent while there is none."""
    took_seconds: float


def look(engine: Engine, *, installation: str, lost_after_seconds: float) -> Pulse:
    """Everything as of one moment, in one read of the tasks.

    `lost_after_seconds`: a worker that was not seen for longer is not alive.
    """
    began = time.monotonic()
    with snapshot(engine) as conn:
        # Compiling a plan takes longer than the query, and a worker process would only add to it.
        conn.execute(text("SET LOCAL jit = off"))
        # Once, not for each row that it is compared with.
        now = conn.execute(text("SELECT dataminer_now()")).scalar_one()
        stages = {r.recipe_id: r.stage for r in conn.execute(_RECIPES)}
        depths = _depths(conn, stages)
        workers = _workers(conn, lost_after_seconds)
        seconds, per_second = _measured(conn, now)
        wants, keys, active = _projects(conn, installation)
        moved = _moved(conn, now)
    return Pulse(
        depths=depths,
        workers=workers,
        stage_seconds=seconds,
        finished_per_second=per_second,
        wants=wants,
        keys=keys,
        active=active,
        moved=moved,
        took_seconds=time.monotonic() - began,
    )


def marks(pulse: Pulse) -> dict[int, Hashable]:
    """By project, of those that `keys` names: a value that changes when its work does.

    Of what it shares and others sponsor, only beginnings and ends are seen, and those that fall
    between two looks may be missed: look at a project now and then whatever its mark says.
    """
    own: dict[int, list[Hashable]] = defaultdict(list)
    for d in pulse.depths:
        if d.project_id in pulse.keys:
            own[d.project_id].append(
                (d.recipe_id, d.ready, d.running, d.waiting, d.failed, d.claims)
            )
    return {
        project_id: (
            project_id in pulse.active,
            tuple(own.get(project_id, ())),
            pulse.moved.get(project_id),
        )
        for project_id in pulse.keys
    }


_RECIPES = text("SELECT recipe_id, stage FROM recipes")

# What is throttled is said by the class that a task was put off with.
_DEPTHS = text("""
    SELECT recipe_id, project_id,
           count(*) FILTER (WHERE state = 'ready') AS ready,
           count(*) FILTER (WHERE state = 'running') AS running,
           count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE state = 'waiting' AND error_class = 'throttled') AS throttled,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           extract(epoch FROM dataminer_now() - min(created_at) FILTER (WHERE state = 'ready'))
               ::float8 AS oldest,
           sum(claim_seq) AS claims
    FROM tasks GROUP BY recipe_id, project_id ORDER BY project_id, recipe_id
""")


def _depths(conn: Connection, stages: Mapping[int, str]) -> tuple[Depth, ...]:
    return tuple(
        Depth(
            recipe_id=recipe_id,
            project_id=project_id,
            stage=stages[recipe_id],
            ready=ready,
            running=running,
            waiting=waiting,
            throttled=throttled,
            failed=failed,
            oldest_ready_seconds=None if oldest is None else max(0.0, oldest),
            claims=int(claims),
        )
        for (
            recipe_id,
            project_id,
            ready,
            running,
            waiting,
            throttled,
            failed,
            oldest,
            claims,
        ) in conn.execute(_DEPTHS)
    )


_WORKERS = text("""
    WITH held AS (
        SELECT claimed_by, count(*) AS tasks, min(claimed_at) AS since
        FROM tasks WHERE state = 'running' GROUP BY claimed_by)
    SELECT w.worker_id, w.host, w.pool, w.slots, w.drain OR w.disabled_at IS NOT NULL AS drain,
           extract(epoch FROM dataminer_now() - w.seen_at)::float8 AS seen_seconds,
           coalesce(h.tasks, 0) AS held,
           coalesce(extract(epoch FROM dataminer_now() - h.since)::float8, 0) AS busiest_seconds
    FROM workers w LEFT JOIN held h ON h.claimed_by = w.worker_id
    WHERE w.stopped_at IS NULL
      AND w.seen_at >= dataminer_now() - make_interval(secs => :lost_after)
    ORDER BY w.worker_id
""")


def _workers(conn: Connection, lost_after_seconds: float) -> tuple[WorkerFact, ...]:
    rows = conn.execute(_WORKERS, {"lost_after": lost_after_seconds}).mappings()
    return tuple(WorkerFact(**row) for row in rows)


# Work of before a restart of the clock (tests move it) gives no negative times.
_MEASURED = text("""
    SELECT stage, count(*) AS results,
           avg(greatest(extract(epoch FROM finished_at - started_at), 0))::float8 AS mean,
           extract(epoch FROM CAST(:now AS timestamptz) - min(started_at))::float8 AS span
    FROM results WHERE finished_at > :since AND started_at IS NOT NULL
    GROUP BY stage
""")


def _measured(conn: Connection, now: datetime) -> tuple[Mapping[str, float], Mapping[str, float]]:
    given = {"now": now, "since": now - timedelta(seconds=LATELY_SECONDS)}
    rows: list[Any] = list(conn.execute(_MEASURED, given))
    rates = {row.stage: row.results / min(max(row.span, 1.0), LATELY_SECONDS) for row in rows}
    return {row.stage: row.mean for row in rows}, rates


_WANTS = text("""
    SELECT p.project_id, array_agg(s.recipe_id) AS recipes
    FROM projects p LEFT JOIN project_stages s USING (project_id)
    WHERE p.deleted_at IS NULL AND NOT p.suspended
    GROUP BY p.project_id
""")

_KEYS = text("""
    SELECT project_id, namespace, name FROM projects
    WHERE owner_installation = :installation AND deleted_at IS NULL
""")


def _projects(
    conn: Connection, installation: str
) -> tuple[Mapping[int, frozenset[int]], Mapping[int, tuple[str, str]], frozenset[int]]:
    wants = {
        row.project_id: frozenset(r for r in row.recipes if r is not None)
        for row in conn.execute(_WANTS)
    }
    rows = conn.execute(_KEYS, {"installation": installation})
    keys = {row.project_id: (row.namespace, row.name) for row in rows}
    return wants, keys, frozenset(wants)


# Starting from the few tasks that run and the few that have just ended, never from all.
_MOVED = text("""
    WITH lately AS MATERIALIZED (
        SELECT recipe_id, video_id, project_id AS sponsor, id * 7 + claim_seq AS token
        FROM tasks WHERE state = 'running' AND video_id IS NOT NULL AND wave_id IS NULL
        UNION ALL
        SELECT recipe_id, video_id, project_id,
               (extract(epoch FROM finished_at) * 1000000)::bigint
        FROM results
        WHERE finished_at > :since AND video_id IS NOT NULL AND wave_id IS NULL),
    shared AS MATERIALIZED (
        SELECT pv.project_id, l.recipe_id, l.token
        FROM lately l
        JOIN project_videos pv ON pv.video_id = l.video_id AND pv.project_id <> l.sponsor)
    SELECT project_id, sum(token) AS token
    FROM shared JOIN project_stages USING (project_id, recipe_id)
    GROUP BY project_id
""")


def _moved(conn: Connection, now: datetime) -> Mapping[int, int]:
    rows = conn.execute(_MOVED, {"since": now - timedelta(seconds=MOVED_SECONDS)})
    return {row.project_id: int(row.token) for row in rows}
