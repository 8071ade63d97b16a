"""Sessions that do the same thing at the same time."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from data_miner import queue
from data_miner.db.tables import metadata
from data_miner.pipeline import NAMES
from data_miner.queue import Claimed, Cursor
from support.queue import FIRST_WAVE, World

DEADLINE_SECONDS = 20


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again until it is so, or fail at the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        pause.wait(0.005)


def waits_for_a_lock(engine: Engine) -> bool:
    """Whether some session of this database waits for another one."""
    with engine.connect() as c:
        return bool(
            c.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND wait_event_type = 'Lock'"
                )
            )
        )


def end_both_at_once(world: World, first: Claimed, second: Claimed) -> None:
    """Finish both in transactions that overlap: neither sees the other's end but by waiting."""
    with ThreadPoolExecutor(1) as pool:
        with world.engine.begin() as c:
            world.finish_in(c, world.done(first))
            other: Future[set[int]] = pool.submit(world.finish, world.done(second))
            wait_until(lambda: other.done() or waits_for_a_lock(world.engine))
        assert other.result(DEADLINE_SECONDS) == {second.id}


def up_to(world: World, *stages: str) -> None:
    """Work off these stages as far as it goes."""
    while world.drain(*stages):
        pass


def count(world: World, stage: str) -> int:
    return sum(s == stage for s, _, _ in world.tasks())


def test_the_last_two_members_plan_the_dedup_once(world: World) -> None:
    """Two sessions that end a wave's last two members at once plan its dedup exactly once."""
    stages = ("discover", "download", "extract", "filter", "dedup")
    world.plan(world.project(stages=stages))
    up_to(world, "discover", "download", "extract")
    first, second = world.claim("filter", limit=2)
    end_both_at_once(world, first, second)
    assert count(world, "dedup") == 1
    assert not world.sweep().changed


def test_a_failure_and_an_end_plan_the_dedup_once(world: World) -> None:
    """The same when one of the two ends as a dead letter."""
    stages = ("discover", "download", "extract", "filter", "dedup")
    world.plan(world.project(stages=stages))
    up_to(world, "discover", "download", "extract")
    first, second = world.claim("filter", limit=2)
    with ThreadPoolExecutor(1) as pool:
        with world.engine.begin() as c:
            world.finish_in(c, world.done(first))
            other = pool.submit(world.fail, second, permanent=True)
            wait_until(lambda: other.done() or waits_for_a_lock(world.engine))
        assert other.result(DEADLINE_SECONDS) == "failed"
    assert count(world, "dedup") == 1


def test_a_dedup_and_the_last_member_of_the_next_wave_plan_its_dedup_once(world: World) -> None:
    """The end of wave 1's dedup and the end of wave 2's last member do not miss each other."""
    stages = ("discover", "download", "extract", "filter", "dedup")
    world.plan(world.project(stages=stages, found=[["a", "b", "c"]]))
    up_to(world, "discover", "download", "extract")
    world.finish(*[world.done(task) for task in world.claim("filter", limit=2)])
    up_to(world, "download", "extract")
    (member,) = world.claim("filter")
    (dedup,) = world.claim("dedup")
    end_both_at_once(world, dedup, member)
    assert count(world, "dedup") == 1
    assert not world.sweep().changed


def test_an_export_and_the_last_cut_of_the_next_wave_plan_its_export_once(world: World) -> None:
    """The end of wave 1's export and the end of wave 2's last cut do not miss each other."""
    stages = ("discover", "download", "extract", "filter", "dedup", "cut", "export")
    world.plan(world.project(stages=stages, found=[["a", "b", "c"]]))
    up_to(world, *stages[:5])
    up_to(world, *stages[:5])
    cuts = world.claim("cut", limit=5)
    assert len(cuts) == 3
    world.finish(*[world.done(t) for t in cuts if t.subject.startswith("w1/")])
    (last,) = [t for t in cuts if t.subject.startswith("w2/")]
    (export,) = world.claim("export")
    end_both_at_once(world, export, last)
    assert count(world, "export") == 1
    assert not world.sweep().changed


def test_two_sweeps_at_once_are_one(world: World) -> None:
    """While one session sweeps, another one is told so and goes on."""
    world.project()
    with world.engine.begin() as a, world.engine.begin() as b:
        swept = queue.sweep(a, first_wave=FIRST_WAVE)
        assert swept is not None
        assert swept.planned == {"discover": 1}
        assert queue.sweep(b, first_wave=FIRST_WAVE) is None


