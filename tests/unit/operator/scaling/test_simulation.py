"""Properties of scaling over time: the real scaler on a simulated cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from data_miner_operator.scaling.policy import UP_FACTOR, UP_PODS, Reason
from support.scaling_simulator import TICK_SECONDS, Sample, Simulation, turns

HOUR = 3600.0
FEW = settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # each example is hours of work to shrink
)


@contextmanager
def simulation(
    pools: dict[str, dict[str, object]],
    *,
    lag: bool = False,
    late: bool = False,
    start_seconds: float = 20.0,
    places: int = 1_000_000,
) -> Iterator[Simulation]:
    world = Simulation(pools, lag=lag, late=late, start_seconds=start_seconds, places=places)
    try:
        yield world
    finally:
        world.close()


@dataclass(frozen=True)
class Load:
    """A new task every so often, each this long, for so long."""

    every_seconds: float
    task_seconds: float
    for_seconds: float
    burst: int

    def feed(self, world: Simulation) -> None:
        started = world.now
        given = 0

        def each(now: float) -> None:
            nonlocal given
            due = int((now - started) / self.every_seconds) + 1
            world.add("download", due - given, self.task_seconds)
            given = due

        world.add("download", self.burst, self.task_seconds)
        world.run(self.for_seconds, each)


LOADS = st.builds(
    Load,
    every_seconds=st.sampled_from([2.0, 7.0, 15.0, 60.0]),
    task_seconds=st.sampled_from([3.0, 20.0, 60.0, 200.0]),
    for_seconds=st.sampled_from([600.0, 1800.0]),
    burst=st.sampled_from([0, 10, 300]),
)
POOLS = st.fixed_dictionaries({
    "slots": st.integers(1, 4),
    "min-replicas": st.integers(0, 2),
    "max-replicas": st.integers(2, 20),
    "warm-replicas": st.integers(0, 2),
    "target-drain-seconds": st.sampled_from([60, 600]),
    "step-seconds": st.sampled_from([10, 30, 120]),
})  # fmt: skip


def assert_paced(samples: list[Sample], step_seconds: int) -> None:
    """Within the time of a step a pool has at most doubled, or grown by four."""
    span = int(step_seconds / TICK_SECONDS)
    for place, sample in enumerate(samples):
        least = min(s.replicas for s in samples[max(0, place - span + 1) : place + 1])
        assert sample.replicas <= max(least * UP_FACTOR, least + UP_PODS)


@FEW
@given(
    pool=POOLS,
    load=LOADS,
    lag=st.booleans(),
    start_seconds=st.sampled_from([0.0, 20.0, 240.0]),
    restarts=st.booleans(),
)
def test_a_pool_stays_in_its_bounds_grows_at_its_pace_and_never_beyond_what_can_run(
    pool: dict[str, object], load: Load, lag: bool, start_seconds: float, restarts: bool
) -> None:
    with simulation({"all": pool}, lag=lag, start_seconds=start_seconds) as world:
        load.feed(world)
        if restarts:
            world.elect()
        world.run(600)
        floor = max(int(str(pool["min-replicas"])), int(str(pool["warm-replicas"])))
        before = 0
        for sample in world.samples["all"]:
            if sample.at > 60:
                assert sample.replicas >= int(str(pool["min-replicas"]))
            assert sample.replicas <= int(str(pool["max-replicas"]))
            if sample.replicas > before:
                can_run = math.ceil(sample.runnable / int(str(pool["slots"])))
                assert sample.replicas <= max(floor, can_run)
            before = sample.replicas
        assert_paced(world.samples["all"], int(str(pool["step-seconds"])))


@FEW
@given(
    load=LOADS,
    behind=st.sampled_from(["nothing", "pods", "queue"]),
    slots=st.integers(1, 4),
    start_seconds=st.sampled_from([20.0, 100.0, 400.0]),
    restarts=st.booleans(),
)
@example(load=Load(7.0, 3.0, 600.0, 100), behind="queue", slots=1, start_seconds=20.0,
         restarts=False)  # fmt: skip
def test_a_worker_that_goes_holds_nothing(
    load: Load, behind: str, slots: int, start_seconds: float, restarts: bool
) -> None:
    pool: dict[str, object] = {
        "max-replicas": 20, "slots": slots, "target-drain-seconds": 60, "step-seconds": 5,
        "scale-down-stabilization-seconds": 5,
    }  # fmt: skip
    with simulation(
        {"all": pool}, lag=behind == "pods", late=behind == "queue", start_seconds=start_seconds
    ) as world:
        load.feed(world)
        if restarts:
            world.run(400)
            world.elect()
        load.feed(world)
        world.run(HOUR)

        assert world.interrupted == []
        assert world.report.stopped_busy == 0


@FEW
@given(load=LOADS, lag=st.booleans(), slots=st.integers(1, 4))
def test_after_the_load_a_pool_without_a_minimum_goes_to_zero_and_all_work_is_done(
    load: Load, lag: bool, slots: int
) -> None:
    pool: dict[str, object] = {"max-replicas": 20, "slots": slots, "target-drain-seconds": 60}
    with simulation({"all": pool}, lag=lag) as world:
        load.feed(world)
        work = world.runnable() * load.task_seconds
        world.run(work / (20 * slots) * 3 + 600 + load.task_seconds)  # three times the least
        assert world.runnable() == 0

        world.run(2400)
        assert world.pools["all"].replicas == 0
        assert world.pods == []


@settings(FEW, max_examples=2)
@given(
    rate=st.floats(0.3, 9.0),
    task_seconds=st.sampled_from([10.0, 60.0, 150.0]),
    lag=st.booleans(),
)
@example(rate=2.5, task_seconds=60.0, lag=False)
def test_under_constant_load_a_pool_does_not_flap(
    rate: float, task_seconds: float, lag: bool
) -> None:
    """`rate` is the load in busy slots."""
    with simulation({"all": {"max-replicas": 20}}, lag=lag) as world:
        Load(task_seconds / rate, task_seconds, HOUR, 0).feed(world)  # it comes to rest
        settled = len(world.samples["all"])
        Load(task_seconds / rate, task_seconds, 2 * HOUR, 0).feed(world)

        assert turns(world.samples["all"][settled:]) <= 6 * 2


@FEW
@given(load=LOADS, outage=st.sampled_from([20.0, 120.0, 1500.0]), lag=st.booleans())
def test_nothing_is_scaled_while_the_database_is_away(load: Load, outage: float, lag: bool) -> None:
    with simulation({"all": {"max-replicas": 9}}, lag=lag) as world:
        load.feed(world)
        before = world.pools["all"].replicas
        world.database_away = True
        world.run(outage)

        assert world.pools["all"].replicas == before
        assert {s.report.reason for s in world.samples["all"][-3:]} == {Reason.DATABASE_AWAY}

        world.database_away = False
        world.run(200)
        shrunk = world.pools["all"].replicas < before
        assert not shrunk, "after an outage need is watched for a whole window first"


@FEW
@given(places=st.integers(0, 12), most=st.integers(2, 60), lag=st.booleans())
def test_pods_that_find_no_place_are_given_up_but_one_and_no_storm_follows(
    places: int, most: int, lag: bool
) -> None:
    pool: dict[str, object] = {"max-replicas": most}
    with simulation({"all": pool}, lag=lag, places=places) as world:
        world.add("download", 5000, 120)
        world.run(HOUR)

        greatest = max(s.replicas for s in world.samples["all"])
        assert greatest <= max(places * UP_FACTOR, places + UP_PODS)
        late = [s for s in world.samples["all"] if s.at > HOUR / 2]
        assert {s.replicas for s in late} == {min(most, places + 1)}
        if places < most:
            assert late[-1].report.reason is Reason.UNSCHEDULABLE
            assert "Insufficient nvidia.com/gpu" in late[-1].report.sentence
        assert world.interrupted == []


def test_a_pool_grows_again_once_nodes_take_its_pods() -> None:
    with simulation({"all": {"max-replicas": 8}}, places=2) as world:
        world.add("download", 3000, 120)
        world.run(1200)
        assert world.pools["all"].replicas == 3
        world.pools["all"].places = 8
        world.run(300)

        assert world.pools["all"].replicas == 8


def test_a_pool_whose_containers_keep_ending_does_not_grow() -> None:
    with simulation({"all": {"max-replicas": 50}}) as world:
        world.pools["all"].crashes = True
        world.add("download", 3000, 120)
        world.run(HOUR)
        assert max(s.replicas for s in world.samples["all"]) <= UP_PODS
        assert world.samples["all"][-1].report.reason is Reason.CRASH_LOOPING

        world.pools["all"].crashes = False
        world.run(600)
        assert world.pools["all"].replicas > 2 * UP_PODS


@FEW
@given(tasks=st.integers(1, 400), lag=st.booleans(), letting=st.integers(0, 2))
def test_work_that_a_site_puts_off_is_no_reason_for_more_workers(
    tasks: int, lag: bool, letting: int
) -> None:
    with simulation({"all": {"max-replicas": 20}}, lag=lag) as world:
        world.add("download", 1, 60)
        world.throttles = lambda task: (
            sum(t.stage == "download" for pod in world.pods for t in pod.running) >= letting
        )
        world.run(60)
        size = world.pools["all"].replicas
        world.add("download", 1, 60)
        world.run(300)
        world.add("download", tasks, 60)
        world.run(2 * HOUR)

        if world.put_off:
            assert max(s.replicas for s in world.samples["all"]) <= max(size, letting, 1)


def test_a_hundred_times_a_pool_shrinks_under_load_and_no_attempt_is_interrupted() -> None:
    """Load comes and goes; between two waves of it the pool shrinks while tasks still run."""
    pool: dict[str, object] = {
        "max-replicas": 12, "target-drain-seconds": 60, "scale-down-stabilization-seconds": 30,
    }  # fmt: skip
    seconds = 60.0
    with simulation({"all": pool}, lag=True) as world:
        owed = 0.0

        def each(now: float) -> None:
            """Ten slots' worth of work for a while, then two."""
            nonlocal owed
            owed += (10 if now % 1200 < 400 else 2) * TICK_SECONDS / seconds
            while owed >= 1:
                owed -= 1
                world.add("download", 1, seconds * (0.5 + now % 70 / 70))

        downs = 0
        while downs < 100:
            world.run(HOUR, each)
            sizes = [s.replicas for s in world.samples["all"]]
            downs = sum(b < a for a, b in pairwise(sizes))
            assert world.now < 50 * HOUR, "the pool does not shrink"

        assert world.interrupted == []


