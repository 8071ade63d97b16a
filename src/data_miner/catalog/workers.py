"""Who works: rows that the workers keep fresh; whether one lives is derived from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, text

from data_miner.catalog.discovered import as_json


class Liveness(StrEnum):
    """What the row of a worker says about it."""

    WORKING = "working"
    """Seen lately, holds tasks."""
    IDLE = "idle"
    """Seen lately, holds none."""
    DRAINING = "draining"
    """Seen lately; takes no new tasks."""
    LOST = "lost"
    """Not seen for too long, and it has not said that it stops."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Holding:
    """A task that a worker holds."""

    task_id: int
    stage: str
    subject: str
    progress: float | None
    message: str | None
    running_seconds: float


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process."""

    worker_id: str
    host: str
    pid: int
    pool: str
    stages: tuple[str, ...]
    slots: int
    version: str
    started_at: datetime
    seen_seconds: float
    """Time since it was seen last."""
    liveness: Liveness
    drain: bool
    tasks: tuple[Holding, ...]


def register(
    conn: Connection,
    *,
    worker_id: str,
    host: str,
    pid: int,
    pool: str,
    stages: Sequence[str],
    slots: int,
    version: str,
) -> None:
    """Write the row of a worker that starts; the same id starting again takes its row over."""
    conn.execute(
        text("""
            INSERT INTO workers AS w (worker_id, host, pid, pool, stages, slots, version)
            VALUES (:worker_id, :host, :pid, :pool, CAST(:stages AS jsonb), :slots, :version)
            ON CONFLICT (worker_id) DO UPDATE SET
                host = excluded.host, pid = excluded.pid, pool = excluded.pool,
                stages = excluded.stages, slots = excluded.slots, version = excluded.version,
                started_at = dataminer_now(), seen_at = dataminer_now(), stopped_at = NULL,
                drain = false
        """),
        {
            "worker_id": worker_id,
            "host": host,
            "pid": pid,
            "pool": pool,
            "stages": as_json(list(stages)),
            "slots": slots,
            "version": version,
        },
    )


def seen(conn: Connection, worker_id: str) -> bool:
    """Say that the worker is there; returns whether it shall go: drained, disabled or unknown."""
    row = conn.execute(
        text(
            "UPDATE workers SET seen_at = dataminer_now() WHERE worker_id = :worker_id"
            " RETURNING drain OR disabled_at IS NOT NULL AS go"
        ),
        {"worker_id": worker_id},
    ).one_or_none()
    return row is None or bool(row.go)


def stopped(conn: Connection, worker_id: str) -> None:
    """Say that the worker has ended."""
    conn.execute(
        text(
            "UPDATE workers SET stopped_at = dataminer_now(), seen_at = dataminer_now()"
            " WHERE worker_id = :worker_id"
        ),
        {"worker_id": worker_id},
    )


def drain(conn: Connection, worker_ids: Collection[str]) -> Sequence[str]:
    """Ask workers to finish what they hold and go; returns those that are there to hear it."""
    return conn.scalars(
        text(
            "UPDATE workers SET drain = true WHERE worker_id = ANY(:ids) AND stopped_at IS NULL"
            " RETURNING worker_id"
        ),
        {"ids": sorted(worker_ids)},
    ).all()


def forget(conn: Connection, *, older_than_seconds: float) -> int:
    """Remove rows of workers that stopped, or were last seen, longer ago than this."""
    return conn.execute(
        text(
            "DELETE FROM workers w WHERE w.disabled_at IS NULL"
            " AND w.seen_at < dataminer_now() - make_interval(secs => :seconds)"
            " AND NOT EXISTS (SELECT FROM tasks t WHERE t.claimed_by = w.worker_id"
            "                 AND t.state = 'running')"
        ),
        {"seconds": older_than_seconds},
    ).rowcount


_LIST = text("""
    SELECT w.worker_id, w.host, w.pid, w.pool, w.stages, w.slots, w.version, w.started_at,
           extract(epoch FROM dataminer_now() - w.seen_at) AS seen_seconds,
           w.stopped_at IS NOT NULL AS stopped, w.drain OR w.disabled_at IS NOT NULL AS drain
    FROM workers w
    WHERE w.stopped_at IS NULL OR w.stopped_at > dataminer_now() - interval '10 minutes'
    ORDER BY w.pool, w.worker_id
""")

_HELD = text("""
    SELECT claimed_by, id, stage, subject, progress, message,
           extract(epoch FROM dataminer_now() - claimed_at) AS running_seconds
    FROM tasks WHERE state = 'running' ORDER BY id
""")


def workers(conn: Connection, *, lost_after_seconds: float) -> Sequence[Worker]:
    """Workers that run, and those that stopped within the last ten minutes, by pool and id."""
    held: dict[str, list[Holding]] = {}
    for row in conn.execute(_HELD):
        task = Holding(
            row.id,
            row.stage,
            row.subject,
            row.progress,
            row.message,
            float(row.running_seconds),
        )
        held.setdefault(row.claimed_by, []).append(task)
    return [
        Worker(
            worker_id=row.worker_id,
            host=row.host,
            pid=row.pid,
            pool=row.pool,
            stages=tuple(row.stages),
            slots=row.slots,
            version=row.version,
            started_at=row.started_at,
            seen_seconds=float(row.seen_seconds),
            liveness=liveness(
                stopped=row.stopped,
                lost=row.seen_seconds > lost_after_seconds,
                drain=row.drain,
                holds=row.worker_id in held,
            ),
            drain=row.drain,
            tasks=tuple(held.get(row.worker_id, ())),
        )
        for row in conn.execute(_LIST)
    ]


def liveness(*, stopped: bool, lost: bool, drain: bool, holds: bool) -> Liveness:
    """What a worker's row says: the first of these that holds."""
    if stopped:
        return Liveness.STOPPED
    if lost:
        return Liveness.LOST
    if drain:
        return Liveness.DRAINING
    return Liveness.WORKING if holds else Liveness.IDLE
