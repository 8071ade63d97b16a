"""A queue of keys for several workers: no key is ever in two hands at once.

The rules are those of Kubernetes' own controllers. A key that is added while it waits is there
once; one that is added while somebody processes it comes again afterwards. A delayed add counts
from the earliest time that was asked for. A failure puts the key back after a growing wait, and
success forgets the failures.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from data_miner_operator import metrics
from data_miner_operator.backoff import Backoff

K = TypeVar("K", bound=Hashable)


class KeyedQueue(Generic[K]):
    """For one event loop; `clock` gives monotonic seconds.

    `most_calm`: so many keys that are not urgent may be in hand at once; None: any number.
    """

    def __init__(
        self,
        name: str,
        *,
        most_calm: int | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_calm = most_calm
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._ready: deque[K] = deque()
        self._soon: deque[K] = deque()
        """As `_ready`, of keys in `_urgent`: they go first."""
        self._urgent: set[K] = set()
        self._waiting: dict[K, float] = {}
        """Keys that are to be processed, and since when: those in `_ready` and those that must
        wait until somebody has put them down."""
        self._held: dict[K, float] = {}
        self._calm: set[K] = set()
        """Keys in hand that were not urgent when they were taken."""
        self._due: dict[K, float] = {}
        """Delayed keys; the heap may hold outdated entries of them."""
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0
        self._failures: dict[K, int] = {}
        self._takers: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._depth = metrics.WORKQUEUE_DEPTH.labels(name)
        self._adds = metrics.WORKQUEUE_ADDS.labels(name)
        self._queued = metrics.WORKQUEUE_QUEUED_SECONDS.labels(name)
        self._worked = metrics.WORKQUEUE_WORK_SECONDS.labels(name)
        self._retries = metrics.WORKQUEUE_RETRIES.labels(name)
        metrics.WORKQUEUE_UNFINISHED_SECONDS.labels(name).set_function(
            lambda: sum(self.held_seconds())
        )
        metrics.WORKQUEUE_LONGEST_SECONDS.labels(name).set_function(
            lambda: max(self.held_seconds(), default=0.0)
        )

    def __len__(self) -> int:
        """Keys that somebody could take now or as soon as they are put down."""
        return len(self._waiting)

    def held_seconds(self) -> list[float]:
        """How long each key in hand has been there. May be called from another thread."""
        now = self._clock()
        return [now - since for since in list(self._held.values())]

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Have it processed as soon as possible; an urgent one before all that are not."""
        if self._closed:
            return
        self._due.pop(key, None)
        if urgent:
            self._hurry(key)
        if key in self._waiting:
            return
        self._adds.inc()
        self._waiting[key] = self._clock()
        if key not in self._held:
            self._offer(key)
        self._depth.set(len(self._waiting))

    def add_after(self, key: K, seconds: float) -> None:
        """Have it processed after a wait; a wait that ends earlier is kept."""
        if self._closed or key in self._waiting:
            return
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock() + seconds
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        self._serial += 1
        heapq.heappush(self._heap, (due, self._serial, key))
        self._arm()

    def try_get(self) -> K | None:
        """A key to process, or None when there is none now. Put it down with `done`."""
        self._ripen()
        if self._closed:
            return None
        if self._soon:
            key = self._soon.popleft()
            self._urgent.discard(key)
        elif self._ready and (self._most_calm is None or len(self._calm) < self._most_calm):
            key = self._ready.popleft()
            self._calm.add(key)
        else:
            return None
        now = self._clock()
        self._queued.observe(max(0.0, now - self._waiting.pop(key)))
        self._held[key] = now
        self._depth.set(len(self._waiting))
        return key

    async def get(self) -> K | None:
        """Wait for a key to process; None once the queue is closed."""
        while not self._closed:
            key = self.try_get()
            if key is not None:
                return key
            taker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            self._arm()
            try:
                await taker
            except asyncio.CancelledError:
                if taker.done() and not taker.cancelled():
                    self._wake(1)  # this call would have had it: another shall
                raise
        return None

    def done(self, key: K) -> None:
        """Put down a key that was taken."""
        self._worked.observe(max(0.0, self._clock() - self._held.pop(key)))
        if key in self._calm:
            self._calm.remove(key)
            if self._ready:
                self._wake(1)
        if key in self._waiting:
            self._offer(key)

    def failed(self, key: K) -> float:
        """The key is to come again after a wait; returns it, in seconds. It is still to be put
        down."""
        self._failures[key] = self._failures.get(key, 0) + 1
        self._retries.inc()
        wait = self._backoff.seconds(self._failures[key])
        self.add_after(key, wait)
        return wait

    def failures(self, key: K) -> int:
        """How often in a row it has failed."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The key has no failures any more."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """Hand out no more keys; those in hand are put down as ever."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._wake(len(self._takers))

    def _hurry(self, key: K) -> None:
        if key not in self._urgent and key in self._waiting and key not in self._held:
            self._ready.remove(key)
            self._soon.append(key)
            self._wake(1)  # who waits may take this one, and not what was calm
        self._urgent.add(key)

    def _offer(self, key: K) -> None:
        (self._soon if key in self._urgent else self._ready).append(key)
        self._wake(1)

    def _wake(self, number: int) -> None:
        while number > 0 and self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                number -= 1

    def _ripen(self) -> None:
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                self.add(key)

    def _arm(self) -> None:
        """See to it that somebody wakes when the next delayed key is due."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # asked for by `try_get` alone
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap and not self._closed:
            wait = max(0.0, self._heap[0][0] - self._clock())
            self._timer = loop.call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._ripen()
        self._arm()
