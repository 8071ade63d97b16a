"""What Prometheus gets of a run on a laptop."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.product import DEMO_PROJECT, STARS, Product, write_project
from support.waiting import eventually

Samples = list[tuple[str, dict[str, str], float]]


def scraped(url: str) -> Samples:
    with urllib.request.urlopen(url) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family is told once"
    return [(s.name, s.labels, s.value) for family in families for s in family.samples]


def test_one_address_tells_of_the_project_and_of_every_worker(
    new_product: Callable[[str], Product], tmp_path: Path
) -> None:
    """Each worker has its number, and what they did adds up to what the project has."""
    product = new_product("scraped")
    process = product.start(
        *("run", write_project(tmp_path, STARS), "--json", "--workers", "2"),
        *("--slots", "1", "--metrics-port", "0"),
    )
    seen: list[Samples] = []
    try:
        assert process.stderr is not None
        url = next(line for line in process.stderr if line.startswith("metrics: "))[9:].strip()

        def ended() -> bool:
            if process.poll() is None:
                try:
                    seen.append(scraped(url))
                except OSError:  # it ended in between
                    return process.wait(30) is not None
            return process.poll() is not None

        eventually(ended, seconds=240, what="the run ends", pause_seconds=0.2)
        said, _ = process.communicate()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()

    assert process.returncode == 0
    last = max(seen, key=lambda samples: sum(v for n, _, v in samples if n in _COUNTED))
    workers = {labels.get("worker") for name, labels, _ in last if name == "dataminer_worker_slots"}
    assert workers == {"0", "1"}
    funnel = {
        labels["step"]: value
        for name, labels, value in last
        if name == "dataminer_project_funnel" and labels["project"] == "local"
    }
    final = json.loads(said)
    assert funnel["found"] == final["funnel"]["found"] > 0
    downloaded = sum(
        value
        for name, labels, value in last
        if name == "dataminer_stage_counts_total" and labels["name"] == "downloads"
    )
    assert downloaded == final["costs"]["downloads"]


_COUNTED = {"dataminer_stage_outcomes_total"}


def test_what_a_project_has_cost_is_what_the_kernel_counted(
    new_product: Callable[[str], Product],
) -> None:
    """Within 2 %: processor time of the tasks' processes, while those that wait for more are still
    there; how the kernel clears them away is nobody's work."""
    product = new_product("counted")
    assert product.do("apply", DEMO_PROJECT).code == 0
    worker = product.start("worker", "--slots", "2")
    found: list[dict[str, Any]] = []

    def is_complete() -> bool:
        found[:] = json.loads(product.do("status", "--json").out)
        return bool(found[0]["phase"]["name"] == "Complete")

    try:
        eventually(is_complete, seconds=240, pause_seconds=1, what="the project is complete")
        process = psutil.Process(worker.pid)
        ended = process.cpu_times()
        there = [child.cpu_times() for child in process.children()]
        counted = ended.children_user + ended.children_system + sum(_seconds(one) for one in there)
    finally:
        worker.kill()
        worker.communicate()

    told = sum(costs.get("cpu_seconds", 0.0) for costs in found[0]["stage_costs"].values())
    assert told == pytest.approx(counted, rel=0.02)


def _seconds(times: Any) -> float:
    """Of a process, and of those below it that it has waited for."""
    return float(times.user + times.system + times.children_user + times.children_system)
