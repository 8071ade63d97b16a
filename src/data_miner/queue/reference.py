"""The two calls of earlier tools, with their arguments, over the same tasks."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, text
from sqlalchemy.orm import Session

CLAIM = text(
    "SELECT * FROM claim_next_video(CAST(:project AS integer), :before, :during, :worker, :lease)"
)
RELEASE = text("SELECT release_video(:video, :worker, :after, CAST(:updates AS jsonb))")


def claim_next_video(
    session: Session | Connection,
    project_id: int | None,
    input_status: str,
    in_progress_status: str,
    worker_id: str,
    *,
    lease_seconds: float = 120,
) -> RowMapping | None:
    """Take the next video whose work leads from one status to the other; None when there is none.

    The row is one of the view ``video_status``. Commit before the work begins.
    """
    parameters = {
        "project": project_id,
        "before": str(input_status),
        "during": str(in_progress_status),
        "worker": worker_id,
        "lease": timedelta(seconds=lease_seconds),
    }
    return session.execute(CLAIM, parameters).mappings().first()


def release_video(
    session: Session | Connection,
    video_id: str,
    worker_id: str,
    output_status: str,
    **updates: Any,
) -> bool:
    """End the work on a video, fail it, or hand it back, by the status that it shall have.

    `updates` are columns of the views (``video_path``, ``frames_dir``, ``frame_count``,
    ``filtered_dir``, ``passed_frames``). False when this worker does not hold it any more.
    """
    parameters = {
        "video": video_id,
        "worker": worker_id,
        "after": str(output_status),
        "updates": json.dumps(updates),
    }
    return bool(session.execute(RELEASE, parameters).scalar())
