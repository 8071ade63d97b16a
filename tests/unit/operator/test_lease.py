"""The election, on an API server made of a dictionary and a clock that the test moves."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable
from typing import Any

import pytest

from data_miner_operator.api import (
    LEASES,
    AlreadyExists,
    Api,
    ApiError,
    Away,
    Body,
    Conflict,
    NotFound,
    Resource,
)
from data_miner_operator.lease import Lease, SupersededError, Times
from support.clock import ManualClock

TIMES = Times(15, 10, 0.001)


class OneLease(Api):
    """Holds one Lease with optimistic locking; may be away."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] | None = None
        self.away = False
        self.writes = 0
        self._version = 0

    async def get(
        self, resource: Resource, namespace: str | None, name: str
    ) -> dict[str, Any] | None:
        self._check()
        return copy.deepcopy(self.kept)

    async def create(self, resource: Resource, namespace: str | None, body: Body) -> dict[str, Any]:
        self._check()
        if self.kept is not None:
            raise AlreadyExists(409, "AlreadyExists", "there")
        return self._keep(body)

    async def replace(
        self, resource: Resource, namespace: str | None, name: str, body: Body
    ) -> dict[str, Any]:
        self._check()
        if self.kept is None:
            raise NotFound(404, "NotFound", "gone")
        if body["metadata"]["resourceVersion"] != self.kept["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "another")
        return self._keep(body)

    def _keep(self, body: Body) -> dict[str, Any]:
        self._version += 1
        self.writes += 1
        self.kept = copy.deepcopy(dict(body))
        self.kept["metadata"] = {**body["metadata"], "resourceVersion": str(self._version)}
        return copy.deepcopy(self.kept)

    def _check(self) -> None:
        if self.away:
            raise Away(0, "Unreachable", "away")

    @property
    def holder(self) -> str:
        assert self.kept is not None
        return str(self.kept["spec"]["holderIdentity"])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server() -> OneLease:
    return OneLease()  # type: ignore[abstract]


def _lease(server: OneLease, clock: ManualClock, identity: str) -> Lease:
    return Lease(server, "ns", "op", identity, TIMES, clock=clock.monotonic)


def _run(scene: Awaitable[None]) -> None:
    async def within() -> None:
        await asyncio.wait_for(scene, 10)

    asyncio.run(within())


async def _not_yet(waiting: asyncio.Task[None]) -> bool:
    await asyncio.sleep(0.02)
    return not waiting.done()


def test_the_first_one_leads_and_the_second_waits_until_the_first_is_silent_for_long(
    server: OneLease, clock: ManualClock
) -> None:
    async def scene() -> None:
        await _lease(server, clock, "a").acquire()
        waiting = asyncio.create_task(_lease(server, clock, "b").acquire())
        assert await _not_yet(waiting)
        clock.advance(14.9)
        assert await _not_yet(waiting)
        clock.advance(0.2)
        await waiting
        assert server.holder == "b"
        assert server.kept is not None
        assert server.kept["spec"]["leaseTransitions"] == 2

    _run(scene())


def test_the_times_written_in_a_lease_are_not_believed(
    server: OneLease, clock: ManualClock
) -> None:
    """A leader whose clock is years off is respected for as long as it is seen to renew."""

    async def scene() -> None:
        await _lease(server, clock, "a").acquire()
        assert server.kept is not None
        waiting = asyncio.create_task(_lease(server, clock, "b").acquire())
        for second in range(5):
            server.kept["spec"]["renewTime"] = f"1999-01-01T00:00:0{second}.000000Z"
            assert await _not_yet(waiting)
            clock.advance(10)
        waiting.cancel()
        assert server.holder == "a"

    _run(scene())


def test_a_lease_that_is_let_go_is_taken_at_once(server: OneLease, clock: ManualClock) -> None:
    async def scene() -> None:
        first = _lease(server, clock, "a")
        await first.acquire()
        waiting = asyncio.create_task(_lease(server, clock, "b").acquire())
        assert await _not_yet(waiting)
        await first.release()
        await waiting
        assert server.holder == "b"

    _run(scene())


def test_a_deleted_lease_is_made_again_by_its_leader(server: OneLease, clock: ManualClock) -> None:
    async def scene() -> None:
        lease = _lease(server, clock, "a")
        await lease.acquire()
        holding = asyncio.create_task(lease.hold())
        server.kept = None
        while server.kept is None:
            await asyncio.sleep(0.001)
        assert server.holder == "a"
        assert not holding.done()
        holding.cancel()

    _run(scene())


def test_whoever_waits_respects_a_claim_whose_lease_was_deleted_until_it_is_over(
    server: OneLease, clock: ManualClock
) -> None:
    """Who held it acts until it sees that: two would act at once."""

    async def scene() -> None:
        await _lease(server, clock, "a").acquire()
        waiting = asyncio.create_task(_lease(server, clock, "b").acquire())
        assert await _not_yet(waiting)
        server.kept = None
        clock.advance(14.9)
        assert await _not_yet(waiting)
        clock.advance(0.2)
        await waiting
        assert server.holder == "b"

    _run(scene())


def test_a_leader_whose_lease_another_has_says_so_at_once(
    server: OneLease, clock: ManualClock
) -> None:
    async def scene() -> None:
        lease = _lease(server, clock, "a")
        await lease.acquire()
        server.kept = None
        await _lease(server, clock, "b").acquire()
        with pytest.raises(SupersededError, match="b leads"):
            await lease.hold()
        assert server.holder == "b"

    _run(scene())


def test_a_leader_that_cannot_renew_stops_before_another_may_begin(
    server: OneLease, clock: ManualClock
) -> None:
    async def scene() -> None:
        lease = _lease(server, clock, "a")
        await lease.acquire()
        server.away = True
        holding = asyncio.create_task(lease.hold())
        clock.advance(9.9)
        assert await _not_yet(holding)
        clock.advance(0.2)
        await holding  # 10.1 s after its last renewal; another one waits for 15

    _run(scene())


def test_a_leader_that_slept_past_its_deadline_writes_nothing(
    server: OneLease, clock: ManualClock
) -> None:
    async def scene() -> None:
        lease = _lease(server, clock, "a")
        await lease.acquire()
        writes = server.writes
        clock.advance(60)
        await lease.hold()
        assert server.writes == writes

    _run(scene())


def test_a_lease_is_valid_from_the_election_to_the_deadline(
    server: OneLease, clock: ManualClock
) -> None:
    """Also who has not come to look yet, because it slept, sees that it is not any more."""

    async def scene() -> None:
        lease, other = _lease(server, clock, "a"), _lease(server, clock, "b")
        assert not lease.valid
        await lease.acquire()
        clock.advance(9.9)
        assert (lease.valid, other.valid) == (True, False)
        clock.advance(0.2)
        assert not lease.valid

        server.kept = None
        await other.acquire()
        assert (lease.valid, other.valid) == (False, True)
        await other.release()
        assert not other.valid

    _run(scene())


def test_whoever_waits_survives_a_server_that_is_away(server: OneLease, clock: ManualClock) -> None:
    async def scene() -> None:
        server.away = True
        waiting = asyncio.create_task(_lease(server, clock, "a").acquire())
        assert await _not_yet(waiting)
        server.away = False
        await waiting
        assert server.holder == "a"

    _run(scene())


def test_of_many_that_ask_at_once_one_leads(server: OneLease, clock: ManualClock) -> None:
    async def scene() -> None:
        waiting = [
            asyncio.create_task(_lease(server, clock, f"r{n}").acquire(), name=f"r{n}")
            for n in range(10)
        ]
        await asyncio.sleep(0.05)
        assert [task.get_name() for task in waiting if task.done()] == [server.holder]
        for task in waiting:
            task.cancel()

    _run(scene())


def test_a_renewal_that_was_under_way_does_not_keep_a_lease_that_is_let_go(
    server: OneLease, clock: ManualClock
) -> None:
    async def scene() -> None:
        lease = _lease(server, clock, "a")
        await lease.acquire()
        assert server.kept is not None
        # Its answer never came back: the task that asked was cancelled.
        await server.replace(LEASES, "ns", "op", server.kept)
        await lease.release()
        assert server.holder == ""

    _run(scene())


def test_whoever_lost_a_lease_does_not_let_go_of_the_next_ones(
    server: OneLease, clock: ManualClock
) -> None:
    async def scene() -> None:
        lease = _lease(server, clock, "a")
        await lease.acquire()
        clock.advance(60)
        server.kept = None
        await _lease(server, clock, "b").acquire()
        await lease.release()
        assert server.holder == "b"

    _run(scene())


def test_letting_go_never_raises(server: OneLease, clock: ManualClock) -> None:
    async def scene() -> None:
        lease = _lease(server, clock, "a")
        await lease.release()  # it does not lead
        await lease.acquire()
        server.away = True
        await lease.release()

    _run(scene())
    assert issubclass(Away, ApiError)
    assert LEASES.path("ns", "op").endswith("/namespaces/ns/leases/op")
