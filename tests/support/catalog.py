"""A catalogue for tests: a migrated database, and a worker that only says what it made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from data_miner.catalog.apply import Applied, apply_project
from data_miner.catalog.assign import assign
from data_miner.catalog.progress import Progress, progress
from data_miner.catalog.record import record
from data_miner.compiler import CompiledStage, ModelInfo, compile_project
from data_miner.db.engine import engine_for
from data_miner.db.migrate import upgrade
from data_miner.pipeline import NAMES
from data_miner.queue.claim import Cursor, claim
from data_miner.queue.fail import fail
from data_miner.queue.finish import Finished, finish
from data_miner.queue.plan import plan_after
from data_miner.queue.task import Claimed
from data_miner.settings import Settings
from data_miner.spec.load import project_from
from data_miner.spec.project import MiningProject
from data_miner.stage import Artifact, Assignment, Done, Outcome, Skip, StageError
from support.database import Databases, template_database

FIRST_WAVE = 2
LEASE_SECONDS = 60.0

SPEC: Mapping[str, Any] = {
    "sources": [{"urls": {"items": ["https://video.test/list"]}}],
    "sampling": {"strategy": "Time", "every": "1s"},
    "filter": {"model": "tiny-clip", "positive": ["a red ball"]},
    "dedup": {"model": "tiny-dino", "threshold": 0.9},
    "detect": {
        "classes": [{"name": "ball", "prompts": ["red ball"], "minScore": 0.3}],
        "detectors": [{"model": "tiny-detector"}],
    },
    "export": {"formats": ["COCO"], "splits": {"train": 0.8, "val": 0.1, "test": 0.1}},
}

Answer = Outcome | StageError | Callable[[Assignment], Outcome]


def models(name: str) -> ModelInfo:
    """A model of any name: the catalogue only passes its digest on."""
    key = f"fit-8x8-{name}"
    return ModelInfo(
        name=name,
        digest=digest(name),
        family="siglip",
        preprocessing={"mode": "fit", "height": 8, "width": 8, "resample": "area", "key": key},
    )


def digest(*words: object) -> str:
    """64 hexadecimal digits for some words."""
    return hashlib.sha256(repr(words).encode()).hexdigest()


def artifact(kind: str, *words: object, media: Mapping[str, Any] | None = None) -> Artifact:
    """A file that lies nowhere, named by the words."""
    sha256 = digest(kind, *words)
    return Artifact(kind, f"file:///store/objects/{sha256}", 100, sha256, media or {})


def project(name: str = "balls", **changes: Any) -> MiningProject:
    """A whole project; a keyword replaces a section of its spec, None removes it."""
    spec = {**SPEC, **changes}
    return project_from(
        {
            "apiVersion": "data-miner.io/v1alpha1",
            "kind": "MiningProject",
            "metadata": {"name": name},
            "spec": {key: value for key, value in spec.items() if value is not None},
        }
    )


def video(video_id: str, rank: int, **changes: Any) -> dict[str, Any]:
    """What discovery says of a video."""
    return {
        "video_id": video_id,
        "url": f"https://video.test/{video_id}",
        "source_type": "URL",
        "source_info": "list",
        "title": video_id.title(),
        "metadata": {"duration_seconds": 10},
        "rank": rank,
        "query": None,
        "skip_reason": None,
        **changes,
    }


@dataclass
class World:
    """A migrated database of a test's own."""

    engine: Engine
    settings: Settings
    listings: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """What each source gives, by its index."""
    answers: dict[tuple[str, str | None], Answer] = field(default_factory=dict)
    """What a stage says about a video, in place of success; None as the video means every other."""
    ran: list[tuple[str, str]] = field(default_factory=list)
    """(stage, subject) of all that was run."""
    assigned: dict[tuple[str, str], Assignment] = field(default_factory=dict)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction."""
        with self.engine.begin() as conn:
            yield conn

    def apply(self, wanted: MiningProject) -> Applied:
        """Apply a project."""
        with self.begin() as conn:
            return apply_project(conn, wanted, self.compiled(wanted), first_wave=FIRST_WAVE)

    @staticmethod
    def compiled(wanted: MiningProject) -> tuple[CompiledStage, ...]:
        """The recipes of a project."""
        return compile_project(wanted.spec, models)

    def find(self, *video_ids: str, source: int = 0) -> None:
        """Let a source give these videos."""
        self.listings[source] = [video(name, rank) for rank, name in enumerate(video_ids)]

    def claim(self, *stages: str, limit: int = 100) -> list[Claimed]:
        """Claim what is ready."""
        with self.begin() as conn:
            return claim(
                conn,
                stages=stages or NAMES,
                worker_id="w1",
                limit=limit,
                lease_seconds=LEASE_SECONDS,
                cursor=Cursor(),
            )

    def work(self, *stages: str, rounds: int = 200) -> None:
        """Do all that is ready, also what becomes ready; of these stages or of all."""
        for _ in range(rounds):
            claimed = self.claim(*stages)
            if not claimed:
                return
            for task in claimed:
                self.do(task)
        raise AssertionError(f"still busy after {rounds} rounds: {self.ran[-5:]}")

    def do(self, task: Claimed) -> None:
        """Run one claimed task to its end."""
        with self.begin() as conn:
            given = assign(conn, task, self.settings)
        self.ran.append((task.stage, task.subject))
        self.assigned[task.stage, task.subject] = given
        answer = self.answers.get(
            (task.stage, task.video_id), self.answers.get((task.stage, None), self._usual)
        )
        outcome = answer(given) if callable(answer) else answer
        if isinstance(outcome, StageError):
            self.fail(task, outcome)
        else:
            self.finish(task, outcome)

    def finish(self, task: Claimed, outcome: Outcome) -> bool:
        """Record an outcome; returns whether the task was still ours."""
        facts = outcome.facts if isinstance(outcome, Done) else {}
        reason = outcome.reason if isinstance(outcome, Skip) else None
        finished = Finished(
            id=task.id,
            claim_seq=task.claim_seq,
            reason=reason,
            facts=facts,
            cost={"cpu_seconds": 1.5, "bytes_downloaded": 10 * (task.stage == "download")},
        )
        with self.begin() as conn:
            ours = task.id in finish(conn, [finished])
            if ours:
                record(conn, task, outcome)
                plan_after(conn, [task], first_wave=FIRST_WAVE)
        return ours

    def fail(self, task: Claimed, error: StageError) -> None:
        """Record a failure: the last one, so that no clock has to be moved."""
        with self.begin() as conn:
            fail(
                conn,
                task,
                error_class=error.error_class,
                error=str(error),
                permanent=True,
                max_attempts=1,
                backoff_seconds=1,
                backoff_max_seconds=1,
                first_wave=FIRST_WAVE,
            )

    def progress(self, project_id: int) -> Progress:
        """How a project stands."""
        with self.begin() as conn:
            return progress(conn, project_id)

    def rows(self, statement: str, **given: Any) -> list[Any]:
        """What a query gives."""
        with self.begin() as conn:
            return list(conn.execute(text(statement), given))

    def waves(self, project_id: int) -> list[list[str]]:
        """Members of the present epoch's waves, in their order."""
        rows = self.rows(
            "SELECT w.n, pv.video_id FROM projects p"
            " JOIN waves w ON w.project_id = p.project_id AND w.epoch = p.wave_epoch"
            " LEFT JOIN project_videos pv ON pv.wave_id = w.wave_id"
            " WHERE p.project_id = :p ORDER BY w.n, pv.wave_position",
            p=project_id,
        )
        waves: dict[int, list[str]] = {}
        for n, video_id in rows:
            waves.setdefault(n, []).extend([video_id] if video_id else [])
        return [waves[n] for n in sorted(waves)]

    def _usual(self, given: Assignment) -> Outcome:
        """Success, with the facts and files that the stage is known for."""
        name = given.video.video_id if given.video else given.subject
        if given.stage == "discover":
            videos = self.listings.get(int(given.subject.rpartition("/")[2]), [])
            return Done(facts={"found": len(videos)}, records={"videos": videos})
        if given.stage == "dedup":
            return _dedup(given)
        if given.stage == "cut":
            (kept,) = given.inputs["dedup"]
            frames = range(kept.facts["kept_by_video"][name])
            images = [artifact("image", name, f, media={"frame": f}) for f in frames]
            return Done(tuple(images), {"frames": len(images)})
        if given.stage == "export":
            return _export(given)
        kinds = {
            "download": "source",
            "extract": "index",
            "embed": "vectors",
            "filter": "scores",
            "dedup_embed": "vectors",
            "detect": "detections",
        }
        facts: dict[str, dict[str, Any]] = {
            "download": {"source_sha256": digest(name)},
            "extract": {"frames": 10},
        }
        made = artifact(kinds[given.stage], given.stage, name, dict(given.params))
        return Done((made,), facts.get(given.stage, {"frames": 4}))


