"""Trying again what has failed."""

from __future__ import annotations

import pytest

from data_miner.catalog.retry import Retried, retry
from data_miner.errors import NotFoundError
from data_miner.stage import StageError
from support.catalog import FIRST_WAVE, World, project

BROKEN = StageError("unreachable", "connection reset", permanent=True)


def _retry(world: World, project_id: int, **only: str) -> Retried:
    with world.begin() as conn:
        return retry(conn, project_id, first_wave=FIRST_WAVE, **only)


def test_a_video_that_comes_too_late_joins_a_later_wave(world: World) -> None:
    """Its wave was gathered without it: what that gave stays, and it becomes part of the next."""
    world.find("a", "b", "c")
    world.answers["download", "a"] = BROKEN
    p = world.apply(project()).project_id
    world.work()
    before = world.rows("SELECT digest FROM datasets ORDER BY version")
    assert world.waves(p) == [["a", "b"], ["c"]]

    world.answers.clear()
    retried = _retry(world, p)
    world.work()

    assert (retried.tasks, retried.left_wave) == (1, ("a",))
    assert world.waves(p) == [["b"], ["c"], ["a"]]
    digests = world.rows("SELECT digest FROM datasets ORDER BY version")
    assert digests[: len(before)] == before
    state = world.progress(p)
    assert (state.phase.reason, state.funnel.exported, state.waves) == ("AllDone", 6, 3)


def test_a_video_stays_in_a_wave_that_is_not_gathered_yet(world: World) -> None:
    """Nothing was decided without it, so it keeps its place."""
    world.find("a", "b")
    world.answers["extract", "a"] = BROKEN
    p = world.apply(project()).project_id
    world.work("discover", "download", "extract")
    world.answers.clear()

    retried = _retry(world, p)
    world.work()

    assert (retried.tasks, retried.left_wave) == (1, ())
    assert world.waves(p) == [["a", "b"]]
    assert world.progress(p).funnel.exported == 4


def test_a_video_that_fails_while_the_wave_is_being_gathered_leaves_it(world: World) -> None:
    """The near-duplicates are being resolved without it: it may not slip in behind their back."""
    world.find("a", "b")
    world.answers["extract", "a"] = BROKEN
    p = world.apply(project()).project_id
    world.work("discover", "download", "extract", "embed", "filter", "dedup_embed")
    (gathering,) = world.claim("dedup")
    world.answers.clear()

    retried = _retry(world, p)
    world.do(gathering)
    world.work()

    assert retried.left_wave == ("a",)
    assert world.waves(p) == [["b"], ["a"]]
    assert world.progress(p).funnel.exported == 4


def test_all_that_failed_can_be_retried_at_once(world: World) -> None:
    """A project whose downloads all failed is mined as if nothing had happened."""
    world.find("a", "b", "c")
    for name in "abc":
        world.answers["download", name] = BROKEN
    p = world.apply(project()).project_id
    world.work()
    assert world.progress(p).phase.reason == "NoUsableVideo"
    world.answers.clear()

    retried = _retry(world, p)
    world.work()

    assert retried.tasks == 3
    state = world.progress(p)
    assert (state.phase.name, state.failed, state.funnel.exported) == ("Complete", 0, 6)


@pytest.mark.parametrize(
    ("only", "subjects"),
    [
        ({"stage": "download"}, ["a"]),
        ({"error_class": "corrupt"}, ["b"]),
        ({"stage": "download", "error_class": "corrupt"}, []),
        ({}, ["a", "b"]),
    ],
)
def test_retry_can_be_narrowed(world: World, only: dict[str, str], subjects: list[str]) -> None:
    """Only the failures of the stage and of the class that are named are tried again."""
    world.find("a", "b")
    world.answers["download", "a"] = BROKEN
    world.answers["extract", "b"] = StageError("corrupt", "no frames", permanent=True)
    p = world.apply(project()).project_id
    world.work()

    assert _retry(world, p, **only).tasks == len(subjects)

    rows = world.rows("SELECT subject FROM tasks WHERE state <> 'failed' ORDER BY subject")
    assert [row.subject for row in rows] == subjects


