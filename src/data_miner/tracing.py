"""Traces by OpenTelemetry. Off, and not even imported, until the environment names an endpoint.

The variables are OpenTelemetry's own: OTEL_EXPORTER_OTLP_ENDPOINT (or its _TRACES_ form) switches
traces on, OTEL_SDK_DISABLED off; sampler, headers, resource and batch sizes are as the SDK reads
them. A span that is none passes on the trace that it was given, so that a process without an
endpoint does not cut the trace of those that have one.
"""

from __future__ import annotations

import atexit
import os
import re
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import TracebackType
from typing import Final, Literal, Protocol, Self

from data_miner import telemetry

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""One of them names the receiver, by OTLP over HTTP."""
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL: Final = "http/protobuf"
CLOSE_SECONDS: Final = 2.0
"""How long the last spans may take at the end of a process."""

Kind = Literal["internal", "client", "consumer", "producer"]
Attribute = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Attribute | None]
"""By name; a value of None is left out."""

_CONTEXT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-..")

log = telemetry.logger()


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace that a W3C trace context belongs to, in 32 hexadecimal digits."""
    found = _CONTEXT.fullmatch(traceparent or "")
    return found[1] if found else None


class Span:
    """No span: nothing is recorded here, and the trace that came goes on as it came."""

    sampled: bool = False
    """Whether it will be seen: its trace id is worth showing."""

    def __init__(self, traceparent: str | None = None) -> None:
        self.traceparent = traceparent
        """What makes others' spans children of this one; None where there is no trace."""

    @property
    def trace_id(self) -> str | None:
        """In 32 hexadecimal digits."""
        return trace_id_of(self.traceparent)

    def child(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = "internal",
        start_ns: int | None = None,
    ) -> Span:
        """A span below this one. Times are of the clock of `time.time_ns`; None is now."""
        return self

    def set(self, attributes: Attributes) -> None:
        """Add attributes; text is redacted and cut."""

    def failed(self, error_class: str, message: str = "") -> None:
        """Mark it as failed, by the name that people and metrics count by."""

    def end(self, at_ns: int | None = None) -> None:
        """End it; the first end counts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.failed(type(error).__name__)
        self.end()


class Recorder(Protocol):
    """What makes spans that are recorded and sent."""

    def start(
        self,
        name: str,
        attributes: Attributes,
        parent: str | None,
        kind: Kind,
        start_ns: int | None,
    ) -> Span: ...

    def close(self) -> None:
        """Send what is left; may take long."""


_recorder: Recorder | None = None


def start(
    name: str,
    attributes: Attributes | None = None,
    *,
    parent: str | None = None,
    kind: Kind = "internal",
    start_ns: int | None = None,
) -> Span:
    """A span of the trace that `parent` is in, or the first one of a new trace."""
    if _recorder is None:
        return Span(parent)
    return _recorder.start(name, attributes or {}, parent, kind, start_ns)


def configure(service: str, instance: str = "") -> bool:
    """Trace from here on if the environment says so; whether it does. May be called again.

    `service` is the name of this kind of process where OTEL_SERVICE_NAME gives none, `instance`
    tells it from others. What stands against tracing is said once in the log: work goes on
    without.
    """
    global _recorder  # noqa: PLW0603 - as the log, it is one thing of the whole process
    if _recorder is not None or not _wanted(os.environ):
        return _recorder is not None
    chosen = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), PROTOCOL)
    if chosen != PROTOCOL:
        log.error("not_traced", error=f"{PROTOCOLS[1]}={chosen}: there is only {PROTOCOL}")
        return False
    try:
        _recorder = import_module("data_miner.recorded").open_recorder(service, instance)
    except ImportError as error:
        wanting = f"{error.name}: pip install 'data-miner[tracing]'"
        log.error("not_traced", error=f"a library for traces is not installed: {wanting}")
        return False
    except Exception as error:  # noqa: BLE001 - a wrong variable must not keep anybody from work
        log.error("not_traced", error=f"{type(error).__name__}: {error}")
        return False
    atexit.register(close)
    return True


def close(within_seconds: float = CLOSE_SECONDS) -> None:
    """Send what is left, for no longer than this; what a receiver does not take by then is gone."""
    global _recorder
    recorder, _recorder = _recorder, None
    if recorder is not None:
        ending = threading.Thread(target=recorder.close, name="last spans", daemon=True)
        ending.start()
        ending.join(within_seconds)


def _wanted(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return False
    return any(environment.get(name, "").strip() for name in ENDPOINTS)
