"""Each rule by which a pool grows, shrinks or stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from data_miner_operator.facts import PoolFact
from data_miner_operator.scaling.annotations import PoolSpec
from data_miner_operator.scaling.demand import Demand
from data_miner_operator.scaling.policy import (
    BLOCKED,
    MEANINGS,
    Memory,
    Reason,
    Verdict,
    decide,
    scaled,
)
from support.scaling import fact, spec


def work(runnable: int = 0, slots: float | None = None, **other: Any) -> Demand:
    """Work that `slots` slots clear in time; as many as there are tasks unless said."""
    busy = float(runnable) if slots is None else slots
    return Demand(
        at=0.0, runnable=runnable, backlog_seconds=busy * 600, slots=busy,
        work_ahead=runnable > 0, **other,
    )  # fmt: skip


def judge(pool: PoolSpec, seen: PoolFact, demand: Demand | None, memory: Memory | None = None,
          now: float = 0.0) -> Verdict:  # fmt: skip
    fresh = None if demand is None else replace(demand, at=now)
    return decide(pool, seen, fresh, memory or Memory(), now)[0]


def watched(
    pool: PoolSpec, seen: PoolFact, demands: Sequence[Demand], *, memory: Memory | None = None,
    begin: float = 0.0, every: float = 5.0,
) -> tuple[Verdict, Memory]:  # fmt: skip
    """The last verdict of looks in a row whose verdicts are not carried out."""
    kept = memory or Memory()
    verdict = None
    for number, demand in enumerate(demands):
        now = begin + number * every
        verdict, kept = decide(pool, seen, replace(demand, at=now), kept, now)
    assert verdict is not None
    return verdict, kept


LONG = 61  # looks in a window of 300 s, its ends included
MANY = spec(max_replicas=100)


def test_every_reason_has_a_meaning_and_there_are_at_most_thirty() -> None:
    assert set(MEANINGS) == set(Reason)
    assert len(Reason) <= 30
    assert set(Reason) > BLOCKED


@pytest.mark.parametrize(
    ("pool", "seen", "demand", "replicas", "reason"),
    [
        # up
        (MANY, fact(0), work(1, 0.001), 1, Reason.BACKLOG),
        (MANY, fact(0), work(100), 4, Reason.BACKLOG),
        (MANY, fact(3), work(100), 7, Reason.BACKLOG),
        (MANY, fact(10), work(100), 20, Reason.BACKLOG),
        (MANY, fact(10), work(100, 12.5), 13, Reason.BACKLOG),
        (spec(max_replicas=5), fact(3), work(100), 5, Reason.BACKLOG),
        (spec(max_replicas=9, slots=4), fact(0), work(9), 3, Reason.BACKLOG),
        (MANY, fact(0), work(2, 90.0), 2, Reason.BACKLOG),
        (spec(max_replicas=9, min_replicas=2), fact(0), work(), 2, Reason.MINIMUM),
        (spec(max_replicas=9, warm_replicas=3), fact(1), work(1), 3, Reason.WARM),
        # no more than that
        (MANY, fact(10), work(100, 10.9), 10, Reason.WITHIN_TOLERANCE),
        (MANY, fact(10), work(100, 11.0), 10, Reason.WITHIN_TOLERANCE),
        (MANY, fact(1), work(100, 1.05), 1, Reason.WITHIN_TOLERANCE),
        (MANY, fact(4), work(4), 4, Reason.STEADY),
        (spec(max_replicas=9, warm_replicas=3), fact(0), work(), 0, Reason.STEADY),
        (spec(max_replicas=5), fact(5), work(100), 5, Reason.AT_MAXIMUM),
        (spec(max_replicas=5), fact(5), work(100, 5.2), 5, Reason.STEADY),
        (MANY, fact(3), work(3, throttled=True), 3, Reason.THROTTLED),
        (MANY, fact(4, waiting=1), work(100), 4, Reason.PACED),
        # trouble
        (MANY, fact(4, ready=3, unschedulable=1, waiting=1), work(9), 4, Reason.UNSCHEDULABLE),
        (MANY, fact(4, ready=3, unschedulable=1, waiting=1), work(4), 4, Reason.UNSCHEDULABLE),
        (MANY, fact(9, ready=3, unschedulable=6), work(90), 4, Reason.UNSCHEDULABLE),
        (MANY, fact(9, ready=0, unschedulable=9), work(90), 1, Reason.UNSCHEDULABLE),
        (spec(max_replicas=9, min_replicas=8), fact(9, ready=3, unschedulable=6), work(90), 8,
         Reason.UNSCHEDULABLE),
        (spec(max_replicas=9, min_replicas=9), fact(9, ready=3, unschedulable=6), work(90), 9,
         Reason.UNSCHEDULABLE),
        (MANY, fact(4, ready=3, crashing=1), work(90), 4, Reason.CRASH_LOOPING),
        (MANY, fact(4, ready=3, crashing=1), work(4), 4, Reason.CRASH_LOOPING),
        # hands off
        (spec(autoscaler="hpa"), fact(4), work(90), 4, Reason.OTHER_AUTOSCALER),
        (spec(autoscaler="keda"), fact(4), None, 4, Reason.OTHER_AUTOSCALER),
        (spec(autoscaler="none"), fact(0), work(90), 0, Reason.OTHER_AUTOSCALER),
        (MANY, fact(0), None, 0, Reason.DATABASE_AWAY),
        # above its bounds: down at once, a step at a time
        (spec(max_replicas=2), fact(12), work(90), 9, Reason.MAXIMUM),
        (spec(max_replicas=2), fact(3), work(90), 2, Reason.MAXIMUM),
        (spec(max_replicas=0), fact(1), work(90), 0, Reason.MAXIMUM),
    ],
)  # fmt: skip
def test_the_first_look_at_a_pool(
    pool: PoolSpec, seen: PoolFact, demand: Demand | None, replicas: int, reason: Reason
) -> None:
    verdict = judge(pool, seen, demand)

    assert (verdict.replicas, verdict.reason) == (replicas, reason)
    assert verdict.sentence


def test_trouble_is_named_in_the_schedulers_words() -> None:
    verdict = judge(MANY, fact(2, unschedulable=1, message="no GPU is free"), work(9))

    assert verdict.sentence == "1 pods find no place: no GPU is free"


def test_pods_that_are_ready_are_sound_however_old_the_count_of_those_that_wait_is() -> None:
    assert judge(MANY, fact(9, ready=8, unschedulable=6), work(90)).replicas == 9


def test_numbers_that_are_too_old_decide_nothing() -> None:
    verdict, _ = decide(MANY, fact(1), work(90), Memory(), 15.5)

    assert verdict.reason is Reason.DATABASE_AWAY
    assert "16 s ago" in verdict.sentence


def test_within_the_time_of_a_step_a_pool_at_most_doubles_or_grows_by_four() -> None:
    _, memory = decide(MANY, fact(10), work(100), Memory(), 0.0)
    memory = scaled(memory, 10, 20, 0.0)

    soon = judge(MANY, fact(20), work(100), memory, 29.9)
    later = judge(MANY, fact(20), work(100), memory, 30.0)

    assert (soon.replicas, soon.reason) == (20, Reason.PACED)
    assert (later.replicas, later.reason) == (40, Reason.BACKLOG)


def test_the_time_of_a_step_is_the_pool_s_own() -> None:
    slow = spec(max_replicas=100, step_seconds=100)
    grown = scaled(Memory(expected=10), 10, 20, 0.0)
    _, shrunk = watched(slow, fact(20), [work(2)] * LONG)
    shrunk = scaled(shrunk, 20, 15, 300.0)

    assert judge(slow, fact(20), work(100), grown, 99.9).reason is Reason.PACED
    assert judge(slow, fact(20), work(100), grown, 100.0).replicas == 40
    assert watched(slow, fact(15), [work(2)], memory=shrunk, begin=305.0)[0].reason is Reason.PACED
    assert watched(slow, fact(15), [work(2)] * 20, memory=shrunk, begin=305.0)[0].replicas == 12


def test_two_small_steps_up_together_keep_the_pace() -> None:
    memory = scaled(Memory(expected=4), 4, 6, 0.0)

    assert judge(MANY, fact(6), work(100), memory, 10.0).replicas == 8


def test_a_pool_shrinks_by_a_quarter_once_need_was_lower_for_a_whole_window() -> None:
    early, _ = watched(MANY, fact(20), [work(2)] * (LONG - 1))
    late, _ = watched(MANY, fact(20), [work(2)] * LONG)

    assert (early.replicas, early.reason) == (20, Reason.STABILIZING)
    assert (late.replicas, late.reason) == (15, Reason.SURPLUS)


@pytest.mark.parametrize(("size", "next_size"), [(2, 1), (3, 2), (4, 3), (8, 6), (100, 75)])
def test_a_step_down_takes_a_quarter_and_at_least_one(size: int, next_size: int) -> None:
    verdict, _ = watched(MANY, fact(size), [work(1)] * LONG)

    assert verdict.replicas == next_size


def test_the_greatest_need_of_the_window_decides() -> None:
    demands = [work(2)] * 20 + [work(18)] + [work(2)] * (LONG - 1)
    within, memory = watched(MANY, fact(20), demands)
    beyond, _ = watched(MANY, fact(20), [work(2)], memory=memory, begin=len(demands) * 5.0)

    assert within.replicas == 18
    assert beyond.replicas == 15


def test_need_that_falls_is_remembered_in_its_steps_alone() -> None:
    falling, memory = watched(MANY, fact(20), [work(20 - n // 10) for n in range(LONG)])

    assert falling.reason is Reason.STEADY
    assert [need for _, need in memory.needs] == [20, 19, 18, 17, 16, 15, 14]


def test_a_pool_keeps_a_tenth_more_than_it_needs_when_it_shrinks() -> None:
    keeps, _ = watched(MANY, fact(10), [work(90, 8.2)] * LONG)
    shrinks, _ = watched(MANY, fact(10), [work(90, 8.0)] * LONG)

    assert (keeps.replicas, keeps.reason) == (10, Reason.STEADY)
    assert shrinks.replicas == 9


def test_a_pool_never_keeps_more_workers_than_can_run_something() -> None:
    verdict, _ = watched(MANY, fact(4), [work(3)] * LONG)

    assert verdict.replicas == 3


def test_a_pool_does_not_shrink_right_after_it_has_grown_or_shrunk() -> None:
    _, memory = watched(MANY, fact(8), [work(2)] * LONG)
    now = LONG * 5.0
    grown, shrunk = scaled(memory, 4, 8, now - 55), scaled(memory, 9, 8, now - 25)

    assert judge(MANY, fact(8), work(2), grown, now).reason is Reason.PACED
    assert judge(MANY, fact(8), work(2), shrunk, now).reason is Reason.PACED
    assert judge(MANY, fact(8), work(2), grown, now + 5).replicas == 6
    assert judge(MANY, fact(8), work(2), shrunk, now + 5).replicas == 6


def test_the_last_worker_goes_only_after_a_time_without_anything_to_do() -> None:
    early, memory = watched(MANY, fact(1), [work()] * 120)
    late, _ = watched(MANY, fact(1), [work()], memory=memory, begin=600.0)

    assert (early.replicas, early.reason) == (1, Reason.IDLE_WAIT)
    assert (late.replicas, late.reason) == (0, Reason.IDLE)


def test_a_worker_that_holds_something_is_not_idle_although_nothing_counts() -> None:
    verdict, _ = watched(spec(max_replicas=9, idle_seconds=0), fact(1), [work(held=1)] * LONG)

    assert (verdict.replicas, verdict.reason) == (1, Reason.IDLE_WAIT)
    assert "0 s" in verdict.sentence


def test_a_moment_of_work_begins_the_idle_time_anew() -> None:
    _, memory = watched(MANY, fact(1), [work()] * 119 + [work(1)])
    verdict, _ = watched(MANY, fact(1), [work()], memory=memory, begin=600.0)

    assert verdict.replicas == 1


@pytest.mark.parametrize("gap", [16.0, 4000.0])
def test_after_a_gap_in_the_looks_the_window_and_the_idle_time_begin_anew(gap: float) -> None:
    _, memory = watched(MANY, fact(1), [work()] * 120)
    verdict, _ = watched(MANY, fact(1), [work()], memory=memory, begin=595.0 + gap)

    assert verdict.reason is Reason.STABILIZING


def test_a_short_gap_changes_nothing() -> None:
    _, memory = watched(MANY, fact(1), [work()] * 120)
    verdict, _ = watched(MANY, fact(1), [work()], memory=memory, begin=605.0)

    assert verdict.reason is Reason.IDLE


def test_a_new_leader_watches_for_a_window_before_it_shrinks_a_pool() -> None:
    assert judge(MANY, fact(20), work()).reason is Reason.STABILIZING


def test_our_own_write_that_is_not_visible_yet_is_no_ones_hand() -> None:
    _, memory = decide(MANY, fact(0), work(9), Memory(), 0.0)
    memory = scaled(memory, 0, 4, 0.0)

    assert judge(MANY, fact(0), work(9), memory, 5.0).reason is Reason.SETTLING
    assert judge(MANY, fact(4), work(90), memory, 31.0).reason is Reason.BACKLOG
    assert judge(MANY, fact(0), work(9), memory, 16.0).reason is Reason.SCALED_BY_HAND


@pytest.mark.parametrize("demand", [work(90), work()])
def test_what_somebody_else_sets_stands_for_a_window(demand: Demand) -> None:
    _, memory = decide(MANY, fact(8), demand, Memory(), 0.0)
    first, memory = decide(MANY, fact(3), replace(demand, at=5.0), memory, 5.0)
    last = judge(MANY, fact(3), demand, memory, 304.0)
    after = judge(MANY, fact(3), demand, memory, 305.0)

    assert (first.replicas, first.reason) == (3, Reason.SCALED_BY_HAND)
    assert last.reason is Reason.SCALED_BY_HAND
    assert after.reason is not Reason.SCALED_BY_HAND


def test_what_somebody_sets_while_the_database_is_away_is_noticed() -> None:
    _, memory = decide(MANY, fact(8), work(8), Memory(), 0.0)
    _, memory = decide(MANY, fact(3), None, memory, 20.0)

    assert judge(MANY, fact(3), work(90), memory, 40.0).reason is Reason.SCALED_BY_HAND


def test_pods_without_a_place_are_given_up_once_in_half_a_minute() -> None:
    stuck = fact(9, ready=3, unschedulable=6)
    memory = scaled(Memory(expected=9), 12, 9, 0.0)

    assert judge(MANY, stuck, work(90), memory, 20.0).replicas == 9
    assert judge(MANY, stuck, work(90), memory, 30.0).replicas == 4


def test_pods_without_a_place_do_not_keep_a_pool_from_shrinking() -> None:
    verdict, _ = watched(MANY, fact(4, ready=3, unschedulable=1), [work(2)] * LONG)

    assert (verdict.replicas, verdict.reason) == (3, Reason.SURPLUS)


@pytest.mark.parametrize("change", [scaled])
def test_steps_up_and_down_are_remembered_apart(change: Callable[..., Memory]) -> None:
    up = change(Memory(), 1, 3, 7.0)
    down = change(up, 3, 2, 9.0)

    assert (up.expected, up.up_at, up.ups) == (3, 7.0, ((7.0, 1),))
    assert (down.expected, down.previous, down.down_at, down.up_at) == (2, 3, 9.0, 7.0)
