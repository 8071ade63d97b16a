"""From the results of all stages to one dataset: who is in, where, with which labels."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final

from data_miner.stage import Artifact, Context, Fact
from data_miner_worker import columns, given
from data_miner_worker.dataset import Dataset, DatasetImage, Label, LeftOut
from data_miner_worker.dedup import Status
from data_miner_worker.links import alike_videos
from data_miner_worker.splits import Division, Unit, divide
from data_miner_worker.stages.detect import EXAMINED, MERGED

Key = tuple[str, int]
"""(video_id, frame): the one name of a frame within a project."""

_UNPLACED: Final = ""
"""Split of an image before the splits are decided."""


@dataclass(frozen=True, slots=True)
class Selected:
    """A frame that dedup decided on."""

    key: Key
    source_sha256: str
    pts_seconds: float
    status: str
    representative: Key | None
    cosine: float | None


@dataclass(frozen=True, slots=True)
class Gathered:
    """A dataset, the files of its images, and the decisions behind it (for the report)."""

    dataset: Dataset
    files: Mapping[str, Artifact]
    """By image name."""
    selected: tuple[Selected, ...]
    """Frames that passed the filter, in the order in which dedup saw them."""


def gather(context: Context, groups: Mapping[str, str]) -> Gathered:
    """Everything up to this wave.

    Args:
        context: of an export task.
        groups: upload group by video_id, of those that have one.
    """
    params = context.assignment.params
    selected = tuple(_selected(context))
    images, files, left_out = _images(context, selected)
    division = _divide(context, selected, images, groups)
    placed, bridging = [], []
    for image in images:
        if image.video_id in division.bridging:
            bridging.append(LeftOut(image.video_id, image.frame, "bridges_splits"))
        else:
            placed.append(replace(image, split=division.splits[image.video_id]))
    dataset = Dataset(
        classes=tuple(params["classes"]),
        images=tuple(sorted(placed, key=lambda image: image.name)),
        video_splits=division.splits,
        left_out=tuple(sorted([*left_out, *bridging], key=lambda one: (one.video_id, one.frame))),
        spec={
            "decisions": params["decisions"],
            "image": params["image"],
            "formats": params["formats"],
            "splits": params["splits"],
            "split_link_threshold": params["split_link_threshold"],
        },
    )
    return Gathered(dataset, {i.name: files[i.video_id, i.frame] for i in placed}, selected)


def _selected(context: Context) -> list[Selected]:
    found = []
    for fact in given.every(context, "dedup"):
        for row in given.table(context, fact, "selection").to_pylist():
            other = row["representative_video_id"]
            found.append(
                Selected(
                    key=(row["video_id"], row["frame"]),
                    source_sha256=row["source_sha256"],
                    pts_seconds=row["pts_seconds"],
                    status=row["status"],
                    representative=None if other is None else (other, row["representative_frame"]),
                    cosine=row["cosine"],
                )
            )
        context.tick()
    return found


def _images(
    context: Context, selected: Sequence[Selected]
) -> tuple[list[DatasetImage], dict[Key, Artifact], list[LeftOut]]:
    """Kept frames as images without a split, their files, and those that cannot be images."""
    cut = given.by_video(given.every(context, "cut"))
    files = {
        (video_id, int(artifact.media["frame"])): artifact
        for video_id, fact in cut.items()
        for artifact in fact.artifacts
        if artifact.kind == "image"
    }
    labels = _labels(context, files) if context.assignment.params["classes"] else None
    scores = _scores(context)
    duplicates = Counter(one.representative for one in selected if one.representative)
    images, left_out = [], []
    for one in selected:
        if one.status != Status.KEPT:
            continue
        artifact = files.get(one.key)
        if artifact is None:
            left_out.append(LeftOut(*one.key, "cut_failed"))
        elif labels is not None and one.key not in labels:
            left_out.append(LeftOut(*one.key, "detect_failed"))
        else:
            images.append(
                DatasetImage(
                    name=image_name(one.key, artifact),
                    split=_UNPLACED,
                    video_id=one.key[0],
                    source_sha256=one.source_sha256,
                    frame=one.key[1],
                    pts_seconds=one.pts_seconds,
                    width=int(artifact.media["width"]),
                    height=int(artifact.media["height"]),
                    bytes=artifact.bytes,
                    sha256=artifact.sha256,
                    duplicates=duplicates[one.key],
                    labels=None if labels is None else labels[one.key],
                    **scores[one.key],
                )
            )
    return images, files, left_out


def image_name(key: Key, artifact: Artifact) -> str:
    """``{video_id}_{frame:06d}`` with the suffix of the stored image."""
    suffix = PurePosixPath(artifact.uri).suffix or ".jpg"
    return f"{key[0]}_{key[1]:06d}{suffix}"


def _labels(context: Context, files: Mapping[Key, Artifact]) -> dict[Key, tuple[Label, ...]]:
    """Boxes of every image that was looked at; one that failed, or was not looked at, is absent."""
    found: dict[Key, tuple[Label, ...]] = {}
    images: dict[str, list[tuple[Key, str]]] = defaultdict(list)
    for key, image in files.items():
        images[key[0]].append((key, image.sha256))
    for video_id, fact in given.by_video(given.every(context, "detect")).items():
        table = given.table(context, fact, "detections")
        examined = set(json.loads(columns.metadata(table)[EXAMINED]))
        boxes = defaultdict(list)
        for row in table.to_pylist():
            if row["detector"] == MERGED:
                boxes[row["frame"]].append(_label(row))
        found |= {
            key: tuple(boxes[key[1]]) for key, sha256 in images[video_id] if sha256 in examined
        }
        context.tick()
    return found


def _label(row: Mapping[str, Any]) -> Label:
    x0, y0, x1, y1 = (round(row[side], 2) for side in ("x0", "y0", "x1", "y1"))
    return Label(row["class_index"], (x0, y0, x1, y1), round(row["score"], 6), row["agreement"])


def _scores(context: Context) -> dict[Key, dict[str, Any]]:
    """What the filter knows of each kept frame, as fields of DatasetImage."""
    prompts = context.assignment.params["decisions"].get("filter", {}).get("positive", ())
    found: dict[Key, dict[str, Any]] = {}
    for video_id, fact in given.by_video(given.every(context, "filter")).items():
        for row in given.table(context, fact, "scores").to_pylist():
            if row["kept"]:
                best = row["best_prompt"]
                kinds = ("positive", "negative", "junk")
                found[video_id, row["frame"]] = {
                    "sharpness": round(row["sharpness"] or 0.0, 3),
                    "scores": {kind: row[kind] for kind in kinds if row[kind] is not None},
                    "best_prompt": None if best is None else prompts[best],
                }
        context.tick()
    return found


def _divide(
    context: Context,
    selected: Sequence[Selected],
    images: Sequence[DatasetImage],
    groups: Mapping[str, str],
) -> Division:
    """Splits of all videos that offered a frame, whether it was kept or not."""
    params = context.assignment.params
    earlier = _earlier_splits(context)
    sizes = Counter(image.video_id for image in images)
    sources = {one.key[0]: one.source_sha256 for one in selected}
    vectors = {
        video_id: given.unit_vectors(context, fact).values
        for video_id, fact in given.by_video(given.every(context, "dedup_embed")).items()
        if video_id in sources
    }
    units = [
        Unit(video_id, source, sizes[video_id], groups.get(video_id), earlier.get(video_id))
        for video_id, source in sorted(sources.items())
    ]
    links = alike_videos(vectors, params["split_link_threshold"], context.tick)
    return divide(units, links, params["splits"])


def _earlier_splits(context: Context) -> dict[str, str]:
    """The splits of the newest earlier version, by video_id."""
    wave = context.assignment.wave or 0
    facts: list[Fact] = [f for f in given.every(context, "export") if (f.wave or 0) < wave]
    if not facts:
        return {}
    path = context.fetch(given.artifact(facts[-1], "manifest"))
    videos: dict[str, str] = json.loads(path.read_bytes())["videos"]
    return videos
