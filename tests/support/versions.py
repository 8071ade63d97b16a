"""Tiny dataset versions to publish."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from data_miner_worker.publish import Content, publish


def version(folder: Path, text: str) -> tuple[str, dict[str, Content]]:
    """A tiny version with one linked image."""
    image = folder / f"{text}.jpg"
    image.write_bytes(text.encode() * 10)
    files: dict[str, Content] = {
        "images/train/a.jpg": image,
        "classes.txt": text.encode(),
        "provenance.json": b"{}",
    }
    manifest = json.dumps({"of": text}).encode()
    return hashlib.sha256(manifest).hexdigest(), {**files, "manifest.json": manifest}


def put(base: Path | str, digest: str, files: dict[str, Content]) -> str:
    return publish(str(base), digest, files, lambda _: None)
