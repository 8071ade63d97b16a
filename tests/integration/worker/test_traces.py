"""One trace from the apply of a project to its last task, through rows, workers and crashes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from support.otlp import Receiver, SpanSeen, receiving
from support.worker import Site, WorkerProcess, eventually

CALM = {"DATA_MINER_LEASE_SECONDS": "60", "DATA_MINER_STALL_FACTOR": "1"}
"""Nothing here is about losing a lease on a busy machine."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def _apply(here: Site, variables: dict[str, str], *videos: str, stages: str) -> str:
    """`data-miner apply`; what it says on stderr."""
    items = ", ".join(f"'https://x.test/{video}'" for video in videos)
    sampling = "sampling: {strategy: Keyframe}" if stages == "extract" else ""
    file = here.home / "p.yaml"
    file.write_text(
        "apiVersion: data-miner.io/v1alpha1\nkind: MiningProject\nmetadata: {name: p}\n"
        f"spec: {{sources: [{{urls: {{items: [{items}]}}}}], {sampling}}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "data_miner.cli.main", "apply", str(file), "--json"],
        env=here.environment(variables),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["created"]
    return done.stderr


def _apply_traced(here: Site, receiver: Receiver, *videos: str, stages: str = "download") -> str:
    """Apply with traces; the trace."""
    assert _apply(here, receiver.environment, *videos, stages=stages) == ""
    (row,) = here.rows("SELECT traceparent FROM tasks")
    (span,) = receiver.named("apply")
    assert row["traceparent"] == f"00-{span.trace}-{span.id}-01"
    return span.trace


def _worker(here: Site, *arguments: str, **variables: str) -> WorkerProcess:
    return here.worker(*arguments, slots=2, **variables)


def _only_child(receiver: Receiver, above: SpanSeen, name: str) -> SpanSeen:
    (found,) = [span for span in receiver.named(name) if span.parent == above.id]
    return found


def test_a_project_is_one_trace(here: Site, receiver: Receiver) -> None:
    """apply → discover → download → extract, each try with its claim, run and recording; the run
    has the steps that the task process took."""
    trace = _apply_traced(here, receiver, "a", "b", stages="extract")

    assert _worker(here, "--until-idle", **CALM, **receiver.environment).wait(60) == 0

    assert {span.trace for span in receiver.spans} == {trace}
    (apply,) = receiver.named("apply")
    discover = _only_child(receiver, apply, "process discover")
    downloads = receiver.named("process download")
    assert {span.attributes["dataminer.subject"] for span in downloads} == {"a", "b"}
    assert {span.parent for span in downloads} == {discover.id}
    for download in downloads:
        extract = _only_child(receiver, download, "process extract")
        run = _only_child(receiver, extract, "run extract")
        fetch, publish = (_only_child(receiver, run, name) for name in ("fetch", "publish"))
        claim, record = (_only_child(receiver, extract, name) for name in ("claim", "record"))
        assert extract.start_ns <= claim.start_ns <= claim.end_ns <= run.start_ns
        assert run.start_ns <= fetch.start_ns <= fetch.end_ns <= publish.start_ns
        assert publish.end_ns <= run.end_ns <= record.start_ns <= record.end_ns <= extract.end_ns
        assert fetch.attributes["dataminer.artifact.kind"] == "source"
        assert publish.attributes["dataminer.artifact.bytes"] == len("extract a")
        assert extract.attributes["dataminer.outcome"] == "done"
        assert extract.attributes["dataminer.project"] == "default/p"
        assert extract.attributes["messaging.destination.name"] == "extract"
    assert {span.service for span in receiver.spans} == {"data-miner", "data-miner-worker"}


def test_a_task_that_fails_is_tried_again_in_its_trace(here: Site, receiver: Receiver) -> None:
    trace = _apply_traced(here, receiver, "a?fail=1")

    _worker(here, "--until-idle", **CALM, **receiver.environment).wait(60)

    first, second = receiver.named("process download")
    assert (first.trace, first.parent) == (second.trace, second.parent)
    assert first.trace == trace
    assert (first.failed, second.failed) == (True, False)
    assert first.attributes["error.type"] == "flaky"
    assert _only_child(receiver, first, "run download").failed
    assert [span.attributes["dataminer.attempt"] for span in (first, second)] == [1, 2]


def test_the_task_of_a_crashed_worker_goes_on_in_its_trace(here: Site, receiver: Receiver) -> None:
    trace = _apply_traced(here, receiver, "a?gate=g")
    first = _worker(here, **{**CALM, "DATA_MINER_LEASE_SECONDS": "5"}, **receiver.environment)
    (process,) = eventually(lambda: here.at_gate("g"), within_seconds=60)
    # What runs is made by strangers: it is told neither the receiver nor what that asks for.
    assert b"OTEL_" not in Path(f"/proc/{process}/environ").read_bytes()
    first.signal(signal.SIGKILL)
    first.wait()
    here.open_gate("g")

    _worker(here, "--until-idle", **CALM, **receiver.environment).wait(60)

    (download,) = receiver.named("process download")
    assert download.trace == trace
    assert download.attributes["dataminer.lost_workers"] == 1


def test_a_task_process_that_dies_is_in_the_trace(here: Site, receiver: Receiver) -> None:
    """What it would have told is gone; how it ended is not."""
    _apply_traced(here, receiver, "a?segfault=1")
    worker = _worker(
        here, "--until-idle", DATA_MINER_MAX_ATTEMPTS="1", **CALM, **receiver.environment
    )

    worker.wait(60)

    (process,) = receiver.named("process download")
    run = _only_child(receiver, process, "run download")
    assert run.attributes["error.type"] == "crashed"
    assert run.end_ns > run.start_ns


def test_without_a_receiver_nothing_is_traced(here: Site) -> None:
    """No library for traces is imported, the rows say nothing, and no line has a trace."""
    here.apply("a?bug=b", stages="extract")
    worker = _worker(
        here, "--until-idle", PYTHONPROFILEIMPORTTIME="1", DATA_MINER_MAX_ATTEMPTS="1", **CALM
    )

    worker.wait(60)

    assert here.rows("SELECT traceparent FROM tasks") == [{"traceparent": None}]
    assert "data_miner.tracing" in worker.log()
    assert "opentelemetry" not in worker.log()
    assert "trace_id" not in worker.log()


def test_a_worker_without_a_receiver_does_not_cut_the_trace(here: Site, receiver: Receiver) -> None:
    trace = _apply_traced(here, receiver, "a", stages="extract")
    _worker(here, "--until-idle", "--stages", "discover,download", **CALM).wait(60)

    (row,) = here.rows("SELECT stage, traceparent FROM tasks")
    (apply,) = receiver.named("apply")
    assert row == {"stage": "extract", "traceparent": f"00-{trace}-{apply.id}-01"}


def test_a_trace_that_is_not_sampled_is_sent_by_nobody(here: Site, receiver: Receiver) -> None:
    """The decision goes with the rows."""
    off = {**receiver.environment, "OTEL_TRACES_SAMPLER": "always_off"}
    here.apply("a", stages="extract")
    _worker(here, "--until-idle", "--stages", "discover,download", **CALM, **off).wait(60)
    (row,) = here.rows("SELECT traceparent FROM tasks")
    assert row["traceparent"].endswith("-00")

    _worker(here, "--until-idle", **CALM, **receiver.environment).wait(60)

    assert here.result("a", "extract")
    assert receiver.spans == []


@pytest.mark.parametrize("receiver_is", ["refusing", "silent", "failing"])
def test_a_receiver_that_is_away_slows_nothing_and_loses_no_work(
    here: Site, receiver: Receiver, receiver_is: str
) -> None:
    """One line says so; the worker works and ends in time."""
    here.apply("a", "b", "c", stages="extract")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if receiver_is == "refusing":
            silent.close()
        if receiver_is == "failing":
            receiver.status, port = 503, receiver.port
        to = {**receiver.environment, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        to["OTEL_EXPORTER_OTLP_TIMEOUT"] = "1"
        worker = _worker(here, "--until-idle", **CALM, **to)
        eventually(here.done("a", "b", "c", stage="extract"), within_seconds=60)
        ended = time.monotonic()
        assert worker.wait(40) == 0

    assert time.monotonic() - ended < 20
    assert len(worker.said("spans_not_sent")) <= 1
    assert not [line for line in worker.log().splitlines() if not line.startswith("{")]


def test_what_stands_against_traces_is_not_among_the_answers_of_a_command(here: Site) -> None:
    """Who reads --json from stdout reads JSON; the project is applied."""
    wrong = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}

    (line,) = _apply(here, wrong, "a", stages="download").splitlines()

    assert json.loads(line)["event"] == "not_traced"
    assert here.rows("SELECT traceparent FROM tasks") == [{"traceparent": None}]


def test_no_secret_is_in_a_span(here: Site, receiver: Receiver) -> None:
    """What a stage says of its failure is redacted, and no address is told at all."""
    here.apply("a?permanent=gone&token=c0ffeec0ffee", "b?skip=see+https://u:hunter2@h/x")

    _worker(here, "--until-idle", **CALM, **receiver.environment).wait(60)

    assert receiver.named("process download")
    assert b"hunter2" not in receiver.raw
    assert b"c0ffee" not in receiver.raw
    assert b"https://u:***@h/x" in receiver.raw


def test_lines_of_the_log_lead_to_the_trace_and_back(here: Site, receiver: Receiver) -> None:
    """Worker and task process say project, stage, subject, task, try and trace."""
    trace = _apply_traced(here, receiver, "a?bug=b")
    worker = _worker(
        here, "--until-idle", DATA_MINER_MAX_ATTEMPTS="1", **CALM, **receiver.environment
    )
    worker.wait(60)

    (process,) = receiver.named("process download")
    (inside,) = worker.said("stage_failed_unexpectedly")
    (outside,) = worker.said("task_failed")
    for line in (inside, outside):
        assert line["trace_id"] == trace == process.trace
        assert (line["project"], line["stage"], line["subject"]) == ("default/p", "download", "a")
        assert (line["task"], line["attempt"]) == (
            int(process.attributes["messaging.message.id"]),
            1,
        )


def test_durations_lead_to_a_trace(here: Site, receiver: Receiver) -> None:
    """Who asks for OpenMetrics gets exemplars; the plain format stays as it was."""
    trace = _apply_traced(here, receiver, "a")
    worker = _worker(here, "--metrics-port", "0", **CALM, **receiver.environment)
    port = eventually(lambda: worker.said("metrics"), within_seconds=60)[0]["port"]
    eventually(here.done("a"), within_seconds=60)
    url = f"http://127.0.0.1:{port}/metrics"

    def scraped(accept: str) -> str:
        request = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(request) as answer:
            assert answer.headers["Content-Type"].startswith(accept)
            return str(answer.read().decode())

    def exemplars() -> set[str]:
        text = scraped("application/openmetrics-text")
        families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        (seconds,) = [f for f in families if f.name == "dataminer_stage_seconds"]
        found = [s.exemplar for s in seconds.samples if s.exemplar]
        return {exemplar.labels["trace_id"] for exemplar in found}

    assert eventually(exemplars) == {trace}
    assert "trace_id" not in scraped("text/plain")


def test_a_worker_that_serves_logs_to_stdout_alone(here: Site) -> None:
    """Every line is JSON, those of its task processes too; stderr is for the end without a log."""
    here.apply("a?bug=b")
    done = subprocess.run(
        [sys.executable, "-m", "data_miner_worker", "--until-idle"],
        env=here.environment({**CALM, "DATA_MINER_MAX_ATTEMPTS": "1"}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stderr == ""
    assert '"event": "stage_failed_unexpectedly"' in done.stdout
    assert all(line.startswith("{") and line.endswith("}") for line in done.stdout.splitlines())
