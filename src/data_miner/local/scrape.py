"""One address for Prometheus on a laptop: the project, and all workers of the run.

Each worker answers at a socket of its own; a scrape asks them all and adds the label ``worker``, so
that sums over workers are right however many there are.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from data_miner import telemetry
from data_miner.catalog.estimate import arrival, percent, seconds_left
from data_miner.catalog.numbers import numbers
from data_miner.catalog.progress import Progress
from data_miner.errors import StorageError
from data_miner.project_metrics import ProjectMetrics

WORKER_SECONDS: Final = 2.0
"""A worker that does not answer for so long is left out of a scrape."""


@dataclass(slots=True)
class Scrape:
    """What is told: feed `observe` with each look at the project."""

    sockets: Path
    """A folder of this run alone, for the workers' sockets."""
    target_images: int | None
    port: int = 0
    """Where it is served."""
    _projects: ProjectMetrics = field(default_factory=ProjectMetrics)
    _arrival: datetime | None = None

    def socket_of(self, worker: int) -> Path:
        """Where a worker is to serve its metrics."""
        return self.sockets / f"{worker}"

    def observe(self, state: Progress) -> None:
        """Tell how the project stands."""
        key = (state.namespace, state.name)
        self._projects.tell_objects({key: {"metadata": {}, "status": self._status(state)}})
        self._projects.tell_progress(key, state)

    def blocks(self) -> list[list[bytes]]:
        """The project's series."""
        return self._projects.blocks()

    def _status(self, state: Progress) -> dict[str, Any]:
        complete = state.phase.name == "Complete"
        left = seconds_left(state, self.target_images)
        self._arrival = None if complete else arrival(left, self._arrival, datetime.now(UTC))
        return {
            **numbers(state, self.target_images),
            "phase": str(state.phase.name),
            "reason": state.phase.reason,
            "progress": percent(state, self.target_images, complete=complete),
            **({"eta": self._arrival.isoformat()} if self._arrival else {}),
            "conditions": [
                {"type": name, "status": str(state.phase.name == name)}
                for name in ("Complete", "Stalled")
            ],
        }


@contextmanager
def scraped(port: int | None, target_images: int | None) -> Iterator[Scrape | None]:
    """Serve on a port while the body runs, 0 takes a free one; None without one.

    Raises StorageError when the port is taken.
    """
    if port is None:
        yield None
        return
    # Short: the path of a socket has 107 characters at most, and a home may lie deep.
    folder = Path(tempfile.mkdtemp(prefix="dm-"))
    try:
        scrape = Scrape(folder, target_images)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Workers(folder))
        try:
            server = telemetry.serve(port, registry=registry, more=scrape.blocks)
        except OSError as error:
            raise StorageError(f"--metrics-port {port}: {error.strerror}") from None
        scrape.port = int(server.server_address[1])
        try:
            yield scrape
        finally:
            server.shutdown()
            server.server_close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True, eq=False)
class _Workers(Collector):
    """The metrics of every worker that answers, each sample with its worker's number."""

    folder: Path

    def collect(self) -> Iterable[Metric]:
        found: dict[str, Metric] = {}
        for path in sorted(self.folder.iterdir(), key=lambda path: int(path.name)):
            # One that has ended, or begins just now.
            with suppress(OSError, http.client.HTTPException):
                for family in text_string_to_metric_families(_ask(path)):
                    one = found.setdefault(
                        family.name, Metric(family.name, family.documentation, family.type)
                    )
                    for sample in family.samples:
                        labels = {**sample.labels, "worker": path.name}
                        one.samples.append(sample._replace(labels=labels))
        return found.values()


def _ask(path: Path) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(WORKER_SECONDS)
        connection.connect(str(path))
        ask = http.client.HTTPConnection("worker", timeout=WORKER_SECONDS)
        ask.sock = connection
        ask.request("GET", "/metrics")
        return ask.getresponse().read().decode()
