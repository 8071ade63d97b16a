"""What a worker tells of a task in traces.

One span for each try, below the span that planned the task: `process <stage>`. Below it are the
claim, the run in the task process with its steps, and the recording. What the try makes possible
is planned below it as well.
"""

from __future__ import annotations

import time
from typing import Final

from data_miner import tracing
from data_miner.queue import Claimed
from data_miner.stage import Assignment, Skip
from data_miner.tracing import Attributes, Span
from data_miner_worker.messages import Ended, Failure
from data_miner_worker.running import Running

SYSTEM: Final = "data_miner"
_DATABASE: Final[Attributes] = {"db.system.name": "postgresql"}


def begin(task: Claimed, assignment: Assignment, worker_id: str, claim_ns: tuple[int, int]) -> Span:
    """The span of one try, from its claim on; `claim_ns` says from when to when that took."""
    began, ended = claim_ns
    span = tracing.start(
        f"process {task.stage}",
        {
            "messaging.system": SYSTEM,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": task.stage,
            "messaging.message.id": str(task.id),
            "messaging.client.id": worker_id,
            "dataminer.stage": task.stage,
            "dataminer.project": f"{assignment.namespace}/{assignment.project_name}",
            "dataminer.subject": task.subject,
            "dataminer.attempt": task.attempt + 1,
            "dataminer.lost_workers": task.lost_count,
            "dataminer.wave": assignment.wave,
        },
        parent=assignment.traceparent,
        kind="consumer",
        start_ns=began,
    )
    claim = {"messaging.operation.name": "claim", "messaging.operation.type": "receive"}
    span.child("claim", {**_DATABASE, **claim}, kind="client", start_ns=began).end(ended)
    return span


def ran(run: Running, ended: Ended) -> None:
    """Tell of the run itself, once: the steps that its process told, or how it ended if none."""
    if run.told or not run.span.sampled:
        return
    run.told = True
    began = time.time_ns() - round((time.monotonic() - run.started) * 1e9)
    main, *steps = ended.steps or [None]
    usage = ended.usage
    span = run.span.child(
        f"run {run.claimed.stage}",
        {
            "dataminer.cpu_seconds": usage.cpu_seconds,
            "dataminer.memory_peak_megabytes": usage.max_rss_mb,
            **{f"dataminer.{name}": amount for name, amount in ended.counters.items()},
            **(main.attributes if main else {}),
        },
        start_ns=main.start_ns if main else began,
    )
    for step in steps:
        if step is not None:
            part = span.child(step.name, step.attributes, start_ns=step.start_ns)
            if step.error_class:
                part.failed(step.error_class)
            part.end(step.end_ns)
    if isinstance(ended.result, Failure):
        span.failed(ended.result.error_class, ended.result.message)
    span.end(main.end_ns if main else None)


def recording(run: Running) -> Span:
    """The span of telling the database how a run ended."""
    return run.span.child("record", _DATABASE, kind="client")


def settled(run: Running, ended: Ended, outcome: str, error_class: str = "") -> None:
    """Say on the try's span how it ended: done, skipped, failed, later, lost or handed_back."""
    run.span.set({"dataminer.outcome": outcome})
    if outcome == "failed":
        message = ended.result.message if isinstance(ended.result, Failure) else ""
        run.span.failed(error_class, message)
    elif isinstance(ended.result, Skip):
        run.span.set({"dataminer.reason": ended.result.reason})
    elif error_class:
        run.span.set({"dataminer.reason": error_class})
