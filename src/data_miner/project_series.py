"""What each project says to Prometheus: pure functions of its status and of its progress.

The numbers that people see come from the status, so that `kubectl get mp` and a dashboard never
disagree; what a status is too small for, costs and causes, comes from the progress of a pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from data_miner.catalog.progress import Progress
from data_miner.telemetry import bounded_class

MOST_CAUSES: Final = 20
"""Of failures, and of what was skipped, so many of the most frequent causes have a series."""


@dataclass(frozen=True, slots=True)
class Family:
    """A gauge with a series for each project."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    """Beside namespace and project."""


Samples = Mapping[Family, Mapping[tuple[str, ...], float]]
"""Values by family and by the values of its own labels."""

IMAGES: Final = Family(
    "dataminer_project_images", "Images: kept, wanted (target), in the newest dataset (exported).",
    ("kind",),
)  # fmt: skip
FUNNEL: Final = Family(
    "dataminer_project_funnel",
    "What is left after each step: videos up to downloaded, then frames, then images.",
    ("step",),
)
PROGRESS: Final = Family(
    "dataminer_project_progress_ratio", "Of the way to the target or to the end of the sources."
)
ETA: Final = Family(
    "dataminer_project_eta_timestamp_seconds", "About when it will be complete, Unix time."
)
TASKS: Final = Family(
    "dataminer_project_tasks", "Work by stage and state; zeros are left out.", ("stage", "state")
)
CONDITION: Final = Family(
    "dataminer_project_condition", "1 for the status that each condition has.", ("type", "status")
)
PHASE: Final = Family(
    "dataminer_project_phase", "1 for the phase that it is in.", ("phase", "reason")
)
DATASET: Final = Family("dataminer_project_dataset_version", "Number of the newest dataset.")
FAILED: Final = Family(
    "dataminer_project_failed_tasks", "Dead letters by cause, the most frequent.",
    ("stage", "error_class"),
)  # fmt: skip
PUT_OFF: Final = Family(
    "dataminer_project_put_off_tasks", "Tasks that are tried again later, by cause.",
    ("stage", "error_class"),
)  # fmt: skip
SKIPPED: Final = Family(
    "dataminer_project_skipped", "What was left out, by reason, the most frequent.",
    ("stage", "reason"),
)  # fmt: skip
SPENT: Final[Mapping[str, Family]] = {
    "cpu_seconds": Family("dataminer_project_cpu_seconds", "Processor time.", ("stage",)),
    "gpu_seconds": Family(
        "dataminer_project_gpu_seconds", "Time that its models ran on a GPU.", ("stage",)
    ),
    "wall_seconds": Family("dataminer_project_task_seconds", "Time of its tasks.", ("stage",)),
    "bytes_downloaded": Family(
        "dataminer_project_downloaded_bytes", "Bytes fetched from sites.", ("stage",)
    ),
    "bytes_published": Family(
        "dataminer_project_published_bytes", "Bytes written to the store.", ("stage",)
    ),
    "requests": Family("dataminer_project_requests", "Requests to sites.", ("stage",)),
    "downloads": Family("dataminer_project_downloads", "Files fetched from sites.", ("stage",)),
    "media_seconds": Family(
        "dataminer_project_media_seconds", "Length of the video that was looked at.", ("stage",)
    ),
    "frames_decoded": Family("dataminer_project_frames_decoded", "Frames decoded.", ("stage",)),
}
"""What the results that a project uses have cost, by the counter that tells it; shared work counts
for each who uses it."""

SAVED: Final[Mapping[str, Family]] = {
    "results": Family(
        "dataminer_project_reused_results",
        "Results that were there before the project, or its last edit, asked for them.",
        ("stage",),
    ),
    "cpu_seconds": Family(
        "dataminer_project_saved_cpu_seconds", "Processor time of those results.", ("stage",)
    ),
}
SOURCE_VIDEOS: Final = Family(
    "dataminer_project_source_videos",
    "Videos by the source's place in the spec, from 0: found, selected, used (with images).",
    ("source", "kind"),
)
SOURCE_IMAGES: Final = Family(
    "dataminer_project_source_images", "Unique images by the source that gave them.", ("source",)
)
SCORES: Final = Family(
    "dataminer_project_scores_bucket",
    "Frames whose best score for the prompts is at most le: a histogram over all frames.",
    ("le",),
)
MOST_SOURCES: Final = 50
"""So many sources of a project, from its first, have series; the others have none."""

FAMILIES: Final = (
    IMAGES, FUNNEL, PROGRESS, ETA, TASKS, CONDITION, PHASE, DATASET, FAILED, PUT_OFF, SKIPPED,
    *SPENT.values(), *SAVED.values(), SOURCE_VIDEOS, SOURCE_IMAGES, SCORES,
)  # fmt: skip

_STATES: Final = ("done", "running", "ready", "waiting", "failed", "skipped")
_NO_LABEL: Final[tuple[str, ...]] = ()
_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,39}")


def of_status(status: Mapping[str, Any]) -> Samples:
    """From the status of an object, as the API server gave it."""
    found: dict[Family, Mapping[tuple[str, ...], float]] = {
        IMAGES: _numbers(status.get("images")),
        FUNNEL: _numbers(status.get("funnel")),
        TASKS: {
            (str(stage.get("name")), state): float(stage[state])
            for stage in status.get("stages") or ()
            for state in _STATES
            if stage.get(state)
        },
        CONDITION: {
            (str(c.get("type")), str(c.get("status"))): 1.0
            for c in status.get("conditions") or ()
        },
    }  # fmt: skip
    if status.get("phase"):
        found[PHASE] = {(str(status["phase"]), str(status.get("reason") or "")): 1.0}
    if status.get("progress") is not None:
        found[PROGRESS] = {_NO_LABEL: status["progress"] / 100}
    if status.get("eta"):
        found[ETA] = {_NO_LABEL: datetime.fromisoformat(status["eta"]).timestamp()}
    if (status.get("dataset") or {}).get("version") is not None:
        found[DATASET] = {_NO_LABEL: float(status["dataset"]["version"])}
    return {family: values for family, values in found.items() if values}


def of_progress(progress: Progress) -> Samples:
    """From what a pass has read of a project."""
    found: dict[Family, dict[tuple[str, ...], float]] = {
        FAILED: _causes(
            (f.stage, bounded_class(f.error_class), f.count) for f in progress.failures
        ),
        PUT_OFF: _causes(
            (f.stage, bounded_class(f.error_class), f.count) for f in progress.put_off
        ),
        SKIPPED: _causes((s.stage, _reason(s.reason), s.count) for s in progress.skipped),
    }
    for stage, costs in progress.stage_costs.items():
        for counter, amount in costs.items():
            if counter in SPENT:
                found.setdefault(SPENT[counter], {})[stage,] = amount
    for stage, amounts in progress.saved.items():
        for counter, family in SAVED.items():
            found.setdefault(family, {})[stage,] = amounts.get(counter, 0.0)
    for each in progress.sources[:MOST_SOURCES]:
        source, videos = str(each.source), found.setdefault(SOURCE_VIDEOS, {})
        videos[source, "found"] = each.found
        videos[source, "selected"] = each.selected
        videos[source, "used"] = each.used
        found.setdefault(SOURCE_IMAGES, {})[source,] = each.images
    found[SCORES] = {(edge,): frames for edge, frames in progress.scores.items()}
    return {family: values for family, values in found.items() if values}


def _numbers(part: Mapping[str, Any] | None) -> Mapping[tuple[str, ...], float]:
    return {(name,): float(number) for name, number in (part or {}).items() if number is not None}


def _causes(found: Iterable[tuple[str, str, int]]) -> dict[tuple[str, ...], float]:
    """Counts by cause; several causes that get one label are added up."""
    counted: dict[tuple[str, ...], float] = {}
    for stage, cause, count in islice(found, MOST_CAUSES):
        counted[stage, cause] = counted.get((stage, cause), 0.0) + count
    return counted


def _reason(word: str) -> str:
    """A reason fit for a label."""
    return word if _REASON.fullmatch(word) else "Other"
