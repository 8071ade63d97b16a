"""Which trace a task belongs to: that of whoever planned it, for all its tries."""

from __future__ import annotations

from sqlalchemy import text

from data_miner import queue
from support.queue import FIRST_WAVE, World

ONE = f"00-{'1' * 32}-{'a' * 16}-01"
TWO = f"00-{'2' * 32}-{'b' * 16}-01"


def _planned(world: World, project: int, traceparent: str | None) -> None:
    with world.engine.begin() as c:
        queue.trace(c, traceparent)
        queue.plan_project(c, project, first_wave=FIRST_WAVE)


def _traces(world: World) -> dict[tuple[str, str], str | None]:
    rows = world.rows("SELECT stage, subject, traceparent FROM tasks")
    return {(row["stage"], row["subject"]): row["traceparent"] for row in rows}


def test_what_is_planned_belongs_to_the_trace_of_its_transaction(world: World) -> None:
    """Also through a function that inserts many; the next transaction of the session has none."""
    project = world.project(stages=("discover", "download", "extract"))
    _planned(world, project, ONE)
    assert set(_traces(world).values()) == {ONE}

    (found,) = world.claim("discover")
    with world.engine.begin() as c:
        queue.trace(c, TWO)
        world.finish_in(c, world.done(found))
    assert _traces(world) == {("download", "a"): TWO, ("download", "b"): TWO}

    world.drain("download")
    assert _traces(world) == {("extract", "a"): None, ("extract", "b"): None}


def test_without_a_trace_rows_have_none(world: World) -> None:
    project = world.project()
    _planned(world, project, None)

    assert set(_traces(world).values()) == {None}


def test_a_transaction_that_is_rolled_back_leaves_no_trace(world: World) -> None:
    project = world.project()
    with world.engine.connect() as c:
        queue.trace(c, ONE)
        c.rollback()
        queue.plan_project(c, project, first_wave=FIRST_WAVE)
        c.commit()

    assert set(_traces(world).values()) == {None}


def test_a_task_keeps_its_trace_through_all_its_tries(world: World) -> None:
    """Failed, put off, handed back, lost with its worker, retried, planned again by the sweep."""
    project = world.project(stages=("discover", "download"))
    _planned(world, project, ONE)

    def again() -> None:
        world.advance(7200)
        with world.engine.begin() as c:
            queue.trace(c, TWO)
            queue.sweep(c, first_wave=FIRST_WAVE)
        assert _traces(world) == {("discover", f"p{project}/0"): ONE}

    (task,) = world.claim()
    world.fail(task)
    again()
    (task,) = world.claim()
    with world.engine.begin() as c:
        queue.hand_back(c, [(task.id, task.claim_seq)])
    again()
    (task,) = world.claim()
    with world.engine.begin() as c:
        assert queue.later(c, task, seconds=1, error_class="throttled", reason="later")
    again()
    (task,) = world.claim(lease_seconds=1)
    world.advance(60)
    assert world.rescue()
    again()
    (task,) = world.claim()
    assert world.fail(task, permanent=True) == "failed"
    with world.engine.begin() as c:
        queue.trace(c, TWO)
        assert queue.retry(c, [task.id]) == {task.id}
    again()


def test_what_a_dead_letter_makes_possible_belongs_to_its_trace(world: World) -> None:
    """The last member of a wave fails: the gather of the wave goes on in that try's trace."""
    project = world.project(stages=("discover", "download", "extract", "embed", "filter", "dedup"))
    world.plan(project)
    world.drain("discover", "download", "extract", "embed")
    first, last = world.claim("filter", limit=2)
    world.finish(world.done(first))

    with world.engine.begin() as c:
        queue.trace(c, ONE)
        queue.fail(
            c,
            last,
            error_class="broken",
            error="it broke",
            permanent=True,
            max_attempts=3,
            backoff_seconds=1,
            backoff_max_seconds=1,
            first_wave=FIRST_WAVE,
        )

    assert {t for (stage, _), t in _traces(world).items() if stage == "dedup"} == {ONE}


def test_a_query_that_lists_tasks_needs_no_setting(world: World) -> None:
    """Who inserts a row by hand, as tests and people do, gives it none."""
    world.plan(world.project())
    with world.engine.begin() as c:
        c.execute(text("UPDATE tasks SET traceparent = DEFAULT"))

    assert set(_traces(world).values()) == {None}
