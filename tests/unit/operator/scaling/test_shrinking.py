"""The steps by which a pool gets smaller."""

from __future__ import annotations

from typing import Any

from data_miner.catalog.pulse import WorkerFact
from data_miner_operator.scaling.policy import Reason, Verdict
from data_miner_operator.scaling.pools import Pool
from data_miner_operator.scaling.shrinking import (
    COMING_SECONDS,
    GRACE_SECONDS,
    Mark,
    Marks,
    Plan,
    plan,
    seen,
)
from data_miner_operator.scaling.victims import FREE_COST, LEAVING_COST, Member, members
from support.scaling import Object, deployment, pod, read_pool, worker


def made(
    *things: Object | WorkerFact, replicas: int | None = None, **said: Any
) -> tuple[Pool, list[Member]]:
    pods = [t for t in things if not isinstance(t, WorkerFact)]
    pool = read_pool(
        deployment(replicas=len(pods) if replicas is None else replicas, **said), *pods
    )
    return pool, members("all", pool.pods, [t for t in things if isinstance(t, WorkerFact)])


def todo(
    pool: tuple[Pool, list[Member]],
    replicas: int,
    *,
    want: int = 0,
    marks: Marks | None = None,
    now: float = 100.0,
) -> Plan:
    verdict = Verdict(replicas, want, Reason.SURPLUS, "")
    return plan(pool[0], verdict, pool[1], marks or {}, now)


def test_first_the_workers_that_go_are_marked_and_nothing_is_scaled() -> None:
    found = todo(made(pod("a"), worker("a"), pod("b"), worker("b", 1)), 1)

    assert (found.drain, found.replicas, found.reason) == (("w-a",), None, Reason.DRAINING)
    assert found.costs == {"a": LEAVING_COST, "b": 100}
    assert found.wanted == {"w-a"}


def test_a_marked_worker_that_holds_something_is_waited_for() -> None:
    pool = made(pod("a", cost=LEAVING_COST), worker("a", 1, drain=True), pod("b"), worker("b"))
    found = todo(pool, 1)

    assert (found.drain, found.costs, found.replicas) == ((), {}, None)
    assert found.sentence == "1 of the 1 pods that go may still hold work"


def test_a_marked_worker_that_holds_nothing_is_made_the_cheapest_before_the_scale_is_written() -> (
    None
):
    cheap = made(pod("a", cost=LEAVING_COST), worker("a", drain=True), pod("b"), worker("b"))
    cheapest = made(pod("a", cost=FREE_COST), worker("a", drain=True), pod("b"), worker("b"))

    assert (todo(cheap, 1).costs, todo(cheap, 1).replicas) == ({"a": FREE_COST}, 1)
    assert (todo(cheapest, 1).costs, todo(cheapest, 1).replicas) == ({}, 1)


def test_a_pod_that_runs_is_waited_for_until_its_worker_is_known_and_marked() -> None:
    coming = made(pod("a"), pod("b"), worker("b", 1, busy=9))
    there = made(pod("a", cost=LEAVING_COST), worker("a", 1), pod("b"), worker("b", 1, busy=9))

    first = todo(coming, 1)
    assert (first.costs["a"], first.replicas, first.reason) == (LEAVING_COST, None, Reason.DRAINING)
    assert first.wanted == {"a"}
    assert (todo(there, 1).drain, todo(there, 1).replicas) == (("w-a",), None)


def test_a_pod_that_runs_for_long_without_a_worker_goes() -> None:
    pool = made(pod("a", cost=LEAVING_COST), pod("b"), worker("b", 1))
    first = seen({}, pool[1], {"a"}, 5.0)
    again = seen(first, pool[1], {"a"}, 9.0)

    assert again == first == {"a": Mark(5.0, ours=True)}
    assert todo(pool, 1, marks=first, now=5.0 + COMING_SECONDS - 1).replicas is None
    assert todo(pool, 1, marks=first, now=5.0 + COMING_SECONDS).replicas == 1
    assert seen(first, pool[1], {"w-b"}, 9.0).keys() == {"w-b"}


