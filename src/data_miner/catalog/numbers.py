"""The numbers that people see of a project: images, videos, stages, the funnel and the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from data_miner.catalog.estimate import images_kept, videos_ended
from data_miner.catalog.progress import Progress


def numbers(progress: Progress, target_images: int | None) -> dict[str, Any]:
    """`images`, `videos`, `stages`, `funnel` and `dataset`, as in the status of a MiningProject.

    What there is none of is left out.
    """
    kept = images_kept(progress)
    images = {"kept": kept, "target": target_images, "exported": progress.funnel.exported or None}
    videos = {
        "found": progress.funnel.found,
        "selected": progress.funnel.selected,
        "ended": videos_ended(progress),
    }
    fields = {
        "images": {name: value for name, value in images.items() if value is not None},
        "videos": _some(videos),
        "stages": _stages(progress),
        "funnel": _some(asdict(progress.funnel)),
        "dataset": _dataset(progress),
    }
    return {name: value for name, value in fields.items() if value}


def _stages(progress: Progress) -> list[dict[str, Any]]:
    return [
        {"name": stage.stage}
        | _some(
            {
                "done": stage.done,
                "running": stage.running,
                "ready": stage.ready,
                "waiting": stage.waiting,
                "failed": stage.failed,
                "skipped": stage.skipped,
            }
        )
        for stage in progress.stages
    ]


def _dataset(progress: Progress) -> dict[str, Any] | None:
    dataset = progress.dataset
    if dataset is None:
        return None
    return {
        "version": dataset.version,
        "images": dataset.images,
        "digest": dataset.digest,
        "uri": dataset.uri,
    }


def _some(values: Mapping[str, int]) -> dict[str, int]:
    """Those that are not zero."""
    return {name: value for name, value in values.items() if value}
