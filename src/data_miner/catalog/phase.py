"""Decides what state a project is in. Pure: counts in, a phase with its reason out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class PhaseName(StrEnum):
    """Where a project is in its life."""

    PENDING = "Pending"
    DISCOVERING = "Discovering"
    MINING = "Mining"
    EXPORTING = "Exporting"
    COMPLETE = "Complete"
    STALLED = "Stalled"
    SUSPENDED = "Suspended"
    DELETED = "Deleted"


@dataclass(frozen=True, slots=True)
class Phase:
    """The state of a project, why, and a sentence for people."""

    name: PhaseName
    reason: str
    """One CamelCase word that does not change between releases."""
    message: str

    @property
    def settled(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.name in (PhaseName.COMPLETE, PhaseName.STALLED, PhaseName.DELETED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """All that the phase depends on. Numbers of videos unless they say otherwise."""

    deleted: bool = False
    suspended: bool = False
    sources: int = 1
    """Sources that the spec names."""
    sources_ended: int = 0
    """Those that were listed or have failed."""
    sources_failed: int = 0
    found: int = 0
    selected: int = 0
    """Found and not left out by `select`."""
    not_admitted: int = 0
    """Selected and in no wave yet."""
    members: int = 0
    """In a wave."""
    open_members: int = 0
    """Members that have neither gone through their own stages nor been skipped nor failed."""
    usable: int = 0
    """Members that went through their own stages."""
    looks: bool = True
    """Whether the project judges frames."""
    frames_passed: int = 0
    gathers: bool = True
    """Whether the project resolves near-duplicates."""
    images_kept: int = 0
    """Images that are left after that, over all waves."""
    exports: bool = True
    images_exported: int | None = None
    """Images in the newest version of what is asked for now; None before there is one."""
    target_images: int | None = None
    live: int = 0
    """Tasks that are ready, put off or running."""
    live_exports: int = 0
    """Those of them that write a dataset."""
    running: int = 0
    missing: int = 0
    """Results that are called for, and that no task is making and none has failed to make."""
    failed: int = 0
    """Tasks that nobody tries again by himself."""
    blocked_by: str | None = None
    """Stage of a failed task that a whole wave waits for."""
    retry_seconds: float | None = None
    """Seconds until the first put-off task is tried again, if nothing else is left to do."""


def judge(counts: Counts) -> Phase:
    """The phase that follows from the counts; the first rule that holds decides."""
    for rule in _RULES:
        phase = rule(counts)
        if phase is not None:
            return phase
    raise AssertionError("the last rule always holds")


def target_reached(counts: Counts) -> bool:
    """Whether as many images are kept as were asked for; without a target never."""
    return counts.target_images is not None and counts.images_kept >= counts.target_images


def _deleted(counts: Counts) -> Phase | None:
    if counts.deleted:
        return Phase(PhaseName.DELETED, "Deleted", "the project is deleted")
    return None


def _suspended(counts: Counts) -> Phase | None:
    if not counts.suspended:
        return None
    more = ""
    if counts.running:
        more = f"; {_many(counts.running, 'running task is', 'running tasks are')} ending"
    return Phase(PhaseName.SUSPENDED, "Suspended", f"the project is suspended{more}")


def _discovering(counts: Counts) -> Phase | None:
    if counts.sources_ended >= counts.sources or counts.members:
        return None
    if counts.sources_ended == 0 and counts.running == 0:
        return Phase(PhaseName.PENDING, "WaitingForWorker", "no worker has begun on it yet")
    return Phase(
        PhaseName.DISCOVERING,
        "ListingSources",
        f"{counts.sources_ended} of {_many(counts.sources, 'source', 'sources')} listed",
    )


def _working(counts: Counts) -> Phase | None:
    if counts.live and counts.live == counts.live_exports and not counts.open_members:
        return Phase(PhaseName.EXPORTING, "WritingDataset", "a dataset version is being written")
    if counts.live:
        if counts.retry_seconds is not None:
            message = f"what is left is tried again in {max(0, counts.retry_seconds):.0f} s"
            return Phase(PhaseName.MINING, "WaitingToRetry", message)
        ended = counts.members - counts.open_members
        message = f"{ended} of {_many(counts.members, 'video', 'videos')} through"
        return Phase(PhaseName.MINING, "Working", message)
    return None


def _planning(counts: Counts) -> Phase | None:
    if counts.blocked_by:
        return None
    if counts.not_admitted and not target_reached(counts):
        return Phase(
            PhaseName.MINING,
            "OpeningWave",
            f"{_many(counts.not_admitted, 'video is', 'videos are')} next",
        )
    if counts.open_members or (counts.missing and not counts.failed):
        return Phase(
            PhaseName.MINING,
            "Planning",
            f"{_many(counts.missing, 'task is', 'tasks are')} planned next",
        )
    return None


def _nothing_to_mine(counts: Counts) -> Phase | None:
    if counts.sources_failed == counts.sources:
        message = (
            "the source cannot be listed"
            if counts.sources == 1
            else f"none of the {counts.sources} sources can be listed"
        )
        return _stalled("SourcesFailed", message)
    if counts.found == 0:
        if counts.sources_failed:
            message = (
                f"the sources found no video, and {counts.sources_failed} of {counts.sources}"
                " cannot be listed"
            )
            return _stalled("SourcesFailed", message)
        return _stalled("NothingFound", "the sources found no video")
    if counts.selected == 0:
        return _stalled("NoUsableVideo", f"`select` leaves out {_all(counts.found)}")
    if counts.members and counts.usable == 0:
        return _stalled("NoUsableVideo", f"{_none(counts.members)} can be used")
    return None


def _blocked(counts: Counts) -> Phase | None:
    if counts.blocked_by:
        return _stalled("StageFailed", f"{counts.blocked_by} has failed, and the rest waits for it")
    if counts.missing:
        waiting = _many(counts.missing, "result waits", "results wait")
        return _stalled("StageFailed", f"{waiting} for something that has failed")
    return None


def _nothing_kept(counts: Counts) -> Phase | None:
    if counts.looks and counts.frames_passed == 0:
        return _stalled("NothingKept", "no frame passed the filter")
    if counts.gathers and counts.images_kept == 0:
        return _stalled("NothingKept", "no frame is left after removing near-duplicates")
    if counts.exports and not counts.images_exported:
        return _stalled("NothingExported", "images were kept, but none could be exported")
    return None


def _complete(counts: Counts) -> Phase:
    made = _many(counts.usable, "video", "videos")
    if counts.exports:
        made = _many(counts.images_exported or 0, "image", "images")
    elif counts.gathers:
        made = _many(counts.images_kept, "image", "images")
    elif counts.looks:
        made = _many(counts.frames_passed, "frame", "frames")
    message = f"complete: {made}"
    if counts.failed:
        message += f"; {_many(counts.failed, 'task has', 'tasks have')} failed"
        return Phase(PhaseName.COMPLETE, "CompleteWithFailures", message)
    if target_reached(counts):
        return Phase(PhaseName.COMPLETE, "TargetReached", message)
    return Phase(PhaseName.COMPLETE, "AllDone", message)


def _many(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _all(videos: int) -> str:
    return "the only video" if videos == 1 else f"all {videos} videos"


def _none(videos: int) -> str:
    return "not even the only video" if videos == 1 else f"none of the {videos} videos"


def _stalled(reason: str, message: str) -> Phase:
    return Phase(PhaseName.STALLED, reason, message)


_RULES: Final[tuple[Callable[[Counts], Phase | None], ...]] = (
    _deleted,
    _suspended,
    _discovering,
    _working,
    _planning,
    _nothing_to_mine,
    _blocked,
    _nothing_kept,
    _complete,
)
