"""A node is drained or lost in the middle of a project: Complete, with the dataset of a laptop."""

from __future__ import annotations

import time

import pytest

from support import realnode_host as host
from support.realnode import OwnCluster
from support.realnode_config import machine
from support.release_chaos import Mined

pytestmark = pytest.mark.timeout(900)

TASK_PROCESS = "data_miner_worker.child"
"""Word of the command of every process that runs tasks."""


def test_workers_of_a_drained_node_hand_their_tasks_back_and_no_budget_holds_the_drain_up(
    mined: Mined, real_nodes: OwnCluster, other: str, struck_digest: str
) -> None:
    held = mined.strike(lambda _: real_nodes.drain(other), node=other, kills=False)
    print(f"{mined.case}: drained after {time.monotonic() - mined.struck:.0f} s")  # noqa: T201
    assert not mined.pods_of(other)
    mined.mended(held)
    assert not mined.used(), "handed back: neither an attempt nor a loss"
    mined.complete(struck_digest)
    assert mined.finished_by(held) != held.pod
    assert set(mined.attempts().values()) == {1}


def test_a_drain_of_the_node_with_the_database_and_the_store_is_an_outage_until_it_is_back(
    mined: Mined, real_nodes: OwnCluster, keeper: str, struck_digest: str
) -> None:
    mined.strike(lambda _: real_nodes.drain(keeper), kills=False)
    print(f"{mined.case}: drained after {time.monotonic() - mined.struck:.0f} s")  # noqa: T201
    real_nodes.uncordon(keeper)
    mined.goes_on()
    mined.complete(struck_digest)
    assert set(mined.attempts().values()) == {1}


def test_a_node_that_loses_its_power_loses_its_tasks_to_the_others(
    mined: Mined, real_nodes: OwnCluster, other: str, struck_digest: str
) -> None:
    held = mined.strike(lambda _: real_nodes.power_off(other), node=other)
    mined.mended(held)
    mined.complete(struck_digest)
    assert mined.finished_by(held) != held.pod
    assert set(mined.attempts().values()) == {1}


def test_workers_of_a_node_that_is_cut_off_go_on_and_what_they_make_too_late_does_not_count(
    mined: Mined, real_nodes: OwnCluster, other: str, struck_digest: str
) -> None:
    held = mined.strike(lambda _: real_nodes.cut_off(other), node=other)
    mined.mended(held)
    running = host.processes_of(machine(other, real_nodes.state)).values()
    assert any(TASK_PROCESS in command for command in running), "nobody there goes on"
    real_nodes.reconnect(other)
    real_nodes.wait_ready(other)
    mined.complete(struck_digest)
    assert mined.finished_by(held) != held.pod
    assert set(mined.attempts().values()) == {1}


def test_a_node_with_the_database_and_the_store_that_loses_its_power_comes_back_with_both(
    mined: Mined, real_nodes: OwnCluster, keeper: str, struck_digest: str
) -> None:
    mined.strike(lambda _: real_nodes.power_off(keeper), kills=False)
    real_nodes.wait_silent(keeper)
    real_nodes.power_on(keeper)
    real_nodes.wait_ready(keeper)
    print(f"{mined.case}: Ready again after {time.monotonic() - mined.struck:.0f} s")  # noqa: T201
    mined.goes_on()
    mined.complete(struck_digest)
    assert set(mined.attempts().values()) == {1}
