"""What a task used is measured over its own time, its processes included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_miner_worker.usage import Meter, oom_kills, tree_rss_mb

BURN = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.15: pass"


def test_processor_time_of_finished_children_counts() -> None:
    """A program that the stage ran is part of the task's cost."""
    meter = Meter()

    subprocess.run([sys.executable, "-c", BURN], check=True)

    used = meter.read()
    assert 0.15 <= used.cpu_seconds < 5
    assert used.wall_seconds >= 0.15


def test_the_memory_peak_is_of_this_task_alone() -> None:
    """What an earlier task held does not count for the next one."""
    meter = Meter()
    block = bytearray(b"\1") * (200 << 20)
    first = meter.read().max_rss_mb
    del block

    second = Meter().read().max_rss_mb

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
