"""From a gathered dataset to what its report says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from data_miner.stage import Context, Fact, StageError
from data_miner_worker import given
from data_miner_worker.dataset import Dataset, DatasetImage
from data_miner_worker.gather import Gathered, Key, Selected
from data_miner_worker.report.content import (
    Cluster,
    Content,
    Histogram,
    Member,
    Picture,
    ShownBox,
    ShownImage,
    Step,
    VideoLine,
)
from data_miner_worker.report.pictures import Album
from data_miner_worker.told import Told

Item = TypeVar("Item")

_SHOWN_IMAGES: Final = 72
_SHOWN_CLUSTERS: Final = 16
_SHOWN_MEMBERS: Final = 8
_SHOWN_VIDEOS: Final = 100
_SHEET_BYTES: Final = 2_800_000
_CLUSTER_BYTES: Final = 1_200_000
_BINS: Final = 50
_KINDS: Final = ("positive", "negative", "junk")


def collect(
    context: Context,
    gathered: Gathered,
    told: Told,
    *,
    digest: str,
    files: Mapping[str, Path],
) -> Content:
    """What the page says.

    Args:
        context: of the export task.
        gathered: the dataset and the decisions behind it.
        told: the project's figures.
        digest: name of the version.
        files: local image files by image name.
    """
    dataset = gathered.dataset
    decisions = context.assignment.params["decisions"]
    scores = _Scores(context)
    clusters, cluster_count = _clusters(context, gathered, files)
    images = Counter(image.video_id for image in dataset.images)
    return Content(
        project=context.assignment.project_name,
        digest=digest,
        wave=context.assignment.wave,
        classes=dataset.classes,
        image_count=len(dataset.images),
        box_count=dataset.boxes,
        bytes=sum(image.bytes for image in dataset.images),
        splits=dataset.split_sizes,
        empty_splits=dataset.empty_splits,
        boxes_by_class=_boxes_by_class(dataset),
        steps=_steps(gathered, told, scores),
        rejected={reason: n for reason, n in scores.reasons.most_common() if reason != "kept"},
        shown=_shown(context, dataset, files),
        histograms=_histograms(decisions.get("filter", {}), scores),
        clusters=clusters,
        cluster_count=cluster_count,
        troubles=told.troubles,
        left_out=dict(sorted(Counter(one.reason for one in dataset.left_out).items())),
        costs=told.costs,
        videos=_videos(dataset, told, images),
        video_count=len(images),
        prompts={kind: decisions.get("filter", {}).get(kind) or () for kind in _KINDS},
        models=_models(decisions),
    )


class _Scores:
    """Scores of every frame that was looked at, of all videos together.

    Attributes:
        values: float64 by kind, NaN where a frame has none.
        kept: bool, the filter's decision.
        reasons: frames by the filter's reason.
    """

    def __init__(self, context: Context) -> None:
        self.reasons: Counter[str] = Counter()
        parts: dict[str, list[NDArray[Any]]] = defaultdict(list)
        for fact in given.every(context, "filter"):
            table = given.table(context, fact, "scores")
            self.reasons.update(table.column("reason").to_pylist())
            parts["kept"].append(given.numbers(table, "kept"))
            for kind in _KINDS:
                parts[kind].append(given.numbers(table, kind).astype(np.float64))
            context.tick()
        joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
        self.kept: NDArray[np.bool_] = joined.pop("kept", np.empty(0, np.bool_))
        self.values: dict[str, NDArray[np.float64]] = joined


def _steps(gathered: Gathered, told: Told, scores: _Scores) -> tuple[Step, ...]:
    """Videos as the catalogue counts them, then frames as this dataset's own files say."""
    dataset = gathered.dataset
    steps = [
        Step(name, int(told.funnel[name]), "videos")
        for name in ("found", "selected", "downloaded")
        if name in told.funnel
    ]
    steps.append(Step("with images", len({i.video_id for i in dataset.images}), "videos"))
    selected = gathered.selected
    steps += [
        Step("looked at", scores.reasons.total(), "frames"),
        Step("passed the filter", scores.reasons["kept"], "frames"),
        Step("after near-duplicates", sum(s.status != "duplicate" for s in selected), "frames"),
        Step("within the target", sum(s.status == "kept" for s in selected), "frames"),
        Step("in the dataset", len(dataset.images), "frames"),
    ]
    beyond = any(one.status == "beyond_target" for one in selected)
    return tuple(step for step in steps if beyond or step.label != "within the target")