def test_a_worker_that_does_not_end_its_task_is_stopped_after_the_timeout() -> None:
    pool: dict[str, object] = {
        "max-replicas": 4, "drain-timeout-seconds": 120, "target-drain-seconds": 10,
    }  # fmt: skip
    with simulation({"all": pool}) as world:
        world.add("download", 4, 8000)
        world.run(400)
        assert world.pools["all"].replicas == 4
        world.pools["all"].annotations["data-miner.io/max-replicas"] = "2"
        world.run(100)
        assert world.pools["all"].replicas == 4, "the workers may still end what they hold"
        world.run(500)

        assert world.pools["all"].replicas == 2
        assert world.report.stopped_busy == len(world.interrupted) == 2


def test_workers_that_an_earlier_leader_has_marked_work_again_when_nobody_wants_them_gone() -> None:
    with simulation({"all": {"max-replicas": 4, "warm-replicas": 4}}) as world:
        world.add("download", 20, 60)
        world.run(60)
        world.pods[0].drain = True
        world.run(10)
        assert not world.pods[0].drain, "a pool that needs them has them back at once"

        world.pools["all"].annotations["data-miner.io/warm-replicas"] = "0"
        world.pods[0].drain = True
        world.elect()
        world.run(60)
        assert world.pods[0].drain, "one that may not need them waits a while"
        world.run(60)
        assert not world.pods[0].drain


