"""AP at IoU 0.5 by pycocotools, with one category a colour and shape."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data_miner_models.detector import Detections
from demo.drawing import Seen
from demo.vocabulary import Look

MOSTLY_HIDDEN = 0.35


def average_precision(
    truth: Sequence[Sequence[Seen]],
    found: Sequence[Detections],
    looks: Sequence[Look],
    *,
    mains: bool = True,
    small: bool = True,
) -> float:
    """AP50 over frames; things less than 35 % visible, or of a kind not asked for, are ignored."""
    annotations, results = [], []
    for image, (things, detections) in enumerate(zip(truth, found, strict=True), start=1):
        for thing in things:
            ignored = thing.visible < MOSTLY_HIDDEN or not (mains if thing.main else small)
            x0, y0, x1, y1 = thing.box_xyxy
            category = next(k for k, look in enumerate(looks, 1) if look.covers(thing.look))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": int(ignored),
                }
            )
        for box, score, label in zip(
            detections.boxes_xyxy.tolist(), detections.scores, detections.labels, strict=True
        ):
            x0, y0, x1, y1 = box
            results.append(
                {
                    "image_id": image,
                    "category_id": int(label) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": float(score),
                }
            )
    if not results:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": image} for image in range(1, len(truth) + 1)],
            "categories": [{"id": category} for category in range(1, len(looks) + 1)],
            "annotations": annotations,
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[1])
