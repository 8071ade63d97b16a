"""Suspend, resume, cancel, delete."""

from __future__ import annotations

import pytest

from data_miner.catalog import lifecycle
from data_miner.errors import NotFoundError
from data_miner.stage import Done
from support.catalog import FIRST_WAVE, World, project


def _resume(world: World, project_id: int) -> bool:
    with world.begin() as conn:
        return lifecycle.resume(conn, project_id, first_wave=FIRST_WAVE)


def _suspend(world: World, project_id: int) -> bool:
    with world.begin() as conn:
        return lifecycle.suspend(conn, project_id)


def _cancel(world: World, project_id: int) -> int:
    with world.begin() as conn:
        return lifecycle.cancel(conn, project_id)


def test_a_suspended_project_goes_on_where_it_was(world: World) -> None:
    """Nothing is handed out while it is suspended; afterwards nothing is done twice."""
    world.find("a", "b")
    p = world.apply(project()).project_id
    world.work("discover", "download")

    assert _suspend(world, p)
    assert not _suspend(world, p)
    assert world.claim() == []
    assert world.progress(p).phase.name == "Suspended"

    assert _resume(world, p)
    assert not _resume(world, p)
    world.work()
    assert world.progress(p).phase.name == "Complete"
    assert len(world.ran) == len(set(world.ran))


def test_what_runs_when_a_project_is_suspended_may_end(world: World) -> None:
    """Its result is recorded, and what follows waits for the resume."""
    world.find("a")
    p = world.apply(project()).project_id
    world.work("discover")
    (task,) = world.claim("download")

    _suspend(world, p)
    world.do(task)

    assert world.rows("SELECT count(*) FROM results WHERE stage = 'download'") == [(1,)]
    assert world.claim() == []
    _resume(world, p)
    world.work()
    assert world.progress(p).phase.name == "Complete"


def test_shared_work_goes_on_when_its_sponsor_is_suspended(world: World) -> None:
    """The other project gets the downloads that were planned under the suspended one's name."""
    world.find("a", "b")
    one = world.apply(project("one", priority=5)).project_id
    two = world.apply(project("two")).project_id
    world.work("discover")

    _suspend(world, one)
    world.work()

    assert world.progress(two).phase.name == "Complete"
    assert world.progress(one).phase.name == "Suspended"


def test_cancel_drops_live_work_and_keeps_results(world: World) -> None:
    """Running and ready tasks go; a late finish changes nothing; resume plans what is missing."""
    world.find("a", "b")
    p = world.apply(project()).project_id
    world.work("discover")
    (running,) = world.claim("download", limit=1)
    results = world.rows("SELECT count(*) FROM results")

    assert _cancel(world, p) == 2
    assert not world.finish(running, Done())
    assert world.rows("SELECT count(*) FROM tasks") == [(0,)]
    assert world.rows("SELECT count(*) FROM results") == results
    assert world.progress(p).phase.name == "Suspended"

    _resume(world, p)
    world.work()
    assert world.progress(p).phase.name == "Complete"


def test_delete_takes_the_projects_own_rows_and_no_others(world: World) -> None:
    """Shared results stay, and the other project neither loses anything nor works again."""
    world.find("a", "b")
    one = world.apply(project("one")).project_id
    two = world.apply(project("two")).project_id
    world.work()
    kept = world.progress(two)
    world.ran.clear()

    with world.begin() as conn:
        deleted = lifecycle.delete(conn, one)

    assert deleted.dataset_uris == (str(world.settings.home / "datasets/default/one"),)
    assert world.progress(one).phase.name == "Deleted"
    for table in ("project_videos", "project_sources", "project_stages", "waves", "datasets"):
        owners = world.rows(f"SELECT DISTINCT project_id FROM {table}")
        assert [row.project_id for row in owners] == [two], table
    assert world.progress(two) == kept
    world.work()
    assert world.ran == []


def test_a_deleted_projects_files_are_given_up(world: World) -> None:
    """Only its own results' files lose their rows; those of its videos keep theirs."""
    world.find("a")
    p = world.apply(project()).project_id
    world.work()
    with world.begin() as conn:
        lifecycle.delete(conn, p)

    kinds = {row.kind for row in world.rows("SELECT kind FROM artifacts")}
    assert kinds == {"source", "index", "vectors", "scores"}
    stages = {row.stage for row in world.rows("SELECT stage FROM results")}
    assert stages == {"download", "extract", "embed", "filter", "dedup_embed"}


def test_delete_in_the_middle_leaves_the_other_unharmed(world: World) -> None:
    """Shared downloads that are running or ready go on for the project that is left."""
    world.find("a", "b")
    one = world.apply(project("one", priority=5)).project_id
    two = world.apply(project("two")).project_id
    world.work("discover")
    (running,) = world.claim("download", limit=1)

    with world.begin() as conn:
        lifecycle.delete(conn, one)
    world.do(running)
    world.work()

    assert world.progress(two).phase.name == "Complete"
    assert sorted(s for stage, s in world.ran if stage == "download") == ["a", "b"]


def test_a_deleted_name_can_be_used_again(world: World) -> None:
    """Applying it makes a project that starts from its sources, and reuses what videos gave."""
    world.find("a")
    p = world.apply(project()).project_id
    world.work()
    with world.begin() as conn:
        lifecycle.delete(conn, p)
    world.ran.clear()

    applied = world.apply(project())
    world.work()

    assert applied.created
    assert world.progress(applied.project_id).phase.name == "Complete"
    assert {stage for stage, _ in world.ran} == {"discover", "dedup", "cut", "detect", "export"}


def test_an_unknown_project_has_no_life(world: World) -> None:
    """A number that no project has is an error of one line, for every verb."""
    for act in (_suspend, _resume, _cancel):
        with pytest.raises(NotFoundError, match="id 99"):
            act(world, 99)
