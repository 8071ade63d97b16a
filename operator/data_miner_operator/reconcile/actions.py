"""What can be done about a project: plain data that a thin edge performs, in the order given."""

from __future__ import annotations

from dataclasses import dataclass

from data_miner.catalog.apply import Applied
from data_miner.compiler import CompiledStage
from data_miner.spec.project import MiningProject


@dataclass(frozen=True, slots=True)
class Apply:
    """Bring the catalogue in line with the object, and make the object the row's owner."""

    project: MiningProject
    """Its paths are absolute."""
    compiled: tuple[CompiledStage, ...]
    uid: str
    digest: str


@dataclass(frozen=True, slots=True)
class Suspend:
    """Stop the project at once, since the rest of its spec cannot be applied."""

    project_id: int


@dataclass(frozen=True, slots=True)
class Release:
    """The object is gone and the data stay: no work goes on, nobody owns the row."""

    project_id: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The object is gone and so shall the data be: what no other project uses is removed.

    Whoever performs it has asked the API server itself, just before: a cache that lags behind
    must not cost anybody his data.
    """

    project_id: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Make what has failed ready again, once for each token."""

    project_id: int
    token: str


@dataclass(frozen=True, slots=True)
class MakeModel:
    """Have a Job make a model that no store has; a Job for it that is there already is enough."""

    name: str


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """Delete the MiningProject itself, in the background, if it is still this very one."""

    uid: str
    resource_version: str
    """A later edit has another one: whoever edits wants the object to stay."""


Action = Apply | Suspend | Release | Forget | Retry | MakeModel | DeleteObject


@dataclass(frozen=True, slots=True)
class Performed:
    """An action that was performed, and what came of it."""

    action: Action
    applied: Applied | None = None
    """Of an Apply."""
    retried: int = 0
    """Of a Retry: tasks that are ready again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done now, and when to look again if nothing happens before."""

    actions: tuple[Action, ...] = ()
    requeue_seconds: float | None = None
    """0 looks again right after the actions; None waits for an event or the next resync."""
    frozen: bool = False
    """Whether the object asks to be left alone."""
