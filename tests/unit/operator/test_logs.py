"""What libraries say in the operator: in its own form, without secrets, and not again and again."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from data_miner import telemetry
from data_miner_operator.logs import route_libraries

ROUTED = ("", "kopf", "kubernetes", "urllib3", "aiohttp", "asyncio")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    found = [logging.getLogger(name) for name in ROUTED]
    before = [(each.handlers, each.level, each.propagate) for each in found]
    stream = io.StringIO()
    telemetry.configure_logging(stream=stream)
    route_libraries()
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(False)
    for each, (handlers, level, propagate) in zip(found, before, strict=True):
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


@pytest.mark.parametrize(
    "name", ["kopf.objects", "kubernetes.client", "urllib3.pool", "a.stranger"]
)
def test_every_library_speaks_as_the_operator_does(stream: io.StringIO, name: str) -> None:
    log = logging.getLogger(name)
    log.info("nothing to see")
    try:
        raise ConnectionError("https://api:s3cr3t@host/x")
    except ConnectionError:
        log.exception("Authorization: Bearer %s", "s3cr3ts3cr3t")

    (line,) = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert (line["source"], line["level"]) == (name, "error")
    assert line["event"] == "Authorization: Bearer ***"
    assert line["exception"].endswith("ConnectionError: https://api:***@host/x")
    assert "s3cr3t" not in stream.getvalue()


def test_a_watch_that_waits_says_so_once(stream: io.StringIO) -> None:
    log = logging.getLogger("kopf.clients")
    for attempt in range(1, 13):
        log.warning("Request attempt #%s failed; will retry", attempt)

    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "Request attempt #1 failed; will retry"


def test_a_record_whose_values_do_not_fit_is_said_as_it_is() -> None:
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s and %s", ("one",), None)

    assert telemetry.words(record) == "%s and %s"
