"""How far a project is, through the cases that people run into."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from sqlalchemy import event, text

from data_miner.catalog.counts import SourceYield
from data_miner.catalog.progress import progress
from data_miner.db.engine import engine_for
from data_miner.errors import NotFoundError
from data_miner.local.mine import look
from data_miner.pipeline import NAMES
from data_miner.stage import Done, Skip, StageError
from support.catalog import SPEC, World, project, video

BROKEN = StageError("not_a_video", "a.mp4: moov atom\nnot found", permanent=True)


def _phase(world: World, project_id: int) -> tuple[str, str]:
    with world.begin() as conn:
        found = progress(conn, project_id).phase
    return str(found.name), found.reason


def test_a_project_passes_through_its_phases(world: World) -> None:
    """Pending, Discovering, Mining, Exporting and Complete, each while that is what goes on."""
    world.find("a")
    p = world.apply(project()).project_id
    assert _phase(world, p) == ("Pending", "WaitingForWorker")

    (discovering,) = world.claim("discover")
    assert _phase(world, p) == ("Discovering", "ListingSources")
    world.do(discovering)
    assert _phase(world, p) == ("Mining", "Working")

    world.work(*(s for s in ("download", "extract", "embed", "filter", "dedup_embed")))
    world.work("dedup", "cut", "detect")
    assert _phase(world, p) == ("Exporting", "WritingDataset")

    world.work()
    assert _phase(world, p) == ("Complete", "AllDone")


def test_all_downloads_fail_and_the_project_stalls_until_they_are_retried(world: World) -> None:
    """No usable video is Stalled with that reason, never Complete with nothing."""
    world.find("a", "b", "c")
    for name in "abc":
        world.answers["download", name] = BROKEN
    p = world.apply(project()).project_id
    world.work()

    assert _phase(world, p) == ("Stalled", "NoUsableVideo")
    state = world.progress(p)
    (failure,) = state.failures
    assert (failure.stage, failure.error_class, failure.count) == ("download", "not_a_video", 3)
    assert (failure.subject, failure.error) == ("a", "a.mp4: moov atom not found")
    assert state.failed == 3


def test_all_videos_skipped_is_no_usable_video(world: World) -> None:
    """Skipping everything is an answer, but not a dataset."""
    world.find("a", "b")
    world.answers["download", "a"] = world.answers["download", "b"] = Skip("Live: it is live")
    p = world.apply(project()).project_id
    world.work()

    assert _phase(world, p) == ("Stalled", "NoUsableVideo")
    assert [(s.reason, s.count) for s in world.progress(p).skipped] == [
        ("Live", 2),
        ("NoImages", 1),
    ]


def test_select_leaving_out_everything_is_no_usable_video(world: World) -> None:
    """The reason says that `select` did it, and each reason is counted with an example."""
    world.listings[0] = [video(n, i, skip_reason="TooLong: 99 s") for i, n in enumerate("ab")]
    p = world.apply(project()).project_id
    world.work()

    state = world.progress(p)
    assert (state.phase.name, state.phase.reason) == ("Stalled", "NoUsableVideo")
    assert "`select` leaves out all 2" in state.phase.message
    assert [(s.stage, s.reason, s.count, s.message) for s in state.skipped] == [
        ("select", "TooLong", 2, "TooLong: 99 s")
    ]


def test_sources_without_a_video_are_nothing_found(world: World) -> None:
    """An empty folder is Stalled NothingFound."""
    p = world.apply(project()).project_id
    world.work()

    assert _phase(world, p) == ("Stalled", "NothingFound")


def test_sources_that_cannot_be_listed_are_told_as_such(world: World) -> None:
    """A failure is not an empty answer."""
    world.answers["discover", None] = StageError("not_found", "no such folder", permanent=True)
    p = world.apply(project()).project_id
    world.work()

    assert _phase(world, p) == ("Stalled", "SourcesFailed")


def test_no_frame_that_passes_is_nothing_kept(world: World) -> None:
    """A filter that refuses everything is Stalled NothingKept."""
    world.find("a", "b")
    world.answers["filter", None] = Done(facts={"frames": 0})
    for name in "ab":
        world.answers["filter", name] = Done(facts={"frames": 0})
    p = world.apply(project()).project_id
    world.work()

    assert _phase(world, p) == ("Stalled", "NothingKept")


def test_the_rest_completes_beside_a_failure(world: World) -> None:
    """One broken video of three: complete with two videos' images, and the failure is told."""
    world.find("a", "b", "c")
    world.answers["extract", "b"] = BROKEN
    p = world.apply(project()).project_id
    world.work()

    state = world.progress(p)
    assert (state.phase.name, state.phase.reason) == ("Complete", "CompleteWithFailures")
    assert state.failed == 1
    assert state.funnel.exported == 4
    assert "1 task has failed" in state.phase.message


