"""extract: the sampled frames of a video, measured, and in the sizes that models look at."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa

from data_miner.stage import Artifact, Context, Done, Outcome, StageError
from data_miner.storage.store import named_failures
from data_miner_models.preprocessing import Preprocessing
from data_miner_worker import columns, given, media
from data_miner_worker.media.sampling import (
    Indices,
    by_interval,
    by_keyframe,
    by_time,
    spread,
)
from data_miner_worker.render_file import RenderFile

INDEX: Final = pa.schema(
    [
        ("frame", pa.int32()),
        ("pts_seconds", pa.float64()),
        ("keyframe", pa.bool_()),
        ("sharpness", pa.float32()),
        ("luma", pa.float32()),
        ("phash", pa.int64()),
    ]
)
"""One row a sampled frame, rising. `frame` counts all frames of the source from 0 in the order of
showing; `pts_seconds` counts from the first one; the last three are media.Measures."""


class Extract:
    """Decodes what the sampling asks for, once for all projects that sample alike."""

    name: ClassVar[str] = "extract"

    def run(self, context: Context) -> Outcome:
        with named_failures(f"extract of {context.assignment.subject}"):
            return _extract(context)


def _extract(context: Context) -> Outcome:
    params = context.assignment.params
    source = given.artifact(given.only(context, "download"), "source")
    path = context.fetch(source)
    timeline = media.read_timeline(path, context.tick)
    wanted = choose(timeline, params["sampling"])
    with _Rows(context, params["renders"]) as rows:
        for picture in media.pictures(
            path, timeline, wanted.tolist(), tick=context.tick, count=context.count
        ):
            if picture.rgb is not None:
                rows.add(picture, timeline)
            context.tick((picture.frame + 1) / len(timeline))
    if not rows.frames:
        raise StageError(
            "corrupt",
            f"{context.assignment.subject}: none of {len(wanted)} sampled frames can be"
            " decoded; the file is damaged",
            permanent=True,
        )
    context.count("media_seconds", timeline.duration_seconds)
    return Done(
        artifacts=rows.publish(context),
        facts={
            "frames": len(rows.frames),
            "width": rows.width,
            "height": rows.height,
            "duration_seconds": round(timeline.duration_seconds, 6),
            "source_frames": len(timeline),
            "partial": partial(timeline.partial, len(wanted) - len(rows.frames), len(wanted)),
            "source_sha256": source.sha256,
        },
    )


def choose(timeline: media.Timeline, sampling: Mapping[str, Any]) -> Indices:
    """The frames that a recipe's sampling takes of a video; at least one of a video that has any.

    Raises ValueError for a strategy that does not exist.
    """
    strategy = sampling["strategy"]
    if strategy == "Interval":
        candidates = by_interval(len(timeline), int(sampling["every_frames"]))
    elif strategy == "Time":
        candidates = by_time(timeline.pts, timeline.time_base, float(sampling["every_seconds"]))
    elif strategy == "Keyframe":
        candidates = by_keyframe(timeline.keyframe)
    else:
        raise ValueError(f"there is no sampling strategy {strategy!r}")
    if not len(candidates):
        candidates = np.zeros(1, np.int64)
    return spread(candidates, int(sampling["max_frames"]))


def partial(cut_off: str | None, lost: int, wanted: int) -> str | None:
    """Why there is less than there should be, in words; None when nothing is missing."""
    damaged = f"{lost} of {wanted} sampled frames cannot be decoded" if lost else None
    return "; ".join(filter(None, (cut_off, damaged))) or None


class _Rows(ExitStack):
    """Collects the index, and writes each render as it comes."""

    def __init__(self, context: Context, renders: list[Mapping[str, Any]]) -> None:
        super().__init__()
        self.frames: list[int] = []
        self.width = self.height = 0
        self._columns: dict[str, list[Any]] = {field.name: [] for field in INDEX}
        self._index = context.scratch / "index.parquet"
        self._renders: list[tuple[Preprocessing, RenderFile, Path]] = []
        for number, one in enumerate(renders):
            how = Preprocessing.of(one)
            path = context.scratch / f"render-{number}.npy"
            file = self.enter_context(RenderFile(path, how.height, how.width))
            self._renders.append((how, file, path))

    def add(self, picture: media.Picture, timeline: media.Timeline) -> None:
        """Take a picture in."""
        assert picture.rgb is not None
        if not self.frames:
            self.height, self.width = picture.rgb.shape[:2]
        self.frames.append(picture.frame)
        measures = media.measure(picture.rgb)
        for name, value in (
            ("frame", picture.frame),
            ("pts_seconds", timeline.seconds_at(picture.frame)),
            ("keyframe", bool(timeline.keyframe[picture.frame])),
            ("sharpness", measures.sharpness),
            ("luma", measures.luma),
            ("phash", measures.phash),
        ):
            self._columns[name].append(value)
        for how, file, _ in self._renders:
            file.append(how.render(picture.rgb))

    def publish(self, context: Context) -> tuple[Artifact, ...]:
        """Store the index and the renders, once they are written."""
        columns.write(self._index, INDEX, self._columns)
        return (
            context.publish(self._index, "index", {"frames": len(self.frames)}),
            *(
                context.publish(path, f"render:{how.key}", {"frames": len(self.frames)})
                for how, _, path in self._renders
            ),
        )
