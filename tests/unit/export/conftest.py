"""A small dataset as it is before any format."""

from __future__ import annotations

import pytest

from data_miner_worker.dataset import Dataset, DatasetImage, Label, LeftOut


def image(name: str, split: str, *labels: Label) -> DatasetImage:
    video_id, _, frame = name.removesuffix(".jpg").rpartition("_")
    return DatasetImage(
        name=name,
        split=split,
        video_id=video_id,
        source_sha256=f"sha-{video_id}",
        frame=int(frame),
        pts_seconds=int(frame) / 25,
        width=200,
        height=100,
        bytes=1000,
        sha256="ab" * 32,
        sharpness=12.5,
        scores={"positive": 0.75, "junk": 0.01},
        best_prompt="a red thing",
        duplicates=2,
        labels=labels,
    )


@pytest.fixture
def dataset() -> Dataset:
    """Three images in two splits; one has two boxes, one has none; a class name is awkward."""
    return Dataset(
        classes=("door: glass", "no #1 'thing'"),
        images=(
            image("a_000000.jpg", "train", Label(0, (10.0, 20.0, 60.5, 70.25), 0.9, 2)),
            image("a_000025.jpg", "train"),
            image(
                "b_c_000100.jpg",
                "val",
                Label(0, (0.0, 0.0, 200.0, 100.0), 0.5, 1),
                Label(1, (1.0, 2.0, 3.0, 4.0), 0.4, 1),
            ),
        ),
        video_splits={"b_c": "val", "a": "train"},
        left_out=(LeftOut("a", 50, "detect_failed"),),
        spec={"formats": ["COCO", "Parquet", "YOLO"], "decisions": {}},
    )
