"""YOLO as Ultralytics reads it: a text file beside each image, and data.yaml."""

from __future__ import annotations

from pathlib import PurePosixPath

import yaml

from data_miner_worker.dataset import Dataset, DatasetImage
from data_miner_worker.splits import SPLITS


def yolo_files(dataset: Dataset) -> dict[str, bytes]:
    """``labels/{split}/{image}.txt`` for every image and ``data.yaml``.

    An image without objects has an empty file. Without labels there are no files at all: empty ones
    would say that there is nothing to see. Paths in data.yaml count from its own folder.
    """
    if not dataset.is_labelled:
        return {}
    files = {
        f"labels/{image.split}/{PurePosixPath(image.name).stem}.txt": _lines(image)
        for image in dataset.images
    }
    content = {
        **{split: f"images/{split}" for split in SPLITS},
        "names": dict(enumerate(dataset.classes)),
    }
    files["data.yaml"] = yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()
    return files


def _lines(image: DatasetImage) -> bytes:
    """``class x_centre y_centre width height``, shares of the image's size."""
    lines = []
    for label in image.labels or ():
        x0, y0, x1, y1 = label.box_xyxy
        shares = (
            (x0 + x1) / 2 / image.width,
            (y0 + y1) / 2 / image.height,
            (x1 - x0) / image.width,
            (y1 - y0) / image.height,
        )
        lines.append(f"{label.class_index} " + " ".join(f"{share:.6f}" for share in shares) + "\n")
    return "".join(lines).encode()
