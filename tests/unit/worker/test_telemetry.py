"""What a process tells of itself is bounded, whole, and holds no secret."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from data_miner import telemetry
from data_miner.outside import redact
from data_miner.project_metrics import ProjectMetrics
from data_miner_operator import metrics
from support.reconciling import a_progress

BOUNDED = {
    *("action", "code", "device", "direction", "error_class", "gpu", "kind", "name", "namespace"),
    *(
        "outcome",
        "place",
        "pool",
        "reason",
        "resource",
        "result",
        "stage",
        "state",
        "status",
        "type",
        "verb",
    ),
    *("le", "version"),
}
"""Labels whose values are few: `name` is a counter's or a queue's, `namespace` a pool's."""


@contextmanager
def served(problem: str | None = None) -> Iterator[str]:
    """Base URL of a metrics server whose health is `problem`."""
    server = telemetry.serve(0, lambda: problem)
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_metrics_are_served_under_one_prefix() -> None:
    """Every metric of worker and operator begins with dataminer_, but those that have the names of
    controller-runtime or are about the process, and none has an unbounded label."""
    telemetry.STAGE_OUTCOMES.labels("download", "done", "").inc()

    with served() as base, urllib.request.urlopen(f"{base}/metrics") as answer:
        text = answer.read().decode()

    assert 'dataminer_stage_outcomes_total{error_class="",outcome="done",stage="download"}' in text
    for registry in (telemetry.WORKER_REGISTRY, metrics.REGISTRY):
        declared = registry._collector_to_names
        labels = {label for metric in declared for label in getattr(metric, "_labelnames", ())}
        assert labels <= BOUNDED
        names = [metric.name for metric in registry.collect()]
        assert all(name.startswith(("dataminer_", "workqueue_", "process_")) for name in names)


def test_a_process_tells_only_what_is_its_own() -> None:
    """A gauge of workers that an operator told would be a worker that does nothing."""
    of_workers, of_operator = (
        {metric.name for metric in registry.collect()}
        for registry in (telemetry.WORKER_REGISTRY, metrics.REGISTRY)
    )

    assert {name for name in of_workers & of_operator if not name.startswith("process_")} == {
        "dataminer_build_info"
    }


def test_further_metrics_follow_those_of_the_registry() -> None:
    """Whoever keeps series as text has them served with the others, as they are at that moment."""
    texts: Iterator[list[list[bytes]]] = iter([[], [[b"more ", b"1\n"], [b"less 2\n"]]])
    server = telemetry.serve(0, more=lambda: next(texts))
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/metrics"
        first, second = (urllib.request.urlopen(url).read() for _ in range(2))
    finally:
        server.shutdown()
        server.server_close()

    assert b"more 1" not in first
    assert second.endswith(b"\nmore 1\nless 2\n")


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=1.0.0", "text/plain", "x"]
)
def test_what_is_served_is_whole_in_both_formats(accept: str) -> None:
    """A strict reader of the format that was asked for takes all of it: what the registry holds,
    and the series of projects behind it. A version that is none is no reason to say nothing."""
    projects = ProjectMetrics()
    status = {"progress": 50, "images": {"kept": 4}, "phase": 'a"b\\c'}
    projects.tell_objects({("a", "b"): {"metadata": {"resourceVersion": "1"}, "status": status}})
    projects.tell_progress(("a", "b"), a_progress())
    telemetry.STAGE_SECONDS.labels("download", "done").observe(1, {"trace_id": "1" * 32})
    server = telemetry.serve(0, registry=metrics.REGISTRY, more=projects.blocks)
    workers = telemetry.serve(0)
    try:
        bodies = [_scraped(each.server_address[1], accept) for each in (server, workers)]
        assert _scraped(server.server_address[1], f"{accept};version=x")
    finally:
        for each in (server, workers):
            each.shutdown()
            each.server_close()

    opened = "openmetrics" in accept
    read = openmetrics.text_string_to_metric_families if opened else text_string_to_metric_families
    operator, worker = ({f.name: f for f in read(body)} for body in bodies)
    assert operator["dataminer_project_progress_ratio"].samples[0].value == 0.5
    assert "dataminer_leader" in operator
    exemplars = [s.exemplar for s in worker["dataminer_stage_seconds"].samples if s.exemplar]
    assert bool(exemplars) is opened
    assert all(body.endswith("# EOF\n") is opened for body in bodies)


def _scraped(port: int | str, accept: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


def test_health_is_asked_of_its_owner() -> None:
    """/healthz is 200 while there is no problem, and 503 with the reason otherwise."""
    with served() as base, urllib.request.urlopen(f"{base}/healthz") as answer:
        assert answer.status == 200
    with served("it stands still") as base, pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{base}/healthz")

    assert error.value.code == 503
    assert error.value.read() == b"it stands still\n"
    error.value.close()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgresql+psycopg2://miner:hunter2@db:5432/mine", "hunter2"),
        ("GET https://cdn.example/v.mp4?token=abcdef&x=1", "abcdef"),
        ("https://b.s3.amazonaws.com/k?X-Amz-Signature=0123abcd", "0123abcd"),
        ("Authorization: Bearer eyJhbGciOi.J9", "eyJhbGciOi.J9"),
        ("key AKIAIOSFODNN7EXAMPLE is wrong", "AKIAIOSFODNN7EXAMPLE"),
    ],
)
def test_secrets_are_taken_out_of_text(text: str, secret: str) -> None:
    """Passwords, tokens and keys go; what is around them stays readable."""
    assert secret not in redact(text)
    assert len(redact(text)) > len(text) - len(secret) - 1


def test_the_log_is_json_lines_without_secrets() -> None:
    """Off a terminal each event is one JSON object; values are redacted by key, at any depth."""
    stream = io.StringIO()
    try:
        telemetry.configure_logging(stream=stream)
        telemetry.logger(stage="download").info(
            "fetching", cookies="a=b", options={"password": "p"}, url="https://u:pw@host/x"
        )
    finally:
        structlog.reset_defaults()

    line = json.loads(stream.getvalue())
    assert (line["event"], line["stage"], line["level"]) == ("fetching", "download", "info")
    assert (line["cookies"], line["options"], line["url"]) == (
        "***",
        {"password": "***"},
        "https://u:***@host/x",
    )


def test_error_classes_are_bounded_labels() -> None:
    """Only plain words become labels, and only so many of them."""
    names = [telemetry.bounded_class(f"class_{n}") for n in range(200)]

    assert telemetry.bounded_class("https://x.test/video") == "other"
    assert 0 < len(set(names)) <= 61
    assert names[-1] == "other"


def test_only_declared_counters_are_counted() -> None:
    """A counter that nobody declared makes no series."""
    telemetry.counted("cut", {"frames_cut": 2, "made_up": 5})

    (metric,) = telemetry.STAGE_COUNTS.collect()
    names = {s.labels.get("name") for s in metric.samples}
    assert "frames_cut" in names
    assert "made_up" not in names
