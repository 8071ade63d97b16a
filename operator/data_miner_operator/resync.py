"""A look at everything, now and then: what a watch has lost is found by listing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from data_miner import telemetry
from data_miner_operator import metrics
from data_miner_operator.api import Api, ApiError, Resource
from data_miner_operator.backoff import Backoff
from data_miner_operator.cache import Cache
from data_miner_operator.facts import Key
from data_miner_operator.watch import Subject, jittered

EVERY_SECONDS: Final = 60.0

_log = telemetry.logger()


class Resync:
    """Lists all subjects into the cache. `run` is to be a task of its own."""

    def __init__(
        self,
        api: Api,
        cache: Cache,
        subjects: Sequence[Subject],
        changed: Callable[[Resource, Key], None],
        *,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._api = api
        self._cache = cache
        self._subjects = subjects
        self._changed = changed
        self._every_seconds = every_seconds
        self._asked = asyncio.Event()
        self.rounds = 0
        """Complete looks so far."""
        self.problem = "nothing has been listed yet"
        """Why the last look was not complete; empty when it was."""

    def soon(self) -> None:
        """Look now: events may have been missed."""
        self._asked.set()

    async def run(self, each_round: Callable[[], None]) -> None:
        """Look until cancelled; `each_round` is called after each complete look."""
        pauses = Backoff(first_seconds=0.5, most_seconds=30.0)
        failures = 0
        while True:
            self._asked.clear()
            try:
                await self._look()
            except ApiError as error:
                failures += 1
                self.problem = str(error)
                _log.warning("the cluster cannot be listed", problem=self.problem)
                await asyncio.sleep(pauses.seconds(failures))
                continue
            failures = 0
            self.rounds += 1
            self.problem = ""
            metrics.LAST_RESYNC.set(time.time())
            each_round()
            try:
                async with asyncio.timeout(jittered(self._every_seconds)):
                    await self._asked.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        for subject in self._subjects:
            resource = subject.resource
            for namespace in subject.namespaces or (None,):
                mark = self._cache.mark()
                found = await self._api.list(resource, namespace, labels=subject.selector)
                news = self._cache.replace(resource, namespace, found, mark)
                if self.rounds:
                    metrics.WATCH_MISSED.labels(resource.plural).inc(len(news))
                for key in news:
                    self._changed(resource, key)
