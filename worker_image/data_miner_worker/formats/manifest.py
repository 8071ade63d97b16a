"""The manifest: what a version is. Its SHA-256 is the version's digest.

It covers content only: files with their hashes, and the decisions about every image. Where things
lie, when and by whom they were made stands in provenance.json, outside of the digest. So the digest
is the same for any storage, home folder, number of workers and order of work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from data_miner.fingerprint import canonical_json
from data_miner_worker.dataset import Dataset, DatasetImage

FORMAT: Final = "data-miner/manifest/1"


def manifest(dataset: Dataset, files: Mapping[str, bytes]) -> bytes:
    """Canonical JSON. `files` are those beside the images that are content as well."""
    content = {
        "format": FORMAT,
        "spec": dataset.spec,
        "classes": dataset.classes,
        "splits": dataset.split_sizes,
        "videos": dict(sorted(dataset.video_splits.items())),
        "images": [_image(image) for image in dataset.images],
        "left_out": [
            {"video_id": one.video_id, "frame": one.frame, "reason": one.reason}
            for one in dataset.left_out
        ],
        "files": sorted(
            [
                *(_file(path, len(data), _sha256(data)) for path, data in files.items()),
                *(_file(image.path, image.bytes, image.sha256) for image in dataset.images),
            ],
            key=lambda file: str(file["path"]),
        ),
    }
    return canonical_json(content).encode()


def digest(manifest_bytes: bytes) -> str:
    """The name of a version, 64 hexadecimal digits."""
    return _sha256(manifest_bytes)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _file(path: str, size: int, sha256: str) -> dict[str, Any]:
    return {"path": path, "bytes": size, "sha256": sha256}


def _image(image: DatasetImage) -> dict[str, Any]:
    return {
        "name": image.name,
        "split": image.split,
        "video_id": image.video_id,
        "source_sha256": image.source_sha256,
        "frame": image.frame,
        "pts_seconds": image.pts_seconds,
        "width": image.width,
        "height": image.height,
        "sha256": image.sha256,
        "scores": dict(image.scores),
        "best_prompt": image.best_prompt,
        "duplicates": image.duplicates,
        # class_index, x0, y0, x1, y1, score, agreement
        "boxes": None
        if image.labels is None
        else [[box.class_index, *box.box_xyxy, box.score, box.agreement] for box in image.labels],
    }
