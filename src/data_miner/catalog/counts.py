"""Counts what a project has and what it still calls for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, text

from data_miner.catalog.wanted import query
from data_miner.errors import NotFoundError
from data_miner.pipeline import BY_NAME, STAGES, Scope


@dataclass(frozen=True, slots=True)
class StageCount:
    """How far one stage of a project is, in tasks."""

    stage: str
    total: int
    """Called for as far as is known now: later results may call for more."""
    done: int
    skipped: int
    running: int
    ready: int
    waiting: int
    """Put off until some time."""
    failed: int
    frames: int
    """What the done ones yield together: frames or images; videos for discover."""
    mean_seconds: float | None
    """How long one took on average; None when none has been timed."""

    @property
    def live(self) -> int:
        """Tasks that somebody works on or will."""
        return self.running + self.ready + self.waiting

    @property
    def left(self) -> int:
        """Results that are still to come, as far as is known now."""
        return max(0, self.total - self.done - self.skipped - self.failed)

    @property
    def missing(self) -> int:
        """Results that are called for and that no task is there for yet."""
        return max(0, self.left - self.live)

    @property
    def eta_seconds(self) -> float | None:
        """Time until the stage is through at its present width; None when that is not known."""
        if self.mean_seconds is None:
            return None
        return self.left * self.mean_seconds / max(1, self.running)


@dataclass(frozen=True, slots=True)
class Members:
    """The videos of a project."""

    found: int
    selected: int
    not_admitted: int
    members: int
    open: int
    usable: int
    downloaded: int


_STAGES = query("""
    WITH {MINE}
    SELECT m.stage,
           count(*) AS subjects,
           count(*) FILTER (WHERE r.outcome = 'done' AND t.id IS NULL) AS done,
           count(*) FILTER (WHERE r.outcome = 'skipped' AND t.id IS NULL) AS skipped,
           count(*) FILTER (WHERE r.outcome = 'done' AND r.frames = 0) AS empty,
           count(*) FILTER (WHERE t.state = 'running') AS running,
           count(*) FILTER (WHERE t.state = 'ready') AS ready,
           count(*) FILTER (WHERE t.state = 'waiting') AS waiting,
           count(*) FILTER (WHERE t.state = 'failed') AS failed,
           coalesce(sum(r.frames), 0) AS frames,
           avg(extract(epoch FROM r.finished_at - r.started_at))
               FILTER (WHERE r.outcome = 'done') AS mean_seconds
    FROM mine m
    LEFT JOIN results r USING (recipe_id, subject)
    LEFT JOIN tasks t USING (recipe_id, subject)
    GROUP BY m.stage
""")

_MEMBERS = query("""
    WITH {MINE},
    ends AS (
        SELECT m.subject,
               bool_or(r.outcome = 'skipped') AS skipped,
               bool_or(t.state = 'failed') AS failed,
               bool_or(own.ends_member AND r.outcome = 'done') AS through,
               bool_or(r.outcome = 'done' AND r.frames = 0) AS empty,
               bool_or(m.stage = 'download' AND r.outcome = 'done') AS downloaded,
               min(s.n) FILTER (WHERE r.outcome = 'skipped' OR r.frames = 0
                                   OR t.state = 'failed') AS stopped_at
        FROM mine m
        JOIN own USING (stage)
        JOIN unnest(CAST(:stages AS text[])) WITH ORDINALITY AS s(stage, n) USING (stage)
        LEFT JOIN results r ON r.recipe_id = m.recipe_id AND r.subject = m.subject
        LEFT JOIN tasks t ON t.recipe_id = m.recipe_id AND t.subject = m.subject
        GROUP BY m.subject
    )
    SELECT count(*) AS members,
           count(*) FILTER (WHERE NOT coalesce(skipped OR failed OR through OR empty, false))
               AS open,
           count(*) FILTER (WHERE through OR empty) AS usable,
           count(*) FILTER (WHERE downloaded) AS downloaded,
           coalesce(array_agg(stopped_at) FILTER (WHERE stopped_at IS NOT NULL), '{{}}') AS stopped
    FROM ends
""")

_FOUND = text("""
    SELECT count(DISTINCT pv.video_id) AS found,
           count(DISTINCT pv.video_id) FILTER (WHERE pv.skip_reason IS NULL) AS selected,
           count(DISTINCT pv.video_id) FILTER (
               WHERE pv.skip_reason IS NULL AND w.epoch IS DISTINCT FROM p.wave_epoch)
               AS not_admitted
    FROM projects p
    JOIN project_stages d ON d.project_id = p.project_id AND d.stage = 'discover'
    JOIN project_sources s ON s.project_id = p.project_id AND s.recipe_id = d.recipe_id
    JOIN project_videos pv ON pv.project_id = p.project_id AND pv.video_id = s.video_id
    LEFT JOIN waves w ON w.wave_id = pv.wave_id
    WHERE p.project_id = :project_id
""")


def count(conn: Connection, project_id: int) -> tuple[tuple[StageCount, ...], Members]:
    """The counts of every stage that the project has, in pipeline order, and of its videos.

    Raises NotFoundError when there is no such project.
    """
    given = {"project_id": project_id}
    exists = conn.execute(
        text("SELECT FROM projects WHERE project_id = :project_id"), given
    ).one_or_none()
    if exists is None:
        raise NotFoundError(f"there is no project with id {project_id}")
    names = conn.scalars(
        text("SELECT stage FROM project_stages WHERE project_id = :project_id"), given
    ).all()
    present = [s for s in STAGES if s.name in names]
    per_video = [s.name for s in present if s.scope is Scope.VIDEO]
    rows = {row.stage: row._mapping for row in conn.execute(_STAGES, given)}
    ends = conn.execute(_MEMBERS, {**given, "stages": per_video}).one()
    found = conn.execute(_FOUND, given).one()

    stages = []
    for stage in present:
        row = rows.get(stage.name)
        total = 0
        if stage.scope is Scope.VIDEO:
            total = _reached(stage.name, per_video, ends.members, ends.stopped)
        elif stage.name == "detect":
            cut = rows.get("cut")
            total = cut["subjects"] - cut["skipped"] - cut["failed"] - cut["empty"] if cut else 0
        elif row is not None:
            total = row["subjects"]
        stages.append(_stage_count(stage.name, total, row))
    return tuple(stages), Members(
        found=found.found,
        selected=found.selected,
        not_admitted=found.not_admitted,
        members=ends.members,
        open=ends.open,
        usable=ends.usable,
        downloaded=ends.downloaded,
    )


def _reached(stage: str, per_video: Sequence[str], members: int, stopped: Sequence[int]) -> int:
    """Members that get as far as this stage: none before it has stopped them.

    `stopped` holds, from 1, the place in `per_video` at which a member was skipped, has failed or
    yielded no frame.
    """
    place = per_video.index(stage) + 1
    return members - sum(at < place for at in stopped)


def _stage_count(stage: str, total: int, row: RowMapping | None) -> StageCount:
    if row is None:
        return StageCount(stage, total, 0, 0, 0, 0, 0, 0, 0, None)
    mean = row["mean_seconds"]
    numbers = {
        name: int(str(row[name]))
        for name in ("done", "skipped", "running", "ready", "waiting", "failed", "frames")
    }
    seen = numbers["done"] + numbers["skipped"] + numbers["failed"]
    return StageCount(
        stage=stage,
        total=max(total, seen) if BY_NAME[stage].scope is not Scope.VIDEO else total,
        mean_seconds=None if mean is None else float(str(mean)),
        **numbers,
    )
