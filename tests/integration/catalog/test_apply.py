"""Applying a project."""

from __future__ import annotations

import threading
from typing import Any

from data_miner.catalog.apply import Applied, apply_project
from support.catalog import FIRST_WAVE, World, project

TABLES = (
    "projects",
    "recipes",
    "project_stages",
    "project_sources",
    "project_videos",
    "videos",
    "waves",
    "results",
    "artifacts",
    "tasks",
    "datasets",
    "events",
)


def _versions(world: World) -> dict[str, Any]:
    """Every row of the catalogue with the transaction that wrote it."""
    return {
        table: sorted(map(tuple, world.rows(f"SELECT ctid::text, xmin::text FROM {table}")))
        for table in TABLES
    }


def _stages(world: World, project_id: int) -> dict[str, int]:
    rows = world.rows(
        "SELECT stage, recipe_id FROM project_stages WHERE project_id = :p", p=project_id
    )
    return {row.stage: row.recipe_id for row in rows}


def test_a_new_project_gets_its_stages_and_its_first_tasks(world: World) -> None:
    """One discover task a source is there as soon as the project is."""
    sources = [{"urls": {"items": [f"https://video.test/{i}"]}} for i in range(3)]
    applied = world.apply(project(sources=sources))

    assert applied.created
    assert applied.changed
    assert applied.generation == 1
    tasks = world.rows("SELECT stage, subject FROM tasks ORDER BY subject")
    p = applied.project_id
    assert tasks == [("discover", f"p{p}/{i}") for i in range(3)]


def test_a_recipe_hangs_on_the_one_that_it_reads_from(world: World) -> None:
    """Upstream recipes lead from the export back to the download, and stop before discovery."""
    applied = world.apply(project())

    rows = world.rows(
        "SELECT c.stage, u.stage AS reads FROM recipes c"
        " LEFT JOIN recipes u ON u.recipe_id = c.upstream_id"
    )
    reads = {row.stage: row.reads for row in rows}
    assert reads["download"] is None
    assert reads["discover"] is None
    chain, stage = [], "export"
    while stage:
        chain.append(stage)
        stage = reads[stage]
    assert chain == [
        "export", "detect", "cut", "dedup", "dedup_embed", "filter", "embed", "extract", "download"
    ]  # fmt: skip
    assert applied.changed_stages[-1] == "export"


def test_an_unchanged_project_writes_nothing(world: World) -> None:
    """Applying the same again leaves every row of the catalogue as it was, and says so."""
    world.find("a", "b", "c")
    world.apply(project())
    world.work()
    before = _versions(world)

    applied = world.apply(project())

    assert not applied.changed
    assert not applied.created
    assert applied.generation == 1
    assert applied.changed_stages == ()
    assert _versions(world) == before


def test_a_changed_prompt_changes_the_stages_from_the_filter_on(world: World) -> None:
    """Download, extract and embed keep their recipes and results; what follows is planned anew."""
    world.find("a", "b")
    first = world.apply(project())
    world.work()
    before = _stages(world, first.project_id)
    world.ran.clear()

    applied = world.apply(project(filter={"model": "tiny-clip", "positive": ["a blue box"]}))
    world.work()

    assert applied.changed_stages == (
        "filter", "dedup_embed", "dedup", "cut", "detect", "export"
    )  # fmt: skip
    assert applied.generation == 2
    assert not applied.rediscovers
    after = _stages(world, first.project_id)
    same = {stage for stage in before if before[stage] == after[stage]}
    assert same == {"discover", "download", "extract", "embed"}
    assert {stage for stage, _ in world.ran} == set(applied.changed_stages)
    assert world.progress(first.project_id).phase.name == "Complete"


def test_a_removed_section_removes_its_stages_and_their_work(world: World) -> None:
    """Without detection and export the project ends with its near-duplicates."""
    world.find("a")
    first = world.apply(project())
    world.work("discover", "download")

    applied = world.apply(project(detect=None, export=None))

    assert set(applied.removed_stages) == {"cut", "detect", "export"}
    world.work()
    assert "dedup" in {stage for stage, _ in world.ran}
    assert not {"cut", "detect", "export"} & {stage for stage, _ in world.ran}
    assert world.progress(first.project_id).phase.name == "Complete"


