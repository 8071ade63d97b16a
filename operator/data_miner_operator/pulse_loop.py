"""The leader's look at the queue: which projects' work has moved, and what the metrics say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from data_miner import telemetry
from data_miner.catalog.pulse import Pulse, marks
from data_miner_operator import metrics
from data_miner_operator.api import PROJECTS
from data_miner_operator.backoff import Backoff
from data_miner_operator.cache import Cache
from data_miner_operator.catalogue import AwayError, Catalogue
from data_miner_operator.facts import Key
from data_miner_operator.keyed_queue import KeyedQueue

LEAST_SECONDS: Final = 1.0
SHARE: Final = 10.0
"""A look may take one part in so many of the time."""
FRESH_SECONDS: Final = 30.0
"""A look that is older says nothing of the queue any more."""
TOLD_SECONDS: Final = 0.2
"""Changes told in one burst are looked at once."""

_log = telemetry.logger()


@dataclass(slots=True)
class PulseLoop:
    """`run` and `listen` are to be tasks of their own, on the leader."""

    catalogue: Catalogue
    cache: Cache
    queue: KeyedQueue[Key]
    mean_seconds: Callable[[], float]
    """What one pass over a project takes."""
    hands: int
    """So many passes that nobody waits for may be under way at once."""
    on_back: Callable[[], None]
    """Called when PostgreSQL can be asked again."""
    clock: Callable[[], float] = time.monotonic
    looked_at: float = 0.0
    """When the last look that went well was begun; monotonic seconds."""
    _pulse: Pulse | None = None
    _marks: Mapping[int, Hashable] = field(default_factory=dict)
    _away: bool = False
    _soon: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def latest(self) -> Pulse | None:
        """The last look; None when there is none that still counts."""
        fresh = self.clock() - self.looked_at < FRESH_SECONDS + SHARE * self._took
        return self._pulse if fresh and not self._away else None

    @property
    def active(self) -> frozenset[Key]:
        """Projects of this installation that are neither suspended nor gone; all, if unknown."""
        if self._pulse is None:
            return frozenset(self.cache.all(PROJECTS))
        return frozenset(k for pid, k in self._pulse.keys.items() if pid in self._pulse.active)

    @property
    def _took(self) -> float:
        return 0.0 if self._pulse is None else self._pulse.took_seconds

    async def run(self) -> None:
        """Look until cancelled."""
        pauses = Backoff(first_seconds=1.0, most_seconds=15.0)
        failures = 0
        while True:
            self._soon.clear()
            began = self.clock()
            try:
                pulse = await self.catalogue.pulse()
            except AwayError as error:
                failures += 1
                metrics.DATABASE_AWAY.inc()
                if not self._away:
                    _log.warning("PostgreSQL cannot be asked", problem=str(error))
                self._away = True
                await asyncio.sleep(pauses.seconds(failures))
                continue
            failures = 0
            self._take(pulse, began)
            wait = max(LEAST_SECONDS, SHARE * pulse.took_seconds)
            try:
                async with asyncio.timeout(wait):
                    await self._soon.wait()
            except TimeoutError:
                continue
            # Also who is asked to hurry leaves the database its rest.
            await asyncio.sleep(min(LEAST_SECONDS / 2, wait))

    async def listen(self) -> None:
        """Add projects as PostgreSQL tells of them, until cancelled."""
        await self.catalogue.listen(self._told)

    def _told(self, project_id: int | None) -> None:
        key = None
        if project_id is not None and self._pulse is not None:
            key = self._pulse.keys.get(project_id)
        if key is None:
            self._soon.set()
        else:
            self.queue.add_after(key, TOLD_SECONDS)

    def _take(self, pulse: Pulse, began: float) -> None:
        found = marks(pulse)
        moved = {
            pulse.keys[pid] for pid, mark in found.items() if self._marks.get(pid) != mark
        } | self._vanished(pulse)
        if self._away:
            _log.info("PostgreSQL can be asked again")
            self.on_back()
        self._away = False
        self._marks, self._pulse, self.looked_at = found, pulse, began
        for place, key in enumerate(sorted(moved)):
            self.queue.add_after(key, place * self.mean_seconds() / self.hands)
        metrics.tell_pulse(pulse, time.time())
        metrics.tell_projects(self.cache.all(PROJECTS))

    def _vanished(self, pulse: Pulse) -> set[Key]:
        if self._pulse is None:
            return set()
        return {key for pid, key in self._pulse.keys.items() if pid not in pulse.keys}
