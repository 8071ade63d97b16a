"""How far a project is: its phase, its funnel, its stages, its failures, its costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from data_miner.catalog import datasets
from data_miner.catalog.costs import per_image
from data_miner.catalog.counts import Members, SourceYield, StageCount
from data_miner.catalog.datasets import Dataset
from data_miner.catalog.failures import Failure, Skipped
from data_miner.catalog.phase import Counts, Phase, judge
from data_miner.catalog.survey import survey
from data_miner.pipeline import BY_NAME, Scope


@dataclass(frozen=True, slots=True)
class Funnel:
    """What is left after each step; frames and images once there are some."""

    found: int
    """Videos that the sources gave."""
    selected: int
    """Videos that `select` lets through."""
    downloaded: int
    """Videos whose source is there."""
    frames: int
    """Frames that were looked at."""
    passed: int
    """Frames that the filter kept."""
    unique: int
    """Images that are left after near-duplicates, at most as many as wanted."""
    labelled: int
    """Images that went through detection."""
    exported: int
    """Images in the newest dataset version."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A project as of one moment."""

    project_id: int
    namespace: str
    name: str
    generation: int
    phase: Phase
    funnel: Funnel
    stages: tuple[StageCount, ...]
    waves: int
    failures: Sequence[Failure]
    put_off: Sequence[Failure]
    """What is tried again later, by what was in the way."""
    skipped: Sequence[Skipped]
    failed: int
    """Dead letters that the project called for."""
    costs: Mapping[str, float]
    stage_costs: Mapping[str, Mapping[str, float]]
    """The same of each stage, in pipeline order."""
    saved: Mapping[str, Mapping[str, float]]
    """By stage: ``results`` that were there before they were asked for, and their
    ``cpu_seconds``."""
    sources: Sequence[SourceYield]
    """What each source of the spec has given."""
    scores: Mapping[str, int]
    """Frames whose score is at most so high, by that bound, as in `Survey`."""
    costs_per_image: Mapping[str, float]
    """Empty as long as there is no image."""
    dataset: Dataset | None
    """The newest version, also one of an earlier spec."""


def progress(conn: Connection, project_id: int) -> Progress:
    """Everything that `status` shows. Raises NotFoundError for an id that no project has.

    Several queries: call it within a `snapshot`, or it may judge a state that never was. What it
    costs depends on the project, not on how long the queue is.
    """
    seen = survey(conn, project_id)
    row = conn.execute(_PROJECT, {"project_id": project_id}).one()
    by_stage = {s.stage: s for s in seen.stages}
    dataset = datasets.latest(conn, project_id)
    funnel = _funnel(by_stage, seen.members, dataset)
    return Progress(
        project_id=project_id,
        namespace=row.namespace,
        name=row.name,
        generation=row.generation,
        phase=judge(_counts(row, by_stage, seen.members)),
        funnel=funnel,
        stages=seen.stages,
        waves=row.waves,
        failures=seen.failures,
        put_off=seen.put_off,
        skipped=seen.skipped,
        failed=sum(f.count for f in seen.failures),
        costs=seen.costs,
        stage_costs=seen.stage_costs,
        saved=seen.saved,
        sources=seen.sources,
        scores=seen.scores,
        costs_per_image=per_image(seen.costs, funnel.exported or funnel.unique),
        dataset=dataset,
    )


_PROJECT = text("""
    SELECT p.namespace, p.name, p.generation, p.suspended, p.target_images,
           p.deleted_at IS NOT NULL AS deleted,
           (SELECT count(*) FROM waves w
            WHERE w.project_id = p.project_id AND w.epoch = p.wave_epoch) AS waves,
           (SELECT d.images FROM waves w
            JOIN project_stages s ON s.project_id = w.project_id AND s.stage = 'export'
            JOIN datasets d ON d.recipe_id = s.recipe_id AND d.wave_id = w.wave_id
            WHERE w.project_id = p.project_id AND w.epoch = p.wave_epoch
            ORDER BY w.n DESC, d.version DESC LIMIT 1) AS images_exported,
           -- As a filter: as a condition it would search all that waits, of any project, in order.
           (SELECT extract(epoch FROM min(t.run_at) FILTER (WHERE t.state = 'waiting')
                                      - dataminer_now())
            FROM tasks t WHERE t.project_id = p.project_id) AS retry_seconds
    FROM projects p WHERE p.project_id = :project_id
""")


def _funnel(stages: Mapping[str, StageCount], members: Members, dataset: Dataset | None) -> Funnel:
    frames = {name: stages[name].frames if name in stages else 0 for name in BY_NAME}
    return Funnel(
        found=members.found,
        selected=members.selected,
        downloaded=members.downloaded,
        frames=frames["extract"],
        passed=frames["filter"],
        unique=frames["dedup"],
        labelled=frames["detect"],
        exported=dataset.images if dataset else 0,
    )


def _counts(row: Row[Any], stages: Mapping[str, StageCount], members: Members) -> Counts:
    discover = stages.get("discover")
    live = sum(s.live for s in stages.values())
    waiting = sum(s.waiting for s in stages.values())
    blocked = [
        s.stage for s in stages.values() if s.failed and BY_NAME[s.stage].scope is Scope.WAVE
    ]
    return Counts(
        deleted=row.deleted,
        suspended=row.suspended,
        sources=discover.total if discover else 0,
        sources_ended=discover.total - discover.left if discover else 0,
        sources_failed=discover.failed if discover else 0,
        found=members.found,
        selected=members.selected,
        not_admitted=members.not_admitted,
        members=members.members,
        open_members=members.open,
        usable=members.usable,
        looks="filter" in stages,
        frames_passed=stages["filter"].frames if "filter" in stages else 0,
        gathers="dedup" in stages,
        images_kept=stages["dedup"].frames if "dedup" in stages else 0,
        exports="export" in stages,
        images_exported=row.images_exported,
        target_images=row.target_images,
        live=live,
        live_exports=stages["export"].live if "export" in stages else 0,
        running=sum(s.running for s in stages.values()),
        missing=sum(
            s.missing for s in stages.values() if BY_NAME[s.stage].scope is not Scope.VIDEO
        ),
        failed=sum(s.failed for s in stages.values()),
        blocked_by=blocked[0] if blocked else None,
        retry_seconds=row.retry_seconds if live == waiting and live else None,
    )
