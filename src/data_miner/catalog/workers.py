"""Who works: rows that the workers keep fresh; whether one lives is derived from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, text

from data_miner.catalog.discovered import as_json

CHANNEL: Final = "dataminer_workers"
"""Where `drain` and `undrain` say the name of each worker that they are about."""


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


class Told(StrEnum):
    """What a worker that says it is there is told; false when it is nothing."""

    NOTHING = ""
    DRAIN = "drain"
    """Take nothing more, until it is taken back."""
    GO = "go"
    """End: it is disabled, or its row is gone."""


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
    keep_drain: bool = False,
) -> None:
    """Write the row of a worker that starts; the same id starting again takes its row over.

    `keep_drain`: what it was asked in its life before holds for this one. For workers that wait
    when they are drained, whose id is their place (a pod) and not their process: whoever asked
    takes it back. Others ended when they were asked, and who starts them again wants them to work.
    """
    conn.execute(
        text("""
            INSERT INTO workers AS w (worker_id, host, pid, pool, stages, slots, version)
            VALUES (:worker_id, :host, :pid, :pool, CAST(:stages AS jsonb), :slots, :version)
            ON CONFLICT (worker_id) DO UPDATE SET
                host = excluded.host, pid = excluded.pid, pool = excluded.pool,
                stages = excluded.stages, slots = excluded.slots, version = excluded.version,
                started_at = dataminer_now(), seen_at = dataminer_now(), stopped_at = NULL,
                drain = w.drain AND :keep_drain
        """),
        {
            "keep_drain": keep_drain,
            "worker_id": worker_id,
            "host": host,
            "pid": pid,
            "pool": pool,
            "stages": as_json(list(stages)),
            "slots": slots,
            "version": version,
        },
    )


def seen(conn: Connection, worker_id: str) -> Told:
    """Say that the worker is there; returns what it is told."""
    row = conn.execute(
        text(
            "UPDATE workers SET seen_at = dataminer_now() WHERE worker_id = :worker_id"
            " RETURNING drain, disabled_at IS NOT NULL AS disabled"
        ),
        {"worker_id": worker_id},
    ).one_or_none()
    if row is None or row.disabled:
        return Told.GO
    return Told.DRAIN if row.drain else Told.NOTHING


def may_claim(conn: Connection, worker_id: str) -> bool:
    """Whether the worker may take tasks in this transaction: told nothing, and there.

    Its row stays locked against `drain` until then: once that is committed, nothing is claimed.
    """
    return bool(
        conn.scalar(
            text(
                "SELECT true FROM workers WHERE worker_id = :worker_id AND NOT drain"
                " AND disabled_at IS NULL FOR SHARE"
            ),
            {"worker_id": worker_id},
        )
    )


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
    """Ask workers to take nothing more; returns those that are there to hear it.

    They finish what they hold. Then they go, or wait for `undrain`, as each was started. From the
    commit on they claim nothing.
    """
    return _tell(conn, worker_ids, drain=True)


def undrain(conn: Connection, worker_ids: Collection[str]) -> Sequence[str]:
    """Take `drain` back; returns those workers that are there and had been asked."""
    return _tell(conn, worker_ids, drain=False)


def _tell(conn: Connection, worker_ids: Collection[str], *, drain: bool) -> Sequence[str]:
    # In the order of ids, as everyone who locks more than one row and waits for it.
    told = conn.scalars(
        text("""
            WITH there AS (
                SELECT worker_id FROM workers
                WHERE worker_id = ANY(:ids) AND stopped_at IS NULL
                ORDER BY worker_id FOR NO KEY UPDATE)
            UPDATE workers w SET drain = :drain FROM there t
            WHERE w.worker_id = t.worker_id AND (:drain OR w.drain)
            RETURNING w.worker_id
        """),
        {"ids": sorted(worker_ids), "drain": drain},
    ).all()
    for worker_id in told:
        conn.execute(_SAY, {"channel": CHANNEL, "worker_id": worker_id})
    return sorted(told)


_SAY = text("SELECT pg_notify(:channel, :worker_id)")


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