def test_a_retried_task_has_its_whole_budget(world: World) -> None:
    """Attempts and losses count from nothing, but the fencing token goes on rising."""
    world.find("a")
    world.answers["download", "a"] = BROKEN
    p = world.apply(project()).project_id
    world.work()

    _retry(world, p)

    (task,) = world.claim("download")
    assert (task.attempt, task.lost_count, task.claim_seq) == (0, 0, 2)


def test_a_cut_that_is_retried_is_exported_again(world: World) -> None:
    """The version without its images stays; a new one of the same wave has them."""
    world.find("a", "b")
    world.answers["cut", "a"] = BROKEN
    p = world.apply(project()).project_id
    world.work()
    assert world.rows("SELECT version, images FROM datasets") == [(1, 2)]
    world.answers.clear()

    retried = _retry(world, p)
    world.work()

    assert retried.left_wave == ()
    assert world.waves(p) == [["a", "b"]]
    state = world.progress(p)
    assert (state.phase.reason, state.funnel.exported) == ("AllDone", 4)
    assert state.dataset is not None
    assert state.dataset.version == 2


def test_a_failed_export_is_retried(world: World) -> None:
    """A stalled project completes once its export goes through."""
    world.find("a")
    world.answers["export", None] = StageError("disk_full", "no space", permanent=True)
    p = world.apply(project()).project_id
    world.work()
    world.answers.clear()

    assert _retry(world, p).tasks == 1
    world.work()

    assert world.progress(p).phase.name == "Complete"


def test_without_failures_nothing_is_retried(world: World) -> None:
    """A project in which nothing failed stays as it is."""
    world.find("a")
    p = world.apply(project()).project_id
    world.work()

    assert _retry(world, p) == Retried(0, ())
    assert world.claim() == []


def test_an_unknown_project_cannot_be_retried(world: World) -> None:
    """A number that no project has is an error of one line."""
    with pytest.raises(NotFoundError, match="id 99"):
        _retry(world, 99)


def test_a_video_that_failed_for_one_project_counts_as_failed_for_the_next(world: World) -> None:
    """Linked to a second project, it holds nothing up there, and its retry serves both."""
    world.find("a", "b")
    world.answers["download", "a"] = BROKEN
    one = world.apply(project("one")).project_id
    world.work()
    two = world.apply(project("two")).project_id
    world.work()

    state = world.progress(two)
    assert (state.phase.reason, state.failed) == ("CompleteWithFailures", 1)
    assert state.funnel.exported == 2

    world.answers.clear()
    _retry(world, two)
    world.work()

    for p in (one, two):
        state = world.progress(p)
        assert (state.phase.reason, state.failed, state.funnel.exported) == ("AllDone", 0, 4)
        assert world.waves(p) == [["b"], ["a"]]


def test_a_video_that_arrives_while_dedup_runs_joins_the_next_wave(world: World) -> None:
    """The running wave is not changed, nothing flips back, and the newcomer is mined after it."""
    urls = [{"urls": {"items": [f"https://video.test/{i}"]}} for i in range(2)]
    world.find("a", "b", source=0)
    world.find("c", source=1)
    world.answers["download", "c"] = BROKEN
    p = world.apply(project(sources=urls)).project_id
    world.work("discover", "download", "extract", "embed", "filter", "dedup_embed")
    gathering = world.claim("dedup")
    members = world.waves(p)
    world.answers.clear()
    phases = [world.progress(p).phase.name]

    _retry(world, p)
    for task in gathering:
        world.do(task)
        phases.append(world.progress(p).phase.name)
    for stage in ("dedup", "cut", "detect"):
        world.work(stage)
        phases.append(world.progress(p).phase.name)
    world.work()

    assert set(phases) == {"Mining"}
    late = next(n for n, wave in enumerate(world.waves(p)) if "c" in wave)
    assert late == len(members)
    assert world.progress(p).funnel.exported == 6
