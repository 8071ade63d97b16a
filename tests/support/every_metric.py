"""A target of Prometheus that tells every metric which the code declares, with numbers that move.

For tests of what asks for metrics, where no run could show all of them at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from typing import Final

from data_miner import telemetry
from data_miner.pipeline import NAMES
from data_miner.spec.status import Funnel
from data_miner_operator import metrics
from data_miner_operator.metrics_reference import Row, declared, of_projects

VALUES: Final[dict[str, tuple[str, ...]]] = {
    "stage": NAMES,
    "state": ("ready", "running", "waiting", "throttled", "done", "skipped", "failed"),
    "outcome": ("done", "skipped", "later", "failed"),
    "error_class": ("not_found",),
    "name": (*telemetry.COUNTERS, "projects"),
    "kind": (
        *("kept", "target", "exported", "found", "selected", "used", "free", "size"),
        *("total", "desired", "current", "ready"),
    ),
    "step": tuple(Funnel.model_fields),
    "phase": ("Stalled",),
    "reason": ("NothingKept",),
    "source": ("0", "1"),
    "le": ("0.5", "1.0", "+Inf"),
    "type": ("Ready",),
    "status": ("True",),
}  # fmt: skip
"""Of labels; of any other one there is one value."""
_EDGES: Final = ("0.1", "1.0", "+Inf")


def exposition(at: float) -> str:
    """All metrics, `at` seconds after the beginning. Gauges of moments say now."""
    rows = [*declared(telemetry), *declared(metrics), *of_projects()]
    projects = {row.name for row in of_projects()}
    return "".join(_lines(row, at, project=row.name in projects) for row in rows)


@contextmanager
def told() -> Iterator[str]:
    """The address of such a target, as "127.0.0.1:8080"."""
    begin = time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exposition(time.monotonic() - begin).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def _lines(row: Row, at: float, *, project: bool) -> str:
    head = f"# TYPE {row.name} {row.kind}\n"
    own = {"namespace": ("town",), "project": ("doors",)} if project else {}
    labels = own | {name: VALUES.get(name, ("any",)) for name in row.labels}
    found = []
    for place, values in enumerate(product(*labels.values())):
        known = dict(zip(labels, values, strict=True))
        if row.kind == "histogram":
            edges = zip(_EDGES, (1, 2, 3), strict=True)
            found += [
                *(_line(f"{row.name}_bucket", {**known, "le": le}, at * n) for le, n in edges),
                _line(f"{row.name}_sum", known, at),
                _line(f"{row.name}_count", known, at * 3),
            ]
        elif "timestamp" in row.name:
            found.append(_line(row.name, known, time.time()))
        elif row.name == "dataminer_project_images":
            found.append(_line(row.name, known, 10 + at))
        else:
            found.append(
                _line(row.name, known, at * (1 + place % 3) if row.kind == "counter" else 1)
            )
    return head + "".join(found)


def _line(name: str, labels: dict[str, str], value: float) -> str:
    inner = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{inner}}} {value:.15g}\n"
