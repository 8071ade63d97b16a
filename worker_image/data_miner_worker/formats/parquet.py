"""Parquet: one row an image with everything that is known about it."""

from __future__ import annotations

import io
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from data_miner_worker.dataset import Dataset, DatasetImage

_BOX: Final = pa.struct(
    [
        ("class_index", pa.int32()),
        ("class_name", pa.string()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("score", pa.float32()),
        ("agreement", pa.int32()),
    ]
)
_SCHEMA: Final = pa.schema(
    [
        ("image", pa.string()),
        ("split", pa.string()),
        ("video_id", pa.string()),
        ("frame", pa.int32()),
        ("pts_seconds", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("source_sha256", pa.string()),
        ("sharpness", pa.float32()),
        ("positive", pa.float64()),
        ("negative", pa.float64()),
        ("junk", pa.float64()),
        ("best_prompt", pa.string()),
        ("duplicates", pa.int32()),
        ("boxes", pa.list_(_BOX)),
    ]
)


def parquet_files(dataset: Dataset) -> dict[str, bytes]:
    """``images.parquet``. `image` is the path in the dataset, boxes are in its pixels; `boxes` is
    null when nobody looked for objects."""
    table = pa.Table.from_pylist([_row(image, dataset) for image in dataset.images], _SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", version="2.6")
    return {"images.parquet": buffer.getvalue()}


def _row(image: DatasetImage, dataset: Dataset) -> dict[str, Any]:
    boxes = (
        None
        if image.labels is None
        else [
            {
                "class_index": label.class_index,
                "class_name": dataset.classes[label.class_index],
                **dict(zip(("x0", "y0", "x1", "y1"), label.box_xyxy, strict=True)),
                "score": label.score,
                "agreement": label.agreement,
            }
            for label in image.labels
        ]
    )
    same_name = [name for name in _SCHEMA.names if name in DatasetImage.__slots__]
    return {
        **{name: getattr(image, name) for name in same_name},
        **image.scores,
        "image": image.path,
        "boxes": boxes,
    }
