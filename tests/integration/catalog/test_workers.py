"""Who works, as their rows tell it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from data_miner.catalog import workers
from data_miner.catalog.workers import Liveness, Told, Worker
from support.catalog import World, project
from support.waiting import eventually


def _register(world: World, worker_id: str = "w1", *, keep_drain: bool = False) -> None:
    with world.begin() as conn:
        workers.register(
            conn,
            worker_id=worker_id,
            host="laptop",
            pid=7,
            pool="default",
            stages=["discover", "download"],
            slots=4,
            version="1.0",
            keep_drain=keep_drain,
        )


def _listed(world: World) -> dict[str, Worker]:
    with world.begin() as conn:
        return {w.worker_id: w for w in workers.workers(conn, lost_after_seconds=60)}


def _pass(world: World, seconds: int) -> None:
    with world.begin() as conn:
        conn.exec_driver_sql(f"UPDATE clock SET shift = shift + interval '{seconds} s'")


def test_a_worker_is_listed_with_what_it_holds(world: World) -> None:
    """Idle without a task; working, with the tasks' names, while it holds some."""
    _register(world)
    assert _listed(world)["w1"].liveness is Liveness.IDLE

    p = world.apply(project()).project_id
    world.claim("discover")

    worker = _listed(world)["w1"]
    assert worker.liveness is Liveness.WORKING
    assert [(t.stage, t.subject) for t in worker.tasks] == [("discover", f"p{p}/0")]
    assert (worker.host, worker.slots, worker.stages) == ("laptop", 4, ("discover", "download"))


def test_a_worker_that_is_not_seen_is_lost_until_it_is_seen_again(world: World) -> None:
    """Liveness follows from the time since it was seen."""
    _register(world)
    _pass(world, 61)
    assert _listed(world)["w1"].liveness is Liveness.LOST

    with world.begin() as conn:
        assert not workers.seen(conn, "w1")
    assert _listed(world)["w1"].liveness is Liveness.IDLE


def test_a_drained_worker_is_told_when_it_is_seen(world: World) -> None:
    """The order reaches it at its next refresh; others and stopped ones are left alone."""
    _register(world, "w1")
    _register(world, "w2")
    with world.begin() as conn:
        assert list(workers.drain(conn, ["w1", "unknown"])) == ["w1"]
        assert workers.seen(conn, "w1")
        assert not workers.seen(conn, "w2")

    listed = _listed(world)
    assert listed["w1"].liveness is Liveness.DRAINING
    assert listed["w2"].liveness is Liveness.IDLE


def test_a_drain_is_taken_back(world: World) -> None:
    """Of those who are there and had been asked; the others are not named."""
    _register(world, "w1")
    _register(world, "w2")
    _register(world, "w3")
    with world.begin() as conn:
        workers.drain(conn, ["w1", "w3"])
        workers.stopped(conn, "w3")
        assert list(workers.undrain(conn, ["w1", "w2", "w3", "unknown"])) == ["w1"]
        assert workers.seen(conn, "w1") is Told.NOTHING


def test_from_a_committed_drain_on_nothing_is_claimed(world: World) -> None:
    """A claim that is under way ends first; one that begins later gets nothing."""
    _register(world)
    with ThreadPoolExecutor(1) as pool:
        with world.begin() as claiming:
            assert workers.may_claim(claiming, "w1")
            draining = pool.submit(_drain, world)
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            eventually(lambda: bool(world.rows(waits)), what="the drain to wait")
        draining.result(20)
    with world.begin() as conn:
        assert not workers.may_claim(conn, "w1")
        workers.undrain(conn, ["w1"])
        assert workers.may_claim(conn, "w1")
        assert not workers.may_claim(conn, "unknown")


def _drain(world: World) -> None:
    with world.begin() as conn:
        workers.drain(conn, ["w1"])


def test_a_drain_outlives_a_restart_only_of_who_waits(world: World) -> None:
    """A container that starts again is still to go; a person who starts one wants it to work."""
    _register(world)
    _drain(world)
    _register(world, keep_drain=True)
    assert _listed(world)["w1"].drain
    _register(world)
    assert not _listed(world)["w1"].drain


def test_a_worker_whose_row_is_gone_is_told_to_go(world: World) -> None:
    """Nobody works without a row that others can see."""
    with world.begin() as conn:
        assert workers.seen(conn, "unknown") is Told.GO


def test_a_stopped_worker_is_listed_for_a_while_and_may_start_again(world: World) -> None:
    """Ten minutes as stopped, then not at all; the same id starting again is a new life."""
    _register(world)
    with world.begin() as conn:
        workers.stopped(conn, "w1")
    assert _listed(world)["w1"].liveness is Liveness.STOPPED

    _pass(world, 601)
    assert _listed(world) == {}

    _register(world)
    assert _listed(world)["w1"].liveness is Liveness.IDLE


def test_old_rows_are_forgotten_but_not_of_who_still_holds_a_task(world: World) -> None:
    """A row goes when its worker has long been away and nothing refers to it."""
    _register(world, "w1")
    _register(world, "w2")
    world.apply(project())
    world.claim("discover")
    _pass(world, 1000)

    with world.begin() as conn:
        assert workers.forget(conn, older_than_seconds=900) == 1
    assert list(_listed(world)) == ["w1"]


@pytest.mark.parametrize(
    ("stopped", "lost", "drain", "holds", "expected"),
    [
        (True, True, True, True, "stopped"),
        (False, True, True, True, "lost"),
        (False, False, True, True, "draining"),
        (False, False, False, True, "working"),
        (False, False, False, False, "idle"),
    ],
)
def test_the_first_thing_that_holds_is_said(
    *, stopped: bool, lost: bool, drain: bool, holds: bool, expected: str
) -> None:
    """Stopped before lost before draining before working before idle."""
    found = workers.liveness(stopped=stopped, lost=lost, drain=drain, holds=holds)
    assert found == expected
