"""Several sessions at once: people change projects while workers finish tasks."""

from __future__ import annotations

import threading

from data_miner.catalog import lifecycle
from data_miner.catalog.facts import InputGoneError
from data_miner.catalog.retry import retry
from data_miner.queue.hand_back import hand_back
from data_miner.queue.sweep import sweep
from data_miner.stage import StageError
from support.catalog import FIRST_WAVE, World, project

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
