"""COCO: one JSON file a split, as pycocotools reads it."""

from __future__ import annotations

from typing import Any

from data_miner.fingerprint import canonical_json
from data_miner_worker.dataset import Dataset, DatasetImage
from data_miner_worker.splits import SPLITS


def coco_files(dataset: Dataset) -> dict[str, bytes]:
    """``annotations/{split}.json`` for every split, empty ones too.

    `file_name` counts from ``images/{split}``. Ids count from 1 over all splits together, so files
    can be joined. `score` and `agreement` are additions that readers of COCO pass over.
    """
    numbered = {image.name: number for number, image in enumerate(dataset.images, start=1)}
    first_annotation = 1
    files = {}
    for split in SPLITS:
        images = dataset.of_split(split)
        annotations = _annotations(images, numbered, first_annotation)
        first_annotation += len(annotations)
        content = {
            "info": {"description": "mined with data-miner", "version": "1"},
            "licenses": [],
            "categories": [
                {"id": number, "name": name, "supercategory": ""}
                for number, name in enumerate(dataset.classes, start=1)
            ],
            "images": [
                {
                    "id": numbered[image.name],
                    "file_name": image.name,
                    "width": image.width,
                    "height": image.height,
                }
                for image in images
            ],
            "annotations": annotations,
        }
        files[f"annotations/{split}.json"] = canonical_json(content).encode()
    return files


def _annotations(
    images: tuple[DatasetImage, ...], numbered: dict[str, int], first: int
) -> list[dict[str, Any]]:
    labels = [(image, label) for image in images for label in image.labels or ()]
    found = []
    for number, (image, label) in enumerate(labels, start=first):
        x0, y0, x1, y1 = label.box_xyxy
        width, height = round(x1 - x0, 2), round(y1 - y0, 2)
        found.append(
            {
                "id": number,
                "image_id": numbered[image.name],
                "category_id": label.class_index + 1,
                "bbox": [x0, y0, width, height],
                "area": round(width * height, 2),
                "iscrowd": 0,
                "score": label.score,
                "agreement": label.agreement,
            }
        )
    return found
