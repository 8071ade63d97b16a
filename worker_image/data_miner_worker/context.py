"""What a stage touches while it runs in its task process."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from data_miner import telemetry
from data_miner.model_stores import ModelStores
from data_miner.settings import Settings
from data_miner.stage import Artifact, Assignment, Json, StageError, StopRequested
from data_miner.storage import Store
from data_miner_worker.messages import Checkpoint, Tick
from data_miner_worker.steps import Steps

LOST_INPUT = ("input_missing", "input_corrupt")
TICK_SECONDS = 0.1
"""Ticks that come faster are not told to the worker."""


class TaskContext:
    """The Context of one assignment; `send` and `stopped` connect it with its worker."""

    def __init__(
        self,
        assignment: Assignment,
        *,
        scratch: Path,
        store: Store,
        settings: Settings,
        send: Callable[[Tick | Checkpoint], None],
        stopped: threading.Event,
        steps: Steps | None = None,
    ) -> None:
        self.assignment = assignment
        self.scratch = scratch / "work"
        self.scratch.mkdir(parents=True)
        self.counters: dict[str, float] = defaultdict(float)
        self.missing: list[str] = []
        """SHA-256 of inputs that the store has lost."""
        self._inputs = scratch / "inputs"
        self._store = store
        self._settings = settings
        self._send = send
        self._stopped = stopped
        self._steps = steps or Steps()
        self._next_tick = 0.0

    def tick(self, progress: float | None = None, message: str | None = None) -> None:
        if self._stopped.is_set():
            raise StopRequested
        share = None if progress is None else min(max(progress, 0.0), 1.0)
        self._tell(Tick(share, message))

    def alive(self) -> None:
        """Say that the work goes on, from any thread; never raises StopRequested."""
        self._tell(Tick(None, None))

    def _tell(self, tick: Tick) -> None:
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._send(tick)

    def fetch(self, artifact: Artifact) -> Path:
        self.tick()
        size = {
            "dataminer.artifact.kind": artifact.kind,
            "dataminer.artifact.bytes": artifact.bytes,
        }
        try:
            with self._steps.step("fetch", **size):
                return self._store.fetch(artifact, self._inputs)
        except StageError as error:
            if error.error_class in LOST_INPUT:
                self.missing.append(artifact.sha256)
            raise

    def publish(self, path: Path, kind: str, media: Mapping[str, Json] | None = None) -> Artifact:
        self.tick()
        with self._steps.step("publish", **{"dataminer.artifact.kind": kind}) as told:
            artifact = self._store.publish(path, kind, media)
            told["dataminer.artifact.bytes"] = artifact.bytes
        self.counters["bytes_published"] += artifact.bytes
        return artifact

    def count(self, name: str, amount: float = 1) -> None:
        if name not in telemetry.COUNTERS:
            raise ValueError(f"counter {name!r} is not in telemetry.COUNTERS")
        self.counters[name] += amount

    def checkpoint(self, value: Json) -> None:
        self.tick()
        self._send(Checkpoint(value))

    def cache(self, key: str) -> Path | None:
        return self._store.cached(key, self._inputs)

    def remember(self, key: str, path: Path) -> Path:
        return self._store.remember(key, path, self._inputs)

    @property
    def model_stores(self) -> ModelStores:
        return self._settings.model_stores

    @property
    def provider(self) -> str:
        return self._settings.provider

    @property
    def credential(self) -> Mapping[str, Path]:
        name = self.assignment.params.get("credential")
        return credential_files(self._settings.credentials, name) if name else {}


def credential_files(folder: Path, name: str) -> dict[str, Path]:
    """The files of a credential by name. Raises StageError("credential_missing")."""
    inside = folder / name
    if Path(name).name != name or name in {".", ".."} or not inside.is_dir():
        raise StageError(
            "credential_missing",
            f"credential {name!r}: there is no folder {inside} with its files",
            permanent=True,
        )
    # A mounted Secret holds links to hidden folders beside its files.
    return {p.name: p for p in inside.iterdir() if p.is_file() and not p.name.startswith(".")}
