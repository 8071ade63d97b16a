"""One look at the whole queue."""

from __future__ import annotations

from collections.abc import Hashable

import pytest

from data_miner.catalog import lifecycle, owned, workers
from data_miner.catalog.pulse import Pulse, look, marks
from data_miner.queue.hand_back import hand_back
from data_miner.queue.later import later
from data_miner.spec.project import MiningProject
from data_miner.stage import StageError
from support.catalog import FIRST_WAVE, World, project


def _apply(world: World, wanted: MiningProject, cluster: str = "c1") -> int:
    compiled = world.compiled(wanted)
    with world.begin() as conn:
        return owned.apply_owned(
            conn,
            wanted,
            compiled,
            installation=cluster,
            uid="u",
            digest="d",
            first_wave=FIRST_WAVE,
        ).project_id


def _look(world: World) -> Pulse:
    return look(world.engine, installation="c1", lost_after_seconds=60)


def _mark(world: World, project_id: int) -> Hashable:
    return marks(_look(world))[project_id]


def _register(world: World, worker_id: str, pool: str = "default") -> None:
    with world.begin() as conn:
        workers.register(
            conn,
            worker_id=worker_id,
            host="node",
            pid=1,
            pool=pool,
            stages=["download"],
            slots=4,
            version="1",
        )


def _pass(world: World, seconds: float) -> None:
    with world.begin() as conn:
        conn.exec_driver_sql(f"UPDATE clock SET shift = shift + interval '{seconds} s'")


def test_an_empty_queue_has_a_pulse(world: World) -> None:
    """Nothing of anything, and no error."""
    pulse = _look(world)
    assert (pulse.depths, pulse.workers, pulse.wants, pulse.keys) == ((), (), {}, {})
    assert (pulse.stage_seconds, pulse.finished_per_second, marks(pulse)) == ({}, {}, {})


def test_depths_tell_every_state_of_each_recipe(world: World) -> None:
    """Ready, running, put off, put off by a site, failed: by sponsor and stage."""
    world.find("a", "b")
    p = _apply(world, project())
    world.work("discover")

    def depth() -> tuple[int, ...]:
        (d,) = [d for d in _look(world).depths if d.stage == "download" and d.project_id == p]
        return d.ready, d.running, d.waiting, d.throttled, d.failed, d.claims

    assert depth() == (2, 0, 0, 0, 0, 0)
    one, two = world.claim("download")
    assert depth() == (0, 2, 0, 0, 0, 2)
    with world.begin() as conn:
        later(conn, one, seconds=60, error_class="throttled", reason="HTTP 429")
        later(conn, two, seconds=60, error_class="disk_full", reason="no room")
    assert depth() == (0, 0, 2, 1, 0, 2)
    _pass(world, 61)
    one, two = world.claim("download")
    world.fail(one, StageError("not_found", "HTTP 404"))
    with world.begin() as conn:
        hand_back(conn, [(two.id, two.claim_seq)])
    assert depth() == (1, 0, 0, 0, 1, 4)


def test_the_oldest_ready_task_is_told_by_its_age(world: World) -> None:
    """In the database's seconds; None where nothing is ready."""
    _apply(world, project())
    _pass(world, 40)
    (depth,) = _look(world).depths
    assert depth.oldest_ready_seconds == pytest.approx(40, abs=5)
    world.claim("discover")
    (depth,) = _look(world).depths
    assert depth.oldest_ready_seconds is None


def test_only_workers_that_live_are_told(world: World) -> None:
    """Not the stopped and not the lost ones; with what each holds, and for how long."""
    for name in ("w1", "w2", "gone", "lost"):
        _register(world, name, pool="cpu")
    with world.begin() as conn:
        workers.stopped(conn, "gone")
    _pass(world, 100)
    with world.begin() as conn:
        workers.seen(conn, "w1")
        workers.seen(conn, "w2")
        workers.drain(conn, ["w2"])
    _apply(world, project())
    world.claim("discover")
    _pass(world, 10)

    one, two = _look(world).workers

    assert (one.worker_id, one.pool, one.held, one.drain) == ("w1", "cpu", 1, False)
    assert one.busiest_seconds == pytest.approx(10, abs=5)
    assert (two.worker_id, two.held, two.busiest_seconds, two.drain) == ("w2", 0, 0.0, True)


def test_what_a_task_takes_is_measured_over_a_quarter_of_an_hour(world: World) -> None:
    """From claim to result; what ended before that is not counted."""
    world.find("a", "b")
    _apply(world, project())
    world.work("discover")
    held = world.claim("download")
    _pass(world, 20)
    for task in held:
        world.do(task)

    pulse = _look(world)
    assert pulse.stage_seconds["download"] == pytest.approx(20, abs=3)
    assert pulse.finished_per_second["download"] == pytest.approx(2 / 20, rel=0.3)
    assert "extract" not in pulse.stage_seconds

    _pass(world, 901)
    assert _look(world).stage_seconds == {}


def test_projects_are_told_by_what_they_want_and_whose_they_are(world: World) -> None:
    """Suspended ones want nothing, deleted ones are not there, others' have no key here."""
    mine = _apply(world, project("mine"))
    theirs = _apply(world, project("theirs"), cluster="c2")
    paused = _apply(world, project("paused", suspend=True))
    gone = _apply(world, project("gone"))
    with world.begin() as conn:
        lifecycle.delete(conn, gone)

    pulse = _look(world)

    assert pulse.keys == {mine: ("default", "mine"), paused: ("default", "paused")}
    assert pulse.active == {mine, theirs}
    assert set(pulse.wants) == {mine, theirs}
    recipes = world.rows("SELECT recipe_id FROM project_stages WHERE project_id = :p", p=mine)
    assert pulse.wants[mine] == {row.recipe_id for row in recipes}


def test_a_mark_changes_with_each_step_of_its_project_and_with_nothing_else(world: World) -> None:
    """Planned, claimed, ended: all change it; time, and work of others, do not."""
    world.find("a", "b")
    p = _apply(world, project("one"))
    other = _apply(world, project("two", sources=[{"urls": {"items": ["https://x.test/z"]}}]))
    seen = [_mark(world, p)]
    (task,) = [t for t in world.claim("discover") if t.project_id == p]
    seen.append(_mark(world, p))
    world.do(task)
    seen.append(_mark(world, p))
    held = world.claim("download")
    for task in held:
        seen.append(_mark(world, p))
        world.do(task)
    seen.append(_mark(world, p))
    assert len(set(map(repr, seen))) == len(seen)

    _pass(world, 5)
    assert repr(_mark(world, p)) == repr(seen[-1])
    with world.begin() as conn:
        lifecycle.suspend(conn, other)
    assert repr(_mark(world, p)) == repr(seen[-1])
    with world.begin() as conn:
        lifecycle.suspend(conn, p)
    assert repr(_mark(world, p)) != repr(seen[-1])


def test_a_mark_changes_when_shared_work_that_others_sponsor_begins_and_ends(world: World) -> None:
    """Both projects want the video; one of them has its task."""
    world.find("a")
    one = _apply(
        world,
        project(
            "one", priority=5, sampling=None, filter=None, dedup=None, detect=None, export=None
        ),
    )
    two = _apply(
        world, project("two", sampling=None, filter=None, dedup=None, detect=None, export=None)
    )
    world.work("discover")
    before = _mark(world, two)
    (task,) = world.claim("download")
    assert task.project_id == one
    begun = _mark(world, two)
    world.do(task)
    ended = _mark(world, two)
    assert len({repr(before), repr(begun), repr(ended)}) == 3
