"""How much work there is for each pool."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_miner.catalog.pulse import Pulse
from data_miner.pipeline import NAMES
from data_miner_operator.scaling.demand import (
    THROTTLE_LINGER_SECONDS,
    USUAL_SECONDS,
    Demand,
    Experience,
    measure,
    remember,
)
from data_miner_operator.scaling.pools import Pool
from support.scaling import deployment, depth, pod, pulse, read_pool, worker


def pool(name: str = "all", ready: int = 0, **said: Any) -> Pool:
    pods = [pod(f"{name}-{n}", name) for n in range(ready)]
    return read_pool(deployment(name, replicas=ready, **{"max_replicas": 10, **said}), *pods)


def demand(seen: Pulse, *pools: Pool, experience: Experience | None = None) -> list[Demand]:
    pools = pools or (pool(),)
    found = measure(pools, seen, experience or Experience(), at=5.0)
    return [found[p.key] for p in pools]


def test_the_backlog_is_ready_and_running_tasks_at_their_measured_time() -> None:
    (found,) = demand(pulse(depth("download", ready=8, running=2, waiting=5), download=30.0))

    assert found == Demand(
        at=5.0, runnable=10, backlog_seconds=300.0, slots=0.5, work_ahead=True, held=0
    )


def test_every_stage_has_a_usual_time_until_one_was_measured() -> None:
    assert set(USUAL_SECONDS) == set(NAMES)
    (found,) = demand(pulse(depth("embed", ready=2)))

    assert found.backlog_seconds == 2 * USUAL_SECONDS["embed"]


def test_a_stage_that_ended_nothing_lately_keeps_the_time_that_was_measured_before() -> None:
    experience = remember(Experience(), pulse(embed=400.0), 0.0)
    (found,) = demand(pulse(depth("embed", ready=1)), experience=experience)

    assert found.backlog_seconds == 400.0


def test_tasks_that_already_run_for_longer_tell_of_a_stage_that_was_never_measured() -> None:
    seen = pulse(depth(running=2), worker("a", 1, busy=500.0), worker("b", 1, busy=900.0))
    (found,) = demand(seen)

    assert found.backlog_seconds == 2 * 700.0


def test_work_of_suspended_and_deleted_projects_and_of_unknown_stages_does_not_count() -> None:
    seen = pulse(depth(project=1, ready=5), depth("cook", project=2, ready=7), active={2})
    (found,) = demand(seen)

    assert (found.runnable, found.backlog_seconds, found.work_ahead) == (0, 0.0, False)


def test_a_stage_that_its_pool_does_not_serve_is_no_demand_for_it() -> None:
    seen = pulse(depth("download", ready=5), depth("embed", ready=2))
    cpu, gpu = demand(seen, pool("cpu", stages="cpu"), pool("gpu", stages="gpu"))

    assert (cpu.runnable, gpu.runnable) == (5, 2)


def test_work_before_a_pools_stages_is_work_ahead_and_work_behind_them_is_not() -> None:
    gpu = pool("gpu", stages="embed")
    early, late = pulse(depth("download", waiting=1)), pulse(depth("export", ready=1))

    assert demand(early, gpu)[0].work_ahead
    assert not demand(late, gpu)[0].work_ahead
    assert not demand(pulse(), gpu)[0].work_ahead


def test_what_a_site_puts_off_counts_for_no_more_than_what_is_running() -> None:
    seen = pulse(depth(ready=90, running=3, waiting=40, throttled=40))
    (found,) = demand(seen, experience=remember(Experience(), seen, 0.0))

    assert (found.runnable, found.slots, found.throttled) == (3, 3.0, True)


def test_somebody_has_to_find_out_whether_a_site_has_relented() -> None:
    seen = pulse(depth(ready=90, waiting=40, throttled=40))
    (found,) = demand(seen, experience=remember(Experience(), seen, 0.0))

    assert (found.runnable, found.slots) == (1, 1.0)


def test_another_projects_work_is_not_held_back_by_a_site_that_it_may_not_use() -> None:
    seen = pulse(
        depth(project=1, ready=9, waiting=4, throttled=4), depth(project=2, ready=20), download=60.0
    )
    (found,) = demand(seen, experience=remember(Experience(), seen, 0.0))

    assert (found.runnable, found.slots, found.throttled) == (21, 3.0, True)


def test_tasks_that_were_put_off_together_are_no_fresh_demand_when_they_come_due() -> None:
    before = remember(Experience(), pulse(depth(waiting=40, throttled=40)), 0.0)
    due = pulse(depth(ready=40))
    soon = remember(before, due, THROTTLE_LINGER_SECONDS - 1)
    late = remember(soon, due, THROTTLE_LINGER_SECONDS)

    assert demand(due, experience=soon)[0].runnable == 1
    assert demand(due, experience=late)[0].runnable == 40


def test_only_what_the_pools_own_pods_hold_is_held() -> None:
    seen = pulse(worker("all-0", 2), worker("gone", 3), worker("all-1", 4, pool="other"))
    (found,) = demand(seen, pool(ready=2))

    assert found.held == 2


def test_pools_share_a_stage_by_what_they_may_grow_to() -> None:
    seen = pulse(depth("embed", ready=100))
    small, large = demand(seen, pool("a", max_replicas=2), pool("b", max_replicas=4, slots=2))

    assert (small.runnable, large.runnable) == (20, 80)


def test_a_worker_that_is_there_gets_the_task_before_another_pool_is_started() -> None:
    seen = pulse(depth("embed", ready=1))
    large, small = demand(seen, pool("a", max_replicas=50), pool("b", ready=1, max_replicas=2))

    assert (large.runnable, small.runnable) == (0, 1)


def test_the_pool_that_serves_few_stages_is_not_asked_for_what_others_can_do() -> None:
    """The worker of `a` is taken by the stage that nobody else serves."""
    seen = pulse(depth("embed", ready=1), depth("download", ready=1))
    only, both = demand(
        seen, pool("a", ready=1, stages="embed,download"), pool("b", ready=1, stages="download")
    )

    assert (only.runnable, both.runnable) == (1, 1)


def test_a_pool_that_somebody_else_scales_counts_as_large_as_it_is() -> None:
    seen = pulse(depth("embed", ready=100))
    keda = pool("a", ready=1, autoscaler="keda", max_replicas=90)
    ours, other = demand(seen, pool("b", max_replicas=10), keda)

    assert ours.runnable == 90
    assert other.runnable == 10


def test_a_pool_whose_pods_find_no_place_leaves_the_work_to_others() -> None:
    stuck = pod("a-0", "a", node=False)
    stuck["status"]["conditions"].append(
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    )
    spot = read_pool(deployment("a", max_replicas=99), stuck)
    found, other = demand(pulse(depth("embed", ready=100)), spot, pool("b", max_replicas=9))

    assert (found.runnable, other.runnable) == (10, 90)


def test_pools_that_may_have_no_workers_share_nothing() -> None:
    (found,) = demand(pulse(depth("embed", ready=9)), pool(max_replicas=0))

    assert found.runnable == 0


@given(
    ready=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 300)),
    pools=st.lists(
        st.tuples(st.sampled_from(["default", "cpu", "gpu"]), st.integers(1, 9), st.integers(0, 3)),
        min_size=1,
        max_size=4,
    ),
)
def test_all_tasks_that_a_pool_serves_are_dealt_out_once(
    ready: dict[str, int], pools: list[tuple[str, int, int]]
) -> None:
    made = [
        pool(f"p{n}", stages=stages, max_replicas=most, ready=up)
        for n, (stages, most, up) in enumerate(pools)
    ]
    seen = pulse(*(depth(stage, ready=count) for stage, count in ready.items()))
    served = {stage for p in made for stage in p.spec.stages}

    assert sum(d.runnable for d in demand(seen, *made)) == sum(
        count for stage, count in ready.items() if stage in served
    )


@pytest.mark.parametrize("tasks", [1, 2, 3, 7])
def test_equal_pools_are_asked_for_equal_parts_and_never_for_more_than_there_is(tasks: int) -> None:
    found = demand(pulse(depth("embed", ready=tasks)), pool("a"), pool("b"), pool("c"))

    parts = [d.runnable for d in found]
    assert sum(parts) == tasks
    assert max(parts) - min(parts) <= 1


def test_a_look_that_takes_long_counts_for_longer_since_it_is_repeated_less_often() -> None:
    slow = replace(pulse(), took_seconds=1.5)

    assert demand(pulse())[0].lasts_seconds == 15.0
    assert demand(slow)[0].lasts_seconds == 45.0
