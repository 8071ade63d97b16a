"""Whole projects through the queue, with the planner after every end."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from data_miner import pipeline
from support.queue import World


def test_the_schema_knows_the_pipeline_as_the_program_does(world: World) -> None:
    """Stages, their order, scopes and what each may follow are the same in SQL and in Python."""
    rows = world.rows("SELECT stage, scope, reads FROM pipeline() ORDER BY place")
    assert [(r["stage"], r["scope"], tuple(r["reads"])) for r in rows] == [
        (stage.name, str(stage.scope), stage.reads) for stage in pipeline.STAGES
    ]


def test_a_project_runs_to_its_last_export_without_a_sweep(world: World) -> None:
    """Planning after every end carries seven videos through three waves and ten stages."""
    videos = ["a", "b", "c", "d", "e", "f", "g"]
    project = world.project(found=[videos])
    world.plan(project)

    done = world.drain()

    per_stage = {name: sum(t.stage == name for t in done) for name in pipeline.NAMES}
    assert per_stage == {
        "discover": 1,
        **dict.fromkeys(("download", "extract", "embed", "filter", "dedup_embed"), 7),
        "dedup": 3,
        "cut": 7,
        "detect": 7,
        "export": 3,
    }
    waves = world.rows(
        "SELECT n, array_agg(video_id ORDER BY wave_position) AS members FROM waves"
        " JOIN project_videos USING (wave_id) GROUP BY n ORDER BY n"
    )
    assert [w["members"] for w in waves] == [["a", "b"], ["c", "d", "e", "f"], ["g"]]
    assert world.tasks() == set()
    assert not world.sweep().changed


def test_a_project_has_only_the_stages_that_it_asks_for(world: World) -> None:
    """Leaving out the filter's model, dedup, detection or everything after download works."""
    for stages in (
        ("discover", "download"),
        ("discover", "download", "extract"),
        ("discover", "download", "extract", "embed", "filter"),
        ("discover", "download", "extract", "filter", "dedup", "cut", "export"),
        ("discover", "download", "extract", "filter", "dedup_embed", "dedup", "cut", "detect"),
    ):
        project = world.project("-".join(stages), stages=stages, variants={"download": str(stages)})
        world.plan(project)
        assert {t.stage for t in world.drain()} == set(stages)
        assert not world.sweep().changed


def test_two_projects_share_what_they_want_alike(world: World) -> None:
    """The shared video is downloaded and extracted once; another prompt filters it again."""
    first = world.project("first", found=[["a", "b"]])
    second = world.project("second", found=[["b", "c"]], variants={"filter": "other prompts"})
    world.plan(first)
    world.plan(second)

    done = world.drain()

    assert sorted(t.subject for t in done if t.stage == "extract") == ["a", "b", "c"]
    assert sorted(t.subject for t in done if t.stage == "filter") == ["a", "b", "b", "c"]
    assert not world.sweep().changed


def test_a_changed_prompt_repeats_only_what_depends_on_it(world: World) -> None:
    """With a new filter recipe no download, extraction or embedding is planned again."""
    project = world.project()
    world.plan(project)
    world.drain()

    world.compile(project, pipeline.NAMES, 1, {"filter": "other prompts"})
    world.plan(project)

    repeated = {t.stage for t in world.drain()}
    assert repeated == {"filter", "dedup_embed", "dedup", "cut", "detect", "export"}
    assert not world.sweep().changed


def test_a_video_that_yields_nothing_or_fails_does_not_hold_up_its_wave(world: World) -> None:
    """Skipped, failed and empty members count as ended, and the wave is exported without them."""
    project = world.project(found=[["skipped", "broken"], ["empty", "good"]])
    world.plan(project)
    world.drain("discover")

    while tasks := world.claim():
        for task in tasks:
            if task.subject == "broken" and task.stage == "extract":
                assert world.fail(task, permanent=True) == "failed"
            elif task.subject == "skipped" and task.stage == "download":
                world.finish(world.skip(task))
            elif task.subject == "empty" and task.stage == "filter":
                world.finish(world.done(task, frames=0))
            else:
                world.finish(world.done(task))

    exports = world.rows("SELECT subject FROM results WHERE stage = 'export'")
    assert len(exports) == 2
    assert world.tasks() == {("extract", "broken", "failed")}
    assert ("dedup_embed", "empty") not in world.results()
    assert not world.sweep().changed


def test_waves_after_the_target_are_neither_opened_nor_worked_on(world: World) -> None:
    """When the images kept reach the target, what is queued of later waves is taken back."""
    videos = [f"v{i:02}" for i in range(30)]
    project = world.project(found=[videos], target_images=3)
    world.plan(project)

    world.drain()

    kept = world.rows("SELECT subject, frames FROM results WHERE stage = 'dedup' ORDER BY subject")
    assert [k["frames"] for k in kept] == [2, 4]
    assert world.tasks() == set()
    assert not world.sweep().changed
    downloads = [s for stage, s in world.results() if stage == "download"]
    assert len(downloads) <= 2 + 4 + 8


def test_a_deleted_project_leaves_nothing_behind(world: World) -> None:
    """Deleting the row takes waves and memberships along, in whatever order they refer."""
    project = world.project()
    world.plan(project)
    world.drain()
    with world.engine.begin() as c:
        c.execute(text("DELETE FROM projects WHERE project_id = :p"), {"p": project})
    assert world.rows("SELECT * FROM waves") == []
    assert world.rows("SELECT * FROM project_videos") == []


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("filter", {"download", "extract", "embed", "filter"}),
        ("dedup", {"dedup", "download", "cut"}),
        ("export", {"export"}),
    ],
)
def test_what_retention_took_is_made_again_only_when_it_is_needed(
    world: World, changed: str, again: set[str]
) -> None:
    """Collected files bring no work by themselves; a changed spec brings back what it reads."""
    project = world.project(found=[["a", "b", "c"]])
    world.plan(project)
    world.drain()
    with world.engine.begin() as c:
        c.execute(
            text(
                "UPDATE results SET gone_at = dataminer_now()"
                " WHERE stage IN ('download', 'extract', 'embed')"
            )
        )
    assert not world.sweep().changed

    world.compile(project, pipeline.NAMES, 1, {changed: "other"})
    world.plan(project)
    repeated = [t.stage for t in world.drain()]

    assert set(repeated) >= again
    assert not ({"download", "extract", "embed"} - again) & set(repeated)
    assert repeated.count("export") == 2
    assert not world.sweep().changed
