"""What processes use: processor time as the kernel counts it, memory as /proc tells it."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from data_miner_models.use import MODEL_USE
from data_miner_worker.messages import Usage

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
_RSS_UNIT_MB = 1 / 2**20 if sys.platform == "darwin" else 1 / 2**10
_OOM_COUNTERS = (
    Path("/sys/fs/cgroup/memory.events"),  # version 2
    Path("/sys/fs/cgroup/memory/memory.oom_control"),  # version 1
)


@dataclass(slots=True)
class Meter:
    """Measures this process and the finished ones below it, one task after the other.

    Processor time is charged without a gap: what this process needed to start counts for its first
    task, and what it did between two tasks for the later one. So the costs of all tasks are what
    the kernel says that their processes used.
    """

    _cpu: float = 0.0
    _wall: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """A task begins: its time, and its peak of memory."""
        with contextlib.suppress(OSError):  # the kernel's high-water mark starts anew
            Path("/proc/self/clear_refs").write_text("5")
        self._wall = time.monotonic()

    def read(self) -> Usage:
        """What the task used; the memory is the peak of this process."""
        before, self._cpu = self._cpu, _cpu_seconds()
        return Usage(
            cpu_seconds=round(self._cpu - before, 3),
            wall_seconds=round(time.monotonic() - self._wall, 3),
            max_rss_mb=round(_peak_mb(), 1),
            models=MODEL_USE.take(),
        )


def _cpu_seconds() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    below = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime


def _peak_mb() -> float:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(x for x in lines if x.startswith("VmHWM:")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT_MB


def oom_kills(counters: Iterable[Path] = _OOM_COUNTERS) -> int:
    """How many processes of this container the kernel has ended because they reached its memory
    limit; 0 where it does not tell, as outside of containers."""
    for counter in counters:
        with contextlib.suppress(OSError, ValueError, StopIteration):
            lines = counter.read_text().splitlines()
            return int(next(line for line in lines if line.startswith("oom_kill ")).split()[1])
    return 0


def cpu_seconds_of(pid: int) -> float:
    """Processor time of a process, also of one that has ended and was not waited for yet, and of
    those below it that it has waited for; 0 where /proc does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The name, in brackets, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def tree_rss_mb(pid: int) -> float:
    """Resident memory of a process and all below it, in MiB; 0 where /proc does not tell."""
    total, waiting = 0.0, [pid]
    while waiting:
        current = waiting.pop()
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{current}/statm").read_text().split()[1]) * _PAGE_MB
            for thread in Path(f"/proc/{current}/task").iterdir():
                waiting.extend(int(x) for x in (thread / "children").read_text().split())
    return total
