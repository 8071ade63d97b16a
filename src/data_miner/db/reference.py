"""The reference names: statuses that views compute, and the views themselves.

No table holds a status. Facts and live tasks say it, and these views put it into the words that
earlier tools and their users know.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, Table, Text


class VideoStatus(StrEnum):
    """How far a video is in the stages that all projects share."""

    PENDING = "PENDING"
    DOWNLOADING = "DOWNLOADING"
    DOWNLOADED = "DOWNLOADED"
    EXTRACTING = "EXTRACTING"
    EXTRACTED = "EXTRACTED"
    FAILED = "FAILED"
    """A dead letter, or skipped: nothing will come of it."""


class ProjectVideoStatus(StrEnum):
    """How far a video is in one project."""

    PENDING = "PENDING"
    FILTERING = "FILTERING"
    FILTERED = "FILTERED"
    FILTERED_EMPTY = "FILTERED_EMPTY"
    """No frame of it passes, or it was left out before it came so far."""
    FAILED = "FAILED"


class ProjectStatus(StrEnum):
    """What a project as a whole is at. Waves overlap: what runs for all of it is named first."""

    POPULATING = "POPULATING"
    FILTERING = "FILTERING"
    DEDUP_READY = "DEDUP_READY"
    DEDUPING = "DEDUPING"
    DETECT_READY = "DETECT_READY"
    DETECTING = "DETECTING"
    COMPLETE = "COMPLETE"


class SourceType(StrEnum):
    """How a video came to be known."""

    SEARCH = "SEARCH"
    URL = "URL"
    FILE = "FILE"
    MANUAL = "MANUAL"


views = MetaData()
"""Apart from the tables: Alembic does not manage these."""

video_status = Table(
    "video_status",
    views,
    Column("video_id", Text, primary_key=True),
    Column("url", Text),
    Column("source_type", Text),
    Column("source_info", Text),
    Column("video_path", Text),
    Column("frames_dir", Text),
    Column("frame_count", Integer),
    Column("status", Text),
    Column("locked_by", Text),
    Column("heartbeat_at", DateTime(timezone=True)),
)

project_video_status = Table(
    "project_video_status",
    views,
    Column("id", Integer, primary_key=True),
    Column("project_id", Integer),
    Column("video_id", Text),
    Column("filtered_dir", Text),
    Column("passed_frames", Integer),
    Column("status", Text),
    Column("locked_by", Text),
    Column("heartbeat_at", DateTime(timezone=True)),
)

project_status = Table(
    "project_status",
    views,
    Column("project_id", Integer, primary_key=True),
    Column("namespace", Text),
    Column("name", Text),
    Column("project_stage", Text),
    Column("total_videos", BigInteger),
    Column("videos_pending", BigInteger),
    Column("videos_downloaded", BigInteger),
    Column("videos_extracted", BigInteger),
    Column("videos_failed", BigInteger),
    Column("extracted_frames", BigInteger),
    Column("filtered_frames", BigInteger),
    Column("unique_frames", BigInteger),
    Column("dedup_dir", Text),
    Column("detect_dir", Text),
)
