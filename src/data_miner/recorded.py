"""Spans that are recorded and sent: the only place that knows OpenTelemetry.

Loaded by `data_miner.tracing` when the environment names a receiver.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from data_miner import __version__, telemetry
from data_miner.outside import shown
from data_miner.tracing import Attributes, Kind, Span

VALUE_CHARACTERS: Final = 300
_SAMPLED: Final = 1
_TOLD_ELSEWHERE: Final = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")

log = telemetry.logger()


def open_recorder(service: str, instance: str) -> Recorder:
    """What the environment asks for. Raises what the libraries raise for a wrong variable."""
    quiet = logging.getLogger("opentelemetry")
    quiet.handlers, quiet.propagate = [_Words()], False
    own: dict[str, Any] = {"service.version": __version__}
    if instance:
        own["service.instance.id"] = instance
    named = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in named:
        own["service.name"] = service
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Told(OTLPSpanExporter())))
    return Recorder(provider)


class Recorder:
    """Makes spans; a thread of the library sends them."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("data_miner", __version__)

    def start(
        self,
        name: str,
        attributes: Attributes,
        parent: str | None,
        kind: Kind,
        start_ns: int | None,
    ) -> Span:
        """A span; a parent that is no trace context is none."""
        given = {"traceparent": parent} if parent else {}
        context = TraceContextTextMapPropagator().extract(given, Context())
        return RecordedSpan(self._tracer, name, attributes, kind, start_ns, context)

    def close(self) -> None:
        """Send what is left; may take long."""
        self._provider.shutdown()


class RecordedSpan(Span):
    """A span of OpenTelemetry."""

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        attributes: Attributes,
        kind: Kind,
        start_ns: int | None,
        context: Context,
    ) -> None:
        self._tracer = tracer
        self._span: OtelSpan = tracer.start_span(
            name,
            context=context,
            kind=SpanKind[kind.upper()],
            attributes=_fit(attributes),
            start_time=start_ns,
        )
        made = self._span.get_span_context()
        self.sampled = self._span.is_recording()
        flags = int(made.trace_flags) & _SAMPLED
        super().__init__(f"00-{made.trace_id:032x}-{made.span_id:016x}-{flags:02x}")

    def child(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = "internal",
        start_ns: int | None = None,
    ) -> Span:
        context = set_span_in_context(self._span)
        return RecordedSpan(self._tracer, name, attributes or {}, kind, start_ns, context)

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(_fit(attributes))

    def failed(self, error_class: str, message: str = "") -> None:
        self._span.set_attribute("error.type", error_class)
        self._span.set_status(Status(StatusCode.ERROR, shown(message)[:VALUE_CHARACTERS] or None))

    def end(self, at_ns: int | None = None) -> None:
        if self._span.is_recording():
            self._span.end(at_ns)


class Told(SpanExporter):
    """An exporter whose troubles are one line in the log for an outage, not one for each batch."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is about spans alone
            return self._noted(SpanExportResult.FAILURE, f"{type(error).__name__}: {error}")
        return self._noted(result, "the receiver did not take them")

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _noted(self, result: SpanExportResult, error: str) -> SpanExportResult:
        away = result is not SpanExportResult.SUCCESS
        if away and not self._away:
            log.warning("spans_not_sent", error=error)
        elif self._away and not away:
            log.info("spans_sent_again")
        self._away = away
        return result


class _Words(logging.Handler):
    """What the libraries say of their settings; of what cannot be sent, our own line tells."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING and not record.name.startswith(_TOLD_ELSEWHERE):
            log.warning(record.getMessage(), source=record.name)


def _fit(attributes: Attributes) -> dict[str, Any]:
    return {
        name: shown(value)[:VALUE_CHARACTERS] if isinstance(value, str) else value
        for name, value in attributes.items()
        if value is not None
    }
