"""What went wrong in a project, and what was left out, by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from data_miner.catalog.wanted import query


@dataclass(frozen=True, slots=True)
class Failure:
    """Tasks of one stage that ended, or were put off, with one error class."""

    stage: str
    error_class: str
    count: int
    subject: str
    """One of them, the first by name."""
    error: str
    """What that one said, one line."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Work that there was nothing to do for, by the first word of the reason."""

    stage: str
    reason: str
    count: int
    subject: str
    """One of them, the first by name."""
    message: str
    """The whole reason of that one."""


_FAILURES = query("""
    WITH {MINE}
    SELECT m.stage, t.error_class, count(*), min(m.subject),
           (array_agg(coalesce(t.error, '') ORDER BY m.subject))[1]
    FROM mine m JOIN tasks t USING (recipe_id, subject)
    WHERE t.state = :state AND t.error_class IS NOT NULL
    GROUP BY m.stage, t.error_class
    ORDER BY count(*) DESC, m.stage, t.error_class
""")

_SKIPPED = query("""
    WITH {MINE},
    -- First ours, then the few of them: asked for both, PostgreSQL looks for the few in all.
    ended AS MATERIALIZED (
        SELECT m.stage, m.subject, r.outcome, r.reason, r.facts ->> 'partial' AS partial
        FROM mine m JOIN results r USING (recipe_id, subject)
    ),
    reasons AS (
        SELECT stage, subject, reason FROM ended WHERE outcome = 'skipped'
        UNION ALL
        SELECT stage, subject, 'Partial: ' || partial
        FROM ended WHERE stage = 'extract' AND partial IS NOT NULL
        UNION ALL
        SELECT 'select', pv.video_id, pv.skip_reason
        FROM own JOIN project_sources s
            ON own.stage = 'discover' AND s.recipe_id = own.recipe_id
           AND s.project_id = :project_id
        JOIN project_videos pv ON pv.project_id = s.project_id AND pv.video_id = s.video_id
        WHERE pv.skip_reason IS NOT NULL
        GROUP BY pv.video_id, pv.skip_reason
    )
    SELECT stage, split_part(reason, ':', 1), count(*), min(subject),
           (array_agg(reason ORDER BY subject))[1]
    FROM reasons GROUP BY stage, split_part(reason, ':', 1)
    ORDER BY count(*) DESC, stage, split_part(reason, ':', 1)
""")


def failures(conn: Connection, project_id: int) -> Sequence[Failure]:
    """Dead letters that the project called for, most frequent first."""
    return _by_class(conn, project_id, "failed")


def put_off(conn: Connection, project_id: int) -> Sequence[Failure]:
    """What is tried again later, and why: a full disk, a site's wish, a first failure."""
    return _by_class(conn, project_id, "waiting")


def _by_class(conn: Connection, project_id: int, state: str) -> Sequence[Failure]:
    rows = conn.execute(_FAILURES, {"project_id": project_id, "state": state})
    return tuple(
        Failure(stage, error_class, number, subject, _one_line(error))
        for stage, error_class, number, subject, error in rows
    )


def skipped(conn: Connection, project_id: int) -> Sequence[Skipped]:
    """What was left out, most frequent first; stage ``select`` is what `select` left out.

    A file that is cut off or damaged counts with what could not be read of it, as ``Partial``.
    """
    return tuple(Skipped(*row) for row in conn.execute(_SKIPPED, {"project_id": project_id}))


def _one_line(value: str) -> str:
    return " ".join(value.split())
