"""Several sessions at once: people change projects while workers finish tasks."""

from __future__ import annotations

import threading

import pytest

from data_miner.catalog import lifecycle
from data_miner.catalog.facts import InputGoneError
from data_miner.catalog.record import record
from data_miner.catalog.retry import retry
from data_miner.pipeline import NAMES
from data_miner.queue.finish import Finished, finish
from data_miner.queue.hand_back import hand_back
from data_miner.queue.plan import plan_after
from data_miner.queue.sweep import sweep
from data_miner.stage import Done, StageError
from support.catalog import FIRST_WAVE, World, artifact, digest, project
from support.waiting import eventually

VIDEOS = [f"v{i}" for i in range(6)]
ROUNDS = 8


def test_changing_projects_while_workers_finish_ends_well(world: World) -> None:
    """Applies, suspensions, retries and sweeps beside three workers: no deadlock, nothing lost."""
    world.find(*VIDEOS)
    world.answers["extract", "v3"] = StageError("corrupt", "no frames", permanent=True)
    ids = [world.apply(project(name)).project_id for name in ("one", "two")]
    over, errors = threading.Event(), []

    def work() -> None:
        try:
            while not over.is_set():
                for task in world.claim(limit=2):
                    try:
                        world.do(task)
                    except InputGoneError:
                        # What it reads was taken from under it: whoever wants it plans it anew.
                        with world.begin() as conn:
                            hand_back(conn, [(task.id, task.claim_seq)])
        except BaseException as error:
            errors.append(error)
            raise

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        for i in range(ROUNDS):
            prompt = {"model": "tiny-clip", "positive": [f"thing {i % 3}"]}
            world.apply(project("one", filter=prompt))
            with world.begin() as conn:
                retry(conn, ids[0], first_wave=FIRST_WAVE)
            with world.begin() as conn:
                lifecycle.cancel(conn, ids[1])
            with world.begin() as conn:
                lifecycle.resume(conn, ids[1], first_wave=FIRST_WAVE)
            with world.begin() as conn:
                sweep(conn, first_wave=FIRST_WAVE)
    finally:
        over.set()
        for worker in workers:
            worker.join(60)

    assert errors == []
    with world.begin() as conn:
        sweep(conn, first_wave=FIRST_WAVE)
    world.answers.clear()
    for p in ids:
        with world.begin() as conn:
            retry(conn, p, first_wave=FIRST_WAVE)
    world.work()
    with world.begin() as conn:
        sweep(conn, first_wave=FIRST_WAVE)
    world.work()
    for p in ids:
        state = world.progress(p)
        assert (state.phase.name, state.failed) == ("Complete", 0), state.phase
        assert sorted(v for wave in world.waves(p) for v in wave) == VIDEOS
        assert state.funnel.exported == 2 * len(VIDEOS)


@pytest.mark.parametrize("stage", ["discover", "dedup", "export"])
def test_what_ends_while_its_project_is_deleted_leaves_nothing(world: World, stage: str) -> None:
    """A deletion waits for ends that are being written, and then takes them along."""
    world.find("a")
    p = world.apply(project()).project_id
    if before := NAMES[: NAMES.index(stage)]:
        world.work(*before)
    (task,) = world.claim(stage)
    dataset = {"digest": digest("d"), "images": 2, "uri": "/x", "summary": {}}
    outcome = Done(
        (artifact("manifest", "m"),),
        {"frames": 2, "kept_by_video": {"a": 2}},
        {"dataset": dataset} if stage == "export" else {},
    )
    gone = threading.Event()

    def delete() -> None:
        with world.begin() as conn:
            lifecycle.delete(conn, p)
        gone.set()

    deleting = threading.Thread(target=delete)
    with world.begin() as conn:
        assert finish(conn, [Finished(task.id, task.claim_seq, facts=outcome.facts)]) == {task.id}
        record(conn, task, outcome)
        plan_after(conn, [task], first_wave=FIRST_WAVE)
        deleting.start()
        eventually(lambda: gone.is_set() or _somebody_waits(world), what="the deletion waits")
    deleting.join(30)

    assert gone.is_set()
    for table in ("tasks", "results", "datasets", "artifacts"):
        rows = f"SELECT * FROM {table} WHERE %s"
        own = "project_id = :p" if table == "datasets" else "subject = :subject"
        assert world.rows(rows % own, p=p, subject=task.subject) == [], table


def test_what_ends_after_its_project_was_deleted_is_not_recorded(world: World) -> None:
    """Also when the deletion could not take the task away, because its worker held the row."""
    world.find("a")
    p = world.apply(project()).project_id
    world.work(*NAMES[: NAMES.index("dedup")])
    (task,) = world.claim("dedup")
    with world.begin() as holds:
        holds.exec_driver_sql(f"SELECT FROM tasks WHERE id = {task.id} FOR UPDATE")
        with world.begin() as conn:
            lifecycle.delete(conn, p)

    assert not world.finish(task, Done(facts={"frames": 0, "kept_by_video": {}}))
    assert world.rows("SELECT FROM results WHERE subject = :s", s=task.subject) == []
    with world.begin() as conn:
        sweep(conn, first_wave=FIRST_WAVE)
    assert world.rows("SELECT FROM tasks") == []


def _somebody_waits(world: World) -> bool:
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
    return bool(world.rows(waiting + "current_database()"))


def test_cancel_and_a_heartbeat_over_several_tasks_wait_for_each_other_in_one_order(
    world: World,
) -> None:
    """The worker holds the first task and comes to the second one while the first is waited for."""
    world.find("a", "b")
    one = world.apply(project("one", priority=5)).project_id
    two = world.apply(project("two")).project_id
    world.work("discover")
    first, second = sorted(world.claim("download", limit=2), key=lambda task: task.id)
    dropped: list[int] = []

    def cancel() -> None:
        with world.begin() as conn:
            dropped.append(lifecycle.cancel(conn, one))

    cancelling = threading.Thread(target=cancel)
    with world.begin() as beats:
        beats.exec_driver_sql(f"UPDATE tasks SET progress = 0.5 WHERE id = {first.id}")
        cancelling.start()
        eventually(lambda: _somebody_waits(world), what="the cancellation")
        beats.exec_driver_sql(f"UPDATE tasks SET progress = 0.5 WHERE id = {second.id}")
    cancelling.join(30)

    assert dropped == [0]
    assert [row.project_id for row in world.rows("SELECT project_id FROM tasks")] == [two, two]


def test_cancel_leaves_what_others_want_also_while_its_worker_writes(world: World) -> None:
    """A heartbeat holds the row: it is waited for, and the task goes on under the other's name."""
    world.find("a")
    one = world.apply(project("one", priority=5)).project_id
    two = world.apply(project("two")).project_id
    world.work("discover")
    (task,) = world.claim("download")
    assert task.project_id == one
    dropped: list[int] = []

    def cancel() -> None:
        with world.begin() as conn:
            dropped.append(lifecycle.cancel(conn, one))

    cancelling = threading.Thread(target=cancel)
    with world.begin() as beats:
        beats.exec_driver_sql(f"UPDATE tasks SET progress = 0.5 WHERE id = {task.id}")
        cancelling.start()
        eventually(lambda: bool(dropped) or _somebody_waits(world), what="the cancellation")
    cancelling.join(30)
    (left,) = world.rows("SELECT project_id FROM tasks")
    world.do(task)
    world.work()

    assert dropped == [0]
    assert left.project_id == two
    assert world.ran.count(("download", "a")) == 1
    assert world.progress(two).phase.name == "Complete"
