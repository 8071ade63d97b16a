"""Task processes are kept, chosen, replaced and ended; no database is needed to see it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data_miner.queue import Claimed
from data_miner.settings import Settings
from data_miner.stage import Assignment, Done, Fact, Later, Video
from data_miner_worker.messages import Ended, Failure, Stopped
from data_miner_worker.pool import Pool
from data_miner_worker.running import Order, Running
from support.worker import SUPPORT, alive, eventually


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """Two places for tasks, nothing started yet."""
    (tmp_path / "gates").mkdir()
    environment = {
        **os.environ,
        "DATA_MINER_STAGE_MODULES": "support.stages",
        "DATA_MINER_TEST_GATES": str(tmp_path / "gates"),
        "PYTHONPATH": str(SUPPORT),
    }
    made = Pool(Settings(home=tmp_path, tasks_per_child=3), 2, tmp_path / "scratch", environment)
    yield made
    made.close()


class Tasks:
    """Numbers tasks and starts them."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.number = 0
        self.over: list[tuple[Running, Ended]] = []

    def start(self, behaviour: str = "", stage: str = "download") -> None:
        """Start one task."""
        self.number += 1
        video = Video(f"v{self.number}", f"https://x.test/v{self.number}?{behaviour}", "URL")
        claimed = Claimed(
            self.number, 1, stage, 1, video.video_id, 1, video.video_id, None, 0, 0, None
        )
        source = Fact("download", video.video_id, video.video_id, {}, ())
        assignment = Assignment(
            task_id=self.number,
            claim_seq=1,
            stage=stage,
            subject=video.video_id,
            params={},
            attempt=0,
            max_attempts=3,
            project_id=1,
            project_name="p",
            namespace="default",
            video=video,
            inputs={"download": (source,)},
        )
        self.pool.start(claimed, assignment, self.pool.scratch / f"task-{self.number}")

    def end(self) -> tuple[Running, Ended]:
        """Wait for one task to end."""

        def ended() -> bool:
            self.over += self.pool.poll()
            return bool(self.over)

        eventually(ended)
        return self.over.pop(0)


def pids(pool: Pool) -> set[int]:
    """Processes with a task."""
    return {process.pid for process in pool.files()}


def test_a_process_serves_its_stage_again_and_is_replaced_in_time(pool: Pool) -> None:
    """Three tasks go to one process, the fourth to a new one."""
    tasks = Tasks(pool)
    used: list[int] = []
    for _ in range(4):
        tasks.start()
        used.append(*pids(pool))
        assert isinstance(tasks.end()[1].result, Done)

    assert used[0] == used[1] == used[2] != used[3]
    eventually(lambda: not alive(used[0]))


def test_another_stage_gets_a_process_of_its_own_while_there_is_room(pool: Pool) -> None:
    """Models of one stage stay loaded; with all places taken any idle process is used."""
    tasks = Tasks(pool)
    tasks.start(stage="download")
    (first,) = pids(pool)
    tasks.end()

    tasks.start(stage="extract")
    (second,) = pids(pool)
    assert isinstance(tasks.end()[1].result, Failure)  # it was given no source file
    tasks.start(stage="download")

    assert pids(pool) == {first}
    assert second != first
    tasks.end()


def test_a_told_run_stops_and_a_deaf_one_is_killed(pool: Pool) -> None:
    """Both end as stopped, and the pool has its places back."""
    tasks = Tasks(pool)
    tasks.start("gate=never")
    tasks.start("hang=1")
    eventually(lambda: not pool.poll() and all(run.begun for run in pool.runs))

    pool.stop(pool.runs, Order.HAND_BACK, 0.5)

    assert [type(tasks.end()[1].result) for _ in range(2)] == [Stopped, Stopped]
    assert pool.free == 2


def test_a_process_that_dies_before_its_task_begins_costs_no_attempt(pool: Pool) -> None:
    """The task is put off under a name that blames the machine, not the task."""
    tasks = Tasks(pool)
    tasks.start("gate=never")
    (pid,) = pids(pool)
    os.kill(pid, signal.SIGKILL)

    _, ended = tasks.end()

    assert isinstance(ended.result, Later)
    assert ended.result.reason.startswith("no_process: ")


def test_memory_is_watched(pool: Pool) -> None:
    """Who holds more than the limit is ended under that name; the peak is told."""
    pool.settings = replace(pool.settings, task_memory_mb=200)
    tasks = Tasks(pool)
    tasks.start("eat=1")

    _, ended = tasks.end()

    assert isinstance(ended.result, Failure)
    assert ended.result.error_class == "out_of_memory"
    assert ended.usage.max_rss_mb > 200


def test_a_process_that_died_idle_is_not_used(pool: Pool) -> None:
    """The next task of the stage gets a living one."""
    tasks = Tasks(pool)
    tasks.start()
    (first,) = pids(pool)
    tasks.end()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not alive(first))

    tasks.start()

    assert pids(pool) != {first}
    assert isinstance(tasks.end()[1].result, Done)


def test_a_task_process_is_not_told_the_database(pool: Pool) -> None:
    """What reads strangers' files has no password, neither in its environment nor for ps."""
    url = "postgresql://u:hunter2@127.0.0.1/d"
    secrets = {"DATA_MINER_DATABASE_URL": url, "DATA_MINER_DATABASE_LISTEN_URL": url}
    pool.environment = {**pool.environment, **secrets, "PGPASSWORD": "hunter2"}
    tasks = Tasks(pool)
    tasks.start()
    (process,) = pids(pool)
    eventually(lambda: b"data_miner_worker" in Path(f"/proc/{process}/cmdline").read_bytes())

    told = [Path(f"/proc/{process}/{name}").read_bytes() for name in ("environ", "cmdline")]

    tasks.end()
    assert not [text for text in told if b"hunter2" in text]
    assert b"DATA_MINER_STAGE_MODULES" in told[0]
