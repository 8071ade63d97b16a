"""detect: boxes around what the project wants labelled, by one or several detectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_miner.stage import Artifact, Context, Done, Outcome, StageError
from data_miner_models.detector import Detections, Detector
from data_miner_models.errors import DamagedError, GoneError, ModelError
from data_miner_models.nms import suppress
from data_miner_worker import columns, given
from data_miner_worker.loaded_models import MODELS, find_card, unusable
from data_miner_worker.merge import Box, merge

MERGED: Final = "merged"
"""In the place of a detector's name: what the detectors say together."""
EXAMINED: Final = "examined"
"""Beside the table: JSON list of the sha256 of every image that was looked at, in order. Without
it, an image without boxes could not be told from one that nobody looked at."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Found:
    """All rows of one image, and how many of them are merged boxes."""

    rows: tuple[Row, ...]

    @property
    def boxes(self) -> int:
        return sum(row["detector"] == MERGED for row in self.rows)


class Detect:
    """Labels the images of one video of a wave."""

    name: ClassVar[str] = "detect"

    def run(self, context: Context) -> Outcome:
        images = sorted(
            (a for a in given.only(context, "cut").artifacts if a.kind == "image"),
            key=lambda image: int(image.media["frame"]),
        )
        known = _borrow(context, {image.sha256 for image in images})
        ensemble = _Ensemble(context)
        rows: list[Row] = []
        examined: list[str] = []
        failed: list[dict[str, Any]] = []
        boxes = fresh = 0
        for number, image in enumerate(images, start=1):
            found = known.get(image.sha256)
            if found is None:
                fresh += 1
                found = _try(context, ensemble, image, failed)
            if found is not None:
                # A borrowed row may come from another frame with the same pixels.
                rows += [{**row, "frame": int(image.media["frame"])} for row in found.rows]
                examined.append(image.sha256)
                boxes += found.boxes
            context.tick(number / len(images))
        path = context.scratch / "detections.parquet"
        columns.write(
            path,
            columns.DETECTIONS,
            {field.name: [row[field.name] for row in rows] for field in columns.DETECTIONS},
            {EXAMINED: json.dumps(examined)},
        )
        context.count("images_detected", fresh - len(failed))
        return Done(
            artifacts=(context.publish(path, "detections"),),
            facts={"frames": len(examined), "boxes": boxes, "failed": failed},
        )


def _borrow(context: Context, wanted: set[str]) -> dict[str, _Found]:
    """What earlier results with the same detectors and classes say about the same images."""
    known: dict[str, _Found] = {}
    for fact in context.assignment.previous:
        if wanted <= known.keys():
            break
        table = given.table(context, fact, "detections")
        rows: dict[str, list[Row]] = {
            sha256: [] for sha256 in json.loads(columns.metadata(table).get(EXAMINED, "[]"))
        }
        for row in table.to_pylist():
            rows[row["image_sha256"]].append(row)
        for sha256, of_image in rows.items():
            if sha256 in wanted and sha256 not in known:
                # The same image may have been at several frames; one frame's rows say it all.
                first = [row for row in of_image if row["frame"] == of_image[0]["frame"]]
                known[sha256] = _Found(tuple(first))
        context.tick()
    return known


def _try(
    context: Context, ensemble: _Ensemble, image: Artifact, failed: list[dict[str, Any]]
) -> _Found | None:
    """Detect on one image; at the last attempt a failure is noted, before that it is raised.

    So an image is never recorded as empty because something went wrong.
    """
    frame = int(image.media["frame"])
    try:
        return ensemble.look(context, image)
    except (DamagedError, GoneError) as error:
        raise unusable(error) from error
    except (ModelError, OSError, ValueError, RuntimeError, Image.DecompressionBombError) as error:
        message = f"frame {frame}: {type(error).__name__}: {error}"
        if not context.assignment.last_attempt:
            raise StageError("detector_failed", message) from error
        failed.append({"frame": frame, "error": message[:500]})
        return None


class _Ensemble:
    """The detectors of a recipe, loaded when the first image needs them."""

    def __init__(self, context: Context) -> None:
        params = context.assignment.params
        self._classes: Sequence[Mapping[str, Any]] = params["classes"]
        self._specs: Sequence[Mapping[str, Any]] = params["detectors"]
        self._nms_iou = float(params["nms_iou"])
        self._agreement = int(params["agreement"])
        self._detectors: list[Detector] = []
        self._prompts = [prompt for one in self._classes for prompt in one["prompts"]]
        self._class_of_prompt = np.repeat(
            np.arange(len(self._classes)), [len(one["prompts"]) for one in self._classes]
        )

    def look(self, context: Context, image: Artifact) -> _Found:
        """Boxes of each detector and of all together."""
        if not self._detectors:
            for spec in self._specs:
                card = find_card(context, spec["model"], spec["digest"])
                detector = MODELS.detector(card, context.provider, self._nms_iou)
                self._detectors.append(detector)
        with Image.open(context.fetch(image)) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        boxes: list[Box] = []
        rows: list[Row] = []
        for number, (spec, detector) in enumerate(zip(self._specs, self._detectors, strict=True)):
            own = self._boxes(number, spec, detector, pixels)
            rows += [self._row(image, spec["model"], box, 1) for box in own]
            boxes += own
            context.tick()
        merged = merge(boxes, same_iou=self._nms_iou, agreement=self._agreement)
        rows += [self._row(image, MERGED, one.box, one.agreement) for one in merged]
        return _Found(tuple(rows))

    def _boxes(
        self, number: int, spec: Mapping[str, Any], detector: Detector, pixels: NDArray[np.uint8]
    ) -> list[Box]:
        """What one detector finds: above its own floor and that of the class, one box an object."""
        floors = np.array(
            [max(one["min_score"] or 0, spec["min_score"] or 0) for one in self._classes]
        )
        found = detector(pixels, self._prompts, float(floors.min()))
        found = by_class(found, self._class_of_prompt, floors, self._nms_iou)
        return [
            Box((x0, y0, x1, y1), score, label, number)
            for (x0, y0, x1, y1), score, label in zip(
                found.boxes_xyxy.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
            )
        ]

    def _row(self, image: Artifact, detector: str, box: Box, agreement: int) -> Row:
        x0, y0, x1, y1 = box.box_xyxy
        return {
            "frame": int(image.media["frame"]),
            "image_sha256": image.sha256,
            "detector": detector,
            "class_index": box.class_index,
            "class_name": self._classes[box.class_index]["name"],
            "x0": x0,
            "y0": y0,
            "x1": x1,
            "y1": y1,
            "score": box.score,
            "agreement": agreement,
        }


def by_class(
    found: Detections,
    class_of_prompt: NDArray[np.int64],
    floors: NDArray[np.float64],
    nms_iou: float,
) -> Detections:
    """Detections by prompt to detections by class: labels become class indices, boxes below their
    class's floor go, and so do boxes of one class that overlap by more than `nms_iou`."""
    labels = class_of_prompt[found.labels]
    enough = found.scores >= floors[labels]
    boxes, scores, labels = found.boxes_xyxy[enough], found.scores[enough], labels[enough]
    kept = suppress(boxes, scores, labels, nms_iou)
    return Detections(boxes[kept], scores[kept], labels[kept].astype(np.int64))
