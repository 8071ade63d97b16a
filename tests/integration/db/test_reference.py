"""The reference's names: real tasks driven into every status, and every query it prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from data_miner.db.reference import (
    ProjectStatus,
    ProjectVideoStatus,
    SourceType,
    VideoStatus,
    project_status,
    project_video_status,
    video_status,
)
from data_miner.queue.reference import claim_next_video, release_video
from support.queue import World

ALONE = [["v"]]


def started(world: World, stage: str) -> World:
    """One project of one video, worked up to a running task of `stage`."""
    before = started_before(world, stage)
    assert before.claim(stage)
    return before


def started_before(world: World, stage: str) -> World:
    """One project of one video, worked up to a ready task of `stage`."""
    world.plan(world.project(found=ALONE))
    while not any(s == stage and state == "ready" for s, _, state in world.tasks()):
        assert world.finish(*[world.done(t) for t in world.claim(limit=10)])
    return world


def ended(world: World, stage: str, how: str, **facts: Any) -> World:
    """One project of one video whose `stage` has just ended."""
    (task,) = started_before(world, stage).claim(stage)
    if how == "failed":
        world.fail(task, permanent=True)
    elif how == "skipped":
        world.finish(world.skip(task))
    else:
        world.finish(world.done(task, **facts))
    return world


def one(world: World, view: str) -> dict[str, Any]:
    """The only row of a view."""
    (row,) = world.rows(f"SELECT * FROM {view}")
    return row


VIDEO_CASES: list[tuple[Callable[[World], World], str]] = [
    (lambda w: started_before(w, "download"), VideoStatus.PENDING),
    (lambda w: started(w, "download"), VideoStatus.DOWNLOADING),
    (lambda w: ended(w, "download", "done"), VideoStatus.DOWNLOADED),
    (lambda w: started(w, "extract"), VideoStatus.EXTRACTING),
    (lambda w: ended(w, "extract", "done"), VideoStatus.EXTRACTED),
    (lambda w: ended(w, "download", "failed"), VideoStatus.FAILED),
    (lambda w: ended(w, "download", "skipped"), VideoStatus.FAILED),
    (lambda w: ended(w, "extract", "failed"), VideoStatus.FAILED),
]


@pytest.mark.parametrize(("drive", "status"), VIDEO_CASES)
def test_a_video_reaches_every_status(
    world: World, drive: Callable[[World], World], status: str
) -> None:
    """Each VideoStatus is what the view says after the work that it names."""
    row = one(drive(world), "video_status")
    assert row["status"] == status
    locked = status in {VideoStatus.DOWNLOADING, VideoStatus.EXTRACTING}
    assert (row["locked_by"], row["heartbeat_at"] is not None) == ("w" if locked else None, locked)


PROJECT_VIDEO_CASES: list[tuple[Callable[[World], World], str]] = [
    (lambda w: started_before(w, "filter"), ProjectVideoStatus.PENDING),
    (lambda w: started(w, "filter"), ProjectVideoStatus.FILTERING),
    (lambda w: ended(w, "filter", "done"), ProjectVideoStatus.FILTERED),
    (lambda w: ended(w, "filter", "done", frames=0), ProjectVideoStatus.FILTERED_EMPTY),
    (lambda w: ended(w, "filter", "skipped"), ProjectVideoStatus.FILTERED_EMPTY),
    (lambda w: ended(w, "download", "skipped"), ProjectVideoStatus.FILTERED_EMPTY),
    (lambda w: ended(w, "filter", "failed"), ProjectVideoStatus.FAILED),
    (lambda w: ended(w, "embed", "failed"), ProjectVideoStatus.FAILED),
]


@pytest.mark.parametrize(("drive", "status"), PROJECT_VIDEO_CASES)
def test_a_projects_video_reaches_every_status(
    world: World, drive: Callable[[World], World], status: str
) -> None:
    """Each ProjectVideoStatus is what the view says after the work that it names."""
    row = one(drive(world), "project_video_status")
    assert row["status"] == status
    assert row["passed_frames"] == {"FILTERED": 2, "FILTERED_EMPTY": row["passed_frames"]}.get(
        status
    )


PROJECT_CASES: list[tuple[Callable[[World], World], str]] = [
    (lambda w: started_before(w, "discover"), ProjectStatus.POPULATING),
    (lambda w: ended(w, "discover", "failed"), ProjectStatus.POPULATING),
    (lambda w: started(w, "download"), ProjectStatus.FILTERING),
    (lambda w: started(w, "filter"), ProjectStatus.FILTERING),
    (lambda w: started_before(w, "dedup"), ProjectStatus.DEDUP_READY),
    (lambda w: ended(w, "dedup", "failed"), ProjectStatus.DEDUP_READY),
    (lambda w: started(w, "dedup"), ProjectStatus.DEDUPING),
    (lambda w: started(w, "cut"), ProjectStatus.DETECT_READY),
    (lambda w: started_before(w, "detect"), ProjectStatus.DETECT_READY),
    (lambda w: started(w, "detect"), ProjectStatus.DETECTING),
    (lambda w: started_before(w, "export"), ProjectStatus.DETECT_READY),
    (lambda w: ended(w, "export", "failed"), ProjectStatus.DETECT_READY),
    (lambda w: started(w, "export"), ProjectStatus.DETECTING),
    (lambda w: ended(w, "export", "done"), ProjectStatus.COMPLETE),
]


@pytest.mark.parametrize(("drive", "status"), PROJECT_CASES)
def test_a_project_reaches_every_status(
    world: World, drive: Callable[[World], World], status: str
) -> None:
    """Each ProjectStatus is what the view says after the work that it names."""
    assert one(drive(world), "project_status")["project_stage"] == status


@pytest.mark.parametrize("source", SourceType)
def test_a_video_keeps_how_it_became_known(world: World, source: SourceType) -> None:
    """Every SourceType is accepted and shown; another one is refused."""
    insert = text("INSERT INTO videos (video_id, url, source_type) VALUES (:v, 'u', :s)")
    with world.engine.begin() as c:
        c.execute(insert, {"v": "v", "s": str(source)})
    assert one(world, "video_status")["source_type"] == source
    with world.engine.connect() as c, pytest.raises(DBAPIError, match="source_type"):
        c.execute(insert, {"v": "w", "s": "RUMOUR"})


def test_every_status_is_in_the_tables_above() -> None:
    """Every value of every enum is driven into, so that none is forgotten."""
    named = {status for _, status in VIDEO_CASES + PROJECT_VIDEO_CASES + PROJECT_CASES}
    assert named == {*VideoStatus, *ProjectVideoStatus, *ProjectStatus}


def test_project_counts_are_cumulative(world: World) -> None:
    """Downloaded includes extracted, pending excludes failed, and frames are summed."""
    project = world.project(found=[["a", "b", "c", "d"]])
    world.plan(project)
    world.drain("discover")
    for task in world.claim("download", limit=10):
        if task.subject == "a":
            world.fail(task, permanent=True)
        else:
            world.finish(world.done(task))
    world.drain("extract", "embed", "filter", "dedup_embed")
    world.advance(1)
    row = one(world, "project_status")
    assert {key: row[key] for key in row if key.startswith(("total", "videos"))} == {
        "total_videos": 4,
        "videos_pending": 2,
        "videos_downloaded": 1,
        "videos_extracted": 1,
        "videos_failed": 1,
    }
    assert (row["extracted_frames"], row["filtered_frames"], row["unique_frames"]) == (2, 2, 0)
    world.drain()
    row = one(world, "project_status")
    assert (row["videos_pending"], row["extracted_frames"], row["unique_frames"]) == (0, 6, 3)


def test_the_views_have_every_column_of_the_reference(world: World) -> None:
    """Each documented column is there under its own name."""
    wanted = {
        "project_status": "project_id name project_stage total_videos videos_pending"
        " videos_downloaded videos_extracted videos_failed extracted_frames filtered_frames"
        " unique_frames dedup_dir detect_dir",
        "video_status": "video_id url source_type source_info video_path frames_dir frame_count"
        " status locked_by heartbeat_at",
        "project_video_status": "id project_id video_id filtered_dir passed_frames status"
        " locked_by heartbeat_at",
    }
    for table in (project_status, video_status, project_video_status):
        with world.engine.connect() as c:
            assert c.execute(select(table)).all() == []
        assert set(wanted[table.name].split()) <= set(table.columns.keys())


def test_the_printed_claim_takes_one_row_and_passes_over_locked_ones(world: World) -> None:
    """`select(Video).where(status).with_for_update(skip_locked).limit(1)` works on the view."""
    world.plan(world.project(found=[["a", "b"]]))
    world.drain("discover")
    stmt = (
        select(video_status)
        .where(video_status.c.status == VideoStatus.PENDING)
        .with_for_update(skip_locked=True)
        .limit(1)
    )
    with Session(world.engine) as one_session, Session(world.engine) as another:
        first = one_session.execute(stmt).one()
        second = another.execute(stmt).one()
        assert {first.video_id, second.video_id} == {"a", "b"}
        with Session(world.engine) as third:
            assert third.execute(stmt).first() is None


def test_the_printed_calls_carry_a_video_through(world: World) -> None:
    """claim_next_video and release_video take a video from PENDING to FILTERED."""
    project_id = world.project(
        found=ALONE, stages=("discover", "download", "extract", "filter", "dedup")
    )
    world.plan(project_id)
    world.drain("discover")
    steps: list[tuple[str, str, str, dict[str, Any]]] = [
        ("PENDING", "DOWNLOADING", "DOWNLOADED", {"video_path": "/v.mp4"}),
        ("DOWNLOADED", "EXTRACTING", "EXTRACTED", {"frames_dir": "/f", "frame_count": 9}),
        ("PENDING", "FILTERING", "FILTERED", {"filtered_dir": "/k", "passed_frames": 3}),
    ]
    for input_status, in_progress_status, output_status, updates in steps:
        with Session(world.engine) as session, session.begin():
            video = claim_next_video(
                session, project_id, input_status, in_progress_status, "worker"
            )
            assert video is not None
            assert video["video_id"] == "v"
            assert (
                claim_next_video(session, project_id, input_status, in_progress_status, "other")
                is None
            )
        with Session(world.engine) as session, session.begin():
            assert not release_video(session, "v", "other", output_status, **updates)
            assert release_video(session, "v", "worker", output_status, **updates)

    video_row = one(world, "video_status")
    assert (video_row["status"], video_row["video_path"]) == ("EXTRACTED", "/v.mp4")
    assert (video_row["frames_dir"], video_row["frame_count"]) == ("/f", 9)
    member = one(world, "project_video_status")
    assert (member["status"], member["filtered_dir"]) == ("FILTERED", "/k")
    assert member["passed_frames"] == 3
    assert {stage for stage, _, _ in world.tasks()} == {"dedup"}
    assert one(world, "project_status")["project_stage"] == "DEDUP_READY"


@pytest.mark.parametrize(
    ("output_status", "expected"),
    [("PENDING", "PENDING"), ("FAILED", "FAILED"), ("DOWNLOADED", "DOWNLOADED")],
)
def test_release_hands_back_or_fails_by_the_status(
    world: World, output_status: str, expected: str
) -> None:
    """The status before the work hands it back, FAILED makes a dead letter."""
    started_before(world, "download")
    with world.engine.begin() as c:
        assert claim_next_video(c, None, "PENDING", "DOWNLOADING", "worker")
        assert release_video(c, "v", "worker", output_status)
    assert one(world, "video_status")["status"] == expected


def test_a_claim_between_statuses_that_nothing_joins_is_refused(world: World) -> None:
    """The error says which pair was asked for."""
    with world.engine.connect() as c, pytest.raises(DBAPIError, match="from FAILED to EXTRACTING"):
        claim_next_video(c, None, "FAILED", "EXTRACTING", "worker")
