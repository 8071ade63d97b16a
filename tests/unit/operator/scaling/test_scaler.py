"""The scaler's steps: what it writes, in which order, and what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, cast

import pytest

from data_miner.catalog.pulse import Pulse, WorkerFact
from data_miner_operator.api import (
    DEPLOYMENTS,
    PODS,
    Api,
    ApiError,
    Away,
    Conflict,
    Forbidden,
    NotFound,
    Resource,
)
from data_miner_operator.scaling.policy import Reason
from data_miner_operator.scaling.report import Direction, ScalingReport
from data_miner_operator.scaling.scaler import Scaler
from data_miner_operator.scaling.victims import FREE_COST
from support.scaling import Object, deployment, depth, pod, pulse, read_pool, worker


class Edge:
    """Writes down what it is asked for, and refuses what it is told to."""

    def __init__(self) -> None:
        self.done: list[tuple[object, ...]] = []
        self.refuse: dict[Resource, ApiError] = {}
        self.away: Exception | None = None

    async def merge_patch(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any], *,
        subresource: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        if resource in self.refuse:
            raise self.refuse[resource]
        if resource is DEPLOYMENTS:
            said = (body["spec"]["replicas"], body["metadata"]["resourceVersion"])
            self.done.append((subresource, namespace, name, *said))
        else:
            (cost,) = body["metadata"]["annotations"].values()
            self.done.append(("cost", name, cost))
        return {}

    async def drain(self, worker_ids: Collection[str]) -> None:
        self._mark("drain", worker_ids)

    async def undrain(self, worker_ids: Collection[str]) -> None:
        self._mark("undrain", worker_ids)

    def _mark(self, what: str, worker_ids: Collection[str]) -> None:
        if self.away is not None:
            raise self.away
        self.done.append((what, *worker_ids))


class World:
    """A scaler and what it is shown."""

    def __init__(self) -> None:
        self.edge = Edge()
        self.scaler = Scaler(cast(Api, self.edge), self.edge)
        self.now = 0.0

    def step(
        self, deployed: Object, *seen: Object | WorkerFact, look: Pulse | None = None,
        age: float = 0.0, after: float = 5.0, away: bool = False,
    ) -> ScalingReport:  # fmt: skip
        """One step, `after` seconds after the last one, with a look at the queue of that age."""
        self.now += after
        self.edge.done.clear()
        pods = [s for s in seen if not isinstance(s, WorkerFact)]
        workers = [s for s in seen if isinstance(s, WorkerFact)]
        shown = look or pulse(*workers)
        step = self.scaler.step(
            [read_pool(deployed, *pods)], None if away else shown, self.now - age, self.now
        )
        return asyncio.run(step)


@pytest.fixture
def world() -> World:
    return World()


def quick(replicas: int, **said: Any) -> Object:
    """A pool that shrinks at once."""
    plain: dict[str, Any] = {
        "max_replicas": 9,
        "scale_down_stabilization_seconds": 0,
        "idle_seconds": 0,
    }
    return deployment(replicas=replicas, **{**plain, **said})


def test_growing_writes_the_scale_with_the_resource_version_that_was_seen(world: World) -> None:
    report = world.step(quick(0), look=pulse(depth(ready=100)))

    assert world.edge.done == [("scale", "mining", "all-workers", 4, "7")]
    assert report.scaled == {(Direction.UP, Reason.BACKLOG): 1}
    (pool,) = report.pools
    assert (pool.desired, pool.current, pool.ready, pool.reason) == (9, 4, 0, Reason.BACKLOG)
    assert (pool.runnable, pool.blocked, pool.uid) == (100, False, "uid-all")


def test_shrinking_marks_then_prices_then_scales(world: World) -> None:
    world.step(quick(2), pod("a"), worker("a"), pod("b"), worker("b"))
    assert world.edge.done == [("drain", "w-b"), ("cost", "b", "-100")]

    marked = worker("b", drain=True)
    report = world.step(quick(2), pod("a"), worker("a"), pod("b", cost=-100), marked)
    assert world.edge.done == [
        ("cost", "b", str(FREE_COST)),
        ("scale", "mining", "all-workers", 1, "7"),
    ]
    assert report.scaled == {(Direction.DOWN, Reason.SURPLUS): 1}
    assert report.pools[0].draining == 1
    assert report.stopped_busy == 0


def test_a_look_that_began_before_the_marks_shrinks_nothing(world: World) -> None:
    world.step(quick(2), pod("a"), worker("a"), pod("b"), worker("b"))
    early = pod("b", cost=FREE_COST)
    report = world.step(quick(2), pod("a"), worker("a"), early, worker("b", drain=True), age=5.0)

    assert world.edge.done == []
    assert report.pools[0].reason is Reason.DRAINING


def test_a_look_that_began_before_the_marks_calls_nobody_back_a_second_time(world: World) -> None:
    held = pulse(depth(ready=2), worker("a", drain=True), worker("b"))
    first = quick(2, target_drain_seconds=10)
    world.step(first, pod("a"), pod("b"), look=held)
    world.step(first, pod("a"), pod("b"), look=held)
    assert world.edge.done == [("undrain", "w-a")]
    world.step(first, pod("a"), pod("b"), look=held, age=5.0)

    assert world.edge.done == []


def test_a_conflict_is_no_error_and_the_next_step_tries_again(world: World) -> None:
    world.edge.refuse[DEPLOYMENTS] = Conflict(409, "Conflict", "it has been modified")
    first = world.step(quick(0), look=pulse(depth(ready=9)))
    world.edge.refuse.clear()
    world.step(quick(0), look=pulse(depth(ready=9)))

    assert first.pools[0].reason is Reason.SETTLING
    assert first.scaled == {}
    assert world.edge.done == [("scale", "mining", "all-workers", 1, "7")]


@pytest.mark.parametrize(
    "error", [Away(0, "", "no answer"), Forbidden(403, "Forbidden", "may not patch\nscale")]
)
def test_what_the_api_server_refuses_is_a_reason_on_one_line(world: World, error: ApiError) -> None:
    world.edge.refuse[DEPLOYMENTS] = error
    report = world.step(quick(0), look=pulse(depth(ready=9)))

    (pool,) = report.pools
    assert (pool.reason, pool.current) == (Reason.REFUSED, 0)
    assert "\n" not in pool.sentence
    assert report.blocked == {Reason.REFUSED: 1}
    assert [(e.type, e.reason) for e in report.events] == [("Warning", "Refused")]


def test_a_pod_that_is_gone_needs_no_price_and_one_that_cannot_be_priced_stops_the_step(
    world: World,
) -> None:
    ready = (pod("a"), worker("a"), pod("b", node=False))
    world.edge.refuse[PODS] = NotFound(404, "NotFound", "no pod b")
    gone = world.step(quick(3), *ready, pod("c", cost=5))
    world.edge.refuse[PODS] = Forbidden(403, "Forbidden", "no")
    refused = world.step(quick(3), *ready, pod("c", cost=5), after=40.0)

    assert gone.pools[0].reason is not Reason.REFUSED
    assert refused.pools[0].reason is Reason.REFUSED


def test_without_the_database_nothing_is_written_and_the_reason_says_so(world: World) -> None:
    report = world.step(quick(2), pod("a"), pod("b"), away=True)

    assert world.edge.done == []
    assert report.pools[0].reason is Reason.DATABASE_AWAY
    assert (report.pools[0].runnable, report.pools[0].current) == (0, 2)
    assert report.events == ()


def test_an_old_look_writes_nothing(world: World) -> None:
    world.step(quick(2), pod("a"), worker("a"), pod("b"), worker("b"), age=16.0)

    assert world.edge.done == []


def test_a_database_that_goes_away_at_the_marks_is_the_callers_affair(world: World) -> None:
    world.edge.away = RuntimeError("away")
    with pytest.raises(RuntimeError, match="away"):
        world.step(quick(2), pod("a"), worker("a"), pod("b"), worker("b"))
    world.edge.away = None
    world.step(quick(2), pod("a"), worker("a"), pod("b"), worker("b"))

    assert ("drain", "w-b") in world.edge.done


def test_workers_that_are_stopped_with_work_in_hand_are_counted(world: World) -> None:
    at_once = quick(3, max_replicas=2, drain_timeout_seconds=0)
    busy = [worker(name, 1, drain=name == "c") for name in "abc"]
    pods = [pod("a", cost=100), pod("b", cost=100), pod("c", cost=FREE_COST)]
    world.step(at_once, *pods, *busy)
    report = world.step(at_once, *pods, *busy)

    assert report.stopped_busy == 1
    assert report.scaled == {(Direction.DOWN, Reason.MAXIMUM): 1}


def test_events_tell_of_changes_and_not_of_states_that_last(world: World) -> None:
    full = quick(2, max_replicas=2)
    pods = (pod("a"), pod("b"))
    much = pulse(depth(ready=100))
    first = world.step(full, *pods, look=much)
    again = world.step(full, *pods, look=much)
    calm = world.step(full, *pods, look=pulse(depth(ready=2), download=600.0))
    back = world.step(full, *pods, look=much)
    later = world.step(full, *pods, look=pulse(depth(ready=2), download=600.0), after=600.0)
    anew = world.step(full, *pods, look=much)

    (event,) = first.events
    assert (event.type, event.reason, event.action) == ("Normal", "AtMaximum", "Scale")
    assert (event.namespace, event.name, event.uid) == ("mining", "all-workers", "uid-all")
    assert [again.events, calm.events, back.events, later.events] == [()] * 4
    assert [e.reason for e in anew.events] == ["AtMaximum"]


def test_a_change_of_size_is_told_with_both_sizes(world: World) -> None:
    world.step(quick(0))
    report = world.step(quick(0), look=pulse(depth(ready=100)))

    (event,) = report.events
    assert event.note.startswith("0 → 4: 100 tasks")


def test_a_mistaken_annotation_is_told_once(world: World) -> None:
    wrong = quick(0, slots="many")
    first, again = world.step(wrong), world.step(wrong)
    other = world.step(quick(0, slots="few"))
    right = world.step(quick(0))

    assert [(e.type, e.reason) for e in first.events] == [("Warning", "BadAnnotation")]
    assert '"many"' in first.events[0].note
    assert [len(r.events) for r in (again, other, right)] == [0, 1, 0]
    assert first.pools[0].problems


def test_a_pool_that_is_gone_is_forgotten(world: World) -> None:
    world.step(quick(4), *(pod(n) for n in "abcd"))
    report = asyncio.run(world.scaler.step([], pulse(), 6.0, 6.0))
    assert report.pools == ()

    back = world.step(quick(2), pod("a"), pod("b"))
    assert back.pools[0].reason is not Reason.SCALED_BY_HAND