def test_what_a_person_sets_stands_for_a_window_and_then_need_decides() -> None:
    with simulation({"all": {"max-replicas": 8}}) as world:
        world.add("download", 1000, 60)
        world.run(300)
        assert world.pools["all"].replicas == 8
        world.scale("all", 3)
        world.run(290)
        assert world.pools["all"].replicas == 3
        assert world.report.pools[0].reason is Reason.SCALED_BY_HAND
        world.run(60)

        assert world.pools["all"].replicas == 8


def test_an_api_server_that_is_away_is_named_and_asked_again() -> None:
    with simulation({"all": {"max-replicas": 8}}) as world:
        world.api_away = True
        world.add("download", 1000, 60)
        world.run(60)
        assert world.report.pools[0].reason is Reason.REFUSED
        world.api_away = False
        world.run(60)

        assert world.pools["all"].replicas > 0


def test_two_pools_that_serve_one_stage_do_not_both_start_for_one_task() -> None:
    pools: dict[str, dict[str, object]] = {
        "all": {"max-replicas": 4}, "gpu": {"stages": "gpu", "max-replicas": 2},
    }  # fmt: skip
    with simulation(pools) as world:
        world.add("embed", 1, 60)
        world.run(30)

        assert sum(pool.replicas for pool in world.pools.values()) == 1


def test_a_suspended_projects_work_starts_no_worker() -> None:
    with simulation({"all": {"max-replicas": 4}}) as world:
        world.add("download", 50, 60, project=7)
        world.suspended.add(7)
        world.run(120)

        assert world.pools["all"].replicas == 0
