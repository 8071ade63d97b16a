"""The queue of keys, alone with a clock that the test moves, and against a model."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from data_miner_operator import metrics
from data_miner_operator.backoff import Backoff
from data_miner_operator.keyed_queue import KeyedQueue
from support.clock import ManualClock

EXACT = Backoff(first_seconds=0.5, most_seconds=300.0, chance=lambda: 0.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(clock: ManualClock) -> KeyedQueue[str]:
    return KeyedQueue("test", backoff=EXACT, clock=clock.monotonic)


def test_a_key_that_waits_is_there_once(queue: KeyedQueue[str]) -> None:
    for _ in range(3):
        queue.add("a")

    assert len(queue) == 1
    assert (queue.try_get(), queue.try_get()) == ("a", None)


def test_urgent_keys_go_first_in_their_own_order(queue: KeyedQueue[str]) -> None:
    for key in "abc":
        queue.add(key)
    queue.add("x", urgent=True)
    queue.add("b", urgent=True)
    queue.add("b", urgent=True)
    queue.add("x")

    assert [queue.try_get() for _ in range(5)] == ["x", "b", "a", "c", None]


def test_a_key_that_becomes_urgent_in_hand_goes_first_once_it_is_put_down(
    queue: KeyedQueue[str],
) -> None:
    queue.add("a")
    assert queue.try_get() == "a"
    queue.add("b")
    queue.add("a", urgent=True)
    queue.done("a")

    assert [queue.try_get() for _ in range(3)] == ["a", "b", None]


def test_only_so_many_keys_that_are_not_urgent_are_in_hand_at_once(clock: ManualClock) -> None:
    queue: KeyedQueue[str] = KeyedQueue("test", most_calm=1, clock=clock.monotonic)
    for key in "ab":
        queue.add(key)
    assert queue.try_get() == "a"
    assert queue.try_get() is None

    queue.add("c", urgent=True)
    assert queue.try_get() == "c"
    queue.done("c")
    assert queue.try_get() is None
    queue.done("a")
    assert queue.try_get() == "b"


def test_whoever_waits_is_woken_when_a_key_that_is_not_urgent_is_put_down() -> None:
    async def scenario() -> None:
        queue: KeyedQueue[str] = KeyedQueue("test", most_calm=1)
        for key in "ab":
            queue.add(key)
        assert await queue.get() == "a"
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.done("a")
        assert await asyncio.wait_for(waiting, 5) == "b"

    asyncio.run(scenario())


def test_whoever_waits_is_woken_when_a_key_becomes_urgent() -> None:
    async def scenario() -> None:
        queue: KeyedQueue[str] = KeyedQueue("test", most_calm=1)
        for key in "ab":
            queue.add(key)
        assert await queue.get() == "a"
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("b", urgent=True)
        assert await asyncio.wait_for(waiting, 5) == "b"

    asyncio.run(scenario())


def test_a_key_in_hand_is_not_handed_out_again_until_it_is_put_down(
    queue: KeyedQueue[str],
) -> None:
    queue.add("a")
    assert queue.try_get() == "a"

    queue.add("a")
    assert queue.try_get() is None
    queue.done("a")
    assert queue.try_get() == "a"


def test_a_delayed_key_comes_when_its_time_has_come_and_the_earliest_time_counts(
    queue: KeyedQueue[str], clock: ManualClock
) -> None:
    queue.add_after("a", 10)
    queue.add_after("a", 2)
    queue.add_after("a", 5)

    clock.advance(1.9)
    assert queue.try_get() is None
    clock.advance(0.2)
    assert queue.try_get() == "a"
    queue.done("a")
    clock.advance(60)
    assert queue.try_get() is None


def test_what_is_added_now_is_not_added_again_later(
    queue: KeyedQueue[str], clock: ManualClock
) -> None:
    queue.add_after("a", 5)
    queue.add("a")
    assert queue.try_get() == "a"
    queue.done("a")

    clock.advance(10)
    assert queue.try_get() is None


def test_failures_double_the_wait_up_to_five_minutes_and_success_forgets_them(
    queue: KeyedQueue[str],
) -> None:
    waits = [queue.failed("a") for _ in range(12)]
    queue.forget("a")

    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert queue.failed("a") == 0.5


def test_ten_thousand_failures_are_no_more_than_many(queue: KeyedQueue[str]) -> None:
    assert EXACT.seconds(10_000) == 300.0


def test_jitter_only_takes_away() -> None:
    waits = [Backoff(chance=lambda at=at: at).seconds(4) for at in (0.0, 0.5, 0.999)]  # type: ignore[misc]

    assert waits == [pytest.approx(4.0), pytest.approx(3.6), pytest.approx(3.2008)]


def test_metrics_tell_the_depth_and_what_is_in_hand(
    queue: KeyedQueue[str], clock: ManualClock
) -> None:
    queue.add("a")
    queue.add("b")
    assert metrics.WORKQUEUE_DEPTH.labels("test")._value.get() == 2

    assert queue.try_get() == "a"
    clock.advance(3)
    assert queue.held_seconds() == [3.0]
    assert metrics.WORKQUEUE_DEPTH.labels("test")._value.get() == 1


async def _take(queue: KeyedQueue[str], number: int) -> list[str | None]:
    return [await asyncio.wait_for(queue.get(), 5) for _ in range(number)]


def test_whoever_waits_is_woken_by_a_key_and_by_a_delayed_one() -> None:
    async def scene() -> list[str | None]:
        queue: KeyedQueue[str] = KeyedQueue("test")
        taker = asyncio.create_task(_take(queue, 2))
        await asyncio.sleep(0)
        queue.add("now")
        queue.add_after("later", 0.02)
        return await taker

    assert asyncio.run(scene()) == ["now", "later"]


def test_a_worker_that_is_cancelled_while_it_waits_loses_no_key() -> None:
    async def scene() -> str | None:
        queue: KeyedQueue[str] = KeyedQueue("test")
        first = asyncio.create_task(queue.get())
        second = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        return await asyncio.wait_for(second, 5)

    assert asyncio.run(scene()) == "a"


def test_a_closed_queue_hands_out_nothing_and_lets_everybody_go() -> None:
    async def scene() -> list[str | None]:
        queue: KeyedQueue[str] = KeyedQueue("test")
        takers = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        queue.close()
        queue.add("a")
        return [await asyncio.wait_for(taker, 5) for taker in takers]

    assert asyncio.run(scene()) == [None, None, None]


KEYS = st.sampled_from("abcd")


class QueueMachine(RuleBasedStateMachine):
    """The rules in their plainest form beside the real queue."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.queue: KeyedQueue[str] = KeyedQueue(
            "model", most_calm=2, backoff=EXACT, clock=self.clock.monotonic
        )
        self.wanted: set[str] = set()
        self.urgent: set[str] = set()
        self.held: set[str] = set()
        self.calm: set[str] = set()
        self.due: dict[str, float] = {}
        self.failures: dict[str, int] = {}

    def _ripen(self) -> None:
        for key, due in list(self.due.items()):
            if due <= self.clock.monotonic():
                del self.due[key]
                self.wanted.add(key)

    @rule(key=KEYS, urgent=st.booleans())
    def add(self, key: str, urgent: bool) -> None:
        self._ripen()
        self.queue.add(key, urgent=urgent)
        self.wanted.add(key)
        self.due.pop(key, None)
        if urgent:
            self.urgent.add(key)

    @rule(key=KEYS, seconds=st.sampled_from([0.5, 1.0, 7.0]))
    def add_after(self, key: str, seconds: float) -> None:
        # A key that is ripe and was not looked at yet is still a delayed one to the queue.
        self.queue.add_after(key, seconds)
        if key not in self.wanted:
            due = self.clock.monotonic() + seconds
            self.due[key] = min(self.due.get(key, due), due)

    @rule(key=KEYS)
    def fail(self, key: str) -> None:
        self.failures[key] = self.failures.get(key, 0) + 1
        wait = self.queue.failed(key)
        assert wait == min(0.5 * 2 ** (self.failures[key] - 1), 300.0)
        if key not in self.wanted:
            due = self.clock.monotonic() + wait
            self.due[key] = min(self.due.get(key, due), due)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.failures.pop(key, None)

    @rule(seconds=st.sampled_from([0.1, 0.5, 3.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def get(self) -> None:
        key = self.queue.try_get()
        self._ripen()
        free = self.wanted - self.held
        first = free & self.urgent
        if not first and len(self.calm) >= 2:
            free = set()
        if key is None:
            assert not free
            return
        assert key in (first or free)
        if key not in first:
            self.calm.add(key)
        self.urgent.discard(key)
        self.wanted.discard(key)
        self.held.add(key)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.queue.done(key)
        self.held.discard(key)
        self.calm.discard(key)

    @invariant()
    def one_hand_for_a_key(self) -> None:
        assert len(self.queue.held_seconds()) == len(self.held)
        assert len(self.queue) <= len(self.wanted) + len(self.due)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
