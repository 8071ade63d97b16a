"""What a process tells of itself: its log, and its metrics for Prometheus.

The metrics of workers are declared here, under the prefix ``dataminer_`` and in a registry of their
own; the operator has another. Labels are bounded: stages, outcomes, error classes and counter
names, never a video, a project or a worker.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn, UnixStreamServer
from typing import Any, Final, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from data_miner import __version__
from data_miner.outside import printable, redact

COUNTERS: Final = (
    "requests",
    "downloads",
    "bytes_downloaded",
    "packets_decoded",
    "frames_decoded",
    "media_seconds",
    "frames_embedded",
    "dedup_frames_embedded",
    "frames_cut",
    "images_detected",
    "bytes_published",
)
"""What stages may count (``Context.count``); they are added up in ``results.cost`` as well."""


def new_registry() -> CollectorRegistry:
    """A registry for one kind of process: its version, and what the kernel says of it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Gauge(
        "dataminer_build_info", "1, labelled with the version.", ["version"], registry=registry
    )
    build.labels(__version__).set(1)
    return registry


WORKER_REGISTRY: Final = new_registry()
"""What workers tell."""

_SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200)
_INPUTS = (1, 2, 4, 8, 16, 32, 64, 128)
_MAX_CLASSES = 60
"""Error classes that get a label of their own in one process; later ones are ``other``."""


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"dataminer_{name}", text, labels, registry=WORKER_REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"dataminer_{name}", text, labels, registry=WORKER_REGISTRY)


def _histogram(
    name: str, text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS
) -> Histogram:
    return Histogram(f"dataminer_{name}", text, labels, registry=WORKER_REGISTRY, buckets=buckets)


QUEUE_CLAIMS = _counter("queue_claims", "Tasks claimed.", "stage")
QUEUE_CLAIM_SECONDS = _histogram("queue_claim_seconds", "Time of one claim in the database.")
QUEUE_LEASES_LOST = _counter(
    "queue_leases_lost", "Tasks whose lease was gone when their worker came back.", "stage"
)
QUEUE_RESCUED = _counter("queue_rescued", "Expired leases taken back from vanished workers.")
QUEUE_TASKS = _gauge(
    "queue_tasks", "Live tasks and dead letters; told by whoever keeps house.", "stage", "state"
)
QUEUE_OLDEST_SECONDS = _gauge(
    "queue_oldest_ready_seconds", "Age of the oldest task that could be claimed.", "stage"
)
QUEUE_PLANNED = _counter("queue_planned", "Tasks that the sweep found missing.")
WORKER_SLOTS = _gauge("worker_slots", "Tasks that this worker can run at once.")
WORKER_BUSY = _gauge("worker_busy_slots", "Tasks that this worker runs now.", "stage")
WORKER_CHILD_DEATHS = _counter(
    "worker_child_deaths", "Task processes that ended in the middle of a task.", "reason"
)
WORKER_DATABASE_LOST = _counter(
    "worker_database_lost", "Times that the database could not be reached."
)
WORKER_LOOP_SECONDS = _histogram("worker_loop_seconds", "Time of one round of the claim loop.")
STAGE_SECONDS = _histogram("stage_seconds", "Time that a task ran.", "stage", "outcome")
STAGE_OUTCOMES = _counter("stage_outcomes", "Tasks ended.", "stage", "outcome", "error_class")
STAGE_CPU_SECONDS = _counter("stage_cpu_seconds", "Processor time of tasks.", "stage")
STAGE_GPU_SECONDS = _counter(
    "stage_gpu_seconds", "Time that models of tasks ran on a GPU, with their copies.", "stage"
)
MODEL_LOAD_SECONDS = _histogram("model_load_seconds", "Time until a model could run.", "device")
MODEL_BATCH_SIZE = _histogram(
    "model_batch_size", "Inputs that a model was given at once.", "stage", buckets=_INPUTS
)
STAGE_COUNTS = _counter("stage_counts", "What stages counted.", "stage", "name")
DISK_BYTES = _gauge(
    "disk_bytes", "Room where a worker writes: free for it, size of all.", "place", "kind"
)
GPU_UTILIZATION = _gauge(
    "gpu_utilization_ratio", "Share of the last moments in which a GPU was at work.", "gpu"
)
GPU_MEMORY_BYTES = _gauge("gpu_memory_bytes", "Memory of a GPU: used, total.", "gpu", "kind")
STORE_SWEPT = _counter("store_swept", "Files removed that no row names.", "kind")
STORE_SWEPT_BYTES = _counter("store_swept_bytes", "Bytes of the removed objects.")

_classes: set[str] = set()


DEATHS: Final = ("crashed", "out_of_memory", "stalled")
"""Reasons of WORKER_CHILD_DEATHS."""


def begin(stages: Collection[str]) -> None:
    """Tell zeros of what has not happened yet, for a worker that serves these stages: from nothing
    to one is no increase to Prometheus."""
    for stage in stages:
        QUEUE_CLAIMS.labels(stage)
        QUEUE_LEASES_LOST.labels(stage)
    for reason in DEATHS:
        WORKER_CHILD_DEATHS.labels(reason)


