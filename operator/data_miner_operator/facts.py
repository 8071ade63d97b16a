"""What is there: the facts from which everything is decided. Plain data, read by thin edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from data_miner.catalog.owned import Row
from data_miner.catalog.progress import Progress
from data_miner.catalog.pulse import Pulse
from data_miner.compiler import ModelInfo

GROUP: Final = "data-miner.io"
VERSION: Final = "v1alpha1"
PLURAL: Final = "miningprojects"
FIELD_MANAGER: Final = "data-miner-operator"

Key = tuple[str, str]
"""Namespace and name of a MiningProject."""


@dataclass(frozen=True, slots=True)
class Site:
    """The installation that this operator works for, and what it may do."""

    installation: str
    """UID of the namespace that the operator runs in: tells this cluster's projects from those of
    another one that shares the database."""
    folder: str
    """Relative paths in a project count from here, in the workers' file systems."""
    allowed_prefixes: str
    """URI prefixes, separated by spaces, that a spec may read and write; empty allows all."""
    credentials: Mapping[str, frozenset[str]] | None
    """Names of the credentials that the workers have, each with the namespaces that may use it
    (empty: all of them); None when the installation names none, and nothing is checked."""


@dataclass(frozen=True, slots=True)
class JobFact:
    """A Job that this operator made, as of now."""

    name: str
    active: bool
    failed: bool
    message: str
    """Why it has failed, or why its pod does not start; empty otherwise."""


@dataclass(frozen=True, slots=True)
class ModelFact:
    """A model that a spec names."""

    name: str
    info: ModelInfo | None
    """What compiling needs to know of it; None when no store has it."""
    problem: str
    """One line when it is not there; empty otherwise."""
    job: JobFact | None
    """What makes it, if anything does."""
    can_be_made: bool
    """Whether the installation has a template for Jobs that make models."""
    away: bool = False
    """Whether the store that may have it cannot be asked: then nobody knows."""


@dataclass(frozen=True, slots=True)
class PoolFact:
    """A worker pool: a Deployment with our label, and how its pods fare."""

    namespace: str
    name: str
    """Of the Deployment."""
    pool: str
    """Value of the label `data-miner.io/pool`; workers register under it."""
    stages: tuple[str, ...]
    replicas: int
    """Wanted now (`spec.replicas`)."""
    ready: int
    max_replicas: int
    unschedulable: int
    """Pods that no node takes, and have waited for longer than the patience."""
    crashing: int
    """Pods whose container keeps ending."""
    message: str
    """What the scheduler or the kubelet says of one of those; empty when all is well."""
    waiting: int = 0
    """Pods that are wanted and have no node, however short the wait: also those not made yet."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything about one key at one moment."""

    key: Key
    now: datetime
    """UTC, from the operator's clock."""
    site: Site
    object: Mapping[str, Any] | None
    """The MiningProject as the API server last gave it; None when there is none."""
    away: str
    """Why PostgreSQL cannot be asked, one line; empty when it can. Then `row` and `progress`
    are None without meaning anything."""
    row: Row | None
    progress: Progress | None
    models: Mapping[str, ModelFact] = field(default_factory=dict)
    """By name: those that the spec names."""
    pools: tuple[PoolFact, ...] | None = None
    """None as long as the pools have not been listed."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """What scaling decides on: one look at the queue, and the pools as of now."""

    now: float
    """Monotonic seconds."""
    pulse: Pulse | None
    """None when the database cannot be asked."""
    pools: tuple[PoolFact, ...]
