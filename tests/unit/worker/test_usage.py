"""What a task used is measured over its own time, its processes included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_miner_models.use import MODEL_USE
from data_miner_worker.usage import Meter, cpu_seconds_of, oom_kills, tree_rss_mb

METERED = """
from data_miner_worker.usage import Meter
meter = Meter()
import time; t = time.process_time()
while time.process_time() - t < 0.15: pass
meter.begin(); print(meter.read().cpu_seconds)
"""
BURN = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.15: pass"


def test_processor_time_of_finished_children_counts() -> None:
    """A program that the stage ran is part of the task's cost."""
    meter = Meter()
    meter.read()
    meter.begin()

    subprocess.run([sys.executable, "-c", BURN], check=True)

    used = meter.read()
    assert 0.15 <= used.cpu_seconds < 5
    assert used.wall_seconds >= 0.15


def test_no_processor_time_is_left_between_two_tasks() -> None:
    """The first task bears the start of its process, and the sum is what the kernel counted."""
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{METERED}\n{BURN}\nmeter.begin(); print(meter.read().cpu_seconds)",
        ],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        told = sum(float(line) for line in process.stdout)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        counted = cpu_seconds_of(process.pid)

    assert told > 0.3
    assert counted - 0.2 <= told <= counted + 0.05


def test_what_models_did_is_told_once() -> None:
    """To the task in which it was done."""
    MODEL_USE.take()
    meter = Meter()
    MODEL_USE.loaded("cuda", 2.0)
    MODEL_USE.ran("cuda", 32, 0.5)
    MODEL_USE.ran("cuda", 32, 0.25)
    MODEL_USE.ran("cpu", 8, 9.0)

    first, second = meter.read().models, meter.read().models

    assert (first.gpu_seconds, first.loads, first.runs) == (0.75, (("cuda", 2.0),), {32: 2, 8: 1})
    assert (second.gpu_seconds, second.loads, second.runs) == (0.0, (), {})


def test_the_memory_peak_is_of_this_task_alone() -> None:
    """What an earlier task held does not count for the next one."""
    meter = Meter()
    meter.begin()
    block = bytearray(b"\1") * (200 << 20)
    first = meter.read().max_rss_mb
    del block

    meter.begin()
    second = meter.read().max_rss_mb

    assert first > 200
    assert second < first - 100


def test_memory_of_the_whole_tree_is_seen() -> None:
    """A process is watched together with those that it started."""
    hold = "x = bytearray(b'1') * (100 << 20); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alone = tree_rss_mb(child.pid)
        both = tree_rss_mb(os.getpid())
        child.communicate(b"\n")

    assert alone > 100
    assert both > alone


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("low 0\nhigh 0\nmax 71\noom 3\noom_kill 2\noom_group_kill 0\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", 5),
        ("oom_kill_disable 0\nunder_oom 0\n", 0),
        (None, 0),
    ],
    ids=["cgroup-2", "cgroup-1", "old-kernel", "no-container"],
)
def test_the_kernel_tells_how_many_processes_it_killed_for_memory(
    tmp_path: Path, written: str | None, count: int
) -> None:
    """In either version of control groups; where it does not tell there were none."""
    counter = tmp_path / "counter"
    if written is not None:
        counter.write_text(written)

    assert oom_kills([tmp_path / "nothing", counter]) == count
