"""The numbers of a status, small enough for one."""

from __future__ import annotations

from typing import Any

from data_miner.catalog import numbers as catalog
from data_miner.catalog.progress import Progress
from data_miner_operator.reconcile.wording import line

URI_BYTES = 512


def numbers(progress: Progress, target_images: int | None) -> dict[str, Any]:
    """As the catalogue counts; an address that is longer than a status may hold is cut off."""
    found = catalog.numbers(progress, target_images)
    if "dataset" in found:
        found["dataset"]["uri"] = line(found["dataset"]["uri"], URI_BYTES)
    return found
