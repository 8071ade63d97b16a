"""The stage graph: which stage follows which, what one task of it is about, and who runs it.

This table is the only place that knows the order. The compiler picks the stages that a
project needs, the planner inserts their tasks, the worker finds the class that runs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """What one task of a stage is about; it fixes the form of the task's subject."""

    SOURCE = "source"
    """One source of one project: ``p{project_id}/{source_index}``."""
    VIDEO = "video"
    """One video, shared by every project that wants the same recipe: ``{video_id}``."""
    WAVE = "wave"
    """One closed wave of one project: ``w{wave_id}``."""
    WAVE_VIDEO = "wave_video"
    """One video of a closed wave: ``w{wave_id}/{video_id}``."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the pipeline."""

    name: str
    scope: Scope
    reads: tuple[str, ...]
    """Stages that it may follow, nearest first: the first one that a project has is the one."""
    pool: str
    """``cpu`` or ``gpu``: the pool that it likes best. The default pool serves all."""
    version: int
    """Raised when the same inputs and parameters give another result: part of the fingerprint."""
    stall_seconds: float
    """A task whose progress stands still for this long is killed, class ``stalled``."""


STAGES: Final[tuple[Stage, ...]] = (
    Stage("discover", Scope.SOURCE, (), "cpu", 1, 300),
    Stage("download", Scope.VIDEO, ("discover",), "cpu", 1, 300),
    Stage("extract", Scope.VIDEO, ("download",), "cpu", 1, 120),
    Stage("embed", Scope.VIDEO, ("extract",), "gpu", 1, 300),
    Stage("filter", Scope.VIDEO, ("embed", "extract"), "cpu", 1, 300),
    Stage("dedup_embed", Scope.VIDEO, ("filter",), "gpu", 1, 300),
    Stage("dedup", Scope.WAVE, ("dedup_embed", "filter"), "cpu", 1, 300),
    Stage("cut", Scope.WAVE_VIDEO, ("dedup",), "cpu", 1, 120),
    Stage("detect", Scope.WAVE_VIDEO, ("cut",), "gpu", 1, 300),
    Stage("export", Scope.WAVE, ("detect", "cut"), "cpu", 1, 300),
)

BY_NAME: Final[dict[str, Stage]] = {stage.name: stage for stage in STAGES}
NAMES: Final[tuple[str, ...]] = tuple(BY_NAME)
POOLS: Final[dict[str, tuple[str, ...]]] = {
    "default": NAMES,
    "cpu": tuple(s.name for s in STAGES if s.pool == "cpu"),
    "gpu": tuple(s.name for s in STAGES if s.pool == "gpu"),
}


def upstream(stage: str, present: frozenset[str]) -> str | None:
    """The stage that `stage` follows in a project with the stages `present`; None for the first.

    Raises KeyError for a name that is no stage.
    """
    return next((name for name in BY_NAME[stage].reads if name in present), None)
