"""From what has changed in the cluster to the projects that it concerns."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from data_miner_operator import labels
from data_miner_operator.api import DEPLOYMENTS, JOBS, PODS, PROJECTS, Resource
from data_miner_operator.cache import Cache
from data_miner_operator.facts import Key, PoolFact
from data_miner_operator.jobs import model_label
from data_miner_operator.keyed_queue import KeyedQueue
from data_miner_operator.observe import Observer

LOOK_SECONDS: Final = 1.0
SPREAD_SECONDS: Final = 2.0
"""Over so long the projects are spread that a change of a pool concerns."""
SLICES: Final = 5
"""Every so many resyncs each project is looked at, whatever has or has not been told of it."""


@dataclass(slots=True)
class Router:
    """Takes news into the cache and adds keys to the queue."""

    cache: Cache
    queue: KeyedQueue[Key]
    observer: Observer
    resync_seconds: float = 60.0
    """Between two calls of `some`."""
    _pools_touched: bool = False
    _gist: Hashable = None
    _round: int = 0

    def told(self, resource: Resource, happened: str, found: Mapping[str, Any]) -> None:
        """A watch has told of an object."""
        metadata = found["metadata"]
        key = (str(metadata.get("namespace") or ""), str(metadata["name"]))
        before = self.cache.get(resource, key)
        take = self.cache.remove if happened == "DELETED" else self.cache.put
        if take(resource, found):
            self.changed(resource, key, before)

    def changed(
        self, resource: Resource, key: Key, before: Mapping[str, Any] | None = None
    ) -> None:
        """The cache has news of an object; `before` is what it was, if that is known."""
        if resource == PROJECTS:
            # Somebody waits for what people do, which nobody does for counts. A status alone is
            # what we have written ourselves, told before we were answered.
            urgent = before is None or _wish(before) != _wish(self.cache.get(PROJECTS, key))
            self.queue.add(key, urgent=urgent)
        elif resource in (DEPLOYMENTS, PODS):
            self._pools_touched = True
        elif resource == JOBS:
            self._job(key)

    def everything(self) -> None:
        """All projects are to be looked at now."""
        for key in self.cache.all(PROJECTS):
            self.queue.add(key)

    def some(self) -> None:
        """Look at another share of the projects, in no hurry, and at all that are not ready: what
        they lack, such as a file, may have come without a word."""
        self._round += 1
        self._pools_touched = True  # also time alone changes how pods fare
        for key, found in self.cache.all(PROJECTS).items():
            if not _ready(found) or _slice(key) == self._round % SLICES:
                wait = random.uniform(0, self.resync_seconds / 3)  # noqa: S311 - spreads the load
                self.queue.add_after(key, wait)

    async def watch_pools(self, concerned: Callable[[], frozenset[Key]]) -> None:
        """Add the projects with work left when what they say of the pools may have changed."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._pools_touched:
                continue
            self._pools_touched = False
            gist = pool_gist(self.observer.pools(fresh=True))
            if gist != self._gist:
                self._gist = gist
                for key in concerned():
                    wait = random.uniform(0, SPREAD_SECONDS)  # noqa: S311 - spreads the load
                    self.queue.add_after(key, wait)

    def _job(self, job: Key) -> None:
        found = self.cache.get(JOBS, job)
        told = "" if found is None else (found["metadata"].get("labels") or {}).get(labels.MODEL)
        for key, models in self.observer.waiting.items():
            if not told or any(model_label(name) == told for name in models):
                self.queue.add(key)


def _slice(key: Key) -> int:
    """The same in every process, as `hash` is not."""
    return zlib.crc32("/".join(key).encode()) % SLICES


def _wish(found: Mapping[str, Any] | None) -> Hashable:
    """What changes when people do something to an object, and not with its status."""
    if found is None:
        return None
    metadata = found["metadata"]
    return (
        metadata.get("uid"),
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        frozenset((metadata.get("annotations") or {}).items()),
    )


def _ready(found: Mapping[str, Any]) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def pool_gist(pools: tuple[PoolFact, ...]) -> Hashable:
    """What a project says of the pools: it does not change with each pod."""
    return tuple(
        (
            pool.namespace,
            pool.name,
            pool.stages,
            pool.max_replicas > 0,
            pool.unschedulable > 0,
            pool.crashing > 0,
        )
        for pool in pools
    )
