"""What one task process may take of the machine below it: processors, a place for engines, and the
time that building those takes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")
SIGN_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 3600.0


@dataclass(slots=True)
class Share:
    """Of this process; set once, before its first task."""

    threads: int = 1
    """CPU threads of one model."""
    engines: Path | None = None
    """Folder of TensorRT's engines; absent where none can be built."""
    alive: Callable[[], None] = lambda: None
    """Says that the work goes on; from any thread."""


SHARE: Final = Share()
"""The one of this process."""


@contextlib.contextmanager
def patient(
    share: Share, *, every_seconds: float = SIGN_SECONDS, at_most_seconds: float = PATIENCE_SECONDS
) -> Iterator[None]:
    """Say that the work goes on while this one call takes minutes, as the building of engines does.

    Not for ever: what hangs shall be found to have stalled.
    """
    over = threading.Event()
    until = time.monotonic() + at_most_seconds

    def say() -> None:
        while time.monotonic() < until and not over.wait(every_seconds):
            share.alive()

    thread = threading.Thread(target=say, name="patient", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def threads_each(slots: int, limit: float | None) -> int:
    """CPU threads of one model when `slots` tasks run at once on `limit` processors.

    Never more than the limit bears: the kernel stops a container that takes more, all its threads
    at once. Without a limit one, since nobody knows who else counts on the processors of this
    machine: there, more tasks at once take more of them.
    """
    return max(1, int(limit / slots)) if limit is not None else 1


def cpu_limit(groups: Path = CONTROL_GROUPS, own: Path = OWN) -> float | None:
    """Processors that this container may use, by the strictest of the quotas that hold for it.

    None where there is no quota. Reads both versions of control groups.
    """
    quotas = [
        quota
        for folder in _folders(groups, own)
        for quota in (_version_2(folder), _version_1(folder))
        if quota is not None
    ]
    if not quotas:
        return None
    return min(*quotas, float(len(os.sched_getaffinity(0))))


def _folders(groups: Path, own: Path) -> set[Path]:
    """Of this process' groups and of all above them. In a container they are the root itself, or
    are named as the machine sees them and are not there."""
    found = {groups, groups / "cpu"}
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in {"", "cpu", "cpu,cpuacct", "cpuacct,cpu"}:
            continue
        root = groups / "cpu" if controllers else groups
        inside = root / path.lstrip("/")
        found |= {each for each in (inside, *inside.parents) if each.is_relative_to(root)}
    return found


def _version_2(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    return _processors(quota, period)


def _version_1(folder: Path) -> float | None:
    quota = _text(folder / "cpu.cfs_quota_us").strip()
    return _processors(quota, _text(folder / "cpu.cfs_period_us").strip())


def _processors(quota_us: str, period_us: str) -> float | None:
    """None for ``max`` and for -1, which mean no limit, and where nothing is told."""
    if not quota_us.isdigit() or not period_us.isdigit() or not int(period_us):
        return None
    return int(quota_us) / int(period_us)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
