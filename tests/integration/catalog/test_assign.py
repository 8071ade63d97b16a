"""What each stage is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from data_miner.catalog.assign import assign
from data_miner.catalog.facts import InputGoneError, mark_gone
from data_miner.queue.plan import plan_project
from data_miner.stage import Assignment, Done
from support.catalog import World, digest, project


@pytest.fixture
def mined(world: World) -> World:
    """Three videos in two waves, mined to the end; the second wave is `c` alone."""
    world.find("a", "b", "c")
    world.apply(project())
    world.work()
    return world


def _given(world: World, stage: str, subject: str) -> Assignment:
    waves = dict(map(tuple, world.rows("SELECT n, wave_id FROM waves")))
    return world.assigned[stage, subject.format(**{f"w{n}": f"w{i}" for n, i in waves.items()})]


def _inputs(given: Assignment) -> dict[str, list[tuple[str, int | None]]]:
    return {
        stage: [(f.video_id or f.stage, f.wave) for f in facts]
        for stage, facts in given.inputs.items()
    }


@contextmanager
def _statements(world: World) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(world.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(world.engine, "before_cursor_execute", note)


GIVEN: list[tuple[str, str, dict[str, list[tuple[str, int | None]]]]] = [
    ("discover", "p1/0", {}),
    ("download", "a", {}),
    ("extract", "a", {"download": [("a", None)]}),
    ("embed", "a", {"extract": [("a", None)]}),
    ("filter", "a", {"extract": [("a", None)], "embed": [("a", None)]}),
    ("dedup_embed", "a", {"extract": [("a", None)], "filter": [("a", None)]}),
    ("cut", "{w1}/a", {"dedup": [("dedup", 1)], "download": [("a", None)]}),
    ("detect", "{w1}/a", {"cut": [("a", 1)]}),
    (
        "dedup",
        "{w1}",
        {
            "download": [("a", 1), ("b", 1)],
            "extract": [("a", 1), ("b", 1)],
            "filter": [("a", 1), ("b", 1)],
            "dedup_embed": [("a", 1), ("b", 1)],
            "dedup": [],
        },
    ),
    (
        "dedup",
        "{w2}",
        {
            "download": [("a", 1), ("b", 1), ("c", 2)],
            "extract": [("a", 1), ("b", 1), ("c", 2)],
            "filter": [("a", 1), ("b", 1), ("c", 2)],
            "dedup_embed": [("a", 1), ("b", 1), ("c", 2)],
            "dedup": [("dedup", 1)],
        },
    ),
    (
        "export",
        "{w2}",
        {
            "download": [("a", 1), ("b", 1), ("c", 2)],
            "extract": [("a", 1), ("b", 1), ("c", 2)],
            "filter": [("a", 1), ("b", 1), ("c", 2)],
            "dedup_embed": [("a", 1), ("b", 1), ("c", 2)],
            "dedup": [("dedup", 1), ("dedup", 2)],
            "cut": [("a", 1), ("b", 1), ("c", 2)],
            "detect": [("a", 1), ("b", 1), ("c", 2)],
            "export": [("export", 1)],
            "report": [("report", 2)],
        },
    ),
]
"""(stage, subject, what it reads as (video, wave))."""


def test_a_stage_is_given_exactly_its_inputs(mined: World) -> None:
    """Every stage gets the results of the contract's table, with their waves, and no others."""
    found = [
        (stage, subject, _inputs(_given(mined, stage, subject))) for stage, subject, _ in GIVEN
    ]

    assert found == GIVEN


def test_an_assignment_names_its_project_its_video_and_its_files(mined: World) -> None:
    """Names, parameters, the video with what is known of it, and files with their media facts."""
    given = _given(mined, "cut", "{w1}/a")

    assert (given.namespace, given.project_name, given.wave) == ("default", "balls", 1)
    assert given.params == {"format": "JPEG", "quality": given.params["quality"]}
    assert given.video is not None
    assert (given.video.title, given.video.metadata["duration_seconds"]) == ("A", 10)
    source = given.inputs["download"][0].artifact("source")
    assert source.uri.startswith("file:///store/")
    assert given.inputs["download"][0].facts["source_sha256"] == digest("a")
    assert given.inputs["dedup"][0].params["threshold"] == 0.9
    assert not given.last_attempt


def test_an_export_goes_below_the_home_folder_or_where_the_spec_says(world: World) -> None:
    """params.base is the spec's URI, or a folder of the project's own."""
    world.find("a")
    world.apply(project("one"))
    formats = {"formats": ["COCO"], "splits": {"train": 0.8, "val": 0.1, "test": 0.1}}
    world.apply(project("two", export={**formats, "uri": "s3://bucket/datasets"}))
    world.work()

    bases = {
        a.project_name: a.params["base"] for k, a in world.assigned.items() if k[0] == "export"
    }
    assert bases["one"] == str(world.settings.home / "datasets" / "default" / "one")
    assert bases["two"] == "s3://bucket/datasets"


def test_an_export_is_told_what_the_report_says(mined: World) -> None:
    """Funnel, costs, failures, thresholds and the videos come with it as one plain result."""
    told = _given(mined, "export", "{w2}").inputs["report"][0].facts

    assert told["funnel"]["found"] == 3
    assert told["funnel"]["unique"] == 6
    assert told["costs"]["bytes_downloaded"] == 30
    assert told["failures_by_class"] == []
    assert "positive" in told["thresholds"]
    assert told["videos"]["a"]["url"] == "https://video.test/a"


