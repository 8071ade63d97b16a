"""Ending a run: fences, budgets, heartbeats, cancelling, sponsors."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import text

from data_miner import queue
from data_miner.queue import Beat, Claimed
from support.queue import FIRST_WAVE, World


def running(world: World, worker: str = "w", lease_seconds: float = 120) -> Claimed:
    """One claimed download of a project of one video."""
    world.plan(world.project(found=[["v"]]))
    world.drain("discover")
    (task,) = world.claim("download", worker=worker, lease_seconds=lease_seconds)
    return task


def snapshot(world: World) -> list[dict[str, Any]]:
    """Every task and result, to the last column."""
    return world.rows("SELECT * FROM tasks ORDER BY id") + world.rows(
        "SELECT * FROM results ORDER BY recipe_id, subject"
    )


def every_write(world: World, task: Claimed) -> list[Any]:
    """All that a worker may say about a task; what each one answers."""
    token = (task.id, task.claim_seq)
    with world.engine.begin() as c:
        return [
            queue.extend(c, [Beat(*token, 0.9, "late")], lease_seconds=60),
            queue.checkpoint(c, *token, {"at": 9}),
            queue.later(c, task, seconds=1, error_class="late", reason="late"),
            queue.hand_back(c, [token]),
            queue.fail(
                c,
                task,
                error_class="late",
                error="late",
                permanent=True,
                max_attempts=1,
                backoff_seconds=1,
                backoff_max_seconds=1,
                first_wave=FIRST_WAVE,
            ),
            queue.finish(c, [queue.Finished(*token)]),
        ]


@pytest.mark.parametrize(
    "how",
    ["rescued and claimed", "rescued", "handed back", "finished", "put off", "failed", "cancelled"],
)
def test_a_stale_worker_changes_nothing(world: World, how: str) -> None:
    """However the task got out of its hands, no write of the old holder changes any column."""
    task = running(world, lease_seconds=10)
    token = (task.id, task.claim_seq)
    if how.startswith("rescued"):
        world.advance(11)
        assert world.rescue()
        world.advance(60)
        if how.endswith("claimed"):
            assert world.claim("download", worker="new")[0].id == task.id
    elif how == "finished":
        world.finish(world.done(task))
    elif how == "failed":
        assert world.fail(task, permanent=True) == "failed"
    elif how == "cancelled":
        world.compile(task.project_id, ("discover", "download"), 1, {"download": "other"})
        with world.engine.begin() as c:
            assert queue.cancel(c) == 1
    else:
        with world.engine.begin() as c:
            if how == "handed back":
                queue.hand_back(c, [token])
                queue.claim(
                    c,
                    stages=("download",),
                    worker_id="new",
                    limit=1,
                    lease_seconds=60,
                    cursor=queue.Cursor(),
                )
            else:
                queue.later(c, task, seconds=60, error_class="throttled", reason="429")
    before = snapshot(world)
    assert every_write(world, task) == [set(), False, False, set(), None, set()]
    assert snapshot(world) == before


def test_the_holder_may_say_all_of_it(world: World) -> None:
    """The fence lets the present holder through: a heartbeat, a checkpoint, and the end."""
    task = running(world)
    with world.engine.begin() as c:
        beat = Beat(task.id, task.claim_seq, 0.5, "half")
        assert queue.extend(c, [beat], lease_seconds=600) == {task.id}
        assert queue.checkpoint(c, task.id, task.claim_seq, {"at": 5})
    (row,) = world.rows("SELECT *, lease_until - heartbeat_at AS lease FROM tasks")
    assert (row["progress"], row["message"], row["checkpoint"]) == (0.5, "half", {"at": 5})
    assert row["lease"].total_seconds() == 600
    assert row["started_at"] == row["claimed_at"]
    with world.engine.begin() as c:
        assert queue.hand_back(c, [(task.id, task.claim_seq)]) == {task.id}
    (again,) = world.claim("download")
    assert (again.checkpoint, again.attempt, again.claim_seq) == ({"at": 5}, 0, task.claim_seq + 1)
    assert world.finish(world.done(again)) == {task.id}


def test_a_result_tells_who_did_it_and_how_often_it_was_tried(world: World) -> None:
    """Outcome, facts, cost, attempts, worker and times are kept after the task is gone."""
    task = running(world)
    world.fail(task)
    world.advance(100)
    (again,) = world.claim("download", worker="second")
    world.advance(7)
    with world.engine.begin() as c:
        end = queue.Finished(again.id, again.claim_seq, facts={"x": 1}, cost={"seconds": 7})
        queue.finish(c, [end])
    (row,) = world.rows("SELECT * FROM results WHERE stage = 'download'")
    assert (row["outcome"], row["reason"], row["frames"]) == ("done", None, None)
    assert (row["facts"], row["cost"]) == ({"x": 1}, {"seconds": 7})
    assert (row["attempts"], row["processed_by"], row["video_id"]) == (2, "second", "v")
    assert (row["finished_at"] - row["started_at"]).total_seconds() >= 7


def test_attempts_and_losses_are_two_budgets(world: World) -> None:
    """Three failures make a dead letter, losses in between use none of them; so do ten losses."""
    task = running(world)
    states = []
    for attempt in range(3):
        assert task.attempt == attempt
        states.append(world.fail(task))
        world.advance(5000)
        if attempt < 2:
            (lost,) = world.claim("download", lease_seconds=5)
            world.advance(6)
            if attempt == 0:
                assert [x.state for x in world.rescue()] == ["waiting"]
                world.advance(100)
                (lost,) = world.claim("download")
                task = lost
            else:
                task = lost
    assert states == ["waiting", "waiting", "failed"]
    (row,) = world.rows(
        "SELECT attempt, lost_count, error_class FROM tasks WHERE stage = 'download'"
    )
    assert row == {"attempt": 3, "lost_count": 1, "error_class": "broken"}


def test_too_many_losses_make_a_dead_letter(world: World) -> None:
    """The tenth loss ends it, with the class `lost` and the name of the worker."""
    running(world, lease_seconds=1)
    states = []
    for loss in range(1, 11):
        world.advance(2)
        states += [x.state for x in world.rescue(max_losses=10)]
        world.advance(200)
        if loss < 10:
            with world.engine.begin() as c:
                tasks = queue.claim(
                    c,
                    stages=("download",),
                    worker_id="w",
                    limit=1,
                    lease_seconds=1,
                    cursor=queue.Cursor(),
                )
                alone = queue.claim_suspect(
                    c, stages=("download",), worker_id=f"alone{loss}", lease_seconds=1
                )
            assert len(tasks) + (alone is not None) == 1
    assert states == ["waiting"] * 9 + ["failed"]
    (row,) = world.rows("SELECT state, error_class, error, attempt FROM tasks WHERE video_id = 'v'")
    assert row == {
        "state": "failed",
        "error_class": "lost",
        "attempt": 0,
        "error": "worker alone9 was not heard of again",
    }
    with world.engine.begin() as c:
        assert queue.retry(c, [r["id"] for r in world.rows("SELECT id FROM tasks")])
    (again,) = world.claim("download")
    assert (again.attempt, again.lost_count) == (0, 0)


def test_delays_double_between_attempts(world: World) -> None:
    """A minute within a quarter after the first failure, two after the second."""
    task = running(world)
    for expected in (60, 120):
        world.fail(task)
        with world.engine.connect() as c:
            delay = queue.seconds_to_next_run(c)
        assert delay is not None
        assert 0.74 * expected <= delay <= 1.26 * expected
        world.advance(200)
        (task,) = world.claim("download")


def test_a_heartbeat_touches_no_index(world: World) -> None:
    """Of many heartbeats nearly all are HOT updates, and the table does not grow with them."""
    world.plan(world.project(found=[[]] * 200))
    tasks = world.claim("discover", limit=200, worker="w")
    assert len(tasks) == 200
    world.engine.dispose()  # a session that ends reports what it counted
    with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        c.execute(text("VACUUM ANALYZE tasks"))
        before = c.execute(
            text(
                "SELECT n_tup_upd, n_tup_hot_upd, pg_relation_size('tasks')"
                " FROM pg_stat_user_tables WHERE relname = 'tasks'"
            )
        ).one()
    beats = [Beat(t.id, t.claim_seq, 0.1) for t in tasks]
    for _ in range(30):
        for first in range(0, 200, 16):
            with world.engine.begin() as c:
                queue.extend(c, beats[first : first + 16], lease_seconds=60)
    world.engine.dispose()
    with world.engine.connect() as c:
        c.execute(text("SELECT pg_stat_force_next_flush()"))
        after = c.execute(
            text(
                "SELECT n_tup_upd, n_tup_hot_upd, pg_relation_size('tasks')"
                " FROM pg_stat_user_tables WHERE relname = 'tasks'"
            )
        ).one()
    updates, hot = after[0] - before[0], after[1] - before[1]
    assert updates == 6000
    assert hot / updates > 0.95
    assert after[2] <= before[2] * 1.2


def test_a_shared_task_passes_to_another_sponsor(world: World) -> None:
    """A sponsor that is suspended or less urgent hands it on; without any it is cancelled."""
    shared = [["v"]]
    stages = ("discover", "download")
    first = world.project("first", found=shared, stages=stages)
    second = world.project("second", found=shared, stages=stages, priority=-1)
    for project in (first, second):
        world.plan(project)
    world.drain("discover")

    def sponsor() -> list[int]:
        return [r["project_id"] for r in world.rows("SELECT project_id FROM tasks")]

    assert sponsor() == [first]
    world.update(first, suspended=True)
    assert world.sweep().passed_on == 1
    assert sponsor() == [second]
    world.update(first, suspended=False, priority=-2)
    assert not world.sweep().changed
    world.update(first, priority=7)
    assert world.sweep().passed_on == 1
    assert sponsor() == [first]
    (task,) = world.claim("download")
    with world.engine.begin() as c:
        c.execute(
            text("UPDATE projects SET deleted_at = dataminer_now() WHERE project_id = :p"),
            {"p": first},
        )
    assert world.sweep().passed_on == 1
    assert sponsor() == [second]
    with world.engine.begin() as c:
        c.execute(text("UPDATE projects SET deleted_at = dataminer_now()"))
        assert queue.cancel(c) == 1
        assert queue.extend(c, [Beat(task.id, task.claim_seq)], lease_seconds=60) == set()


def test_notifications_reach_who_listens(world: World) -> None:
    """An announced stage wakes a session that listens on its channel, after the commit."""
    with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as listener:
        listener.execute(text(f"LISTEN {queue.channel('embed')}"))
        with world.engine.begin() as c:
            queue.Notifier()(c, ["embed", "filter"])
        listener.execute(text("SELECT 1"))
        raw: Any = listener.connection.dbapi_connection
        raw.poll()
        assert [n.channel for n in raw.notifies] == ["dataminer_embed"]


def lose(world: World, before: datetime, *, max_losses: int = 10) -> list[int]:
    """The worker "w" has run out of memory; ids of the tasks that were taken back."""
    with world.engine.begin() as c:
        lost = queue.lose(
            c,
            worker_id="w",
            before=before,
            error_class="out_of_memory",
            error="OOMKilled",
            max_losses=max_losses,
            backoff_seconds=1,
            backoff_max_seconds=60,
            first_wave=FIRST_WAVE,
        )
    return [one.id for one in lost]


def now(world: World) -> datetime:
    """The time of the database."""
    (row,) = world.rows("SELECT dataminer_now() AS now")
    return datetime.fromisoformat(str(row["now"]))


@pytest.mark.parametrize(("max_losses", "state"), [(2, "waiting"), (1, "failed")])
def test_what_a_dead_worker_held_is_taken_back_at_once_and_says_what_it_died_of(
    world: World, max_losses: int, state: str
) -> None:
    """A loss and no attempt, long before the lease is over; the last loss is a dead letter."""
    task = running(world)
    assert lose(world, now(world), max_losses=max_losses) == [task.id]
    (row,) = world.rows("SELECT * FROM tasks WHERE id = :id", id=task.id)
    assert (row["state"], row["error_class"], row["error"]) == (state, "out_of_memory", "OOMKilled")
    assert (row["attempt"], row["lost_count"]) == (0, 1)
    assert world.finish(world.done(task)) == set()


def test_a_worker_that_is_back_keeps_what_it_claims_after_its_death(world: World) -> None:
    """Who has the name of the dead is not the dead."""
    died = now(world)
    world.advance(1)
    task = running(world)
    assert lose(world, died) == []
    assert world.finish(world.done(task)) == {task.id}
