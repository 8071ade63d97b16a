"""A worker that is drained takes nothing more; in a pod it waits until it may go on."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from data_miner.catalog import workers
from data_miner.errors import SpecError
from data_miner.pipeline import NAMES, POOLS
from data_miner_worker.command import served_stages
from support.worker import Site, WorkerProcess, eventually

WAITS: dict[str, Any] = {"DATA_MINER_WAIT_WHEN_DRAINED": "1"}
SLOW_BEAT: dict[str, Any] = {"DATA_MINER_HEARTBEAT_SECONDS": "20", "DATA_MINER_LEASE_SECONDS": "60"}


def _drain(here: Site, *names: str) -> None:
    with here.engine.begin() as conn:
        workers.drain(conn, names)


def _undrain(here: Site, *names: str) -> None:
    with here.engine.begin() as conn:
        workers.undrain(conn, names)


def _up(worker: WorkerProcess, here: Site) -> None:
    query = "SELECT 1 FROM workers WHERE worker_id = :w AND stopped_at IS NULL"
    eventually(
        lambda: here.rows(query, w=worker.name), within_seconds=60, what="the worker to register"
    )


def test_a_drained_worker_finishes_what_it_holds_and_waits(here: Site) -> None:
    """It keeps its lease to the end, claims nothing else, and goes on when it may."""
    here.apply("a?gate=g", "b")
    worker = here.worker(slots=1, **WAITS)
    eventually(lambda: here.at_gate("g"))
    _drain(here, worker.name)
    eventually(lambda: worker.said("drained"))
    beat = "SELECT lease_until FROM tasks WHERE video_id = 'a'"
    (before,) = here.rows(beat)
    eventually(lambda: here.rows(beat) != [before], what="the lease to be extended")

    here.open_gate("g")
    eventually(here.done("a"))
    seen = "SELECT seen_at FROM workers"
    (before,) = here.rows(seen)
    eventually(lambda: here.rows(seen) != [before], what="another heartbeat")
    task = here.task("b")
    assert task is not None
    assert (task["state"], task["claim_seq"]) == ("ready", 0)
    assert worker.process.poll() is None

    _undrain(here, worker.name)
    eventually(here.done("b"))
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_waiting_worker_ends_when_it_is_told_to(here: Site) -> None:
    """SIGTERM is enough; no task is left to anybody."""
    worker = here.worker(**WAITS)
    _up(worker, here)
    _drain(here, worker.name)
    eventually(lambda: worker.said("drained"))
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert here.rows("SELECT 1 AS x FROM workers WHERE stopped_at IS NOT NULL") == [{"x": 1}]


def test_a_drain_and_its_end_are_heard_at_once(here: Site) -> None:
    """Not at the next heartbeat, which may be half a minute away."""
    worker = here.worker(slots=1, **WAITS, **SLOW_BEAT)
    _up(worker, here)
    _drain(here, "somebody-else", worker.name)
    eventually(lambda: worker.said("drained"), within_seconds=10)
    here.apply("a")
    _undrain(here, worker.name)
    eventually(here.done("a"), within_seconds=15)


def test_without_the_setting_a_drained_worker_ends(here: Site) -> None:
    """As on a laptop: it finishes what it holds and goes."""
    here.apply("a?gate=g", "b")
    worker = here.worker(slots=1)
    eventually(lambda: here.at_gate("g"))
    _drain(here, worker.name)
    eventually(lambda: worker.said("draining"))
    here.open_gate("g")
    assert worker.wait() == 0
    assert here.result("a") is not None
    assert here.result("b") is None


def test_a_drained_worker_still_keeps_house(here: Site) -> None:
    """What others lost is taken back, so that the last worker of a pool may be drained."""
    worker = here.worker(**WAITS)
    _up(worker, here)
    _drain(here, worker.name)
    eventually(lambda: worker.said("drained"))
    here.apply("a")
    with here.engine.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE tasks SET state = 'running', claimed_by = 'gone', claimed_at = now(),"
            " heartbeat_at = now(), lease_until = now() - interval '1 s', claim_seq = 1"
        )
    lost = "SELECT 1 FROM tasks WHERE lost_count = 1 AND state <> 'running'"
    eventually(lambda: here.rows(lost), what="the rescue")


def test_a_drain_outlives_a_crash_in_the_same_place(here: Site) -> None:
    """A container that is started again under its pod's name is still the one that is to go."""
    worker = here.worker(**WAITS)
    _up(worker, here)
    _drain(here, worker.name)
    eventually(lambda: worker.said("drained"))
    worker.kill()
    here.apply("a")

    here.workers.remove(worker)
    again = here.worker(**WAITS)
    assert again.name == worker.name
    eventually(lambda: again.said("drained"))
    task = here.rows("SELECT state, claim_seq FROM tasks")
    assert task == [{"state": "ready", "claim_seq": 0}]
    _undrain(here, again.name)
    eventually(here.done("a"))


def test_a_pool_of_any_name_serves_the_stages_that_it_is_given(here: Site) -> None:
    """Stages by their names, or all those of a pool that comes with the program."""
    worker = here.worker("--pool", "t4-spot", "--stages", "gpu,cut", **WAITS)
    _up(worker, here)
    (row,) = here.rows("SELECT pool, stages FROM workers")
    assert row == {"pool": "t4-spot", "stages": [s for s in NAMES if s in {*POOLS["gpu"], "cut"}]}


@pytest.mark.parametrize(
    ("pool", "stages", "message"),
    [
        ("t4", "", "there are default, cpu, gpu"),
        ("t4", "download,upload", "there are discover, download"),
        ("t4 spot", "cut", "a name has letters"),
        ("x" * 64, "cut", "a name has letters"),
    ],
)
def test_what_no_pool_can_be_is_refused(pool: str, stages: str, message: str) -> None:
    """With what there is, in one line."""
    with pytest.raises(SpecError, match=message):
        served_stages(pool, stages)
