"""The series of all projects, as a scrape gets them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from data_miner.project_metrics import ProjectMetrics
from support.reconciling import a_progress

ONE, TWO = ("mining", "one"), ("mining", "two")
COSTLY = replace(a_progress(), stage_costs={"embed": {"cpu_seconds": 2.5}})


@pytest.fixture
def metrics() -> ProjectMetrics:
    return ProjectMetrics()


def project(version: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version}, "status": status}


def told(metrics: ProjectMetrics) -> dict[str, dict[tuple[str, ...], float]]:
    """By family, by the values of the labels in their order; as a reader of the format sees it."""
    return {
        family.name: {tuple(s.labels.values()): s.value for s in family.samples}
        for family in text_string_to_metric_families(metrics.text())
    }


def test_each_series_names_its_project(metrics: ProjectMetrics) -> None:
    metrics.tell_objects({ONE: project("1", images={"kept": 4}), TWO: project("1", progress=50)})
    metrics.tell_progress(ONE, COSTLY)

    assert told(metrics) == {
        "dataminer_project_images": {("mining", "one", "kept"): 4},
        "dataminer_project_progress_ratio": {("mining", "two"): 0.5},
        "dataminer_project_cpu_seconds": {("mining", "one", "embed"): 2.5},
    }


def test_what_a_status_does_not_say_any_more_is_not_told_any_more(metrics: ProjectMetrics) -> None:
    metrics.tell_objects({ONE: project("1", images={"kept": 4, "target": 9}, progress=50)})
    metrics.tell_objects({ONE: project("2", images={"kept": 5})})
    metrics.tell_progress(ONE, COSTLY)
    metrics.tell_progress(ONE, a_progress())

    assert told(metrics) == {"dataminer_project_images": {("mining", "one", "kept"): 5}}


def test_a_project_that_is_gone_has_no_series(metrics: ProjectMetrics) -> None:
    metrics.tell_objects({ONE: project("1", progress=50), TWO: project("1", progress=60)})
    metrics.tell_progress(ONE, COSTLY)
    metrics.tell_objects({TWO: project("1", progress=60)})
    metrics.tell_progress(ONE, COSTLY)

    assert told(metrics) == {"dataminer_project_progress_ratio": {("mining", "two"): 0.6}}


def test_who_leads_no_more_tells_of_no_project(metrics: ProjectMetrics) -> None:
    metrics.tell_objects({ONE: project("1", progress=50)})
    metrics.tell_progress(ONE, COSTLY)
    metrics.forget()

    assert metrics.text() == ""
    metrics.tell_objects({ONE: project("1", progress=50)})
    assert told(metrics) == {"dataminer_project_progress_ratio": {("mining", "one"): 0.5}}


def test_what_stands_in_a_label_is_escaped(metrics: ProjectMetrics) -> None:
    metrics.tell_objects({ONE: project("1", phase='a"b\\c\nd', reason="")})

    assert told(metrics) == {
        "dataminer_project_phase": {("mining", "one", 'a"b\\c\nd', ""): 1},
    }  # fmt: skip
