"""One simulated day of two pools, as text: how they breathe."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from support.scaling_simulator import Sample, Simulation

HOUR = 3600.0
LINE_SECONDS = 900.0
CPU, GPU = 8, 4
STORY = {
    5.0: "a project comes: 200 videos",
    5.5: "the database is away for 20 minutes",
    9.5: "only one GPU is left",
    10.0: "a second project: 240 videos",
    12.0: "the GPUs are back",
    15.0: "60 videos of a site that puts tasks off",
    16.5: "another leader",
    17.5: "the site has relented",
}
"""By hour of the day, each a multiple of the time of a line."""


def timeline() -> str:
    """A line for every quarter of an hour: work that can run, sizes of the pools, and why."""
    world = Simulation(
        {
            "cpu": {"stages": "cpu", "max-replicas": CPU},
            "gpu": {"stages": "gpu", "max-replicas": GPU, "target-drain-seconds": 900},
        },
        start_seconds=45,
    )
    try:
        world.run(24 * HOUR, _Day(world).each)
        lines = [
            _line(*pair)
            for pair in zip(world.samples["cpu"], world.samples["gpu"], strict=True)
            if pair[0].at % LINE_SECONDS == LINE_SECONDS - 5
        ]
        assert not world.interrupted, "a worker was stopped with work in hand"
        return "\n".join([_HEAD, *_folded(lines)])
    finally:
        world.close()


class _Day:
    """What comes from outside, and that a downloaded video is next embedded."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._downloaded = 0

    def each(self, now: float) -> None:
        world, hour = self._world, now / HOUR
        if hour == 5:
            world.add("download", 200, 150)
        elif hour == 10:
            world.add("download", 240, 150)
        elif hour == 15:
            world.add("download", 60, 150)
            world.throttles = lambda task: world.now % 600 != 0
        elif hour == 16.5:
            world.elect()
        elif hour == 17.5:
            world.throttles = lambda task: False
        world.database_away = 5.5 <= hour < 5.5 + 1 / 3
        world.pools["gpu"].places = 1 if 9.5 <= hour < 12 else GPU
        embedded = world.finished["download"] - self._downloaded
        self._downloaded += embedded
        world.add("embed", embedded, 90)


_HEAD = "until   tasks  cpu       gpu   cpu is / gpu is"


def _line(cpu: Sample, gpu: Sample) -> str:
    end = cpu.at + 5
    why = f"{cpu.report.reason} / {gpu.report.reason}"
    hour = (end - LINE_SECONDS) / HOUR
    said = f"  <- {STORY[hour]}" if hour in STORY else ""
    clock = f"{int(end // HOUR):02}:{int(end % HOUR // 60):02}"
    tasks = cpu.runnable + gpu.runnable
    return f"{clock}  {tasks:6}  {_bar(cpu, CPU)}  {_bar(gpu, GPU)}  {why}{said}"


def _folded(lines: Sequence[str]) -> list[str]:
    """The lines without those in which nothing differs from the one before but the time."""
    found: list[str] = []
    for before, line in pairwise(["", *lines]):
        if before[5:] != line[5:]:
            found.append(line)
        elif found[-1] != "  ...":
            found.append("  ...")
    return found


def _bar(sample: Sample, most: int) -> str:
    """Ready workers, those that are asked for but not ready, and room."""
    ready = min(sample.ready, sample.replicas)
    return "#" * ready + "+" * (sample.replicas - ready) + "." * (most - sample.replicas)
