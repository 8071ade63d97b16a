"""Counts what a project has and what it still calls for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_miner.pipeline import BY_NAME, Scope, Stage


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
class SourceYield:
    """What one source of a spec has given."""

    source: int
    """Its index in the spec."""
    found: int
    """Videos, except those that an earlier source has found as well."""
    selected: int
    used: int
    """Videos with images that are unique; 0 without dedup."""
    images: int
    """Those images."""


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


def stage_counts(
    present: Sequence[Stage],
    rows: Mapping[str, Mapping[str, Any]],
    *,
    members: int,
    stopped: Sequence[int],
) -> tuple[StageCount, ...]:
    """The counts of the stages that a project has, in the order of `present`.

    `rows` holds, by stage, what was counted of its tasks and results; `stopped`, from 1, the place
    among the stages of scope VIDEO at which a member was skipped, has failed or yielded no frame.
    """
    per_video = [s.name for s in present if s.scope is Scope.VIDEO]
    stages = []
    for stage in present:
        row = rows.get(stage.name)
        total = 0
        if stage.scope is Scope.VIDEO:
            total = _reached(stage.name, per_video, members, stopped)
        elif stage.name == "detect":
            cut = rows.get("cut")
            total = cut["subjects"] - cut["skipped"] - cut["failed"] - cut["empty"] if cut else 0
        elif row is not None:
            total = row["subjects"]
        stages.append(_stage_count(stage.name, total, row))
    return tuple(stages)


def _reached(stage: str, per_video: Sequence[str], members: int, stopped: Sequence[int]) -> int:
    """Members that get as far as this stage: none before it has stopped them."""
    place = per_video.index(stage) + 1
    return members - sum(at < place for at in stopped)


def _stage_count(stage: str, total: int, row: Mapping[str, Any] | None) -> StageCount:
    if row is None:
        return StageCount(stage, total, 0, 0, 0, 0, 0, 0, 0, None)
    numbers = {
        name: int(row[name])
        for name in ("done", "skipped", "running", "ready", "waiting", "failed", "frames")
    }
    seen = numbers["done"] + numbers["skipped"] + numbers["failed"]
    mean = row["mean_seconds"]
    return StageCount(
        stage=stage,
        total=max(total, seen) if BY_NAME[stage].scope is not Scope.VIDEO else total,
        mean_seconds=None if mean is None else float(mean),
        **numbers,
    )
