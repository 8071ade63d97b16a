"""A part dies by `kill -9` in the middle of a project: Complete, with the dataset of a laptop."""

from __future__ import annotations

import pytest

from support.realnode import OwnCluster
from support.release_chaos import Mined
from support.waiting import eventually

pytestmark = pytest.mark.timeout(900)


def test_a_worker_whose_container_is_killed_loses_its_task_to_another(
    mined: Mined, real_nodes: OwnCluster, struck_digest: str
) -> None:
    held = mined.strike(lambda it: real_nodes.kill_container(it.pod, mined.release.namespace))
    mined.mended(held)
    mined.complete(struck_digest)
    assert set(mined.attempts().values()) == {1}


def test_a_worker_whose_shim_is_killed_loses_its_task_to_another(
    mined: Mined, real_nodes: OwnCluster, struck_digest: str
) -> None:
    held = mined.strike(lambda it: real_nodes.kill_shim(it.pod, mined.release.namespace))
    mined.mended(held)
    mined.complete(struck_digest)
    assert set(mined.attempts().values()) == {1}


def test_workers_do_not_notice_that_the_kubelet_of_their_node_is_killed(
    mined: Mined, real_nodes: OwnCluster, other: str, struck_digest: str
) -> None:
    killed = real_nodes.pid(other)
    held = mined.strike(lambda _: real_nodes.kill(other), node=other, kills=False)
    mined.goes_on()
    eventually(lambda: real_nodes.pid(other) not in {None, killed}, what="another kubelet runs")
    mined.complete(struck_digest)
    assert mined.finished_by(held) == held.pod
    assert set(mined.attempts().values()) == {1}


def test_workers_go_on_with_what_they_hold_when_postgresql_is_killed(
    mined: Mined, real_nodes: OwnCluster, struck_digest: str
) -> None:
    database = f"{mined.release.name}-database-0"
    held = mined.strike(
        lambda _: real_nodes.kill_container(database, mined.release.namespace), kills=False
    )
    mined.goes_on()
    mined.complete(struck_digest)
    assert mined.finished_by(held) == held.pod
    assert set(mined.attempts().values()) == {1}


def test_workers_do_not_notice_that_the_leading_operator_is_killed_and_the_other_leads(
    mined: Mined, real_nodes: OwnCluster, struck_digest: str
) -> None:
    before = mined.release.leader()
    held = mined.strike(
        lambda _: real_nodes.kill_container(before, mined.release.namespace), kills=False
    )
    mined.goes_on()
    mined.complete(struck_digest)
    assert mined.finished_by(held) == held.pod
    assert set(mined.attempts().values()) == {1}
