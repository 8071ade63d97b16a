"""How often new work is announced."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import Connection

from data_miner.queue.notify import Notifier, channel


class Recorder:
    """Takes the place of a connection: remembers what it was asked to send."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def execute(self, _statement: object, parameters: dict[str, Any]) -> None:
        self.sent.append(parameters["channel"])


def test_a_stage_is_announced_at_most_once_in_the_interval() -> None:
    """What comes too soon is given back to the caller, and goes out when the interval is over."""
    now = [10.0]
    recorder = Recorder()
    notify = Notifier(0.1, clock=lambda: now[0])
    connection = cast("Connection", recorder)

    assert notify(connection, ["embed", "filter"]) == set()
    now[0] = 10.05
    assert notify(connection, ["embed", "cut"]) == {"embed"}
    now[0] = 10.11
    assert notify(connection, {"embed"}) == set()
    assert recorder.sent == [channel(s) for s in ("embed", "filter", "cut", "embed")]