def test_two_projects_share_recipes_and_tasks(world: World) -> None:
    """The same wish is one recipe, and one download serves both projects."""
    world.find("a", "b")
    one = world.apply(project("one"))
    other = world.apply(project("two", filter={"model": "tiny-clip", "positive": ["a box"]}))

    world.work()

    mine, theirs = _stages(world, one.project_id), _stages(world, other.project_id)
    shared = {stage for stage in mine if mine[stage] == theirs[stage]}
    assert shared == {"discover", "download", "extract", "embed"}
    fetched = [subject for stage, subject in world.ran if stage == "download"]
    assert sorted(fetched) == ["a", "b"]
    for applied in (one, other):
        assert world.progress(applied.project_id).funnel.exported == 4


def test_new_sources_begin_a_new_epoch(world: World) -> None:
    """Videos are admitted anew in the new sources' order; what videos have given is reused."""
    world.find("a", "b", "c")
    first = world.apply(project())
    world.work()
    assert world.waves(first.project_id) == [["a", "b"], ["c"]]
    world.ran.clear()

    world.find("c", "d", "a")
    applied = world.apply(project(sources=[{"urls": {"items": ["https://video.test/other"]}}]))
    assert applied.rediscovers
    assert world.rows("SELECT wave_id FROM project_videos WHERE wave_id IS NOT NULL") == []
    world.work()

    assert world.waves(first.project_id) == [["c", "d"], ["a"]]
    assert [subject for stage, subject in world.ran if stage == "download"] == ["d"]
    state = world.progress(first.project_id)
    assert (state.phase.name, state.funnel.found, state.funnel.exported) == ("Complete", 3, 6)


def test_sources_of_an_earlier_epoch_are_listed_again(world: World) -> None:
    """Going back to sources that were wanted once asks them anew, for they may have changed."""
    world.find("a", "b")
    first = world.apply(project())
    world.work()
    world.apply(project(sources=[{"urls": {"items": ["https://video.test/other"]}}]))
    world.work()

    world.find("b")
    world.apply(project())
    world.work()

    assert world.waves(first.project_id) == [["b"]]
    assert world.progress(first.project_id).funnel.found == 1


def test_weight_and_priority_change_without_new_work(world: World) -> None:
    """They are written to the project, raise its generation, and no stage changes."""
    world.find("a")
    first = world.apply(project())
    world.work()

    applied = world.apply(project(weight=3, priority=5))

    assert applied.changed
    assert applied.changed_stages == ()
    assert world.rows("SELECT weight, priority, generation FROM projects") == [(3.0, 5, 2)]
    assert world.claim() == []
    assert applied.project_id == first.project_id


def test_a_suspended_project_is_handed_nothing(world: World) -> None:
    """`suspend: true` in the file stops it, `false` lets it go on."""
    world.find("a")
    applied = world.apply(project(suspend=True))
    assert world.claim() == []
    assert world.progress(applied.project_id).phase.name == "Suspended"

    world.apply(project())
    world.work()

    assert world.progress(applied.project_id).phase.name == "Complete"


def test_a_raised_target_opens_the_next_wave(world: World) -> None:
    """A project that had enough goes on when more is wanted."""
    world.find("a", "b", "c", "d")
    applied = world.apply(project(target={"images": 2}))
    world.work()
    state = world.progress(applied.project_id)
    assert (state.phase.reason, state.funnel.exported) == ("TargetReached", 2)

    world.apply(project(target={"images": 7}))
    world.work()

    state = world.progress(applied.project_id)
    assert (state.phase.reason, state.funnel.exported) == ("TargetReached", 7)


def test_two_applies_at_once_end_as_if_one_after_the_other(world: World) -> None:
    """Several sessions that apply the same new project make one project with one set of tasks."""
    wanted, made, together = project(), [], threading.Barrier(4)

    def apply() -> None:
        with world.begin() as conn:
            together.wait(10)
            made.append(apply_project(conn, wanted, world.compiled(wanted), first_wave=FIRST_WAVE))

    threads = [threading.Thread(target=apply) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    results: list[Applied] = made
    assert len({a.project_id for a in results}) == 1
    assert sorted(a.created for a in results) == [False, False, False, True]
    assert [a.changed for a in results].count(True) == 1
    assert world.rows("SELECT count(*) FROM tasks") == [(1,)]
    assert world.rows("SELECT generation FROM projects") == [(1,)]
