"""Tidying one project leaves nothing for those who look at everything."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import text

from data_miner.queue import cancel, tidy
from support.catalog import World, project, world

__all__ = ["world"]

PLAIN = {"sampling": None, "filter": None, "dedup": None, "detect": None, "export": None}


@pytest.mark.parametrize("seed", range(4))
def test_what_is_tidied_project_by_project_is_what_a_look_at_all_gives(
    world: World, seed: int
) -> None:
    """Whoever was changed behind the queue's back: edits, stops, priorities, members that left."""
    rng = random.Random(seed)
    world.find(*(f"v{n}" for n in range(6)))
    ids = [
        world.apply(
            project(name, priority=rng.randint(0, 2), **(PLAIN if n % 2 else {}))
        ).project_id
        for n, name in enumerate(("one", "two", "three"))
    ]
    world.work("discover")
    for task in world.claim("download", limit=rng.randint(0, 3)):
        if rng.random() < 0.5:
            world.do(task)
    changes = [
        "UPDATE projects SET priority = 2 - priority WHERE project_id = :p",
        "UPDATE projects SET suspended = true WHERE project_id = :p",
        "UPDATE projects SET deleted_at = now() WHERE project_id = :p",
        "DELETE FROM project_stages WHERE project_id = :p AND stage = 'download'",
        "UPDATE project_videos SET wave_id = NULL, wave_position = NULL WHERE project_id = :p",
        "UPDATE projects SET wave_epoch = wave_epoch + 1 WHERE project_id = :p",
    ]
    with world.begin() as conn:
        for p in rng.sample(ids, 2):
            conn.execute(text(rng.choice(changes)), {"p": p})

    with world.begin() as conn:
        for p in ids:
            tidy(conn, project_id=p)
        assert cancel(conn) == 0
        assert conn.scalar(text("SELECT queue_sponsor()")) == 0
        for p in ids:
            again = tidy(conn, project_id=p)
            assert (again.cancelled, again.passed_on) == (0, 0)


def test_a_project_that_becomes_more_urgent_takes_shared_work_over(world: World) -> None:
    """Only it is tidied; the task was another's until then, and goes back the same way."""
    world.find("a")
    one = world.apply(project("one", priority=1, **PLAIN)).project_id
    two = world.apply(project("two", **PLAIN)).project_id
    world.work("discover")
    sponsor = "SELECT project_id, priority FROM tasks"
    assert world.rows(sponsor) == [(one, 1)]

    for p, priority in ((two, 5), (one, 7)):
        with world.begin() as conn:
            conn.execute(
                text("UPDATE projects SET priority = :n WHERE project_id = :p"),
                {"n": priority, "p": p},
            )
            assert tidy(conn, project_id=p).passed_on == 1
        assert world.rows(sponsor) == [(p, priority)]
