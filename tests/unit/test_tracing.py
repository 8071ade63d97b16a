"""Traces: off unless asked for, asked for by OpenTelemetry's own variables, never in the way."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from data_miner import recorded, telemetry, tracing
from support.otlp import receiving

CONTEXT = f"00-{'1' * 32}-{'a' * 16}-01"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    telemetry.configure_logging(stream=stream)
    yield stream
    structlog.reset_defaults()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    yield monkeypatch
    tracing.close()


@pytest.mark.parametrize(
    ("variables", "traced"),
    [
        ({}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_SDK_DISABLED": "false"}, True),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/x",
            },
            True,
        ),
    ],
)
def test_the_standard_variables_switch_traces(
    environment: pytest.MonkeyPatch, log: io.StringIO, variables: dict[str, str], traced: bool
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)

    assert tracing.configure("x") is traced
    assert tracing.start("x").sampled is traced
    assert log.getvalue() == ""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: there is only"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "ValueError: "),
    ],
)
def test_a_wrong_variable_is_one_line_and_no_trace(
    environment: pytest.MonkeyPatch, log: io.StringIO, name: str, value: str, said: str
) -> None:
    environment.setenv(name, value)

    assert tracing.configure("x") is False
    (line,) = log.getvalue().splitlines()
    assert said in json.loads(line)["error"]


def test_a_library_that_is_not_installed_is_one_line(
    environment: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    environment.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    environment.delitem(sys.modules, "data_miner.recorded")

    assert tracing.configure("x") is False
    (line,) = log.getvalue().splitlines()
    assert json.loads(line)["error"].endswith("sdk.trace: pip install 'data-miner[tracing]'")


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        "x",
        CONTEXT[:-3],
        f"00-{'0' * 32}-{'a' * 16}-01",
        f"ff{CONTEXT[2:]}",
        f"{CONTEXT}-x",
    ],
)
def test_what_is_no_trace_context_has_no_trace_and_starts_one(
    environment: pytest.MonkeyPatch, wrong: str | None
) -> None:
    """Whatever stands in a row cannot stop a worker."""
    assert tracing.trace_id_of(wrong) is None
    tracing.configure("x")
    assert tracing.start("x", parent=wrong).trace_id


def test_no_span_passes_on_what_it_was_given() -> None:
    span = tracing.start("x", parent=CONTEXT)

    with span.child("y") as below:
        below.set({"a": 1})
        below.failed("gone")

    assert (below.traceparent, below.trace_id, below.sampled) == (CONTEXT, "1" * 32, False)


def test_a_span_below_another_process_is_in_its_trace(environment: pytest.MonkeyPatch) -> None:
    tracing.configure("x")
    span = tracing.start("x", parent=CONTEXT)
    below = span.child("y")

    assert {span.trace_id, below.trace_id} == {"1" * 32}
    assert len({CONTEXT, span.traceparent, below.traceparent}) == 3


def test_what_is_told_is_redacted_and_cut(environment: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        for name, value in receiver.environment.items():
            environment.setenv(name, value)
        tracing.configure("x", "me")
        span = tracing.start("a", {"url": "https://u:pw@h/x"})
        span.set({"long": "x" * 10_000, "none": None})
        span.child("b").failed("gone", "password=hunter2")
        with pytest.raises(RuntimeError), span:
            raise RuntimeError("token=c0ffee")
        tracing.close()

        (seen,) = receiver.spans
    assert seen.attributes == {
        "url": "https://u:***@h/x", "long": "x" * 300, "error.type": "RuntimeError",
    }  # fmt: skip
    assert seen.failed
    assert b"c0ffee" not in receiver.raw


def test_an_outage_of_the_receiver_is_one_line(log: io.StringIO) -> None:
    class Sometimes(SpanExporter):
        answers = iter([False, False, True, True, False])

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            if not next(self.answers):
                raise OSError("away")
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None: ...

    told = recorded.Told(Sometimes())
    for _ in range(5):
        told.export([])

    said = [json.loads(line)["event"] for line in log.getvalue().splitlines()]
    assert said == ["spans_not_sent", "spans_sent_again", "spans_not_sent"]
