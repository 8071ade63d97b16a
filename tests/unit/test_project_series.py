"""What is told of one project."""

from __future__ import annotations

from dataclasses import replace

import pytest

from data_miner import project_series as series
from data_miner import telemetry
from data_miner.catalog.counts import SourceYield
from data_miner.catalog.failures import Failure, Skipped
from support.reconciling import a_progress


def test_numbers_of_the_status_are_told_as_they_are_and_what_is_absent_is_not_told() -> None:
    found = series.of_status({
        "phase": "Mining",
        "reason": "Working",
        "progress": 40,
        "eta": "2026-01-01T00:00:10Z",
        "images": {"kept": 4, "target": 10},
        "funnel": {"found": 20, "passed": 0},
        "stages": [{"name": "embed", "done": 3, "failed": 1}],
        "conditions": [{"type": "Ready", "status": "False", "reason": "Working"}],
        "dataset": {"version": 2, "images": 4},
    })  # fmt: skip

    assert found == {
        series.IMAGES: {("kept",): 4, ("target",): 10},
        series.FUNNEL: {("found",): 20, ("passed",): 0},
        series.TASKS: {("embed", "done"): 3, ("embed", "failed"): 1},
        series.CONDITION: {("Ready", "False"): 1},
        series.PHASE: {("Mining", "Working"): 1},
        series.PROGRESS: {(): 0.4},
        series.ETA: {(): 1767225610.0},
        series.DATASET: {(): 2},
    }
    assert series.of_status({}) == {}


def test_costs_are_told_by_stage_in_base_units() -> None:
    progress = replace(
        a_progress(),
        stage_costs={
            "download": {"bytes_downloaded": 30.0},
            "embed": {"cpu_seconds": 2.5, "max_rss_mb": 90.0},
        },
    )

    assert series.of_progress(progress) == {
        series.SPENT["bytes_downloaded"]: {("download",): 30.0},
        series.SPENT["cpu_seconds"]: {("embed",): 2.5},
    }


def test_sources_scores_and_savings_are_told() -> None:
    """A histogram of scores is shaped as Prometheus wants it."""
    progress = replace(
        a_progress(),
        saved={"extract": {"results": 4, "cpu_seconds": 6.5}},
        sources=[SourceYield(0, found=9, selected=7, used=2, images=5)],
        scores={"0.1": 3, "+Inf": 8},
    )

    assert series.of_progress(progress) == {
        series.SAVED["results"]: {("extract",): 4},
        series.SAVED["cpu_seconds"]: {("extract",): 6.5},
        series.SOURCE_VIDEOS: {("0", "found"): 9, ("0", "selected"): 7, ("0", "used"): 2},
        series.SOURCE_IMAGES: {("0",): 5},
        series.SCORES: {("0.1",): 3, ("+Inf",): 8},
    }


def test_a_project_with_very_many_sources_tells_of_its_first_ones() -> None:
    sources = [SourceYield(n, 1, 1, 1, 1) for n in range(series.MOST_SOURCES + 5)]
    found = series.of_progress(replace(a_progress(), sources=sources))

    assert len(found[series.SOURCE_IMAGES]) == series.MOST_SOURCES


def test_causes_become_a_few_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a site or a plugin says, it becomes no label that it likes."""
    monkeypatch.setattr(telemetry, "_classes", set())
    failed = [Failure("download", f"odd {n}!", 2, "v", "text") for n in range(series.MOST_CAUSES)]
    skipped = [
        Skipped("download", "Live", 3, "v", "Live: it is"),
        Skipped("select", 'too "long"\n', 4, "v", "too long"),
    ]
    found = series.of_progress(
        replace(
            a_progress(put_off=[Failure("download", "throttled", 5, "v", "text")]),
            failures=[*failed, Failure("embed", "rare", 1, "v", "text")],
            skipped=skipped,
        )
    )

    assert found == {
        series.FAILED: {("download", "other"): 2 * series.MOST_CAUSES},
        series.PUT_OFF: {("download", "throttled"): 5},
        series.SKIPPED: {("download", "Live"): 3, ("select", "Other"): 4},
    }


def test_families_have_names_of_their_own() -> None:
    names = [family.name for family in series.FAMILIES]

    assert len(set(names)) == len(names)
    assert all(name.startswith("dataminer_project_") for name in names)
