"""Worker processes of a laptop, without workers: which pause follows which end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from data_miner.local import workers
from data_miner.local.workers import WorkerSet
from support.waiting import eventually


@pytest.fixture
def sleepers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerSet:
    """Two processes that wait for ever in place of workers."""
    (tmp_path / "sleeper.py").write_text("import signal; signal.pause()")
    monkeypatch.setattr(workers, "WORKER_MODULE", "sleeper")
    environment = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    return WorkerSet([], environment, tmp_path / "logs", count=2)


def test_missing_workers_are_started_and_stopped_together(sleepers: WorkerSet) -> None:
    """`poll` starts as many as there shall be; `stop` ends them all."""
    sleepers.poll()
    started = sleepers.pids
    sleepers.stop(grace_seconds=10)

    assert len(started) == 2
    assert sleepers.pids == []


def test_a_killed_worker_is_replaced_at_once(sleepers: WorkerSet) -> None:
    """A worker that was killed from outside has a successor at the next look."""
    sleepers.poll()
    victim = sleepers.pids[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(sleepers.pids) == 1)
    sleepers.poll()
    replaced = sleepers.pids
    sleepers.stop(grace_seconds=10)

    assert len(replaced) == 2
    assert victim not in replaced
    assert sleepers.deaths == 1


def test_a_worker_that_cannot_start_is_not_started_in_a_storm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that dies by itself again and again is started after growing pauses."""
    (tmp_path / "broken.py").write_text("import sys; sys.exit(1)")
    monkeypatch.setattr(workers, "WORKER_MODULE", "broken")
    monkeypatch.setattr(workers, "RESTART_SECONDS", (0.0, 0.0, 3600.0))
    environment = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    broken = WorkerSet([], environment, tmp_path / "logs", count=1)

    def polled_until(deaths: int) -> bool:
        broken.poll()
        return broken.deaths >= deaths

    eventually(lambda: polled_until(2))
    broken.poll()

    assert broken.pids == []
    broken.stop(grace_seconds=1)
