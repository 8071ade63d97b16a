"""What follows from how a run goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_miner.queue import Claimed
from data_miner_worker import running
from data_miner_worker.database import RETRY_SECONDS, Backoff, DatabaseAwayError
from data_miner_worker.liveness import Liveness
from data_miner_worker.messages import Begun, Checkpoint, Tick
from data_miner_worker.running import START_SECONDS, Order, Running


def a_run(stall_seconds: float = 10.0) -> Running:
    """A run that was started at 100 on the monotonic clock."""
    task = Claimed(7, 3, "extract", 1, "v", 1, "v", None, 0, 0, None)
    return Running(task, Path("x"), stall_seconds, started=100.0, last_sign=100.0)


def test_a_run_stalls_when_nothing_moves() -> None:
    """The limit counts from the last sign of life; starting the process has a limit of its own."""
    run = a_run()

    assert not run.stalled(100 + START_SECONDS)
    assert run.stalled(101 + START_SECONDS)
    run.heard(Begun(), 200.0)
    assert not run.stalled(209.0)
    run.heard(Tick(0.5, "frame 3"), 209.0)
    assert not run.stalled(219.0)
    assert run.stalled(219.5)
    assert "frame 3" in running.stalled(run).message


def test_what_was_heard_last_is_kept() -> None:
    """A tick without progress or message leaves the former ones; a checkpoint is a sign too."""
    run = a_run()

    run.heard(Tick(0.25, "half"), 101.0)
    run.heard(Tick(None, None), 102.0)
    run.heard(Checkpoint({"gop": 4}), 103.0)

    assert (run.progress, run.message, run.last_sign) == (0.25, "half", 103.0)
    assert (run.checkpoint, run.checkpoint_changed) == ({"gop": 4}, True)


def test_a_lost_task_is_not_handed_back() -> None:
    """Once a task is not ours, no later order makes us write about it."""
    run = a_run()

    run.stop(Order.FORGET, 100.0, 5.0)
    run.stop(Order.HAND_BACK, 101.0, 1.0)

    assert run.order is Order.FORGET
    assert run.kill_at == 102.0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-11, "killed by SIGSEGV"),
        (-6, "killed by SIGABRT"),
        (-9, "may have run out of memory"),
        (-64, "SIGRTMAX"),
        (-99, "signal 99"),
        (3, "exit status 3"),
    ],
)
def test_a_dead_process_says_how_it_died(code: int, words: str) -> None:
    """The class is crashed; the signal has its name."""
    failure = running.died(code)

    assert failure.error_class == "crashed"
    assert words in failure.message
    assert not failure.permanent


def test_the_stall_limit_is_the_pipelines() -> None:
    """A setting multiplies it for all stages."""
    assert running.stall_seconds("extract", 1) == 120
    assert running.stall_seconds("extract", 0.5) == 60


def test_tries_come_further_and_further_apart() -> None:
    """The first failure in a row waits least; an answer begins anew."""
    backoff = Backoff()
    waits = []
    for _ in range(7):
        backoff.failed(DatabaseAwayError("gone"))
        waits.append(round(backoff.wait_seconds, 2))

    assert waits == sorted(waits)
    assert waits[-1] <= RETRY_SECONDS[-1]
    backoff.worked()
    assert backoff.wait_seconds == 0


def test_liveness_is_about_the_loop() -> None:
    """It is well while the loop comes round, and says for how long it has not."""
    alive = Liveness(limit_seconds=60)
    stuck = Liveness(limit_seconds=-1)

    assert alive.problem() is None
    assert "stands still" in (stuck.problem() or "")
    stuck.beat()
    assert stuck.problem() is not None


def test_a_process_that_the_kernel_killed_for_memory_says_so() -> None:
    """Only a kill by the kernel's signal, and only where its count has risen meanwhile."""
    failure = running.died(-9, out_of_memory=True)

    assert failure.error_class == "out_of_memory"
    assert "OOMKilled" in failure.message
    assert running.died(-11, out_of_memory=True).error_class == "crashed"
