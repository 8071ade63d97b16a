"""What an apply would do."""

from __future__ import annotations

from data_miner.catalog.plan_preview import Preview, preview
from data_miner.spec.project import MiningProject
from support.catalog import FIRST_WAVE, World, project


def _preview(world: World, wanted: MiningProject) -> Preview:
    with world.engine.connect() as conn:
        return preview(conn, wanted, world.compiled(wanted), first_wave=FIRST_WAVE)


def test_a_preview_changes_nothing(world: World) -> None:
    """Neither project, nor recipes, nor tasks are left behind."""
    _preview(world, project())

    for table in ("projects", "recipes", "project_stages", "tasks", "events"):
        assert world.rows(f"SELECT count(*) FROM {table}") == [(0,)], table


def test_a_new_project_lists_its_sources_first(world: World) -> None:
    """What follows is not known before that, and the preview says so."""
    found = _preview(world, project())

    stages = {s.stage: s for s in found.stages}
    assert (stages["discover"].to_run, stages["discover"].reused) == (1, 0)
    assert (stages["discover"].known, stages["download"].known) == (True, False)
    assert stages["download"].note == "known once the sources are listed"
    assert found.headline == "balls: new; at least 1 task to run, 0 results reused"


def test_an_unchanged_complete_project_has_nothing_to_do(world: World) -> None:
    """The preview of a second run says that all of it is done."""
    world.find("a", "b")
    world.apply(project())
    world.work()

    found = _preview(world, project())

    assert not found.changed
    assert sum(s.to_run for s in found.stages) == 0
    assert {s.note for s in found.stages} == {""}
    assert found.headline == "balls: nothing to do, all of it is done already"


def test_a_changed_prompt_reuses_all_before_the_filter(world: World) -> None:
    """Downloads, frames and embeddings are reused; decisions are taken anew."""
    world.find("a", "b", "c")
    world.apply(project())
    world.work()
    changed = project(filter={"model": "tiny-clip", "positive": ["a box"]})

    found = _preview(world, changed)

    stages = {s.stage: (s.reused, s.to_run, s.lent) for s in found.stages}
    assert stages["download"] == stages["extract"] == stages["embed"] == (3, 0, 0)
    assert stages["filter"] == (0, 3, 0)
    assert stages["dedup_embed"] == (0, 3, 3)
    assert stages["export"] == (0, 2, 0)
    assert "changed from filter onward" in found.headline
    seconds = {s.stage: s.seconds for s in found.stages}
    assert seconds["filter"] is not None
    assert seconds["download"] == 0
    world.apply(changed)
    world.ran.clear()
    world.work("filter", "dedup_embed")
    assert len(world.ran) == 6


def test_a_second_project_reuses_what_the_first_has_fetched(world: World) -> None:
    """Once its sources are listed, another project's downloads count as reused."""
    world.find("a", "b")
    world.apply(project("one"))
    world.work()
    world.apply(project("two", suspend=True))
    world.apply(project("two"))
    world.work("discover")

    stages = {s.stage: s for s in _preview(world, project("two")).stages}

    assert (stages["download"].reused, stages["download"].to_run) == (2, 0)
    assert (stages["dedup"].reused, stages["dedup"].to_run) == (0, 1)


def test_videos_that_are_in_no_wave_yet_are_counted(world: World) -> None:
    """What later waves will bring is part of the plan."""
    world.find("a", "b", "c", "d", "e")
    world.apply(project())
    world.work("discover")

    stages = {s.stage: s for s in _preview(world, project()).stages}

    assert stages["download"].to_run == 5
    assert "more as waves open" in stages["dedup"].note
