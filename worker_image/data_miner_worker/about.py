"""What every line of the log about a task carries, in the worker and in its task processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_miner.queue import Claimed
    from data_miner.stage import Assignment


def about(given: Assignment, trace_id: str | None) -> Mapping[str, Any]:
    """Which try of which task of which project; the first try is 1."""
    known: dict[str, Any] = {
        "project": f"{given.namespace}/{given.project_name}",
        "stage": given.stage,
        "subject": given.subject,
        "task": given.task_id,
        "attempt": given.attempt + 1,
    }
    return {**known, "trace_id": trace_id} if trace_id else known


def about_claimed(task: Claimed) -> Mapping[str, Any]:
    """The same of a task of which no more is known than its row."""
    return {
        "project_id": task.project_id,
        "stage": task.stage,
        "subject": task.subject,
        "task": task.id,
        "attempt": task.attempt + 1,
    }