def test_a_failed_export_stalls(world: World) -> None:
    """What a whole wave waits for has failed: Stalled, naming the stage."""
    world.find("a")
    world.answers["export", None] = StageError("disk_full", "no space", permanent=True)
    p = world.apply(project()).project_id
    world.work()

    state = world.progress(p)
    assert (state.phase.name, state.phase.reason) == ("Stalled", "StageFailed")
    assert "export" in state.phase.message


def test_a_failed_cut_of_everything_is_not_complete(world: World) -> None:
    """Images that were kept but could not be written are Stalled NothingExported."""
    world.find("a")
    world.answers["cut", "a"] = BROKEN
    p = world.apply(project()).project_id
    world.work()

    assert _phase(world, p) == ("Stalled", "NothingExported")


def test_a_project_that_only_downloads_ends_with_its_downloads(world: World) -> None:
    """Complete follows from the outputs that are asked for."""
    world.find("a", "b")
    only = project(sampling=None, filter=None, dedup=None, detect=None, export=None)
    p = world.apply(only).project_id
    world.work()

    state = world.progress(p)
    assert (state.phase.name, state.phase.reason) == ("Complete", "AllDone")
    assert [s.stage for s in state.stages] == ["discover", "download"]
    assert state.funnel.downloaded == 2


def test_the_funnel_and_the_stages_count_what_there_is(world: World) -> None:
    """Every step of the funnel, every stage's total, and what one image has cost."""
    world.find("a", "b", "c")
    world.listings[0].append(video("d", 3, skip_reason="Live: it is live"))
    world.answers["filter", "c"] = Done(facts={"frames": 0})
    p = world.apply(project()).project_id
    world.work()

    state = world.progress(p)
    funnel = state.funnel
    assert (funnel.found, funnel.selected, funnel.downloaded) == (4, 3, 3)
    assert (funnel.frames, funnel.passed, funnel.unique) == (30, 8, 4)
    assert (funnel.labelled, funnel.exported) == (8, 4)
    assert {s.stage: (s.total, s.done) for s in state.stages} == {
        "discover": (1, 1),
        "download": (3, 3),
        "extract": (3, 3),
        "embed": (3, 3),
        "filter": (3, 3),
        "dedup_embed": (2, 2),
        "dedup": (2, 2),
        "cut": (2, 2),
        "detect": (2, 2),
        "export": (2, 2),
    }
    assert state.costs["bytes_downloaded"] == 30
    assert state.stage_costs["download"]["bytes_downloaded"] == 30
    assert state.costs_per_image["bytes_downloaded"] == 7.5
    assert state.dataset is not None
    assert state.dataset.images == 4


def test_each_source_tells_what_it_gave(world: World) -> None:
    """A video that two sources found counts for the first; what was left out is found as well."""
    world.find("a", "b", source=0)
    world.find("b", "c", source=1)
    world.listings[1].append(video("d", 3, skip_reason="Live: it is live"))
    world.answers["filter", "c"] = Done(facts={"frames": 0})
    lists = [{"urls": {"items": [f"https://video.test/{n}"]}} for n in range(3)]
    p = world.apply(project(sources=lists)).project_id
    world.work()

    first, second = world.progress(p).sources
    assert first == SourceYield(0, found=2, selected=2, used=2, images=4)
    assert second == SourceYield(1, found=2, selected=1, used=0, images=0)
    assert world.progress(p).funnel.found == 4


def test_the_spread_of_scores_is_that_of_all_videos(world: World) -> None:
    """As the counts of a histogram: each bound tells of all that is not above it."""
    world.find("a", "b")
    world.answers["filter", "a"] = Done(facts={"frames": 1, "scores": {"0.1": 3, "0.9": 1}})
    world.answers["filter", "b"] = Done(facts={"frames": 1, "scores": {"0.03": 2, "+Inf": 1}})
    p = world.apply(project()).project_id
    world.work()

    state = world.progress(p)
    assert list(state.scores.items()) == [("0.03", 2), ("0.1", 5), ("0.9", 6), ("+Inf", 7)]
    assert json.loads(json.dumps(asdict(state), default=str))["scores"]["0.9"] == 6


