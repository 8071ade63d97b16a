"""The product as its users meet it: the program, in its own process, on a home of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from data_miner.local.database import open_database
from data_miner.settings import Settings
from support.waiting import eventually

REPOSITORY = Path(__file__).parents[2]
DEMO_MEDIA = REPOSITORY / "examples" / "demo" / "media"
DEMO_PROJECT = REPOSITORY / "examples" / "demo.yaml"
STARS = f"""
apiVersion: data-miner.io/v1alpha1
kind: MiningProject
metadata: {{name: local}}
spec:
  sources:
    - files: {{uri: {DEMO_MEDIA}, glob: "*"}}
  sampling: {{strategy: Time, every: 250ms}}
  filter: {{model: tiny-siglip, positive: [a photo of a star], thresholds: {{positive: 0.5}}}}
  dedup: {{model: tiny-dino, threshold: 0.9}}
  export: {{formats: [COCO]}}
"""
"""The YAML of a project that looks for stars in the demo clips, and is called ``local``."""

FAST = {
    # Crashes are found in a second instead of two minutes; nothing else changes.
    "DATA_MINER_LEASE_SECONDS": "4",
    "DATA_MINER_HEARTBEAT_SECONDS": "1",
    "DATA_MINER_RESCUE_SECONDS": "0.5",
    "DATA_MINER_POLL_SECONDS": "1",
    "DATA_MINER_SWEEP_SECONDS": "2",
    "DATA_MINER_BACKOFF_SECONDS": "0.2",
    "DATA_MINER_BACKOFF_MAX_SECONDS": "1",
    "DATA_MINER_LOST_BACKOFF_SECONDS": "0.1",
    "DATA_MINER_LOST_BACKOFF_MAX_SECONDS": "0.5",
    "DATA_MINER_MAX_LOSSES": "1000",
    "DATA_MINER_ALLOW_PRIVATE_ADDRESSES": "1",
}


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last line of stdout, parsed."""
        return json.loads(self.out.strip().splitlines()[-1])


@dataclass(frozen=True, slots=True)
class Stored:
    """A published file and the subject of its result."""

    subject: str
    path: Path


@dataclass(slots=True)
class Product:
    """The program with one home folder."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    """Working directory; absent means the home's parent."""

    def start(self, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
        """Start a command; the caller waits for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "data_miner.cli.main", *map(str, arguments)],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("DATA_MINER_")},
                "DATA_MINER_HOME": str(self.home),
                **FAST,
                **self.environment,
                **variables,
            },
            cwd=self.folder or self.home.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def do(self, *arguments: str | Path, timeout: float = 240, **variables: str) -> Finished:
        """Run a command to its end."""
        process = self.start(*arguments, **variables)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            out, err = process.communicate(timeout=30)
            raise AssertionError(f"{arguments} took over {timeout} s\n{out}\n{err}") from None
        return Finished(process.returncode, out, err)

    def mine(self, project: Path, *options: str, **variables: str) -> Any:
        """`run` a project that must succeed; the summary as JSON."""
        finished = self.do("run", project, "--json", *options, timeout=240, **variables)
        assert finished.code == 0, f"exit {finished.code}\n{finished.out}\n{finished.err}"
        return finished.json

    @contextlib.contextmanager
    def database(self) -> Iterator[Connection]:
        """A connection to what the program writes to."""
        settings = Settings.from_environment(
            {"DATA_MINER_HOME": str(self.home), **self.environment}
        )
        with open_database(settings) as database, database.engine.begin() as conn:
            yield conn

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Rows of a query on the program's database."""
        with self.database() as conn:
            return list(conn.execute(text(query), values))

    def wait_for(self, query: str, timeout: float = 60) -> None:
        """Wait until a query has a row."""
        eventually(lambda: bool(self.rows(query)), seconds=timeout, what=query)

    def artifacts(self, stage: str, kind: str) -> list[Stored]:
        """Files of one kind that a stage has published to the local store, by subject."""
        found = self.rows(
            "SELECT a.subject, a.uri FROM artifacts a JOIN recipes USING (recipe_id)"
            " WHERE stage = :stage AND kind = :kind AND deleted_at IS NULL ORDER BY 1, 2",
            stage=stage,
            kind=kind,
        )
        return [Stored(row.subject, Path(row.uri.removeprefix("file://"))) for row in found]


@contextlib.contextmanager
def every(seconds: float, action: Any) -> Iterator[None]:
    """Do something again and again beside the block, as a fault that keeps coming."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(seconds):
            action()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def write_project(folder: Path, text: str, name: str = "project.yaml") -> Path:
    """A project file in a folder."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