def _dedup(given: Assignment) -> Outcome:
    """Keeps two frames of each video of the wave, up to the target."""
    left = given.params["target"]
    if left is not None:
        left -= sum(f.facts["frames"] for f in given.inputs["dedup"])
    kept: dict[str, int] = {}
    for fact in given.inputs["filter"]:
        if fact.wave == given.wave:
            assert fact.video_id is not None
            kept[fact.video_id] = 2 if left is None else max(0, min(2, left - sum(kept.values())))
    facts = {"frames": sum(kept.values()), "kept_by_video": kept}
    return Done((artifact("selection", given.subject, facts),), facts)


def _export(given: Assignment) -> Outcome:
    images = sum(f.facts["frames"] for f in given.inputs["cut"])
    if not images:
        return Skip("NoImages: nothing to write")
    manifest = artifact("manifest", given.subject, images, dict(given.params))
    dataset = {"digest": manifest.sha256, "images": images, "uri": given.params["base"]}
    return Done((manifest,), {"frames": images}, {"dataset": {**dataset, "summary": {}}})


@pytest.fixture
def world(
    databases: Databases, fresh_database: Callable[..., str], tmp_path_factory: Any
) -> Iterator[World]:
    """A migrated, empty database and somebody who works on it."""

    def migrate(url: str) -> None:
        upgrade(url)

    url = fresh_database(template=template_database(databases, "catalog", migrate))
    engine = engine_for(url, lock_timeout_seconds=10)
    try:
        yield World(engine, Settings(home=tmp_path_factory.mktemp("home")))
    finally:
        engine.dispose()
