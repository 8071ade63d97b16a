"""What a stage is: plain data in, an outcome out. The worker and the catalogue meet here.

A stage never sees the database. The worker reads an `Assignment` for it, runs it in a child
process with a `Context`, and records the `Outcome` in one fenced transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from data_miner.model_stores import ModelStores

Json = Any
"""A value of JSON's types: what crosses to the database and between processes."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """An immutable file in the store, named by its content."""

    kind: str
    """What it is to stages: ``source``, ``index``, ``render:<key>``, ``vectors``, ``image`` …"""
    uri: str
    bytes: int
    sha256: str
    """Hexadecimal digest of the content."""
    media: Mapping[str, Json] = field(default_factory=dict)
    """Facts about the content (duration_seconds, width, height, frame …), never about the host."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A result that was recorded: what another task made."""

    stage: str
    subject: str
    video_id: str | None
    facts: Mapping[str, Json]
    artifacts: tuple[Artifact, ...]
    wave: int | None = None
    """Number of the wave within its project, from 1; None outside of waves."""
    params: Mapping[str, Json] = field(default_factory=dict)
    """Parameters of the recipe that made it."""

    def artifact(self, kind: str) -> Artifact:
        """The only artifact of this kind. Raises LookupError unless there is exactly one."""
        found = [a for a in self.artifacts if a.kind == kind]
        if len(found) != 1:
            raise LookupError(f"{self.stage} {self.subject}: {len(found)} artifacts of kind {kind}")
        return found[0]


@dataclass(frozen=True, slots=True)
class Video:
    """A video as the catalogue knows it."""

    video_id: str
    url: str
    source_type: str
    """``SEARCH``, ``URL``, ``FILE`` or ``MANUAL``."""
    title: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    """What discovery learnt: duration_seconds, channel, licence, tags, extractor, upload_date …"""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Everything that a stage needs to know about one claimed task. Plain data; pickles."""

    task_id: int
    claim_seq: int
    stage: str
    subject: str
    params: Mapping[str, Json]
    attempt: int
    """Failures so far; 0 at the first try."""
    max_attempts: int
    project_id: int
    project_name: str
    namespace: str
    wave: int | None = None
    video: Video | None = None
    inputs: Mapping[str, tuple[Fact, ...]] = field(default_factory=dict)
    """By stage name; what each stage finds here is in catalog/assign.py, one function a stage."""
    previous: tuple[Fact, ...] = ()
    """Results of other recipes with the same reuse key on the same video, newest first: what they
    hold for the same frame need not be made again."""
    checkpoint: Json = None
    traceparent: str | None = None
    """W3C's trace context of the span that planned the task; None where nothing is traced."""

    @property
    def last_attempt(self) -> bool:
        """Whether a failure now makes it a dead letter."""
        return self.attempt + 1 >= self.max_attempts


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done. Everything named here is already published in the store."""

    artifacts: tuple[Artifact, ...] = ()
    facts: Mapping[str, Json] = field(default_factory=dict)
    """Small and JSON; ``frames`` (how many the stage yields) is read by planner and views."""
    records: Mapping[str, Json] = field(default_factory=dict)
    """Rows for the catalogue, by the name of the recorder (catalog/record.py): discover's
    ``videos``, download's ``video``, export's ``dataset``. Not kept with the result."""


@dataclass(frozen=True, slots=True)
class Skip:
    """There is nothing to do here, and that is an answer: it is not a failure."""

    reason: str
    """CamelCase word first, then words: ``TooLong: 7200 s, at most 3600 s``."""


@dataclass(frozen=True, slots=True)
class Later:
    """Not now: a rate limit, a live stream. Uses no attempt."""

    seconds: float
    reason: str
    """An error class of errors.py in data_miner.queue, such as ``throttled``, then words."""


Outcome = Done | Skip | Later


class StageError(Exception):
    """The work failed, and this is the name of the failure.

    `error_class` is a short snake_case word that metrics and people count by; `permanent` means
    that another try cannot help, so the task becomes a dead letter at once.
    """

    def __init__(self, error_class: str, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.permanent = permanent

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.error_class, str(self), self.permanent))


def _rebuild(error_class: str, message: str, permanent: bool) -> StageError:
    return StageError(error_class, message, permanent=permanent)


class StopRequested(BaseException):
    """Raised out of `tick` when the lease is lost, the task cancelled or the worker stops.

    Derived from BaseException so that no stage swallows it by accident.
    """


class Context(Protocol):
    """What a stage may touch while it runs."""

    assignment: Assignment
    scratch: Path
    """An empty folder of this task alone; gone afterwards."""

    def tick(self, progress: float | None = None, message: str | None = None) -> None:
        """Say that the work goes on: `progress` in 0..1. Raises StopRequested to end the run.

        Call it at least every few seconds; cheap enough for every frame.
        """

    def fetch(self, artifact: Artifact) -> Path:
        """A local, read-only file with the artifact's content, its size checked.

        Raises StageError("input_missing") when the store has lost it.
        """

    def publish(self, path: Path, kind: str, media: Mapping[str, Json] | None = None) -> Artifact:
        """Store a file under its content's name, durably. The same content twice is stored once.

        Raises StageError("disk_full"), StageError("storage").
        """

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a counter of this task; the names are in telemetry.COUNTERS."""

    def checkpoint(self, value: Json) -> None:
        """Keep what a later attempt of the same task may continue from."""

    def cache(self, key: str) -> Path | None:
        """A file that `remember` put under this key, or None. For values that any worker could
        make again, kept so that all use the same bytes (prompt vectors)."""

    def remember(self, key: str, path: Path) -> Path:
        """Put a file under a key unless one is there; returns the one that is there: first wins."""

    @property
    def model_stores(self) -> ModelStores:
        """Where models are looked for."""

    @property
    def provider(self) -> str:
        """Where models run, as the setting says."""

    @property
    def credential(self) -> Mapping[str, Path]:
        """Files of the credential that the recipe names, by file name; empty when none."""


class StageRunner(Protocol):
    """One file in worker_image/data_miner_worker/stages/ holds one of these."""

    name: ClassVar[str]

    def run(self, context: Context) -> Outcome:
        """Do the work of one assignment. Raises StageError, or anything else as ``unexpected``."""