def test_a_pod_whose_container_keeps_ending_goes_at_once() -> None:
    crashed = pod("a", ready=False)
    crashed["status"]["containerStatuses"] = [
        {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}
    ]

    assert todo(made(crashed, pod("b"), worker("b", 1)), 1).replicas == 1


def test_nothing_is_scaled_while_the_replica_set_could_take_another_pod() -> None:
    equal = made(pod("a"), worker("a", drain=True), pod("b"), worker("b"))

    assert todo(equal, 1).replicas is None


def test_those_that_are_done_go_and_the_others_are_waited_for() -> None:
    pool = made(
        pod("a", cost=FREE_COST), worker("a", drain=True),
        pod("b", cost=LEAVING_COST), worker("b", 1, drain=True),
        pod("c"), worker("c"), pod("d"), worker("d"),
    )  # fmt: skip

    assert todo(pool, 2).replicas == 3


def test_pods_that_never_started_go_at_once_and_cost_no_write() -> None:
    pool = made(pod("a"), worker("a", 1), pod("b", node=False), pod("c", node=False))
    found = todo(pool, 2)

    assert (found.replicas, found.drain) == (2, ())
    assert found.costs == {"a": 100}
    assert todo(pool, 1).replicas == 1


def test_pods_that_were_never_made_are_given_up_at_once() -> None:
    refused = deployment(replicas=3)
    refused["status"]["replicas"] = 1
    pool = read_pool(refused, pod("a"))
    everyone = members("all", pool.pods, [worker("a", 1)])

    assert todo((pool, everyone), 1).replicas == 1


def test_nothing_shrinks_while_pods_are_there_that_nobody_has_seen() -> None:
    found = todo(made(pod("a"), replicas=3), 1)

    assert (found.reason, found.replicas, found.drain) == (Reason.SETTLING, None, ())


def test_nothing_shrinks_during_a_rollout_unless_nobody_works() -> None:
    busy = made(pod("a"), worker("a", 1), pod("b", template="2"), worker("b"))
    idle = made(pod("a"), worker("a"), pod("b", template="2"), worker("b"))

    assert todo(busy, 1).reason is Reason.ROLLING_OUT
    assert todo(idle, 1).drain == ("w-b",)


def test_a_worker_that_holds_on_is_stopped_once_its_time_is_over() -> None:
    pool = made(
        pod("a", cost=FREE_COST), worker("a", 1, drain=True), pod("b"), worker("b"),
        drain_timeout_seconds=60,
    )  # fmt: skip
    early = todo(pool, 1, marks={"w-a": Mark(41.0, ours=True)})
    late = todo(pool, 1, marks={"w-a": Mark(40.0, ours=True)})

    assert (early.replicas, early.timed_out) == (None, ())
    assert (late.replicas, late.timed_out) == (1, ("w-a",))


def test_a_worker_that_was_never_marked_has_all_its_time() -> None:
    pool = made(pod("a"), worker("a", 1), pod("b"), worker("b", 1), drain_timeout_seconds=0)

    assert todo(pool, 1).replicas is None


def test_growing_is_one_write() -> None:
    found = todo(made(pod("a"), worker("a")), 4, want=4)

    assert found == Plan(replicas=4)


def test_a_pool_that_stays_asks_for_nothing() -> None:
    assert todo(made(pod("a"), worker("a")), 1) == Plan()


def test_marked_workers_are_called_back_at_once_when_the_pool_needs_them() -> None:
    pool = made(pod("a"), worker("a", drain=True), pod("b"), worker("b"))
    marks = {"w-a": Mark(99.0, ours=True)}

    assert todo(pool, 2, want=2, marks=marks).undrain == ("w-a",)
    assert todo(pool, 2, want=1, marks=marks).undrain == ()


