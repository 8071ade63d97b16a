"""The append-only story of projects, videos and tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from data_miner.db.tables import events
from data_miner.stage import Json


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    at: datetime
    kind: str
    """``project.applied``, ``wave.sealed``, ``dataset.published`` …"""
    project_id: int | None
    video_id: str | None
    stage: str | None
    subject: str | None
    worker_id: str | None
    details: Mapping[str, Json]


def write(
    conn: Connection,
    kind: str,
    *,
    project_id: int | None = None,
    video_id: str | None = None,
    stage: str | None = None,
    subject: str | None = None,
    worker_id: str | None = None,
    details: Mapping[str, Json] | None = None,
) -> None:
    """Add one event; its time is the database's."""
    conn.execute(
        insert(events),
        {
            "kind": kind,
            "project_id": project_id,
            "video_id": video_id,
            "stage": stage,
            "subject": subject,
            "worker_id": worker_id,
            "details": dict(details or {}),
        },
    )


def latest(conn: Connection, project_id: int, *, limit: int = 50) -> Sequence[Event]:
    """The newest events of a project, newest first."""
    rows = conn.execute(
        select(
            events.c.at,
            events.c.kind,
            events.c.project_id,
            events.c.video_id,
            events.c.stage,
            events.c.subject,
            events.c.worker_id,
            events.c.details,
        )
        .where(events.c.project_id == project_id)
        .order_by(events.c.event_id.desc())
        .limit(limit)
    )
    return [Event(*row) for row in rows]
