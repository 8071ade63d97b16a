"""The look at the queue, without a queue."""

from __future__ import annotations

import asyncio
from typing import Any

from data_miner.catalog.pulse import Pulse
from data_miner_operator import metrics
from data_miner_operator.cache import Cache
from data_miner_operator.catalogue import AwayError
from data_miner_operator.keyed_queue import KeyedQueue
from data_miner_operator.pulse_loop import PulseLoop


class Idle:
    """A catalogue in which nothing is to do."""

    def __init__(self) -> None:
        self.looks = 0

    async def pulse(self) -> Pulse:
        self.looks += 1
        return Pulse((), (), {}, {}, {}, {}, frozenset(), {}, 0.0)


def test_it_ends_when_it_is_stopped_in_the_moment_in_which_it_is_asked_to_hurry() -> None:
    """A leader whose Lease is lost must not stay in office because PostgreSQL tells of a change."""

    async def scenario() -> None:
        catalogue: Any = Idle()
        pulses = PulseLoop(catalogue, Cache(), KeyedQueue("test"), lambda: 0.1, 2, lambda: None)
        running = asyncio.create_task(pulses.run())
        while not catalogue.looks:
            await asyncio.sleep(0)
        await asyncio.sleep(0)

        pulses._told(None)  # what LISTEN calls
        running.cancel()
        await asyncio.wait({running}, timeout=5)

        assert running.cancelled()

    asyncio.run(scenario())


class Away(Idle):
    """A catalogue whose database does not answer."""

    async def pulse(self) -> Pulse:
        self.looks += 1
        raise AwayError("PostgreSQL at db: connection refused")


def test_each_look_that_gets_no_answer_is_counted_also_where_there_is_no_project() -> None:
    """An alert lives on it, for as long as nobody answers."""

    async def scenario() -> None:
        catalogue: Any = Away()
        before = metrics.DATABASE_AWAY._value.get()
        pulses = PulseLoop(catalogue, Cache(), KeyedQueue("test"), lambda: 0.1, 2, lambda: None)
        running = asyncio.create_task(pulses.run())
        while not catalogue.looks:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait({running}, timeout=5)

        assert metrics.DATABASE_AWAY._value.get() == before + catalogue.looks

    asyncio.run(scenario())
