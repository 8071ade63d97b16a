"""What a finished task leaves in the catalogue."""

from __future__ import annotations

from typing import Any

import pytest

from data_miner.catalog import garbage
from data_miner.catalog.datasets import latest, publish
from data_miner.catalog.facts import mark_gone
from data_miner.queue.plan import plan_project
from data_miner.stage import Done, Skip
from support.catalog import World, artifact, digest, project, video


def _members(world: World) -> dict[str, Any]:
    rows = world.rows("SELECT video_id, skip_reason FROM project_videos ORDER BY video_id")
    return {row.video_id: row.skip_reason for row in rows}


def test_discovered_videos_belong_to_the_project_that_looked(world: World) -> None:
    """Videos, who found them at which rank, and why one is left out are all recorded."""
    world.listings[0] = [
        video("a", 0, query="doors"),
        video("b", 1, skip_reason="TooLong: 7200 s, at most 3600 s"),
    ]
    applied = world.apply(project())
    world.work("discover")

    assert _members(world) == {"a": None, "b": "TooLong: 7200 s, at most 3600 s"}
    assert world.rows("SELECT video_id, rank, query FROM project_sources ORDER BY rank") == [
        ("a", 0, "doors"),
        ("b", 1, None),
    ]
    assert world.waves(applied.project_id) == [["a"]]
    found = world.rows("SELECT title, metadata FROM videos WHERE video_id = 'a'")
    assert found == [("A", {"duration_seconds": 10})]


def test_a_video_that_one_source_lets_through_is_in(world: World) -> None:
    """It is left out only if every source that found it leaves it out, in whichever order."""
    urls = [{"urls": {"items": [f"https://video.test/{i}"]}} for i in range(2)]
    world.listings[0] = [video("a", 0), video("b", 1, skip_reason="Live: it is live")]
    world.listings[1] = [video("b", 0), video("a", 1, skip_reason="Live: it is live")]
    world.apply(project(sources=urls))
    world.work("discover")

    assert _members(world) == {"a": None, "b": None}


def test_a_video_listed_twice_counts_at_its_first_place(world: World) -> None:
    """A list with the same video twice gives one video at its first rank."""
    world.listings[0] = [video("b", 0), video("a", 1), video("b", 2)]
    world.apply(project())
    world.work("discover")

    rows = world.rows("SELECT video_id, rank FROM project_sources ORDER BY rank")
    assert rows == [("b", 0), ("a", 1)]


def test_texts_with_any_character_are_recorded(world: World) -> None:
    """Quotes, emoji, backslashes and even NUL in what strangers wrote do no harm."""
    title = 'it\'s "100%" \\u0041 :name 🎈\x00'
    world.listings[0] = [video("a", 0, title=title, metadata={"tags": [title]})]
    world.apply(project())
    world.work("discover")

    ((found, metadata),) = world.rows("SELECT title, metadata FROM videos")
    clean = title.replace("\x00", "\ufffd")
    assert (found, metadata) == (clean, {"tags": [clean]})


def test_a_download_makes_the_video_better_known(world: World) -> None:
    """Its metadata joins what discovery said, and the project notes the source's content."""
    world.find("a")
    world.answers["download", "a"] = Done(
        (artifact("source", "a"),),
        {"source_sha256": digest("content")},
        {"video": {"title": None, "metadata": {"licence": "CC-BY"}}},
    )
    world.apply(project())
    world.work("discover", "download")

    ((title, metadata),) = world.rows("SELECT title, metadata FROM videos")
    assert (title, metadata) == ("A", {"duration_seconds": 10, "licence": "CC-BY"})
    assert world.rows("SELECT source_sha256 FROM project_videos") == [(digest("content"),)]


def test_files_keep_their_order(world: World) -> None:
    """Files of a result are read back in the order in which the stage named them."""
    world.find("a")
    files = tuple(artifact("image", i, media={"frame": i}) for i in (5, 1, 3))
    kept = {"frames": 3, "kept_by_video": {"a": 3}}
    world.answers["dedup", None] = Done((artifact("selection", 1),), kept)
    world.answers["cut", "a"] = Done(files, {"frames": 3})
    world.apply(project())
    world.work()

    (cut,) = next(a for k, a in world.assigned.items() if k[0] == "detect").inputs["cut"]
    assert [f.media["frame"] for f in cut.artifacts] == [5, 1, 3]


