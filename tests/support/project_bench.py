"""A bench for stages: real stages, a real store and real models, without a queue or a database.

It makes what the media stages would have made (indexes, renders, images) out of arrays, and keeps
what each stage answers, so that the next one finds it.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from data_miner.settings import Settings
from data_miner.stage import Artifact, Assignment, Done, Fact, Outcome
from data_miner.storage import open_store
from data_miner_models.cards import load_card
from data_miner_worker.context import TaskContext
from data_miner_worker.lookup import find_stage
from support.tiny_models import write_models

Frame = NDArray[np.uint8]
HEIGHT, WIDTH = 48, 64

THRESHOLDS = {
    "positive": 0.5,
    "negative": 0.3,
    "junk": 0.3,
    "negative_margin": 0.1,
    "junk_margin": 0.05,
}


def plain(red: int, green: int, blue: int) -> Frame:
    """A frame of one colour."""
    return np.full((HEIGHT, WIDTH, 3), (red, green, blue), np.uint8)


def scene(colour: tuple[int, int, int], seed: int, noise: float = 0.0) -> Frame:
    """A frame that is mostly `colour`; equal seeds look alike, noise makes near-duplicates."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 200, size=(4, 4, 1)).astype(float) / 200
    pixels = np.kron(cells, np.ones((HEIGHT // 4, WIDTH // 4, 1))) * np.array(colour)
    if noise:
        pixels = pixels + np.random.default_rng(seed + 9999).normal(0, noise, pixels.shape)
    clipped: Frame = np.clip(pixels, 0, 255).astype(np.uint8)
    return clipped


@dataclass
class Bench:
    """One project on a bench.

    Attributes:
        folder: everything lies below it; a new folder is a new home.
        labels: whether the project detects.
        facts: what there is, by stage.
    """

    folder: Path
    store_uri: str = ""
    labels: bool = True
    max_attempts: int = 3
    attempt: int = 0
    project: str = "doors"
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Parameters that differ from the usual ones, by stage."""
    told: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    counters: dict[str, float] = field(default_factory=dict)
    tasks: int = 0

    def __post_init__(self) -> None:
        self.models = self.folder / "models"
        write_models(self.models)
        self.settings = Settings(home=self.folder, models_dirs=str(self.models))
        uri = self.store_uri or str(self.folder / "store")
        self.store = open_store(uri, scratch=self.folder / "scratch")
        self.stop = threading.Event()

    def params(self, stage: str) -> dict[str, Any]:
        """The recipe of a stage."""
        digest = {name: load_card(name, [self.models]).digest for name in _MODELS}
        detector = {"model": "boxer", "digest": digest["boxer"], "min_score": None}
        classes = [{"name": "red thing", "prompts": ["red"], "min_score": 0.3}]
        usual: dict[str, dict[str, Any]] = {
            "embed": {"model": "colour", "digest": digest["colour"], "preprocessing": _KEY},
            "filter": {
                "model": "colour",
                "digest": digest["colour"],
                "positive": ["red", "green"],
                "negative": [],
                "junk": [],
                "thresholds": THRESHOLDS,
                "space": "Probability",
            },
            "dedup_embed": {"model": "alike", "digest": digest["alike"], "preprocessing": _KEY},
            "dedup": {"model": "alike", "threshold": 0.95, "prefer": "First", "target": None},
            "detect": {
                "classes": classes,
                "detectors": [detector],
                "agreement": 1,
                "nms_iou": 0.5,
            },
        }
        usual = {name: {**value, **self.changes.get(name, {})} for name, value in usual.items()}
        if stage != "export":
            return usual[stage]
        if not self.labels:
            del usual["detect"]
        return {
            "formats": ["COCO", "Parquet", "YOLO"],
            "splits": {"train": 0.8, "val": 0.1, "test": 0.1},
            "split_link_threshold": 0.75,
            "image": {"format": "JPEG", "quality": 95},
            "uri": None,
            "classes": [c["name"] for c in usual["detect"]["classes"]] if self.labels else [],
            "decisions": usual,
            "base": str(self.folder / "datasets" / "default" / self.project),
            **self.changes.get("export", {}),
        }

    def context(
        self,
        stage: str,
        subject: str,
        inputs: Mapping[str, Sequence[Fact]],
        *,
        wave: int | None = None,
        previous: Sequence[Fact] = (),
    ) -> TaskContext:
        """A context as the worker would make it."""
        self.tasks += 1
        assignment = Assignment(
            task_id=self.tasks,
            claim_seq=1,
            stage=stage,
            subject=subject,
            params=self.params(stage),
            attempt=self.attempt,
            max_attempts=self.max_attempts,
            project_id=1,
            project_name=self.project,
            namespace="default",
            wave=wave,
            inputs={name: tuple(facts) for name, facts in inputs.items()},
            previous=tuple(previous),
        )
        scratch = self.folder / "scratch" / str(self.tasks)
        scratch.mkdir(parents=True)
        return TaskContext(
            assignment,
            scratch=scratch,
            store=self.store,
            settings=self.settings,
            send=lambda _: None,
            stopped=self.stop,
        )

    def run(
        self, stage: str, subject: str, inputs: Mapping[str, Sequence[Fact]], **more: Any
    ) -> Done:
        """Run a stage that must be done; its answer counts as a result from now on."""
        outcome = self.outcome(stage, subject, inputs, **more)
        assert isinstance(outcome, Done), outcome
        return outcome

    def outcome(
        self, stage: str, subject: str, inputs: Mapping[str, Sequence[Fact]], **more: Any
    ) -> Outcome:
        """Run a stage, whatever it answers."""
        context = self.context(stage, subject, inputs, **more)
        outcome = find_stage(stage).run(context)
        for name, amount in context.counters.items():
            self.counters[name] = self.counters.get(name, 0) + amount
        if isinstance(outcome, Done):
            self.keep(stage, subject, outcome, wave=more.get("wave"))
        return outcome

    def keep(self, stage: str, subject: str, done: Done, *, wave: int | None) -> Fact:
        """Remember a result as the catalogue would tell it."""
        video_id = subject.rpartition("/")[2]
        fact = Fact(
            stage,
            subject,
            None if stage in {"dedup", "export"} else video_id,
            done.facts,
            done.artifacts,
            wave,
            self.params(stage) if stage in _OURS else {},
        )
        self.facts.setdefault(stage, []).append(fact)
        return fact

    def publish(self, name: str, content: bytes, kind: str, **media: Any) -> Artifact:
        """Put bytes into the store."""
        self.tasks += 1
        path = self.folder / "scratch" / f"{self.tasks}-{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return self.store.publish(path, kind, media)

    def extract(self, video_id: str, frames: Sequence[Frame], wave: int, source: str = "") -> Fact:
        """What extract would have made of these frames, one every second."""
        count = len(frames)
        index = pa.table(
            {
                "frame": pa.array(np.arange(count) * 25, pa.int32()),
                "pts_seconds": pa.array(np.arange(count, dtype=np.float64)),
                "keyframe": pa.array(np.ones(count, np.bool_)),
                "sharpness": pa.array([float(frame.std()) for frame in frames], pa.float32()),
                "luma": pa.array([float(frame.mean()) for frame in frames], pa.float32()),
                "phash": pa.array(np.zeros(count), pa.int64()),
            }
        )
        table, renders = io.BytesIO(), io.BytesIO()
        pq.write_table(index, table)
        preprocessing = load_card("colour", [self.models]).preprocessing
        small = [preprocessing.render(frame) for frame in frames]
        np.save(renders, np.stack(small) if small else np.empty((0, 16, 16, 3), np.uint8))
        done = Done(
            artifacts=(
                self.publish("index.parquet", table.getvalue(), "index"),
                self.publish("render.npy", renders.getvalue(), f"render:{_KEY}"),
            ),
            facts={"frames": count, "source_sha256": source or f"sha-{video_id}"},
        )
        return self.keep("extract", video_id, done, wave=wave)

    def cut(self, video_id: str, frames: Sequence[Frame], wave: int) -> Fact:
        """The images of the frames that this wave's dedup kept."""
        (selection,) = [f for f in self.facts["dedup"] if f.wave == wave]
        path = self.store.fetch(selection.artifact("selection"), self.folder / "scratch")
        kept = sorted(
            row["frame"]
            for row in pq.read_table(path).to_pylist()
            if row["status"] == "kept" and row["video_id"] == video_id
        )
        images = []
        for frame in kept:
            encoded = io.BytesIO()
            Image.fromarray(frames[frame // 25]).save(encoded, "JPEG", quality=95)
            height, width = frames[frame // 25].shape[:2]
            media = {"frame": frame, "pts_seconds": frame / 25, "width": width, "height": height}
            images.append(self.publish("image.jpg", encoded.getvalue(), "image", **media))
        done = Done(artifacts=tuple(images), facts={"frames": len(images), "failed": []})
        return self.keep("cut", f"w{wave}/{video_id}", done, wave=wave)

    def examine(self, video_id: str, frames: Sequence[Frame], wave: int, source: str = "") -> None:
        """Everything that a video goes through by itself."""
        extract = self.extract(video_id, frames, wave, source)
        self.run("embed", video_id, {"extract": [extract]}, wave=wave)
        inputs = {"extract": [extract], "embed": self.facts["embed"][-1:]}
        kept = self.run("filter", video_id, inputs, wave=wave)
        if kept.facts["frames"]:
            inputs = {"extract": [extract], "filter": self.facts["filter"][-1:]}
            self.run("dedup_embed", video_id, inputs, wave=wave)

    def dedup(self, wave: int) -> Done:
        """Gather a wave."""
        facts = {name: self.facts.get(name, []) for name in ("extract", "filter", "dedup_embed")}
        earlier = [f for f in self.facts.get("dedup", []) if (f.wave or 0) < wave]
        return self.run("dedup", f"w{wave}", {**facts, "dedup": earlier}, wave=wave)

    def export_inputs(self, wave: int) -> dict[str, list[Fact]]:
        """All that an export reads."""
        stages = ("extract", "filter", "dedup_embed", "dedup", "cut", "detect")
        inputs = {
            name: [f for f in self.facts.get(name, []) if (f.wave or 0) <= wave] for name in stages
        }
        inputs["export"] = [f for f in self.facts.get("export", []) if (f.wave or 0) < wave][-1:]
        inputs["report"] = [Fact("report", "p1", None, self.told, (), wave)]
        return inputs

    def export(self, wave: int) -> Done:
        """Publish a version."""
        return self.run("export", f"w{wave}", self.export_inputs(wave), wave=wave)

    def mine(self, videos: Mapping[str, Sequence[Frame]], wave: int = 1) -> Done:
        """One wave of videos from frames to a published version."""
        for video_id, frames in videos.items():
            self.examine(video_id, frames, wave)
        self.dedup(wave)
        for video_id, frames in videos.items():
            cut = self.cut(video_id, frames, wave)
            if self.labels and cut.artifacts:
                self.run("detect", cut.subject, {"cut": [cut]}, wave=wave)
        return self.export(wave)

    @property
    def dataset(self) -> Path:
        """Where the newest version is."""
        return Path(self.params("export")["base"]) / "dataset"

    def table(self, stage: str, kind: str, index: int = -1) -> list[dict[str, Any]]:
        """Rows of a result's table."""
        path = self.store.fetch(self.facts[stage][index].artifact(kind), self.folder / "scratch")
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows

    def without(self, fact: Fact, kind: str) -> Fact:
        """A result that has lost a file."""
        return replace(fact, artifacts=tuple(a for a in fact.artifacts if a.kind != kind))


_MODELS = ("colour", "alike", "boxer")
_KEY = "squash-16x16-bilinear"
_OURS = frozenset({"embed", "filter", "dedup_embed", "dedup", "detect", "export"})