def test_a_marked_worker_whose_pod_is_about_to_be_deleted_is_not_called_back() -> None:
    """The scale is written, the ReplicaSet controller has not yet acted on it."""
    pool = made(
        pod("a", cost=FREE_COST), worker("a", drain=True), pod("b"), worker("b", drain=True),
        replicas=1,
    )  # fmt: skip
    marks = {"w-a": Mark(0.0, ours=True), "w-b": Mark(0.0, ours=True)}

    assert todo(pool, 1, want=1, marks=marks).undrain == ("w-b",)
    assert todo(pool, 2, want=2, marks=marks).undrain == ("w-a", "w-b")


def test_a_marked_worker_that_nobody_wants_gone_is_called_back_after_a_grace() -> None:
    pool = made(pod("a"), worker("a", drain=True), pod("b"), worker("b"))
    begin = 100.0 - GRACE_SECONDS
    late = {"w-a": Mark(0.0, ours=False, unwanted_since=begin)}
    early = {"w-a": Mark(0.0, ours=False, unwanted_since=begin + 1)}

    assert todo(pool, 2, want=1, marks=late).undrain == ("w-a",)
    assert todo(pool, 2, want=1, marks=early).undrain == ()
    assert todo(pool, 2, want=1, marks={}).undrain == ()


def test_the_grace_of_a_marked_worker_outlasts_the_pause_between_two_steps() -> None:
    pool = made(pod("a"), worker("a", drain=True), pod("b"), worker("b"), step_seconds=100)
    late = {"w-a": Mark(0.0, ours=False, unwanted_since=100.0 - 300.0)}
    early = {"w-a": Mark(0.0, ours=False, unwanted_since=100.0 - 299.0)}

    assert todo(pool, 2, want=1, marks=late).undrain == ("w-a",)
    assert todo(pool, 2, want=1, marks=early).undrain == ()


def test_in_a_pool_that_another_scales_only_our_own_marks_are_taken_back() -> None:
    pool = made(pod("a"), worker("a", drain=True), pod("b"), worker("b", drain=True),
                autoscaler="hpa")  # fmt: skip
    marks = {"w-a": Mark(0.0, ours=True), "w-b": Mark(0.0, ours=False)}

    assert todo(pool, 2, want=2, marks=marks).undrain == ("w-a",)


def test_others_that_are_marked_are_called_back_while_the_pool_shrinks() -> None:
    pool = made(
        pod("a"), worker("a", drain=True), pod("b"), worker("b", 1, drain=True), pod("c"),
    )  # fmt: skip
    marks = {"w-b": Mark(0.0, ours=True, unwanted_since=0.0)}
    found = todo(pool, 2, marks=marks)

    assert found.wanted == {"w-a"}
    assert found.undrain == ("w-b",)


def test_marks_are_taken_up_from_an_earlier_leader_and_forgotten_with_their_worker() -> None:
    _, everyone = made(pod("a"), worker("a", drain=True), pod("b"), worker("b"), pod("c"),
                       worker("c"))  # fmt: skip
    old = {"w-c": Mark(1.0, ours=True), "w-gone": Mark(1.0, ours=True)}
    found = seen(old, everyone, {"w-b"}, 9.0)

    assert found == {
        "w-a": Mark(9.0, ours=False, unwanted_since=9.0),
        "w-b": Mark(9.0, ours=True, unwanted_since=None),
    }


def test_a_mark_remembers_since_when_nobody_wants_it() -> None:
    _, everyone = made(pod("a"), worker("a", drain=True))
    first = seen({}, everyone, {"w-a"}, 1.0)
    second = seen(first, everyone, (), 2.0)
    third = seen(second, everyone, (), 3.0)
    again = seen(third, everyone, {"w-a"}, 4.0)

    assert second["w-a"] == third["w-a"] == Mark(1.0, ours=True, unwanted_since=2.0)
    assert again["w-a"] == Mark(1.0, ours=True, unwanted_since=None)