def test_a_video_that_failed_or_kept_nothing_takes_no_part_in_dedup(world: World) -> None:
    """Only members with kept frames reach it; the wave does not wait for the others."""
    world.find("a", "b")
    world.answers["filter", "b"] = Done(facts={"frames": 0})
    world.apply(project())
    world.work()

    assert _inputs(_given(world, "dedup", "{w1}"))["filter"] == [("a", 1)]


def test_a_changed_prompt_borrows_the_work_on_frames(mined: World) -> None:
    """dedup_embed, cut and detect are given the newest results of the recipe before."""
    mined.apply(project(filter={"model": "tiny-clip", "positive": ["a blue box"]}))
    mined.work()

    for stage, subject in (("dedup_embed", "a"), ("cut", "{w1}/a"), ("detect", "{w1}/a")):
        given = _given(mined, stage, subject)
        assert [(f.stage, f.video_id) for f in given.previous] == [(stage, "a")]
        assert given.previous[0].artifacts
    assert _given(mined, "filter", "a").previous == ()


def test_what_lost_its_files_is_not_lent(mined: World) -> None:
    """A result whose files were deleted is no help."""
    with mined.begin() as conn:
        conn.exec_driver_sql("UPDATE artifacts SET deleted_at = now() WHERE kind = 'image'")
    mined.apply(project(filter={"model": "tiny-clip", "positive": ["a blue box"]}))
    mined.work("filter", "dedup_embed", "dedup", "cut")

    assert _given(mined, "cut", "{w1}/a").previous == ()


@pytest.mark.parametrize(("height", "lent"), [(480, ["a"]), (2160, [])])
def test_a_taller_download_is_offered_for_a_smaller_wish(
    mined: World, height: int, lent: list[str]
) -> None:
    """A source of at least the wanted height is named; a smaller one is not."""
    mined.apply(project("other", download={"maxHeight": height}))
    mined.work()

    assert [f.video_id for f in mined.assigned["download", "a"].previous] == lent


def test_a_download_with_another_credential_is_not_offered(mined: World) -> None:
    """What one may see with a credential is not passed to those without it."""
    mined.apply(project("other", download={"maxHeight": 480, "secretRef": {"name": "cookies"}}))
    mined.work()

    assert mined.assigned["download", "a"].previous == ()


def test_an_input_that_is_gone_is_made_again(world: World) -> None:
    """The task is refused by a named error; once that is noted, the input is planned again."""
    world.find("a")
    applied = world.apply(project())
    world.work("discover", "download")
    with world.begin() as conn:
        conn.exec_driver_sql("UPDATE artifacts SET deleted_at = now() WHERE kind = 'source'")
    (task,) = world.claim("extract")

    with world.begin() as conn, pytest.raises(InputGoneError, match="download of a") as caught:
        assign(conn, task, world.settings)
    with world.begin() as conn:
        assert mark_gone(conn, caught.value.keys) == 1
        plan_project(conn, applied.project_id, first_wave=2)

    assert [t.stage for t in world.claim("download")] == ["download"]


@pytest.mark.parametrize(
    ("gone", "of", "reader"),
    [("vectors", "dedup_embed", "dedup"), ("image", "cut", "export")],
)
def test_a_wave_waits_for_what_is_made_again(world: World, gone: str, of: str, reader: str) -> None:
    """It is not gathered, and not exported, without a member whose files were lost meanwhile."""
    world.find("a", "b")
    applied = world.apply(project())
    before = ("discover", "download", "extract", "embed", "filter", "dedup_embed")
    world.work(*before, *(() if reader == "dedup" else ("dedup", "cut", "detect")))
    (task,) = world.claim(reader)
    lost = (
        "UPDATE artifacts SET deleted_at = now() WHERE kind = %s AND recipe_id ="
        " (SELECT recipe_id FROM recipes WHERE stage = %s) AND subject LIKE %s"
    )
    with world.begin() as conn:
        conn.exec_driver_sql(lost, (gone, of, "%a"))

    with world.begin() as conn, pytest.raises(InputGoneError, match="is gone") as caught:
        assign(conn, task, world.settings)
    with world.begin() as conn:
        mark_gone(conn, caught.value.keys)
        plan_project(conn, applied.project_id, first_wave=2)
    with world.begin() as conn, pytest.raises(InputGoneError, match="under way again"):
        assign(conn, task, world.settings)

    world.work(of)
    world.do(task)
    world.work()
    assert world.progress(applied.project_id).funnel.exported == 4


def test_the_number_of_queries_does_not_depend_on_the_wave(world: World) -> None:
    """Gathering 40 videos takes as few statements as gathering two."""
    world.listings[0] = []
    world.find(*[f"v{i:02d}" for i in range(42)])
    world.apply(project(export=None, detect=None))
    counted: dict[int, int] = {}
    for _ in range(100):
        claimed = world.claim()
        if not claimed:
            break
        for task in claimed:
            if task.stage == "dedup":
                with _statements(world) as seen, world.begin() as conn:
                    given = assign(conn, task, world.settings)
                counted[len(given.inputs["filter"])] = len(seen)
            world.do(task)

    assert max(counted) == 42
    assert set(counted.values()) <= {5}
