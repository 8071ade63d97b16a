"""Has the scaler take a step every few seconds, and tells what it did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from data_miner import telemetry
from data_miner_operator import metrics
from data_miner_operator.api import DEPLOYMENTS, PODS
from data_miner_operator.cache import Cache
from data_miner_operator.catalogue import AwayError, Catalogue
from data_miner_operator.events_out import Events
from data_miner_operator.pulse_loop import PulseLoop
from data_miner_operator.reconcile.times import utc_now
from data_miner_operator.scaling.deaths import Death, out_of_memory
from data_miner_operator.scaling.pools import read_pools
from data_miner_operator.scaling.report import ScalingReport
from data_miner_operator.scaling.scaler import Scaler

_log = telemetry.logger()


@dataclass(slots=True)
class ScaleLoop:
    """`run` is to be a task of its own, on the leader."""

    scaler: Scaler
    cache: Cache
    catalogue: Catalogue
    pulses: PulseLoop
    events: Events
    synced: Callable[[], bool]
    every_seconds: float
    operator: str = ""
    """As pools name it that belong to it alone."""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = utc_now
    _last: ScalingReport | None = None
    _deaths: frozenset[Death] = frozenset()
    """Those whose tasks were taken back."""

    async def run(self) -> None:
        """Step until cancelled."""
        while True:
            await asyncio.sleep(self.every_seconds)
            if not self.synced():
                continue  # pods that have not been listed yet are no reason to start others
            try:
                await self.step()
            except AwayError as error:
                _log.warning("scaling waits for PostgreSQL", problem=str(error))

    async def step(self) -> ScalingReport:
        """One step. Raises AwayError and FencedError."""
        pools = read_pools(
            self.cache.all(DEPLOYMENTS).values(),
            self.cache.all(PODS).values(),
            self.now(),
            self.operator,
        )
        # Who has not taken office may not write, so to it the database is away.
        pulse = self.pulses.latest if self.catalogue.epoch is not None else None
        report = await self.scaler.step(pools, pulse, self.pulses.looked_at, self.clock())
        metrics.tell_scaling(report, self._last)
        self._last = report
        for event in report.events:
            found = self.cache.get(DEPLOYMENTS, (event.namespace, event.name))
            regarding: dict[str, Any] = {
                "metadata": {"namespace": event.namespace, "name": event.name, "uid": event.uid}
            }
            self.events.post(
                DEPLOYMENTS,
                found if found is not None else regarding,
                type=event.type,
                reason=event.reason,
                note=event.note,
                action=event.action,
            )
        await self._take_back()
        return report

    async def _take_back(self) -> None:
        """Whoever ran out of memory cannot say so: its tasks need not wait for their leases."""
        if self.catalogue.epoch is None:
            return
        found = out_of_memory(self.cache.all(PODS).values())
        for death in found - self._deaths:
            lost = await self.catalogue.lose(death.worker, death.before, death.words)
            _log.warning(
                "worker out of memory", worker=death.worker, tasks=[one.id for one in lost]
            )
        self._deaths = found
