"""The rules that decide a project's phase."""

from __future__ import annotations

from typing import Any

import pytest

from data_miner.catalog.phase import Counts, judge

DONE: dict[str, Any] = {
    "sources": 2,
    "sources_ended": 2,
    "found": 5,
    "selected": 4,
    "members": 4,
    "usable": 4,
    "frames_passed": 40,
    "images_kept": 20,
    "images_exported": 20,
}
"""A project that has all it wants."""


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({}, "Complete", "AllDone"),
        ({"deleted": True, "suspended": True}, "Deleted", "Deleted"),
        ({"suspended": True, "live": 3}, "Suspended", "Suspended"),
        ({"sources_ended": 0, "members": 0, "live": 2}, "Pending", "WaitingForWorker"),
        (
            {"sources_ended": 0, "members": 0, "live": 2, "running": 1},
            "Discovering",
            "ListingSources",
        ),
        ({"sources_ended": 1, "members": 0, "live": 1}, "Discovering", "ListingSources"),
        ({"live": 5, "open_members": 2}, "Mining", "Working"),
        ({"live": 2, "live_exports": 1}, "Mining", "Working"),
        ({"live": 1, "live_exports": 1}, "Exporting", "WritingDataset"),
        ({"live": 1, "live_exports": 1, "open_members": 1}, "Mining", "Working"),
        ({"live": 1, "retry_seconds": 42.0}, "Mining", "WaitingToRetry"),
        ({"not_admitted": 3}, "Mining", "OpeningWave"),
        ({"not_admitted": 3, "target_images": 21}, "Mining", "OpeningWave"),
        ({"not_admitted": 3, "target_images": 20}, "Complete", "TargetReached"),
        ({"missing": 1}, "Mining", "Planning"),
        ({"missing": 1, "failed": 1, "open_members": 1}, "Mining", "Planning"),
        ({"missing": 1, "failed": 1}, "Stalled", "StageFailed"),
        ({"open_members": 1}, "Mining", "Planning"),
        ({"missing": 1, "failed": 1, "blocked_by": "dedup"}, "Stalled", "StageFailed"),
        ({"failed": 1, "blocked_by": "export"}, "Stalled", "StageFailed"),
        ({"sources_failed": 2, "found": 0, "members": 0}, "Stalled", "SourcesFailed"),
        ({"sources_failed": 1, "found": 0, "members": 0}, "Stalled", "SourcesFailed"),
        ({"found": 0, "selected": 0, "members": 0}, "Stalled", "NothingFound"),
        ({"selected": 0, "members": 0}, "Stalled", "NoUsableVideo"),
        ({"usable": 0, "failed": 4, "images_exported": None}, "Stalled", "NoUsableVideo"),
        ({"usable": 0, "images_exported": None}, "Stalled", "NoUsableVideo"),
        ({"frames_passed": 0, "images_kept": 0}, "Stalled", "NothingKept"),
        ({"images_kept": 0, "images_exported": None}, "Stalled", "NothingKept"),
        ({"images_exported": None, "failed": 2}, "Stalled", "NothingExported"),
        ({"images_exported": 0}, "Stalled", "NothingExported"),
        ({"failed": 2}, "Complete", "CompleteWithFailures"),
        ({"sources_failed": 1, "failed": 1}, "Complete", "CompleteWithFailures"),
        ({"exports": False, "images_exported": None}, "Complete", "AllDone"),
        (
            {"exports": False, "gathers": False, "images_exported": None, "images_kept": 0},
            "Complete",
            "AllDone",
        ),
        (
            {
                "exports": False,
                "gathers": False,
                "looks": False,
                "images_exported": None,
                "images_kept": 0,
                "frames_passed": 0,
            },
            "Complete",
            "AllDone",
        ),
        (
            {"exports": False, "gathers": False, "frames_passed": 0, "images_exported": None},
            "Stalled",
            "NothingKept",
        ),
    ],
)
def test_the_phase_follows_from_the_counts(changes: dict[str, Any], name: str, reason: str) -> None:
    """Each difference from a complete project gives the phase and the reason of its row."""
    phase = judge(Counts(**{**DONE, **changes}))

    assert (str(phase.name), phase.reason) == (name, reason)
    assert phase.message
    assert "\n" not in phase.message


def test_failures_are_told_beside_what_was_made() -> None:
    """Complete with dead letters says how many images there are and how many tasks have failed."""
    phase = judge(Counts(**{**DONE, "failed": 2}))

    assert "20 images" in phase.message
    assert "2 tasks have failed" in phase.message


@pytest.mark.parametrize("images", [None, 0])
@pytest.mark.parametrize("failed", [0, 3])
@pytest.mark.parametrize("usable", [0, 4])
def test_no_images_is_never_complete(images: int | None, failed: int, usable: int) -> None:
    """A project that wants a dataset and has no image in it is not complete, whatever failed."""
    changes = {"images_exported": images, "failed": failed, "usable": usable}

    assert judge(Counts(**{**DONE, **changes})).name == "Stalled"


@pytest.mark.parametrize(
    ("changes", "settled"),
    [({}, True), ({"usable": 0}, True), ({"live": 1}, False), ({"suspended": True}, False)],
)
def test_settled_means_that_nothing_more_happens(changes: dict[str, Any], settled: bool) -> None:
    """Complete and Stalled projects are settled; working and suspended ones are not."""
    assert judge(Counts(**{**DONE, **changes})).settled is settled
