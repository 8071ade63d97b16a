"""What the generator of the demo clips says is in them, and how a dataset compares with it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from support.product import REPOSITORY

HALF_HIDDEN_PERCENT = 50
MOSTLY_HIDDEN_PERCENT = 35


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a clip: its group of near-duplicates, and its things with their boxes."""

    group: str
    things: tuple[dict[str, Any], ...]
    boxes: tuple[tuple[int, ...], ...]
    """(thing, x0, y0, x1, y1, visible percent) in pixels."""

    def wanted(self, shapes: Collection[str]) -> bool | None:
        """Whether a main thing of these shapes is in it; None when one is more than half hidden."""
        visible = [
            percent
            for thing, *_, percent in self.boxes
            if self.things[thing]["main"] and self.things[thing]["shape"] in shapes
        ]
        if any(percent >= HALF_HIDDEN_PERCENT for percent in visible):
            return True
        return None if visible else False


class DemoTruth:
    """The truth of the bundled clips, by video id and frame."""

    def __init__(self) -> None:
        text = (REPOSITORY / "examples/demo/truth.json").read_text(encoding="utf-8")
        self.clips = {clip["file"].split(".")[0]: clip for clip in json.loads(text)["clips"]}

    def frame(self, video_id: str, frame: int) -> Frame:
        """The truth of one frame; the video's id begins with its clip's name."""
        clip = self.clips[video_id.rsplit("-", 1)[0]]
        scene = next(s for s in clip["scenes"] if s["first"] <= frame <= s["last"])
        boxes = scene["boxes"][frame - scene["first"]]
        return Frame(scene["group"], tuple(scene["things"]), tuple(map(tuple, boxes)))

    def groups(self, shapes: Collection[str]) -> set[str]:
        """Groups whose scenes show a main thing of these shapes."""
        return {
            scene["group"]
            for clip in self.clips.values()
            for scene in clip["scenes"]
            if any(t["main"] and t["shape"] in shapes for t in scene["things"])
        }


def f1(judged: Iterable[tuple[bool, bool | None]]) -> float:
    """F1 of (kept, wanted) pairs; pairs without an opinion do not count."""
    hits = misses = false = 0
    for kept, wanted in judged:
        if wanted is None:
            continue
        hits += kept and wanted
        misses += wanted and not kept
        false += kept and not wanted
    return 2 * hits / max(1, 2 * hits + misses + false)


def average_precision_50(
    dataset: dict[str, Any], truth: DemoTruth, shapes: list[str]
) -> tuple[float, int]:
    """(AP at IoU 0.5, true boxes that count) of a COCO document of a dataset."""
    annotations: list[dict[str, Any]] = []
    for image in dataset["images"]:
        video_id, frame = parse_name(image["file_name"])
        known = truth.frame(video_id, frame)
        for thing, x0, y0, x1, y1, visible in known.boxes:
            if known.things[thing]["shape"] not in shapes:
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": shapes.index(known.things[thing]["shape"]) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": int(visible < MOSTLY_HIDDEN_PERCENT),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        expected = COCO()
        expected.dataset = {
            "info": {},
            "images": dataset["images"],
            "annotations": annotations,
            "categories": dataset["categories"],
        }
        expected.createIndex()
        found = expected.loadRes(
            [
                {key: a[key] for key in ("image_id", "category_id", "bbox", "score")}
                for a in dataset["annotations"]
            ]
        )
        evaluation = COCOeval(expected, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1]), len(annotations)


def parse_name(image: str) -> tuple[str, int]:
    """``{video_id}_{frame:06d}.jpg`` to its parts."""
    video_id, _, frame = image.rsplit(".", 1)[0].rpartition("_")
    return video_id, int(frame)
