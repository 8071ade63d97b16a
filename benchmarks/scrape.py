"""A scrape of an operator with many projects, against the same series in the library's gauges.

`python benchmarks/scrape.py [PROJECTS]`
"""

# ruff: noqa: E402
from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Instead of this folder, whose queue.py would hide the library's.
sys.path[0] = str(Path(__file__).parents[1] / "tests")

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from data_miner import telemetry
from data_miner.pipeline import NAMES
from data_miner.project_metrics import ProjectMetrics
from data_miner.project_series import SPENT
from support.reconciling import a_progress

ROUNDS = 20


def project(number: int) -> dict[str, Any]:
    """A project in the midst of its work, with everything that a status can say."""
    funnel = ("found", "selected", "downloaded", "frames", "passed", "unique", "labelled")
    conditions = ("Ready", "SpecValid", "DatabaseReachable", "ModelsReady", "WorkersAvailable")
    return {
        "metadata": {"resourceVersion": str(number)},
        "status": {
            "phase": "Mining",
            "reason": "Working",
            "progress": number % 100,
            "images": {"kept": number, "target": 1000},
            "funnel": {name: number + place for place, name in enumerate(funnel)},
            "stages": [{"name": name, "done": number, "running": 1, "ready": 2} for name in NAMES],
            "conditions": [{"type": name, "status": "True"} for name in conditions],
        },
    }


def best_ms(do: Callable[[], object]) -> float:
    """The quickest of several rounds, in milliseconds: what disturbs only adds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        do()
        took.append(time.perf_counter() - began)
    return min(took) * 1000


def as_gauges(text: str) -> CollectorRegistry:
    """The same series as the library keeps them."""
    registry = CollectorRegistry()
    for family in text_string_to_metric_families(text):
        labels = list(family.samples[0].labels)
        gauge = Gauge(family.name, family.documentation, labels, registry=registry)
        for sample in family.samples:
            gauge.labels(*sample.labels.values()).set(sample.value)
    return registry


def read(url: str) -> None:
    """Take an answer as it comes."""
    with urllib.request.urlopen(url) as answer:
        while answer.read1(1 << 20):
            pass


def main(projects: int) -> None:
    """Print what a scrape takes."""
    metrics = ProjectMetrics()
    objects = {("mining", f"project-{number}"): project(number) for number in range(projects)}
    costs = {stage: dict.fromkeys(SPENT, 12.5) for stage in NAMES}
    progress = replace(a_progress(), stage_costs=costs)

    def tell() -> None:
        metrics.forget()
        metrics.tell_objects(objects)
        for key in objects:
            metrics.tell_progress(key, progress)

    tell_ms = best_ms(tell)
    registry = as_gauges(metrics.text())
    library_ms = best_ms(lambda: generate_latest(registry))
    server = telemetry.serve(0, more=metrics.blocks)
    url = f"http://127.0.0.1:{server.server_address[1]}/metrics"
    scrape_ms = best_ms(lambda: read(url))
    server.shutdown()
    lines = metrics.text().splitlines()
    series = sum(not line.startswith("#") for line in lines)
    print(f"{projects} projects, {series} series, {sum(map(len, lines)) / 1e6:.1f} MB")
    print(f"a whole scrape          {scrape_ms:8.1f} ms")
    print(f"the library's gauges    {library_ms:8.1f} ms  {library_ms / scrape_ms:.0f} times")
    print(f"every project anew      {tell_ms:8.1f} ms  {tell_ms / projects:.3f} ms each")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
