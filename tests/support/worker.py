"""Real workers for tests, each in a process of its own, on a database of the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from data_miner.catalog.apply import apply_project
from data_miner.compiler import ModelInfo, compile_project
from data_miner.db.engine import engine_for
from data_miner.spec.load import project_from

SUPPORT = Path(__file__).parents[1]
FAST = {
    "DATA_MINER_LEASE_SECONDS": "1",
    "DATA_MINER_HEARTBEAT_SECONDS": "0.25",
    "DATA_MINER_POLL_SECONDS": "0.3",
    "DATA_MINER_BACKOFF_SECONDS": "0.05",
    "DATA_MINER_BACKOFF_MAX_SECONDS": "0.2",
    "DATA_MINER_LOST_BACKOFF_SECONDS": "0.05",
    "DATA_MINER_LOST_BACKOFF_MAX_SECONDS": "0.1",
    "DATA_MINER_SWEEP_SECONDS": "1",
    "DATA_MINER_RESCUE_SECONDS": "0.2",
    "DATA_MINER_GRACE_SECONDS": "20",
    "DATA_MINER_STALL_FACTOR": "0.01",  # download: 3 s, extract: 1.2 s
}


def eventually(
    condition: Callable[[], Any], *, within_seconds: float = 60, what: str = "it"
) -> Any:
    """The first truthy answer of `condition`; fails when there is none in time."""
    deadline = time.monotonic() + within_seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within_seconds:g} s: {answer}")
        _pause()


def _pause() -> None:
    time.sleep(0.02)


@dataclass
class WorkerProcess:
    """One worker, as a user starts it."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def pid(self) -> int:
        """Process id of the worker itself."""
        return self.process.pid

    def log(self) -> str:
        """What it has said so far."""
        return self.log_path.read_text()

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log about one event."""
        lines = [json.loads(x) for x in self.log().splitlines() if x.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, within_seconds: float = 60) -> int:
        """Its exit status."""
        return self.process.wait(within_seconds)

    def kill(self) -> None:
        """End it as a power cut would, stopped or not."""
        self.process.kill()
        self.process.wait(10)

    def children(self) -> list[int]:
        """Process ids of its task processes."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []


@dataclass
class Site:
    """A home folder, a database and the workers on them."""

    home: Path
    url: str
    engine: Engine
    workers: list[WorkerProcess] = field(default_factory=list)

    @property
    def gates(self) -> Path:
        """Files here open the gates of test stages."""
        return self.home / "gates"

    @property
    def signals(self) -> Path:
        """Where workers tell that they reached a named place."""
        return self.home / "signals"

    @property
    def store(self) -> Path:
        """The folder of the objects."""
        return self.home / "store"

    def apply(self, *videos: str, name: str = "p", stages: str = "download") -> int:
        """Apply a project over videos ("id?behaviour=value"); returns its project_id."""
        spec: dict[str, Any] = {
            "sources": [{"urls": {"items": [f"https://x.test/{video}" for video in videos]}}]
        }
        if stages == "extract":
            spec["sampling"] = {"strategy": "Keyframe"}
        project = project_from(
            {
                "apiVersion": "data-miner.io/v1alpha1",
                "kind": "MiningProject",
                "metadata": {"name": name},
                "spec": spec,
            }
        )
        with self.engine.begin() as conn:
            applied = apply_project(
                conn, project, compile_project(project.spec, _no_models), first_wave=10_000
            )
        return applied.project_id

    def worker(self, *arguments: str, slots: int = 2, **environment: str) -> WorkerProcess:
        """Start a worker; keyword arguments are added to its environment."""
        name = f"w{len(self.workers) + 1}"
        log_path = self.home / f"{name}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "data_miner_worker", "--worker-id", name),
                    *("--slots", str(slots), *arguments),
                ],
                env=self.environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.workers.append(WorkerProcess(name, process, log_path))
        return self.workers[-1]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a worker here."""
        own = {
            "DATA_MINER_HOME": str(self.home),
            "DATA_MINER_DATABASE_URL": self.url,
            "DATA_MINER_STAGE_MODULES": "support.stages",
            "DATA_MINER_TEST_GATES": str(self.gates),
            "DATA_MINER_TEST_SIGNALS": str(self.signals),
            "PYTHONPATH": str(SUPPORT),
        }
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DATA_MINER_")}
        return {**kept, **FAST, **own, **(more or {})}

    def open_gate(self, name: str) -> None:
        """Let the stages go on that wait at the gate."""
        (self.gates / name).touch()

    def at_gate(self, name: str) -> list[int]:
        """Process ids of the task processes that have come to the gate."""
        path = self.gates / f"{name}.waiting"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """What the database says."""
        with self.engine.connect() as conn:
            return [dict(row) for row in conn.execute(text(query), values).mappings()]

    def task(self, video_id: str, stage: str = "download") -> dict[str, Any] | None:
        """The live task or dead letter of a video at a stage."""
        found = self.rows(
            "SELECT * FROM tasks WHERE video_id = :video_id AND stage = :stage",
            video_id=video_id,
            stage=stage,
        )
        return found[0] if found else None

    def result(self, video_id: str, stage: str = "download") -> dict[str, Any] | None:
        """The recorded result of a video at a stage."""
        found = self.rows(
            "SELECT * FROM results WHERE video_id = :video_id AND stage = :stage",
            video_id=video_id,
            stage=stage,
        )
        return found[0] if found else None

    def done(self, *video_ids: str, stage: str = "download") -> Callable[[], bool]:
        """A condition: all these videos have a result at the stage."""
        return lambda: all(self.result(video_id, stage) for video_id in video_ids)

    def objects(self) -> dict[str, bytes]:
        """The files of the store by name."""
        return {p.name: p.read_bytes() for p in self.store.rglob("*") if p.is_file()}


def _no_models(name: str) -> ModelInfo:
    raise LookupError(name)


@contextmanager
def site(home: Path, url: str) -> Iterator[Site]:
    """A site whose workers all end with the block."""
    engine = engine_for(url)
    made = Site(home, url, engine)
    for folder in (made.gates, made.signals):
        folder.mkdir(parents=True)
    try:
        yield made
    finally:
        for worker in made.workers:
            if worker.process.poll() is None:
                worker.signal(signal.SIGCONT)
                worker.kill()
        engine.dispose()


def alive(pid: int) -> bool:
    """Whether a process exists and is more than a zombie; its threads may end after its first."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z" or threads > 1
