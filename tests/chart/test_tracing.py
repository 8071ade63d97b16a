"""Traces are off, and one value sends them: to whom, with what secret, through which hole."""

from __future__ import annotations

from typing import Any

import pytest

from support.chart import Object, of_kind, render

SENDERS = {"data-miner-operator", "data-miner-worker-default"}


def _tracing(objects: list[Object]) -> dict[str, dict[str, Any]]:
    """Variables of OpenTelemetry by the Deployment, StatefulSet or Job that has any."""
    found = {}
    for each in objects:
        if each["kind"] in {"Deployment", "StatefulSet", "Job"}:
            (container, *_) = each["spec"]["template"]["spec"]["containers"]
            env = {e["name"]: e for e in container.get("env", []) if e["name"].startswith("OTEL_")}
            if env:
                found[each["metadata"]["name"]] = env
    return found


def _opened(objects: list[Object]) -> dict[str, list[Object]]:
    """What each policy lets out beyond what it lets out without traces."""
    plain = {p["metadata"]["name"]: p["spec"].get("egress", []) for p in _policies(render())}
    return {
        name: new
        for policy in _policies(objects)
        if (
            new := [
                rule
                for rule in policy["spec"].get("egress", [])
                if rule not in plain[name := policy["metadata"]["name"]]
            ]
        )
    }


def _policies(objects: list[Object]) -> list[Object]:
    return of_kind(objects, "NetworkPolicy")


def test_nothing_is_traced_without_a_receiver() -> None:
    assert _tracing(render()) == {}
    assert _tracing(render({"tracing": {"ratio": 0.5, "headersSecret": "x"}})) == {}


def test_operator_and_workers_send_and_nobody_else() -> None:
    values = {"endpoint": "http://collector.monitoring:4318", "ratio": 0.25}
    found = _tracing(render({"tracing": values}))

    assert set(found) == SENDERS
    for env in found.values():
        assert env["OTEL_EXPORTER_OTLP_ENDPOINT"]["value"] == values["endpoint"]
        assert env["OTEL_TRACES_SAMPLER"]["value"] == "parentbased_traceidratio"
        assert env["OTEL_TRACES_SAMPLER_ARG"]["value"] == "0.25"
        assert "OTEL_EXPORTER_OTLP_HEADERS" not in env


def test_what_the_receiver_asks_for_comes_from_a_secret() -> None:
    values = {"endpoint": "https://otlp.example", "headersSecret": "otlp", "headersKey": "all"}

    for env in _tracing(render({"tracing": values})).values():
        reference = env["OTEL_EXPORTER_OTLP_HEADERS"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "otlp", "key": "all"}


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://collector.monitoring:4318", 4318),
        ("http://collector.monitoring:4318/otlp", 4318),
        ("https://otlp.example", 443),
        ("http://collector", 80),
    ],
)
def test_policies_let_out_what_goes_to_the_receiver(endpoint: str, port: int) -> None:
    to = [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]

    anywhere = _opened(render({"tracing": {"endpoint": endpoint}}))
    there = _opened(render({"tracing": {"endpoint": endpoint, "to": to}}))

    senders = ("data-miner-operator", "data-miner-worker")
    assert anywhere == {key: [{"ports": [{"port": port}]}] for key in senders}
    assert there == {key: [{"ports": [{"port": port}], "to": to}] for key in senders}
