"""Workers that ran out of memory, as the API server shows their pods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from data_miner_operator.scaling.deaths import out_of_memory
from support.scaling import Object, pod

KILLED = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-01-01T12:00:05Z"}


def died(**status: Any) -> Object:
    """A worker's pod whose container has this status."""
    found = pod("w")
    found["spec"]["containers"] = [
        {"name": "worker", "resources": {"limits": {"memory": "4Gi", "cpu": "1"}}}
    ]
    found["status"]["containerStatuses"] = [{"name": "worker", **status}]
    return found


@pytest.mark.parametrize("where", ["state", "lastState"])
def test_a_worker_whose_container_was_oom_killed_lost_what_it_had_claimed_by_then(
    where: str,
) -> None:
    (death,) = out_of_memory([died(**{where: {"terminated": KILLED}})])

    assert death.worker == "w"
    assert death.before == datetime(2026, 1, 1, 12, 0, 6, tzinfo=UTC), "seconds are cut off"
    assert death.words.endswith("(OOMKilled): its limit is 4Gi")


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"state": {"running": {"startedAt": "2026-01-01T12:00:00Z"}}},
        {"lastState": {"terminated": {**KILLED, "reason": "Error"}}},
        {"lastState": {"terminated": {**KILLED, "finishedAt": None}}},
    ],
)
def test_whoever_ended_otherwise_is_left_to_its_lease(status: Object) -> None:
    assert not out_of_memory([died(**status), {"metadata": {"name": "nothing"}}])


def test_a_pod_of_somebody_else_is_none_of_ours() -> None:
    stranger = died(lastState={"terminated": KILLED})
    stranger["metadata"]["labels"] = {"app": "web"}

    assert not out_of_memory([stranger])
