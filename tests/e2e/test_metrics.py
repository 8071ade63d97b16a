"""What Prometheus gets of a run on a laptop."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

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
    """Within 2 %: processor time of the tasks' processes, as they were waited for, but for how they
    end, when nobody has a task any more that could be told of it."""
    product, slots = new_product("counted"), 2
    assert product.do("apply", DEMO_PROJECT).code == 0
    worker = product.start("worker", "--until-idle", "--slots", str(slots))
    try:
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        counted = sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")
    finally:
        worker.kill()
        worker.communicate()

    (project,) = json.loads(product.do("status", "--json").out)
    told = sum(costs.get("cpu_seconds", 0.0) for costs in project["stage_costs"].values())
    assert project["phase"]["name"] == "Complete"
    ends_seconds = slots * 0.1
    assert -0.02 * counted <= counted - told <= 0.02 * counted + ends_seconds
