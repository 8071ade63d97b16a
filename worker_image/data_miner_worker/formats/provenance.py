"""provenance.json: addresses, times and tools. People need it; the digest must not depend on it."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final

from data_miner.fingerprint import canonical_json
from data_miner.outside import redact
from data_miner.stage import Context
from data_miner_worker.dataset import Dataset
from data_miner_worker.told import Told

_TOOLS: Final = (
    "data-miner",
    "av",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "pillow",
    "pyarrow",
    "yt-dlp",
)
_PERSONAL: Final = ("licence", "license", "channel", "uploader", "upload_date", "upload_group")


def provenance(context: Context, dataset: Dataset, told: Told, digest: str) -> bytes:
    """Canonical JSON. Where a version was made several times, this tells of the first."""
    assignment = context.assignment
    content = {
        "digest": digest,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "project": {
            "namespace": assignment.namespace,
            "name": assignment.project_name,
            "wave": assignment.wave,
        },
        "base": assignment.params["base"],
        "tools": {**_versions(), "python": platform.python_version()},
        "videos": {video_id: _video(told, video_id) for video_id in sorted(dataset.video_splits)},
        "costs": told.costs,
    }
    return canonical_json(content).encode()


def _versions() -> dict[str, str]:
    found = {}
    for name in _TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _video(told: Told, video_id: str) -> dict[str, Any]:
    one = told.videos.get(video_id)
    if one is None:
        return {}
    known = {key: one.metadata[key] for key in _PERSONAL if one.metadata.get(key) is not None}
    url = redact(one.url) if one.url else one.url
    return {"url": url, "title": one.title, **known}
