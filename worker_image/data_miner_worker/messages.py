"""What a worker and its task processes say to each other over their pipe. Plain data; pickles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_miner.settings import Settings
from data_miner.stage import Assignment, Json, Outcome
from data_miner_models.use import ModelUse


@dataclass(frozen=True, slots=True)
class Hello:
    """First word to a task process: what holds for all its tasks."""

    settings: Settings
    scratch: Path
    """The worker's scratch folder: what lies below it is nobody else's."""
    threads: int = 1
    """CPU threads of one model."""


@dataclass(frozen=True, slots=True)
class Run:
    """Do this."""

    assignment: Assignment
    scratch: Path
    """A folder for this task alone; the task process makes and removes it."""
    trace_id: str | None = None
    """For the log; None where nothing is traced."""
    traced: bool = False
    """Whether the worker wants to know when the parts of the run began and ended."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run at the next tick; without one, no more is wanted and the process ends."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The process is up and has taken the task."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The work goes on."""

    progress: float | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a later attempt may continue from."""

    value: Json


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task failed, by a name that people and metrics count by."""

    error_class: str
    message: str
    """One line."""
    permanent: bool = False
    """Whether another try cannot help."""
    lost: bool = False
    """Whether the task ended with its process: its neighbours in it would have ended too."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run ended because it was told to."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a task used, its own processes included."""

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    max_rss_mb: float = 0.0
    models: ModelUse = field(default_factory=ModelUse)


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a run, for its trace; times are of the clock of `time.time_ns`."""

    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, str | int | float]
    error_class: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The last word about one task."""

    result: Outcome | Failure | Stopped
    usage: Usage = field(default_factory=Usage)
    counters: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    """SHA-256 of inputs that the store has lost: they must be made again first."""
    steps: tuple[Step, ...] = ()
    """The run itself, then its parts in the order of their beginning; empty unless traced."""
