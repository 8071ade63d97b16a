"""How far a project is: its phase, its funnel, its stages, its failures, its costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from data_miner.catalog import datasets
from data_miner.catalog.costs import costs, per_image
from data_miner.catalog.counts import Members, StageCount, count
from data_miner.catalog.datasets import Dataset
from data_miner.catalog.failures import Failure, Skipped, failures, put_off, skipped
from data_miner.catalog.phase import Counts, Phase, judge
from data_miner.errors import NotFoundError
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
    costs_per_image: Mapping[str, float]
    """Empty as long as there is no image."""
    dataset: Dataset | None
    """The newest version, also one of an earlier spec."""


def progress(conn: Connection, project_id: int) -> Progress:
    """Everything that `status` shows. Raises NotFoundError for an id that no project has.

    Several queries: call it within a `snapshot`, or it may judge a state that never was. What it
    costs depends on the project, not on how long the queue is.
    """
    conn.execute(_BY_INDEX)
    row = conn.execute(_PROJECT, {"project_id": project_id}).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no project with id {project_id}")
    stages, members = count(conn, project_id)
    by_stage = {s.stage: s for s in stages}
    dataset = datasets.latest(conn, project_id)
    broken = failures(conn, project_id)
    funnel = _funnel(by_stage, members, dataset)
    totals = costs(conn, project_id)
    return Progress(
        project_id=project_id,
        namespace=row.namespace,
        name=row.name,
        generation=row.generation,
        phase=judge(_counts(row, by_stage, members)),
        funnel=funnel,
        stages=stages,
        waves=row.waves,
        failures=broken,
        put_off=put_off(conn, project_id),
        skipped=skipped(conn, project_id),
        failed=sum(f.count for f in broken),
        costs=totals,
        costs_per_image=per_image(totals, funnel.exported or funnel.unique),
        dataset=dataset,
    )


def phase(conn: Connection, project_id: int) -> Phase:
    """Only the phase: cheaper than `progress`. Raises NotFoundError."""
    row = conn.execute(_PROJECT, {"project_id": project_id}).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no project with id {project_id}")
    stages, members = count(conn, project_id)
    return judge(_counts(row, {s.stage: s for s in stages}, members))


# How many videos a project has is more than the planner knows: it takes a small one for a big one,
# and reads the results and tasks of all projects for it.
_BY_INDEX = text("""
    SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
           set_config('enable_seqscan', 'off', true)
""")

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
