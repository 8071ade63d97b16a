"""What was finished before a kill: a graph counts only while every byte beside it is as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_miner_models.store import describe, sync_folder, write_file


def finish(record: Path, figures: Mapping[str, float]) -> None:
    """Write down that all files beside `record` are finished, and the differences of their graph.

    They are on the disk before the record is: after a power loss there is none without them.
    """
    files = _beside(record)
    for path in files:
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    sync_folder(record.parent)
    state = {path.name: describe(path) for path in files}
    write_file(record, json.dumps({"files": state, "parity": figures}).encode())


def finished(record: Path) -> Mapping[str, float] | None:
    """The differences that were written down, if the same files are here with the same bytes."""
    try:
        done: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        state = {path.name: list(describe(path)) for path in _beside(record)}
        figures: Mapping[str, float] = done["parity"]
        return figures if state and state == done["files"] else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _beside(record: Path) -> list[Path]:
    return sorted(path for path in record.parent.iterdir() if path != record)
