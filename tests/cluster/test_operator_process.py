"""The operator's process as the other tests here start, steer and end it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.api_proxy import ApiProxy
from support.cluster import Cluster
from support.operator_process import OperatorProcess, operator_in


@pytest.fixture
def operator(
    cluster: Cluster, proxy: ApiProxy, migrated_url: str, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """A replica behind a proxy, ready."""
    with operator_in(
        cluster, tmp_path / "operator", migrated_url, folder=tmp_path, through=proxy
    ) as (replica,):
        replica.start()
        yield replica


def test_it_asks_through_the_proxy_for_what_it_may(
    operator: OperatorProcess, proxy: ApiProxy
) -> None:
    """All that the operator asks of the API server is counted, and nothing of it is forbidden."""
    operator.wait_for("/readyz", "leader")
    assert proxy.counts()["list", "miningprojects", "", 200] >= 1
    assert [r for r in proxy.requests() if r.code in {401, 403}] == []


def test_a_frozen_replica_answers_nobody(operator: OperatorProcess) -> None:
    """Frozen, it serves nothing; thawed, it goes on."""
    operator.freeze()
    assert operator.probe("/livez") == (0, "")
    operator.thaw()
    operator.wait_for("/livez")


def test_its_log_is_one_object_a_line(operator: OperatorProcess) -> None:
    """Each line of the log is an object that names its event."""
    assert operator.lines()
    assert all("event" in line for line in operator.lines())
    assert len(operator.lines()) == len(operator.said().splitlines())