def _boxes_by_class(dataset: Dataset) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {name: Counter() for name in dataset.classes}
    for image in dataset.images:
        for label in image.labels or ():
            found[dataset.classes[label.class_index]][image.split] += 1
    return {name: dict(counts) for name, counts in found.items()}


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items, spread evenly over all of them."""
    if len(items) <= most:
        return list(items)
    return [items[index * len(items) // most] for index in range(most)]


def _shown(context: Context, dataset: Dataset, files: Mapping[str, Path]) -> tuple[ShownImage, ...]:
    album = Album(_SHEET_BYTES)
    shown = []
    for image in spread(dataset.images, _SHOWN_IMAGES):
        picture = album.of_file(files[image.name], 360)
        if picture is not None:
            shown.append(_shown_image(image, picture))
        context.tick()
    return tuple(shown)


def _shown_image(image: DatasetImage, picture: Picture) -> ShownImage:
    boxes = []
    for label in image.labels or ():
        x0, y0, x1, y1 = label.box_xyxy
        boxes.append(
            ShownBox(
                class_index=label.class_index,
                x=x0 / image.width,
                y=y0 / image.height,
                width=(x1 - x0) / image.width,
                height=(y1 - y0) / image.height,
                score=label.score,
                agreement=label.agreement,
            )
        )
    return ShownImage(
        picture=picture,
        name=image.name,
        split=image.split,
        seconds=image.pts_seconds,
        scores=image.scores,
        best_prompt=image.best_prompt,
        boxes=tuple(boxes),
        duplicates=image.duplicates,
    )


def _histograms(filter_params: Mapping[str, Any], scores: _Scores) -> tuple[Histogram, ...]:
    if not filter_params.get("model"):
        return ()
    found = []
    for kind in _KINDS:
        values = scores.values.get(kind, np.empty(0))
        there = ~np.isnan(values)
        if not there.any():
            continue
        threshold = float(filter_params["thresholds"][kind])
        low, high = 0.0, 1.0
        if filter_params.get("space") == "Logit":
            low = float(np.floor(min(values[there].min(), threshold)))
            high = float(np.ceil(max(values[there].max(), threshold, low + 1)))
        bins = np.linspace(low, high, _BINS + 1)
        found.append(
            Histogram(
                kind=kind,
                low=low,
                high=high,
                kept=np.histogram(values[there & scores.kept], bins)[0].tolist(),
                dropped=np.histogram(values[there & ~scores.kept], bins)[0].tolist(),
                threshold=threshold,
                keeps_above=kind == "positive",
            )
        )
    return tuple(found)


def _clusters(
    context: Context, gathered: Gathered, files: Mapping[str, Path]
) -> tuple[tuple[Cluster, ...], int]:
    """The largest clusters whose kept frame is in the dataset, and how many there are."""
    images = {(image.video_id, image.frame): image for image in gathered.dataset.images}
    members: dict[Key, list[Selected]] = defaultdict(list)
    for one in gathered.selected:
        if one.representative in images:
            members[one.representative].append(one)
    largest = sorted(members, key=lambda key: (-len(members[key]), images[key].name))
    album, renders = Album(_CLUSTER_BYTES), _Renders(context)
    clusters = []
    for key in largest[:_SHOWN_CLUSTERS]:
        image = images[key]
        aspect = image.width / image.height
        picture = album.of_file(files[image.name], 300)
        shown = [Member(picture, image.video_id, image.frame, image.pts_seconds, None)]
        # From nearest to farthest, so that the last ones show how far the threshold reaches.
        ordered = sorted(members[key], key=lambda one: (-(one.cosine or 0), one.key))
        for one in spread(ordered, _SHOWN_MEMBERS):
            pixels = renders.of(one.key)
            small = None if pixels is None else album.of_render(pixels, 220, aspect)
            shown.append(Member(small, *one.key, one.pts_seconds, one.cosine or 0.0))
        clusters.append(Cluster(tuple(shown), len(members[key]) + 1))
        context.tick()
    return tuple(clusters), len(members)


class _Renders:
    """Pixels of frames that are no images of the dataset, from what the models were given."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._facts = given.by_video(given.every(context, "extract"))
        self._open: dict[str, tuple[NDArray[Any], NDArray[np.uint8]] | None] = {}

    def of(self, key: Key) -> NDArray[np.uint8] | None:
        """(h, w, 3); None where they are gone: a report must not fail for a picture."""
        video_id, frame = key
        if video_id not in self._open:
            fact = self._facts.get(video_id)
            self._open[video_id] = None if fact is None else self._read(fact)
        there = self._open[video_id]
        if there is None:
            return None
        frames, renders = there
        row = int(np.searchsorted(frames, frame))
        return renders[row] if row < len(frames) and frames[row] == frame else None

    def _read(self, fact: Fact) -> tuple[NDArray[Any], NDArray[np.uint8]] | None:
        kinds = [a for a in fact.artifacts if a.kind.startswith("render:")]
        if not kinds:
            return None
        largest = max(kinds, key=lambda artifact: (artifact.bytes, artifact.kind))
        try:
            frames = given.numbers(given.table(self._context, fact, "index"), "frame")
            key = largest.kind.removeprefix("render:")
            return frames, given.renders(self._context, fact, key)
        except StageError:
            return None


def _videos(dataset: Dataset, told: Told, images: Counter[str]) -> tuple[VideoLine, ...]:
    lines = []
    for video_id, number in sorted(images.items(), key=lambda item: (-item[1], item[0])):
        one = told.videos.get(video_id)
        licence = one and (one.metadata.get("licence") or one.metadata.get("license"))
        title = str((one and one.title) or "")
        split = dataset.video_splits[video_id]
        lines.append(VideoLine(video_id, title, str(licence or "unknown"), split, number))
    return tuple(lines[:_SHOWN_VIDEOS])


def _models(decisions: Mapping[str, Any]) -> dict[str, str]:
    """Role to name with the start of the digest."""

    def named(params: Iterable[Mapping[str, Any]]) -> str:
        return ", ".join(f"{p['model']} ({p['digest'][:12]})" for p in params if p.get("model"))

    found = {
        "filter": named([decisions.get("embed", {})]),
        "dedup": named([decisions.get("dedup_embed", {})]),
        "detect": named(decisions.get("detect", {}).get("detectors", ())),
    }
    return {role: name for role, name in found.items() if name}
