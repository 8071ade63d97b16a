"""A task that runs in a task process, and what follows from how it goes. Decides, never acts."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from data_miner.pipeline import BY_NAME
from data_miner.queue import Claimed
from data_miner.stage import Json
from data_miner.tracing import Span
from data_miner_worker.messages import Begun, Checkpoint, Failure, Tick

START_SECONDS = 60.0
"""A new process may take this long to import its libraries before the stall limit holds."""


class Order(Enum):
    """Why a run was told to stop."""

    FORGET = "forget"
    """The task is not ours any more: nothing about it may be recorded."""
    HAND_BACK = "hand back"
    """The worker stops: somebody else shall do it, and no attempt is counted."""


@dataclass(slots=True)
class Running:
    """What is known about a run; times are of the monotonic clock."""

    claimed: Claimed
    scratch: Path
    stall_seconds: float
    started: float
    last_sign: float
    oom_kills: int = 0
    """What `usage.oom_kills` said when it began."""
    begun: bool = False
    progress: float | None = None
    message: str | None = None
    checkpoint: Json = None
    checkpoint_changed: bool = False
    peak_rss_mb: float = 0.0
    order: Order | None = None
    kill_at: float | None = None
    span: Span = field(default_factory=Span)
    """Of this try, until it is recorded."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What lines of the log about it carry."""
    told: bool = False
    """The run is in the trace; its recording may be tried several times."""

    @property
    def token(self) -> tuple[int, int]:
        """(id, claim_seq): what every write about this run carries."""
        return self.claimed.id, self.claimed.claim_seq

    def heard(self, message: Begun | Tick | Checkpoint, now: float) -> None:
        """Note a sign of life."""
        self.begun, self.last_sign = True, now
        if isinstance(message, Tick):
            self.progress = message.progress if message.progress is not None else self.progress
            self.message = message.message or self.message
        elif isinstance(message, Checkpoint):
            self.checkpoint, self.checkpoint_changed = message.value, True

    def stop(self, order: Order, now: float, within_seconds: float) -> None:
        """Note that the run was told to stop; it is killed when it has not by then."""
        self.order = order if self.order is not Order.FORGET else self.order
        self.kill_at = now + within_seconds

    def stalled(self, now: float) -> bool:
        """Whether nothing has moved for longer than the stage may take between two ticks."""
        limit = self.stall_seconds if self.begun else max(self.stall_seconds, START_SECONDS)
        return now - self.last_sign > limit


def stall_seconds(stage: str, factor: float) -> float:
    """The stage's stall limit with the setting applied."""
    return BY_NAME[stage].stall_seconds * factor


def stalled(run: Running) -> Failure:
    """The failure of a run that stood still."""
    at = f" at {run.message!r}" if run.message else ""
    return Failure("stalled", f"no progress for {run.stall_seconds:g} s{at}; killed", lost=True)


def too_big(rss_mb: float, limit_mb: int) -> Failure:
    """The failure of a run that held too much memory."""
    return Failure(
        "out_of_memory",
        f"held {rss_mb:.0f} MB, at most {limit_mb} MB are allowed (DATA_MINER_TASK_MEMORY_MB);"
        " killed",
        lost=True,
    )


def died(code: int, *, out_of_memory: bool = False) -> Failure:
    """The failure of a run whose process ended by itself, by its return code (-N: signal N).

    `out_of_memory`: the container has reached its memory limit since the run began.
    """
    if out_of_memory and -code == signal.SIGKILL:
        return Failure(
            "out_of_memory",
            "the kernel killed the task's process (OOMKilled): the container's memory limit was"
            " reached",
            lost=True,
        )
    if code >= 0:
        return Failure("crashed", f"the task's process ended with exit status {code}", lost=True)
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = "; the machine may have run out of memory" if -code == signal.SIGKILL else ""
    return Failure("crashed", f"the task's process was killed by {name}{hint}", lost=True)
