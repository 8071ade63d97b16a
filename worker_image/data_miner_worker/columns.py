"""Per-frame tables: Parquet files that are the same bytes for the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

SCORES: Final = pa.schema(
    [
        ("frame", pa.int32()),
        ("pts_seconds", pa.float64()),
        ("sharpness", pa.float32()),
        ("positive", pa.float64()),
        ("negative", pa.float64()),
        ("junk", pa.float64()),
        ("best_prompt", pa.int16()),
        ("kept", pa.bool_()),
        ("reason", pa.string()),
    ]
)
"""What the filter found out about each frame of one video. A score is null where the project has
no prompts of that kind; `best_prompt` is the index of the best positive prompt."""

SELECTION: Final = pa.schema(
    [
        ("video_id", pa.string()),
        ("source_sha256", pa.string()),
        ("frame", pa.int32()),
        ("pts_seconds", pa.float64()),
        ("status", pa.string()),
        ("representative_video_id", pa.string()),
        ("representative_frame", pa.int32()),
        ("cosine", pa.float64()),
    ]
)
"""What became of each frame that a wave offered: kept, duplicate or beyond_target. The last three
columns are null unless it is a duplicate."""

DETECTIONS: Final = pa.schema(
    [
        ("frame", pa.int32()),
        ("image_sha256", pa.string()),
        ("detector", pa.string()),
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
"""One row a box, in pixels of the image. `detector` is a model's name, or ``merged`` for what the
detectors say together; `agreement` is how many of them found it."""


def write(
    path: Path,
    schema: pa.Schema,
    columns: Mapping[str, Sequence[Any] | Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write columns (lists or NumPy arrays) under a schema, with text for readers beside them."""
    arrays = [pa.array(columns[field.name], type=field.type) for field in schema]
    table = pa.Table.from_arrays(arrays, schema=schema.with_metadata(dict(metadata or {}) or None))
    pq.write_table(table, path, compression="zstd", version="2.6")


def read(path: Path) -> pa.Table:
    """The whole table."""
    return pq.read_table(path)


def metadata(table: pa.Table) -> dict[str, str]:
    """The text that `write` put beside the columns."""
    found = table.schema.metadata or {}
    return {key.decode(): value.decode() for key, value in found.items()}