def bounded_class(name: str) -> str:
    """An error class fit for a label: a plain word, and only so many of them in one process."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        return "other"
    if name not in _classes and len(_classes) >= _MAX_CLASSES:
        return "other"
    _classes.add(name)
    return name


def counted(stage: str, counters: Mapping[str, float]) -> None:
    """Add a task's counters; names that are not in COUNTERS are left out."""
    for name, amount in counters.items():
        if name in COUNTERS and amount > 0:
            STAGE_COUNTS.labels(stage, name).inc(amount)


Blocks = Sequence[Sequence[bytes]]
"""An answer in blocks, each of pieces: joined and sent one block after the other."""


class _SocketServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


def serve(
    place: int | Path,
    health: Callable[[], str | None] = lambda: None,
    routes: Mapping[str, Callable[[], tuple[bool, str]]] | None = None,
    registry: CollectorRegistry = WORKER_REGISTRY,
    more: Callable[[], Blocks] = list,
) -> TCPServer:
    """Serve ``/metrics`` and ``/healthz`` from a thread: on a port of all addresses, where 0 picks
    a free one, or at the path of a socket, which replaces what an earlier process left there.

    `health` gives None while all is well, else the reason, which is answered with 503. `routes`
    adds paths, each with whether all is well and a line to answer. `registry` holds the metrics,
    and `more` gives further ones: gauges as text that is right in both formats, in blocks. Raises
    OSError when the port is taken. The caller ends it with ``shutdown()``.
    """

    def healthy() -> tuple[bool, str]:
        reason = health()
        return reason is None, reason or "ok"

    answers = {"/healthz": healthy, **(routes or {})}
    known = " or ".join(["/metrics", *answers])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, *_exposition(self.headers.get("Accept", ""), registry, more()))
            elif path in answers:
                well, text = answers[path]()
                self._answer(200 if well else 503, [[f"{text}\n".encode()]], "text/plain")
            else:
                self._answer(404, [[f"{known}\n".encode()]], "text/plain")

        def _answer(self, status: int, body: Blocks, kind: str) -> None:
            length = sum(sum(map(len, block)) for block in body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            for block in body:
                self.wfile.write(b"".join(block))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing: a probe every few seconds is no news."""

    server: TCPServer
    if isinstance(place, Path):
        place.unlink(missing_ok=True)
        server = _SocketServer(str(place), Handler)
    else:
        server = ThreadingHTTPServer(("", place), Handler)
        server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


_END: Final = b"# EOF\n"
"""Of the OpenMetrics format."""


def _exposition(accept: str, registry: CollectorRegistry, more: Blocks) -> tuple[Blocks, str]:
    """All metrics in the format that is asked for, and its name; only OpenMetrics has exemplars."""
    try:
        encode, kind = choose_encoder(accept)
    except (ValueError, TypeError):  # a version that is none
        encode, kind = choose_encoder("")
    own = encode(registry)
    if own.endswith(_END):
        return [[own.removesuffix(_END)], *more, [_END]], kind
    return [[own], *more], kind


_SECRET_KEY: Final = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|cookie|credential|authorization|signature"
    r"|(api|access|private)_?key|^dsn$"
)
_standing: dict[str, Any] = {}


def always_say(values: Mapping[str, Any]) -> None:
    """Put these, and nothing else from before, into every line of this process from here on,
    whichever thread says it."""
    _standing.clear()
    _standing.update(values)


def _say_standing(_logger: Any, _method: str, event: Any) -> Any:
    return {**_standing, **event}


def _redact_event(_logger: Any, _method: str, event: Any) -> Any:
    return {
        key: "***" if _SECRET_KEY.search(str(key).lower()) and value else _redact_value(value)
        for key, value in event.items()
    }


def _redact_value(value: Any) -> Any:
    """The value as JSON can hold it, without secrets at any depth."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): item for key, item in _redact_event(None, "", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact_value(item) for item in value]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    # A traceback has lines, which stay.
    return "\n".join(printable(line) for line in redact(str(value)).split("\n"))


def configure_logging(*, level: str = "info", stream: TextIO | None = None) -> None:
    """Send the log to `stream` (stderr when None): for people on a terminal, else JSON lines."""
    target = stream or sys.stderr
    terminal = target.isatty()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _say_standing,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=True)
        if terminal
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        # A line is one write: task processes and their worker share the stream.
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=False,
    )


def logger(**values: Any) -> structlog.typing.FilteringBoundLogger:
    """A logger that carries `values` in every line."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(**values)
    return bound


def words(record: logging.LogRecord) -> str:
    """What a record says, also where its values do not fit its format."""
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return str(record.msg)


class LibraryLog(logging.Handler):
    """What libraries say with the logging module, in the process' own form."""

    def emit(self, record: logging.LogRecord) -> None:
        message = words(record)
        log = logger(source=record.name)
        levels = {logging.ERROR: log.error, logging.WARNING: log.warning, logging.INFO: log.info}
        say = next(say for level, say in levels.items() if record.levelno >= level)
        say(message, exc_info=record.exc_info or False)


def route_libraries(*ours: str) -> None:
    """Send warnings and worse of all libraries to the process' own log, Python's warnings too.

    Args:
        ours: libraries that are part of this program: what they tell is sent as well.
    """
    root = logging.getLogger()
    root.handlers = [LibraryLog(logging.WARNING)]
    for name in ours:
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).handlers = [LibraryLog(logging.INFO)]
        logging.getLogger(name).propagate = False
    logging.captureWarnings(True)
