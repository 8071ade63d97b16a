"""Which pods go when a pool shrinks."""

from __future__ import annotations

import random
from dataclasses import replace

from data_miner.catalog.pulse import WorkerFact
from data_miner_operator.scaling.victims import (
    FREE_COST,
    LEAVING_COST,
    Member,
    choose,
    costs,
    members,
    order,
)
from support.scaling import Object, deployment, pod, read_pool, worker


def team(*seen: Object | WorkerFact) -> list[Member]:
    pods = [s for s in seen if not isinstance(s, WorkerFact)]
    workers = [s for s in seen if isinstance(s, WorkerFact)]
    return members("all", read_pool(deployment(), *pods).pods, workers)


def names(chosen: list[Member]) -> list[str]:
    return [member.pod.name for member in chosen]


def test_pods_that_never_started_go_first_then_idle_ones_then_the_shortest_running() -> None:
    everyone = team(
        pod("old-work"), worker("old-work", 1, busy=500.0),
        pod("new-work"), worker("new-work", 2, busy=20.0),
        pod("idle"), worker("idle"),
        pod("no-worker"),
        pod("starting", ready=False),
        pod("pending", node=False),
    )  # fmt: skip

    assert names(choose(everyone, 6)) == [
        "pending", "starting", "no-worker", "idle", "new-work", "old-work",
    ]  # fmt: skip


def test_a_pod_that_is_not_ready_goes_before_a_ready_one_as_the_replica_set_does_it() -> None:
    everyone = team(
        pod("unready", ready=False), worker("unready", 1, busy=900.0), pod("idle"), worker("idle")
    )

    assert names(choose(everyone, 1)) == ["unready"]


def test_a_worker_that_is_marked_goes_before_others_whatever_they_hold() -> None:
    everyone = team(
        pod("a"), worker("a"), pod("b"), worker("b", 1, busy=900.0, drain=True)
    )  # fmt: skip

    assert names(choose(everyone, 1)) == ["b"]


def test_of_equal_pods_the_newest_goes_and_the_order_of_the_list_does_not_matter() -> None:
    pods = [
        pod("a", created="2026-01-01T10:00:00Z"),
        pod("b", created="2026-01-01T11:00:00Z"),
        pod("c", created="2026-01-01T11:00:00Z"),
    ]
    for _ in range(5):
        random.shuffle(pods)
        assert names(choose(team(*pods), 2)) == ["c", "b"]


def test_nobody_goes_when_none_shall() -> None:
    assert choose(team(pod("a")), -1) == []


def test_workers_of_pods_that_are_gone_and_of_other_pools_belong_to_nobody() -> None:
    (member,) = team(pod("a"), worker("gone", 1), worker("a", 3, pool="other"), worker("a", 1))

    assert (member.held, len(member.workers)) == (1, 1)


def test_a_pod_whose_worker_came_back_holds_what_both_hold() -> None:
    before, after = worker("a", 2, busy=90.0, drain=True), worker("a", 1, busy=5.0)
    (member,) = team(pod("a"), before, after)

    assert (member.held, member.busy_seconds, member.drained) == (3, 90.0, False)


def test_costs_rise_with_the_time_that_a_task_has_run_in_coarse_steps() -> None:
    everyone = team(
        pod("a"), pod("b"), worker("b", 1, busy=59.0), pod("c"), worker("c", 1, busy=60.0),
        pod("d"), worker("d", 1, busy=9000.0), pod("e"), worker("e", 1), pod("f"), worker("f"),
    )  # fmt: skip
    found = costs(everyone, leaving={"e", "f"}, free={"f"})

    assert found == {
        "a": 0, "b": 100, "c": 200, "d": 500, "e": LEAVING_COST, "f": FREE_COST,
    }  # fmt: skip


def test_the_replica_set_takes_pods_without_a_node_then_unready_ones_then_the_cheapest() -> None:
    everyone = team(
        pod("dear", cost=100), pod("cheap", cost=-1000), pod("unready", ready=False, cost=500),
        pod("pending", node=False, cost=900),
    )  # fmt: skip

    assert names(sorted(everyone, key=order)) == ["pending", "unready", "cheap", "dear"]


def test_a_worker_is_in_the_pod_that_its_id_or_its_host_names() -> None:
    by_id = replace(worker("node-7", 1), worker_id="a")
    (a, b) = team(pod("a"), by_id, pod("b"), worker("b", 2), worker("node-7", 1))

    assert (a.workers, a.held) == ((by_id,), 1)
    assert (b.held, len(b.workers)) == (2, 1)