def test_a_result_made_again_replaces_its_files(world: World) -> None:
    """The old files are marked deleted and the new ones have the next generation."""
    world.find("a")
    applied = world.apply(project())
    world.work("discover", "download")
    ((recipe_id,),) = world.rows("SELECT recipe_id FROM results WHERE stage = 'download'")
    with world.begin() as conn:
        mark_gone(conn, [(recipe_id, "a")])
        plan_project(conn, applied.project_id, first_wave=2)
    world.answers["download", "a"] = Done((artifact("source", "again"),))
    world.work("download")

    rows = world.rows(
        "SELECT generation, sha256, deleted_at IS NULL AS there FROM artifacts"
        " WHERE kind = 'source' ORDER BY generation"
    )
    assert [(r.generation, r.there) for r in rows] == [(1, False), (2, True)]
    world.work("extract")
    (given,) = world.assigned["extract", "a"].inputs["download"]
    assert given.artifact("source").sha256 == artifact("source", "again").sha256


def test_a_lost_task_leaves_nothing(world: World) -> None:
    """Who finishes with an old token writes no file and no video."""
    world.find("a")
    world.apply(project())
    world.work("discover")
    (task,) = world.claim("download")
    with world.begin() as conn:
        conn.exec_driver_sql("UPDATE tasks SET claim_seq = claim_seq + 1")

    assert not world.finish(task, Done((artifact("source", "a"),)))
    assert world.rows("SELECT count(*) FROM artifacts") == [(0,)]


def test_records_that_nobody_writes_are_a_defect(world: World) -> None:
    """An unknown kind of record is refused, not lost."""
    world.find("a")
    world.apply(project())
    world.work("discover")
    (task,) = world.claim("download")

    with pytest.raises(ValueError, match="'vidoes', which nobody writes"):
        world.finish(task, Done(records={"vidoes": []}))


def test_each_wave_adds_a_version(world: World) -> None:
    """Versions count up within the project, and the newest one is the last wave's."""
    world.find("a", "b", "c")
    applied = world.apply(project())
    world.work()

    rows = world.rows("SELECT version, images FROM datasets ORDER BY version")
    assert rows == [(1, 4), (2, 6)]
    with world.begin() as conn:
        newest = latest(conn, applied.project_id)
    assert newest is not None
    assert (newest.version, newest.images) == (2, 6)


def test_the_same_version_is_recorded_once(world: World) -> None:
    """Recording a version twice changes nothing; another content of it is a new version."""
    world.find("a")
    applied = world.apply(project())
    world.work()
    ((recipe_id, wave_id, known),) = world.rows("SELECT recipe_id, wave_id, digest FROM datasets")

    def again(digest_: str) -> int | None:
        with world.begin() as conn:
            return publish(
                conn,
                project_id=applied.project_id,
                recipe_id=recipe_id,
                wave_id=wave_id,
                digest=digest_,
                images=2,
                uri="/x",
                summary={},
            )

    assert again(known) is None
    assert again(digest("other")) == 2


def test_a_skip_is_told_as_an_event(world: World) -> None:
    """The reason stays with the result and in the story of the project."""
    world.find("a")
    world.answers["download", "a"] = Skip("TooLarge: 9 GB, at most 1 GB")
    applied = world.apply(project())
    world.work()

    events = world.rows("SELECT video_id, details FROM events WHERE stage = 'download'")
    assert events == [("a", {"reason": "TooLarge: 9 GB, at most 1 GB"})]
    skipped = next(s for s in world.progress(applied.project_id).skipped if s.subject == "a")
    assert (skipped.stage, skipped.reason, skipped.subject) == ("download", "TooLarge", "a")


def test_only_files_that_a_row_names_are_kept(world: World) -> None:
    """The store's sweeper learns which of its objects are referenced."""
    world.find("a")
    world.apply(project())
    world.work()
    ((source,),) = world.rows("SELECT sha256 FROM artifacts WHERE kind = 'source'")
    stranger = digest("stranger")

    with world.begin() as conn:
        assert garbage.referenced(conn, [source, stranger]) == {source}
        assert garbage.unreferenced(conn, [source, stranger]) == {stranger}
        assert garbage.referenced(conn, []) == frozenset()
        conn.exec_driver_sql("UPDATE artifacts SET deleted_at = now() WHERE kind = 'source'")
        assert garbage.referenced(conn, [source]) == frozenset()
