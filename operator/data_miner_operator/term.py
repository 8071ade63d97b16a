"""A leader's term in office: everything that only one replica may do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from data_miner import telemetry
from data_miner_operator.backoff import Backoff
from data_miner_operator.catalogue import AwayError, Catalogue
from data_miner_operator.controller import Controller
from data_miner_operator.facts import Key
from data_miner_operator.keyed_queue import KeyedQueue
from data_miner_operator.observe import Observer
from data_miner_operator.pulse_loop import PulseLoop
from data_miner_operator.routing import Router
from data_miner_operator.scale_loop import ScaleLoop
from data_miner_operator.watch import jittered

PATIENCE_SECONDS: Final = 5.0
"""So long a new leader waits for the database before it says of every project that it is away."""
ROWS_SECONDS: Final = 60.0

_log = telemetry.logger()


@dataclass(slots=True)
class Term:
    """`serve` is one term."""

    identity: str
    catalogue: Catalogue
    observer: Observer
    controller: Controller
    queue: KeyedQueue[Key]
    router: Router
    pulses: PulseLoop
    scaling: ScaleLoop
    workers: int

    async def serve(self) -> None:
        """Act until cancelled, or until the queue is closed and every worker has put its key down.

        Raises FencedError when another leader was elected since.
        """
        others: list[asyncio.Task[None]] = []
        try:
            async with asyncio.TaskGroup() as group:
                office = group.create_task(self._take_office(), name="office")
                await asyncio.wait({office}, timeout=PATIENCE_SECONDS)
                self.router.everything()
                loops = {
                    "pulse": self.pulses.run(),
                    "listen": self.pulses.listen(),
                    "scaling": self.scaling.run(),
                    "pools": self.router.watch_pools(lambda: self.pulses.active),
                    "rows": self._rows(),
                }
                others += [group.create_task(loop, name=name) for name, loop in loops.items()]
                hands = [
                    group.create_task(self.controller.work(), name=f"worker {number}")
                    for number in range(self.workers)
                ]
                await asyncio.wait(hands)
                for other in (office, *others):
                    other.cancel()
        except BaseExceptionGroup as failures:
            # All of them end the process; the first one says why.
            raise failures.exceptions[0] from failures
        finally:
            self.catalogue.epoch = None

    async def _take_office(self) -> None:
        pauses = Backoff(first_seconds=0.5, most_seconds=10.0)
        failures = 0
        while True:
            try:
                epoch = await self.catalogue.take_office(self.identity)
            except AwayError as error:
                failures += 1
                self.observer.database_away(str(error))
                if failures == 1:
                    _log.warning(
                        "PostgreSQL cannot be asked: nothing is written", problem=str(error)
                    )
                await asyncio.sleep(pauses.seconds(failures))
                continue
            _log.info("took office", epoch=epoch)
            self.observer.database_back()
            self.router.everything()
            return

    async def _rows(self) -> None:
        """Find rows whose object went while nobody watched."""
        while True:
            try:
                for row in await self.catalogue.rows():
                    key = (row.namespace, row.name)
                    if not self.observer.known(key):
                        self.queue.add(key)
            except AwayError:
                await asyncio.sleep(5.0)
                continue
            await asyncio.sleep(jittered(ROWS_SECONDS))
