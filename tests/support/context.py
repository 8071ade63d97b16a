"""A stage's context for tests: a real store on disk, and a record of all that the stage said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_miner import telemetry
from data_miner.model_stores import ModelStores
from data_miner.stage import Artifact, Assignment, Done, Fact, Json, StopRequested, Video
from data_miner.storage.local import LocalStore


@dataclass
class StageContext:
    """What a stage may touch, for one assignment, below one folder.

    Contexts with the same `root` share a store, as the tasks of one worker do.
    """

    root: Path
    assignment: Assignment
    credential: Mapping[str, Path] = field(default_factory=dict)
    model_stores: ModelStores = field(default_factory=ModelStores)
    provider: str = "cpu"
    stop_after_ticks: int | None = None
    """Raise StopRequested at the tick after so many, as a worker that stops does."""

    def __post_init__(self) -> None:
        self.scratch = self.root / "scratch" / f"task-{self.assignment.task_id}" / "work"
        self.scratch.mkdir(parents=True)
        self.store = LocalStore(self.root / "store", scratch=self.root / "scratch")
        self.counters: dict[str, float] = defaultdict(float)
        self.ticks: list[tuple[float | None, str | None]] = []
        self.checkpoints: list[Json] = []
        self._inputs = self.scratch.parent / "inputs"

    def tick(self, progress: float | None = None, message: str | None = None) -> None:
        if self.stop_after_ticks is not None and len(self.ticks) >= self.stop_after_ticks:
            raise StopRequested
        assert progress is None or 0 <= progress <= 1
        self.ticks.append((progress, message))

    def fetch(self, artifact: Artifact) -> Path:
        return self.store.fetch(artifact, self._inputs)

    def publish(self, path: Path, kind: str, media: Mapping[str, Json] | None = None) -> Artifact:
        return self.store.publish(path, kind, media)

    def count(self, name: str, amount: float = 1) -> None:
        assert name in telemetry.COUNTERS
        self.counters[name] += amount

    def checkpoint(self, value: Json) -> None:
        self.checkpoints.append(value)

    def cache(self, key: str) -> Path | None:
        return self.store.cached(key, self._inputs)

    def remember(self, key: str, path: Path) -> Path:
        return self.store.remember(key, path, self._inputs)


class Bench:
    """Makes contexts for the stages of one video, one after the other, in one store."""

    def __init__(self, root: Path, video: Video | None = None) -> None:
        self.root = root
        self.video = video
        self._task_id = 0

    def context(
        self,
        stage: str,
        params: Mapping[str, Json],
        *,
        inputs: Mapping[str, tuple[Fact, ...]] | None = None,
        subject: str | None = None,
        **more: Any,
    ) -> StageContext:
        """A context; `more` goes to the assignment, or to the context if it is a field of that."""
        self._task_id += 1
        of_context = {
            name: more.pop(name)
            for name in ("credential", "model_stores", "stop_after_ticks")
            if name in more
        }
        assignment = Assignment(
            task_id=self._task_id,
            claim_seq=1,
            stage=stage,
            subject=subject or (self.video.video_id if self.video else "p1/0"),
            params=params,
            attempt=0,
            max_attempts=3,
            project_id=1,
            project_name="test",
            namespace="default",
            video=self.video,
            inputs=inputs or {},
        )
        return StageContext(self.root, replace(assignment, **more), **of_context)

    def fact(self, context: StageContext, done: Done) -> Fact:
        """What another stage is told of this outcome."""
        one = context.assignment
        video_id = one.video.video_id if one.video else None
        return Fact(
            one.stage, one.subject, video_id, done.facts, done.artifacts, one.wave, one.params
        )

    def source(self, path: Path) -> Fact:
        """A download's result whose source is this file."""
        store = LocalStore(self.root / "store", scratch=self.root / "scratch")
        artifact = store.publish(path, "source")
        video_id = self.video.video_id if self.video else None
        facts = {"source_sha256": artifact.sha256}
        return Fact("download", video_id or "", video_id, facts, (artifact,))
