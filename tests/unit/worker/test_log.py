"""The log: JSON lines without secrets, readable on a terminal, one form for all who speak."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from data_miner import telemetry

SECRETS = {
    "hunter2": "postgresql+psycopg2://miner:hunter2@db:5432/mine",
    "s3cr3t": "host=db user=miner password='s3cr3t' dbname=mine",
    "c0ffee": "GET /v.mp4 Authorization: Bearer c0ffeec0ffee",
    "wJalr": "aws_secret_access_key=wJalrXUtnFEMI",
    "AKIAIOSFODNN7EXAMPLE": "key AKIAIOSFODNN7EXAMPLE is wrong",
    "0011aabb": "https://b.test/k?X-Amz-Signature=0011aabb&x=1",
    "biscuit": "Cookie: SID=biscuit; HSID=biscuit",
}
"""What may never be seen, by the text that holds it."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass
class Said:
    """What was logged."""

    stream: io.StringIO

    def line(self) -> dict[str, Any]:
        (line,) = self.lines()
        return line

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def said() -> Iterator[Said]:
    stream = io.StringIO()
    telemetry.configure_logging(stream=stream)
    yield Said(stream)
    structlog.reset_defaults()
    telemetry.always_say({})


@pytest.fixture
def libraries() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers
    telemetry.route_libraries()
    yield
    logging.captureWarnings(False)
    root.handlers = before


@pytest.fixture
def ours() -> Iterator[logging.Logger]:
    own = logging.getLogger("ours")
    before = own.handlers, own.level, own.propagate
    telemetry.route_libraries("ours")
    yield logging.getLogger("ours.inside")
    own.handlers, own.propagate = before[0], before[2]
    own.setLevel(before[1])


@pytest.mark.usefixtures("libraries")
def test_what_is_part_of_the_program_tells_more_than_libraries(
    said: Said, ours: logging.Logger
) -> None:
    """Where a model runs is told by the models themselves, once and in the log's form."""
    ours.info("model %s: image runs on cpu", "m")
    ours.debug("nothing to see")
    logging.getLogger("stranger").info("nothing to see")
    line = said.line()
    assert (line["level"], line["source"]) == ("info", "ours.inside")
    assert line["event"] == "model m: image runs on cpu"
    ours.warning("going on without cuda")
    assert [line["level"] for line in said.lines()] == ["info", "warning"]


@pytest.mark.parametrize(("secret", "text"), SECRETS.items())
def test_a_secret_is_taken_out_wherever_it_stands(said: Said, secret: str, text: str) -> None:
    class Thing:
        def __repr__(self) -> str:
            return text

    log = telemetry.logger(bound=text)
    log.info(text, url=text, deep=[{"x": (text,)}], raw=text.encode(), thing=Thing(), many={text})
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        log.exception("failed", error=error)

    assert len(said.lines()) == 2
    assert "Traceback" in said.lines()[1]["exception"]
    assert secret not in said.stream.getvalue()


@pytest.mark.parametrize(
    "key",
    [
        *("password", "PGPASSWORD", "passphrase", "api_key", "apiKey", "access_key", "private_key"),
        *("token", "Authorization", "cookies", "client_secret", "credential", "signature", "dsn"),
    ],
)
def test_a_value_is_taken_out_by_the_name_of_its_key(said: Said, key: str) -> None:
    telemetry.logger().info("x", **{key: "plain"}, options=[{key: {"a": "plain"}}], count=1)

    assert "plain" not in said.stream.getvalue()
    assert said.line()[key] == "***"
    assert said.line()["count"] == 1


def test_keys_that_are_no_text_do_not_break_a_line(said: Said) -> None:
    telemetry.logger().info("x", seen={1: "a", None: b"\xff"})

    assert said.line()["seen"] == {"1": "a", "None": "�"}


def test_what_a_process_is_about_is_in_every_line_of_all_its_threads(said: Said) -> None:
    telemetry.always_say({"project": "a/b", "task": 1})
    thread = threading.Thread(target=lambda: telemetry.logger().info("from a thread"))
    thread.start()
    thread.join()
    telemetry.always_say({"project": "a/c"})
    telemetry.logger().info("later", project="its own")

    first, second = said.lines()
    assert (first["project"], first["task"]) == ("a/b", 1)
    assert second["project"] == "its own"
    assert "task" not in second


def test_a_line_is_written_whole(said: Said) -> None:
    """Processes that share a stream must not mix their lines."""
    writes: list[str] = []
    said.stream.write = writes.append  # type: ignore[method-assign, assignment]
    telemetry.logger().info("long", text="x" * 20_000)

    (written,) = writes
    assert json.loads(written)["text"] == "x" * 20_000
    assert written.endswith("\n")


@pytest.mark.parametrize(("secret", "text"), SECRETS.items())
@pytest.mark.usefixtures("libraries")
def test_libraries_speak_in_the_same_form(said: Said, secret: str, text: str) -> None:
    """Records of the logging module, their tracebacks and warnings, all redacted."""
    log = logging.getLogger("a.library")
    log.info("not this")
    log.warning("about %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(text, stacklevel=1)

    first, second, third = said.lines()
    assert (first["source"], first["level"]) == ("a.library", "warning")
    assert (second["source"], second["level"]) == ("a.library", "error")
    assert "ValueError" in second["exception"]
    assert third["source"] == "py.warnings"
    assert secret not in said.stream.getvalue()


def test_a_terminal_gets_lines_for_people() -> None:
    terminal = Terminal()
    try:
        telemetry.configure_logging(stream=terminal)
        telemetry.logger(stage="download").warning("task_failed", password="hunter2")
    finally:
        structlog.reset_defaults()

    text = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[warning *\] task_failed +.*\n", text)
    assert "stage=download" in text
    assert "hunter2" not in text
