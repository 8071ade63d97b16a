"""What applying a project would do. It is done, counted, and rolled back: so it is exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from data_miner.catalog.apply import Applied, apply_project
from data_miner.catalog.counts import Members, StageCount
from data_miner.catalog.survey import survey
from data_miner.catalog.wanted import query
from data_miner.compiler import CompiledStage
from data_miner.pipeline import BY_NAME, Scope
from data_miner.spec.project import MiningProject


@dataclass(frozen=True, slots=True)
class StagePreview:
    """What would become of one stage."""

    stage: str
    reused: int
    """Results that are there already, from this project or from others."""
    to_run: int
    """Tasks still to run, as far as is known before any of them has run."""
    lent: int
    """Of those: tasks that find part of their work done by an earlier recipe."""
    known: bool
    """False when nothing can be said of `to_run` before the sources are listed."""
    seconds: float | None
    """How long `to_run` takes one worker, going by what the stage took before; None: no idea."""
    note: str
    """Words on how sure that is; may be empty."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What applying a project would do."""

    headline: str
    changed: bool
    """False when applying would change nothing."""
    changed_stages: tuple[str, ...]
    stages: tuple[StagePreview, ...]


def preview(
    conn: Connection,
    project: MiningProject,
    compiled: Sequence[CompiledStage],
    *,
    first_wave: int,
) -> Preview:
    """Apply the project, count what that calls for, and take it all back."""
    attempt = conn.begin_nested()
    try:
        # Whoever owns it: nothing of this stays.
        applied = apply_project(conn, project, compiled, first_wave=first_wave, for_object=True)
        seen = survey(conn, applied.project_id)
        lent = _lent(conn, applied.project_id)
        seconds = _seconds(conn)
    finally:
        attempt.rollback()
    more = seen.members.not_admitted > 0 or any(s.left for s in seen.stages)
    found = tuple(
        _stage(s, seen.members, lent.get(s.stage, 0), seconds.get(s.stage), more=more)
        for s in seen.stages
    )
    return Preview(
        headline=_headline(project.metadata.name, applied, found),
        changed=applied.changed,
        changed_stages=applied.changed_stages,
        stages=found,
    )


_LENT = query("""
    WITH {MINE}
    SELECT m.stage, count(*) AS tasks
    FROM mine m JOIN recipes c USING (recipe_id)
    WHERE m.stage IN ('dedup_embed', 'cut', 'detect')
      AND NOT EXISTS (SELECT FROM results r
                      WHERE r.recipe_id = m.recipe_id AND r.subject = m.subject)
      AND EXISTS (SELECT FROM results r JOIN recipes o ON o.recipe_id = r.recipe_id
                  WHERE r.video_id = m.video_id AND r.outcome = 'done' AND r.gone_at IS NULL
                    AND o.reuse_key = c.reuse_key)
    GROUP BY m.stage
""")

_SECONDS = text("""
    SELECT stage, avg(extract(epoch FROM finished_at - started_at)) AS seconds
    FROM results WHERE outcome = 'done' AND started_at IS NOT NULL GROUP BY stage
""")


def _lent(conn: Connection, project_id: int) -> Mapping[str, int]:
    rows = conn.execute(_LENT, {"project_id": project_id})
    return {row.stage: row.tasks for row in rows}


def _seconds(conn: Connection) -> Mapping[str, float]:
    return {row.stage: float(row.seconds) for row in conn.execute(_SECONDS)}


def _stage(
    count: StageCount, members: Members, lent: int, mean: float | None, *, more: bool
) -> StagePreview:
    to_run = count.left
    if BY_NAME[count.stage].scope is Scope.VIDEO:
        to_run += members.not_admitted
    lent = min(lent, to_run)
    return StagePreview(
        stage=count.stage,
        reused=count.done + count.skipped,
        to_run=to_run,
        known=BY_NAME[count.stage].scope is Scope.SOURCE or members.found > 0,
        lent=lent,
        seconds=None if mean is None else to_run * mean,
        note=_note(count, members, lent, more=more),
    )


def _note(count: StageCount, members: Members, lent: int, *, more: bool) -> str:
    scope = BY_NAME[count.stage].scope
    notes = []
    if lent:
        notes.append(f"{lent} of them with part of the work done")
    if count.failed:
        notes.append(f"{count.failed} failed before; `retry` tries again")
    if scope is not Scope.SOURCE and not members.found:
        notes.append("known once the sources are listed")
    elif scope is Scope.WAVE_VIDEO and more:
        notes.append("more as near-duplicates are resolved")
    elif scope is Scope.WAVE and members.not_admitted:
        notes.append("more as waves open")
    return "; ".join(notes)


def _headline(name: str, applied: Applied, stages: Sequence[StagePreview]) -> str:
    to_run = sum(s.to_run for s in stages)
    reused = sum(s.reused for s in stages)
    if not applied.changed and not to_run:
        return f"{name}: nothing to do, all of it is done already"
    if applied.created:
        change = "new"
    elif not applied.changed:
        change = "unchanged"
    elif applied.changed_stages:
        change = f"changed from {applied.changed_stages[0]} onward"
    else:
        change = "changed, but no stage of it"
    tasks = "task" if to_run == 1 else "tasks"
    results = "result" if reused == 1 else "results"
    return f"{name}: {change}; at least {to_run} {tasks} to run, {reused} {results} reused"
