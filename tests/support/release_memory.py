"""Ends a container for want of memory as a whole, whatever the version of the host's cgroups."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from support import realnode_host as host
from support.realnode import OwnCluster
from support.realnode_config import machine
from support.waiting import eventually

VERSION_1: Final = Path("/sys/fs/cgroup/memory")
LOOK_SECONDS: Final = 0.05


def oom_kill(cluster: OwnCluster, pod: str, namespace: str, *, seconds: float = 60) -> None:
    """Return when the kernel has killed a process of a pod's container for its memory limit, and
    with it the whole container.

    Version 2 of the kernel's control groups does so by itself. With version 1 the others of the
    container would live: its first process is halted until then, and all are killed in that moment,
    so that nobody in it can say a word. Raises AssertionError when the limit is not reached.
    """
    found = cluster.kubectl.json("get", "pod", pod, f"--namespace={namespace}")
    own_id = found["status"]["containerStatuses"][0]["containerID"].partition("//")[2]
    node = machine(found["spec"]["nodeName"], cluster.state)
    mine = {pid: path for pid in host.processes_of(node) if own_id in (path := _memory(pid))}
    assert mine, f"{pod} has no process"
    counter = Path(f"{VERSION_1}{next(iter(mine.values()))}/memory.oom_control")
    before = _count(counter)
    first = min(mine, key=_number_inside)
    if before is not None:
        os.kill(first, signal.SIGSTOP)
    reached = False
    with suppress(AssertionError):
        eventually(
            lambda: _killed(counter, before, first),
            seconds=seconds,
            what=f"{pod} reaches its memory limit",
            pause_seconds=LOOK_SECONDS,
        )
        reached = True
    with suppress(ProcessLookupError):
        os.kill(first, signal.SIGKILL if reached else signal.SIGCONT)


def _killed(counter: Path, before: int | None, first: int) -> bool:
    if before is None:
        return not Path(f"/proc/{first}").exists()
    now = _count(counter)
    return now is None or now > before


def _count(counter: Path) -> int | None:
    """Processes that the kernel has killed; None where no counter of version 1 is."""
    with suppress(OSError):
        words = counter.read_text().split()
        return int(words[words.index("oom_kill") + 1])
    return None


def _memory(pid: int) -> str:
    """The memory control group of a process, from its hierarchy's root; empty when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in {"memory", ""}:
                return path
    return ""


def _number_inside(pid: int) -> int:
    """Its process id as its container sees it."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return 1 << 30
