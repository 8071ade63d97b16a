"""Taking work: order, limits, races."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from data_miner import queue
from data_miner.queue import Cursor
from support.queue import FIRST_WAVE, World

LOOKS = ("discover", "download")


def sources(world: World, name: str, count: int, **columns: Any) -> int:
    """A project with `count` ready discover tasks: the quickest way to have many."""
    project = world.project(name, found=[[]] * count, **columns)
    world.plan(project)
    return project


def test_two_workers_never_hold_the_same_task(world: World) -> None:
    """Claims made in overlapping transactions share no task and miss none."""
    sources(world, "p", 5)
    with world.engine.begin() as a, world.engine.begin() as b:
        first = queue.claim(
            a, stages=LOOKS, worker_id="a", limit=3, lease_seconds=60, cursor=Cursor()
        )
        second = queue.claim(
            b, stages=LOOKS, worker_id="b", limit=3, lease_seconds=60, cursor=Cursor()
        )
    assert (len(first), len(second)) == (3, 2)
    assert {t.id for t in first}.isdisjoint(t.id for t in second)


@pytest.mark.parametrize("limit", [0, 1, 4, 7])
def test_a_claim_takes_no_more_than_its_limit(world: World, limit: int) -> None:
    """Over several stages and projects together, not for each of them."""
    for name in ("p", "q", "r"):
        sources(world, name, 3)
    busy = world.project("busy", found=[["a", "b", "c", "d"]])
    world.plan(busy)
    task = next(t for t in world.claim("discover", limit=10) if t.project_id == busy)
    world.finish(world.done(task))
    with world.engine.begin() as c:
        c.execute(
            text(
                "UPDATE tasks SET state = 'ready', claimed_by = NULL, claimed_at = NULL,"
                " lease_until = NULL, heartbeat_at = NULL"
            )
        )
    assert len(world.claim("discover", "download", limit=limit)) == limit


def test_within_a_project_the_urgent_and_then_the_old_come_first(world: World) -> None:
    """Priority decides, then age."""
    project = sources(world, "p", 4)
    with world.engine.begin() as c:
        c.execute(text("UPDATE tasks SET priority = 5 WHERE subject = :s"), {"s": f"p{project}/2"})
    taken = [world.claim("discover")[0].subject for _ in range(4)]
    assert taken == [f"p{project}/{i}" for i in (2, 0, 1, 3)]


def test_each_project_is_served_once_in_a_round_of_all(world: World) -> None:
    """With P projects and c workers, every project has a grant among the first P times c."""
    many = 12
    big = sources(world, "big", 60)
    others = {sources(world, f"small{i}", 1) for i in range(many - 1)}
    cursors = [Cursor() for _ in range(3)]
    served = []
    for turn in range(many * len(cursors)):
        (task,) = world.claim("discover", cursor=cursors[turn % 3], worker=f"w{turn % 3}")
        served.append(task.project_id)
        world.finish(world.done(task))
        if set(served) == others | {big}:
            break
    assert set(served) == others | {big}


def test_more_weight_means_more_grants(world: World) -> None:
    """When nothing is held for long, a project of weight 3 is served three times as often."""
    heavy = sources(world, "heavy", 40, weight=3)
    light = sources(world, "light", 40)
    served = []
    for _ in range(40):
        (task,) = world.claim("discover")
        served.append(task.project_id)
        world.finish(world.done(task))
    assert (served.count(heavy), served.count(light)) == (30, 10)


def test_running_work_counts_against_a_project(world: World) -> None:
    """A batch evens out what runs for the weight: 6 of 8 slots go to the project of weight 3."""
    heavy = sources(world, "heavy", 40, weight=3)
    light = sources(world, "light", 40)
    held = [t.project_id for _ in range(4) for t in world.claim("discover", limit=2)]
    assert (held.count(heavy), held.count(light)) == (6, 2)


def test_a_suspended_project_keeps_its_tasks_and_hands_out_none(world: World) -> None:
    """Its work waits untouched, through a sweep too, and goes on when it is resumed."""
    project = sources(world, "p", 2)
    world.update(project, suspended=True)
    before = world.tasks()
    assert world.claim("discover", limit=5) == []
    assert not world.sweep().changed
    assert world.tasks() == before
    world.update(project, suspended=False)
    assert len(world.claim("discover", limit=5)) == 2


def test_a_task_whose_result_is_there_is_settled_not_handed_out(world: World) -> None:
    """What a planner with an old snapshot inserted again is removed by the claim that meets it."""
    sources(world, "p", 1)
    (task,) = world.claim("discover")
    world.finish(world.done(task))
    with world.engine.begin() as c:
        c.execute(
            text(
                "INSERT INTO tasks (stage, recipe_id, subject, project_id)"
                " VALUES ('discover', :r, :s, :p)"
            ),
            {"r": task.recipe_id, "s": task.subject, "p": task.project_id},
        )
    assert world.claim("discover") == []
    assert world.tasks() == set()


def test_put_off_work_is_ready_when_it_is_due(world: World) -> None:
    """A task put off by a minute is not handed out after 59 seconds, and is after 61."""
    sources(world, "p", 1)
    (task,) = world.claim("discover")
    with world.engine.begin() as c:
        assert queue.later(c, task, seconds=60, error_class="throttled", reason="429")
    with world.engine.connect() as c:
        assert queue.seconds_to_next_run(c) == pytest.approx(60, abs=5)
        assert queue.next_run_at(c) is not None
    world.advance(50)
    assert world.claim("discover") == []
    world.advance(11)
    (again,) = world.claim("discover")
    assert (again.id, again.attempt, again.lost_count) == (task.id, 0, 0)
    assert again.claim_seq == task.claim_seq + 1
    with world.engine.connect() as c:
        assert queue.seconds_to_next_run(c) is None


def test_after_two_losses_a_task_is_claimed_alone(world: World) -> None:
    """The usual claim passes it over; the claim for suspects gives it to a worker with nothing."""
    sources(world, "p", 2)
    for _ in range(2):
        lost = world.claim("discover", lease_seconds=10)[0]
        world.advance(11)
        assert [x.id for x in world.rescue()] == [lost.id]
        world.advance(60)
    (other,) = world.claim("discover", limit=5)
    assert other.id != lost.id

    def suspect(worker: str) -> queue.Claimed | None:
        with world.engine.begin() as c:
            return queue.claim_suspect(c, stages=LOOKS, worker_id=worker, lease_seconds=60)

    assert suspect("w") is None
    alone = suspect("idle")
    assert alone is not None
    assert (alone.id, alone.lost_count) == (lost.id, 2)
    assert suspect("another") is None


def test_an_idle_worker_opens_the_next_wave(world: World) -> None:
    """When all work of a wave is in hands, `admit` lets the next one in, once."""
    project = world.project(found=[["a", "b", "c", "d"]])
    world.plan(project)
    world.drain("discover")
    assert {s for _, s, _ in world.tasks()} == {"a", "b"}
    first = world.claim("download", limit=2)
    assert len(first) == 2
    with world.engine.begin() as c:
        assert queue.admit(c, first_wave=FIRST_WAVE) == 1
        assert queue.admit(c, first_wave=FIRST_WAVE) == 0
    assert {t.subject for t in world.claim("download", limit=9)} == {"c", "d"}
