"""Worker processes of a laptop: started, started again when they die, stopped cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WORKER_MODULE = "data_miner_worker"
"""The worker's own program: it starts faster than the whole command line."""
RESTART_SECONDS = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0)
"""Pause before the n-th start in a row of a worker that died young; the last one stays."""
YOUNG_SECONDS = 10.0
PARENT_VARIABLE = "DATA_MINER_PARENT_PID"
"""Tells a worker whose end is its own: it stops as on SIGTERM when that process is gone."""


@dataclass(slots=True)
class _Slot:
    """One place for a worker: its process, and how often it died young in a row."""

    index: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    early_deaths: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class WorkerSet:
    """A fixed number of worker processes under this one.

    `poll` is to be called now and then: it starts what is missing. Workers have a session of
    their own, so that Ctrl-C reaches this process alone, and they die with it.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    log_folder: Path
    count: int
    own_arguments: Callable[[int], Sequence[str]] = lambda _: ()
    """Further ones, by the worker's number."""
    deaths: int = 0
    _slots: list[_Slot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._slots = [_Slot(index) for index in range(self.count)]

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [s.process.pid for s in self._slots if s.process and s.process.poll() is None]

    def poll(self) -> None:
        """Start the workers that are missing, those that died young after a growing pause."""
        now = time.monotonic()
        for slot in self._slots:
            if slot.process is not None and slot.process.poll() is not None:
                self.deaths += 1
                # A kill comes from outside and says nothing about the next start.
                young = (
                    now - slot.started < YOUNG_SECONDS
                    and slot.process.returncode != -signal.SIGKILL
                )
                slot.early_deaths = slot.early_deaths + 1 if young else 0
                pause = RESTART_SECONDS[min(slot.early_deaths, len(RESTART_SECONDS) - 1)]
                slot.process, slot.not_before = None, now + pause
            if slot.process is None and now >= slot.not_before:
                self._start(slot, now)

    def stop(self, *, grace_seconds: float) -> None:
        """End all workers: they finish or hand back; after the grace they are killed."""
        running = [s.process for s in self._slots if s.process and s.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for slot in self._slots:
            slot.process = None

    def _start(self, slot: _Slot, now: float) -> None:
        extra = self.own_arguments(slot.index)
        with (self.log_folder / f"worker-{slot.index}.log").open("ab") as log:
            slot.process = subprocess.Popen(
                [sys.executable, "-m", WORKER_MODULE, *self.arguments, *extra],
                env={**self.environment, PARENT_VARIABLE: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        slot.started = now