def test_two_that_plan_the_same_insert_it_once(world: World) -> None:
    """Two projects that are planned at once want the same download: it is there once."""
    stages = ("discover", "download")
    projects = [world.project(n, stages=stages, found=[["v"]]) for n in ("p", "q")]
    for project in projects:
        world.plan(project)
    first, second = world.claim("discover", limit=2)
    end_both_at_once(world, first, second)
    assert {t for t in world.tasks() if t[0] == "download"} == {("download", "v", "ready")}


def test_sixteen_workers_with_planning_never_deadlock(world: World) -> None:
    """They carry three projects with shared videos to the end; nothing is done twice."""
    videos = [f"v{i:02}" for i in range(18)]
    found = {
        "one": [videos[:12]],
        "two": [videos[6:], videos[:3]],
        "three": [videos[3:15]],
    }
    for name, sources in found.items():
        variants = {"filter": name} if name == "three" else {}
        world.plan(world.project(name, found=sources, variants=variants))
    executed: Counter[tuple[int, str]] = Counter()
    lock = threading.Lock()
    over = threading.Event()

    def work(number: int) -> None:
        pick = random.Random(number)
        cursor = Cursor()
        while not over.is_set():
            tasks = world.claim(
                limit=pick.randint(1, 3), worker=f"w{number}", cursor=cursor, lease_seconds=600
            )
            if not tasks:
                with world.engine.begin() as c:
                    queue.admit(c, first_wave=FIRST_WAVE)
                over.wait(0.02)
                continue
            broken = [t for t in tasks if t.stage == "extract" and t.subject in {"v04", "v10"}]
            for task in broken:
                world.fail(task, permanent=True)
            good = [t for t in tasks if t not in broken]
            assert world.finish(*[world.done(t) for t in good]) == {t.id for t in good}
            with lock:
                executed.update((t.recipe_id, t.subject) for t in tasks)

    def sweep() -> None:
        while not over.wait(0.05):
            world.sweep()

    def all_over() -> bool:
        return any(w.done() for w in workers) or all(
            r["project_stage"] == "COMPLETE"
            for r in world.rows("SELECT project_stage FROM project_status")
        )

    with ThreadPoolExecutor(17) as pool:
        workers = [pool.submit(work, number) for number in range(16)] + [pool.submit(sweep)]
        try:
            deadline = time.monotonic() + 100
            while not all_over() and time.monotonic() < deadline:
                over.wait(0.1)
        finally:
            over.set()
        for worker in workers:
            worker.result(DEADLINE_SECONDS)
    stages = [r["project_stage"] for r in world.rows("SELECT project_stage FROM project_status")]
    assert stages == ["COMPLETE"] * 3
    assert not world.sweep().changed
    assert set(executed.values()) == {1}
    (stats,) = world.rows(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert stats["deadlocks"] == 0


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    depths=st.lists(st.integers(1, 15), min_size=2, max_size=10),
    workers=st.integers(1, 4),
    holds=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_no_project_waits_longer_than_a_round(
    engine: Engine, depths: list[int], workers: int, holds: bool, seed: int
) -> None:
    """With P projects and c workers, one that has ready work and none running waits less than P·c.

    Counted in grants; whether the workers hold what they claimed for a while or end it at once.
    """
    world = World(engine)
    tables = ", ".join(t.name for t in metadata.sorted_tables if t.name != "clock")
    with engine.begin() as c:
        c.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
    left = {}
    for number, depth in enumerate(depths):
        left[world.project(f"p{number}", found=[[]] * depth)] = depth
    world.sweep()
    pick = random.Random(seed)
    cursors = [Cursor() for _ in range(workers)]
    held: list[Claimed] = []
    waited = dict.fromkeys(left, 0)
    while left:
        number = pick.randrange(workers)
        (task,) = world.claim("discover", worker=f"w{number}", cursor=cursors[number])
        held.append(task)
        left[task.project_id] -= 1
        left = {project: depth for project, depth in left.items() if depth}
        running = {t.project_id for t in held}
        for project in left:
            waited[project] = 0 if project in running else waited[project] + 1
            assert waited[project] < len(depths) * workers
        if not holds or len(held) > workers:
            world.finish(world.done(held.pop(pick.randrange(len(held)))))


def test_every_stage_is_served(world: World) -> None:
    """A flood of one stage does not keep another one waiting for more than one round of stages."""
    world.plan(world.project("flood", found=[[]] * 60))
    project = world.project("slow", found=[["a", "b"]])
    world.plan(project)
    task = next(t for t in world.claim("discover", limit=70) if t.project_id == project)
    world.finish(world.done(task))
    with world.engine.begin() as c:
        tokens = [
            (r.id, r.claim_seq)
            for r in c.execute(text("SELECT id, claim_seq FROM tasks WHERE state = 'running'"))
        ]
        queue.hand_back(c, tokens)
    served = [world.claim()[0].stage for _ in range(len(NAMES))]
    assert "download" in served
