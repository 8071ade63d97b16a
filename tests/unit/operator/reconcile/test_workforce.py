"""Whether somebody can do a project's work."""

from __future__ import annotations

from dataclasses import replace

from data_miner.pipeline import NAMES, POOLS
from data_miner_operator.reconcile.conditions import Check
from data_miner_operator.reconcile.workforce import workforce
from support.reconciling import POOL

CPU = replace(POOL, pool="cpu", stages=POOLS["cpu"])
GPU = replace(POOL, pool="gpu", stages=POOLS["gpu"])


def test_pools_that_have_not_been_listed_say_nothing() -> None:
    """That is not the same as none."""
    assert workforce(NAMES, NAMES, None).status == "Unknown"


def test_one_pool_for_all_is_enough() -> None:
    """Whether or not it has pods now: it is scaled when there is work."""
    assert workforce(NAMES, NAMES, (replace(POOL, replicas=0, ready=0),)) == Check(
        "True", "Available"
    )


def test_a_stage_that_no_pool_serves_is_named() -> None:
    """Also before there is anything to do in it."""
    check = workforce(NAMES, ("discover",), (CPU,))
    assert (check.status, check.reason) == ("False", "NoPool")
    assert check.message == "no worker pool serves embed, dedup_embed, detect"
    assert workforce(NAMES, (), ()).message.endswith("and 7 more")


def test_a_pool_that_may_have_no_pods_serves_nobody() -> None:
    """Its greatest size is 0."""
    assert workforce(NAMES, (), (CPU, replace(GPU, max_replicas=0))).reason == "NoPool"


def test_pods_that_fit_nowhere_are_told_of() -> None:
    """With the scheduler's own words."""
    full = replace(GPU, replicas=4, ready=2, unschedulable=2, message="Insufficient nvidia.com/gpu")
    check = workforce(NAMES, ("embed",), (CPU, full))
    assert (check.status, check.reason) == ("False", "Unschedulable")
    assert check.message == "pool gpu: 2 of 4 pods fit on no node: Insufficient nvidia.com/gpu"


def test_pods_that_keep_crashing_are_told_of() -> None:
    """Also when nobody knows why."""
    check = workforce(NAMES, ("embed",), (CPU, replace(GPU, crashing=1)))
    assert (check.status, check.reason) == ("False", "CrashLooping")
    assert check.message == "pool gpu: 1 of 1 pods keep crashing"


def test_the_trouble_of_a_pool_that_is_not_needed_does_not_count() -> None:
    """Nothing is left to do in its stages."""
    assert workforce(NAMES, ("download",), (CPU, replace(GPU, crashing=1))).status == "True"