def test_what_was_there_before_it_was_asked_for_is_saved(world: World) -> None:
    """Of another project, and of this one before other prompts: not what is made afterwards."""
    world.find("a", "b")
    p = world.apply(project()).project_id
    world.work()
    assert world.progress(p).saved == {}

    q = world.apply(project("twin")).project_id
    world.work()
    twin = world.progress(q).saved
    assert {stage: saved["results"] for stage, saved in twin.items()}["extract"] == 2
    assert "export" not in twin

    world.apply(project(filter={**SPEC["filter"], "positive": ["a cube"]}))
    world.work()
    saved = world.progress(p).saved
    assert {stage: saved[stage]["results"] for stage in ("download", "embed")} == {
        "download": 2,
        "embed": 2,
    }
    assert "filter" not in saved


def test_the_time_left_follows_from_what_was_timed(world: World) -> None:
    """Unknown until one has ended; then mean time of the ended ones for each that is left."""
    world.find("a", "b")
    p = world.apply(project()).project_id
    world.work("discover")
    stages = {s.stage: s for s in world.progress(p).stages}
    assert stages["download"].eta_seconds is None

    (task, _) = world.claim("download")
    world.do(task)
    with world.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE results SET started_at = finished_at - interval '8 s' WHERE stage = 'download'"
        )
    stages = {s.stage: s for s in world.progress(p).stages}

    assert stages["download"].running == 1
    assert stages["download"].left == 1
    assert stages["download"].eta_seconds == pytest.approx(8.0)


def test_another_projects_task_counts_for_everyone_who_wants_it(world: World) -> None:
    """A shared download shows as running in both projects."""
    world.find("a")
    one = world.apply(project("one")).project_id
    two = world.apply(project("two", priority=9)).project_id
    world.work("discover")
    world.claim("download")

    for p in (one, two):
        stages = {s.stage: s for s in world.progress(p).stages}
        assert (stages["download"].running, stages["download"].total) == (1, 1)


def test_an_unknown_project_is_not_found(world: World) -> None:
    """A number that no project has is an error of one line."""
    with world.begin() as conn, pytest.raises(NotFoundError, match="id 99"):
        progress(conn, 99)


def test_a_project_that_ends_while_it_is_looked_at_is_never_stalled(world: World) -> None:
    """The last export is committed between two queries of `look`: it shows the state before."""
    world.find("a")
    p = world.apply(project()).project_id
    world.work(*(name for name in NAMES if name != "export"))
    looker = engine_for(world.engine.url)
    queries = 0

    def end_it(*_: object) -> None:
        nonlocal queries
        queries += 1
        if queries == 2:
            world.work()

    event.listen(looker, "before_cursor_execute", end_it)
    seen = look(looker, p).phase
    after = look(looker, p).phase
    looker.dispose()

    assert (str(seen.name), seen.reason) == ("Exporting", "WritingDataset")
    assert (str(after.name), after.reason) == ("Complete", "AllDone")


def test_what_a_look_reads_depends_on_the_project_and_not_on_the_queue(world: World) -> None:
    """Beside twenty thousand tasks that wait and as many results, a small project reads a few
    rows; so the thousandth project of an installation is looked at as fast as the first."""
    world.find("a", "b")
    p = world.apply(project()).project_id
    world.work()
    with world.begin() as conn:
        for statement in CROWD:
            conn.execute(text(statement))

    with world.begin() as conn:
        assert progress(conn, p).phase.name == "Complete"
        read = conn.scalar(
            text(
                "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))"
                " FROM pg_stat_xact_user_tables WHERE relname IN ('tasks', 'results')"
            )
        )
    assert read < 2_000


CROWD = (
    "INSERT INTO projects (name, spec) SELECT 'crowd' || i, '{}' FROM generate_series(0, 99) i",
    """INSERT INTO tasks (stage, recipe_id, subject, project_id, state, run_at, error_class)
       SELECT r.stage, r.recipe_id, 'w' || i, p.project_id, 'waiting', now() + interval '1 h',
              'throttled'
       FROM recipes r, projects p, generate_series(1, 20000) i
       WHERE r.stage = 'download' AND p.name = 'crowd' || i % 100""",
    """INSERT INTO results (recipe_id, subject, stage, project_id, outcome)
       SELECT r.recipe_id, 'r' || i, r.stage, p.project_id, 'done'
       FROM recipes r, projects p, generate_series(1, 20000) i
       WHERE r.stage = 'download' AND p.name = 'crowd' || i % 100""",
    "ANALYZE tasks",
    "ANALYZE results",
)
"""Work of others with the same recipe."""
