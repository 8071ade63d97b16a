"""Deployments and Pods as the API server writes them, made into pools."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from data_miner_operator.labels import OPERATOR
from data_miner_operator.scaling.pools import read_pools
from support.scaling import NOW, Object, deployment, pod, read_pool

FULL = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


def unscheduled(name: str, since: str | None) -> Object:
    found = pod(name, node=False)
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    if since:
        condition |= {"lastTransitionTime": since, "message": FULL}
    found["status"]["conditions"].append(condition)
    return found


def container(**status: Any) -> Object:
    found = pod("a", ready=False)
    found["status"]["containerStatuses"] = [status]
    return found


def test_a_pool_is_a_deployment_with_the_label_that_is_not_being_deleted() -> None:
    stranger, going = deployment("x"), deployment("y")
    stranger["metadata"]["labels"] = {"app": "web"}
    going["metadata"]["deletionTimestamp"] = "2026-01-01T11:00:00Z"
    found = read_pools([deployment("b"), deployment("a"), stranger, going, {}], [], NOW)

    assert [pool.key for pool in found] == [("mining", "a-workers"), ("mining", "b-workers")]
    assert found[0].resource_version == "7"


def test_a_pool_that_names_an_operator_is_that_operators_alone() -> None:
    own, strange = deployment("a"), deployment("b")
    own["metadata"]["annotations"][OPERATOR] = "mining/own"
    strange["metadata"]["annotations"][OPERATOR] = "beside/own"

    found = read_pools([own, strange, deployment("c")], [], NOW, "mining/own")

    assert [pool.fact.pool for pool in found] == ["a", "c"]


def test_pods_belong_to_a_pool_by_its_selector_in_its_namespace() -> None:
    elsewhere, other, ended, going = pod("b"), pod("c"), pod("d"), pod("e")
    elsewhere["metadata"]["namespace"] = "other"
    other["metadata"]["labels"]["release"] = "two"
    ended["status"]["phase"] = "Succeeded"
    going["metadata"]["deletionTimestamp"] = "2026-01-01T11:00:00Z"
    release = deployment()
    release["spec"]["selector"]["matchLabels"]["release"] = "one"
    mine = pod("a")
    mine["metadata"]["labels"]["release"] = "one"

    found = read_pool(release, mine, elsewhere, other, ended, going, {})

    assert [p.name for p in found.pods] == ["a"]


def test_replicas_that_are_not_written_are_one() -> None:
    bare = deployment()
    del bare["spec"]["replicas"], bare["status"]

    assert read_pool(bare).fact.replicas == 1


def test_ready_pods_and_those_without_a_node_are_counted() -> None:
    found = read_pool(deployment(replicas=5), pod("a"), pod("b", ready=False), pod("c", node=False))

    assert (found.fact.ready, found.fact.waiting, found.counted) == (1, 3, 5)
    assert [(p.assigned, p.running, p.ready) for p in found.pods] == [
        (True, True, True),
        (True, True, False),
        (False, False, False),
    ]


@pytest.mark.parametrize(
    ("since", "counts"),
    [("2026-01-01T11:59:30Z", 0), ("2026-01-01T11:58:59Z", 1), (None, 1)],
)
def test_a_pod_is_unschedulable_once_it_has_waited_beyond_the_patience(
    since: str | None, counts: int
) -> None:
    found = read_pool(deployment(), unscheduled("a", since))

    assert found.fact.unschedulable == counts
    assert found.fact.message == ("" if not counts else FULL if since else "no node takes it")


def test_a_pod_that_is_held_back_by_a_gate_is_not_unschedulable() -> None:
    gated = unscheduled("a", None)
    gated["status"]["conditions"][-1]["reason"] = "SchedulingGated"

    assert read_pool(deployment(), gated).fact.unschedulable == 0


def test_pods_that_a_quota_refuses_count_as_unschedulable() -> None:
    refused = deployment(replicas=4)
    refused["status"]["conditions"] = [
        {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    ]
    found = read_pool(refused, pod("a"))

    assert found.fact.unschedulable == 3
    assert found.fact.message == "exceeded quota: gpus"


def test_a_quota_that_refuses_nothing_that_is_wanted_now_is_no_trouble() -> None:
    refused = deployment(replicas=1)
    refused["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True"}]

    assert read_pool(refused, pod("a")).fact.unschedulable == 0
    assert read_pool(refused).fact.message == "pods cannot be created"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}},
            "CrashLoopBackOff: back-off 40s",
        ),
        ({"state": {"waiting": {"reason": "ErrImagePull"}}}, "ErrImagePull: no message"),
        (
            {"state": {"running": {}}, "restartCount": 3, "ready": False,
             "lastState": {"terminated": {"exitCode": 137}}},
            "ended 3 times, last with 137",
        ),
        (
            {"state": {"terminated": {"exitCode": 1}}, "restartCount": 2},
            "ended 2 times, last with 1",
        ),
    ],
)  # fmt: skip
def test_a_container_that_does_not_stay_up_is_named(status: Object, message: str) -> None:
    fact = read_pool(deployment(), container(**status)).fact

    assert (fact.crashing, fact.message) == (1, message)


@pytest.mark.parametrize(
    "status",
    [
        {"state": {"waiting": {"reason": "ContainerCreating"}}},
        {"state": {"running": {}}, "restartCount": 5, "ready": True,
         "lastState": {"terminated": {"exitCode": 1}}},
        {"state": {"running": {}}, "restartCount": 5},
        {"state": {"running": {}}, "restartCount": 1,
         "lastState": {"terminated": {"exitCode": 1}}},
    ],
)  # fmt: skip
def test_a_container_that_starts_or_has_come_back_is_no_crash(status: Object) -> None:
    assert read_pool(deployment(), container(**status)).fact.crashing == 0


def ran(seconds_ago: float, *, last_for_seconds: float) -> Object:
    """A ready container that has ended twice: since when it runs, and how long it did before."""
    started = NOW - timedelta(seconds=seconds_ago)
    ended = started - timedelta(seconds=1)
    began = ended - timedelta(seconds=last_for_seconds)
    last = {"exitCode": 1, "startedAt": began.isoformat(), "finishedAt": ended.isoformat()}
    return container(
        state={"running": {"startedAt": started.isoformat()}}, restartCount=2, ready=True,
        lastState={"terminated": last},
    )  # fmt: skip


def test_a_container_that_ends_again_and_again_stays_named_while_it_runs_for_a_moment() -> None:
    """Or what is told of it would change with every start, and nobody would be called."""
    assert read_pool(deployment(), ran(5, last_for_seconds=8)).fact.crashing == 1
    assert read_pool(deployment(), ran(90, last_for_seconds=8)).fact.crashing == 0
    assert read_pool(deployment(), ran(5, last_for_seconds=3600)).fact.crashing == 0


def test_a_message_is_one_line_without_secrets_and_not_long() -> None:
    waiting = {"reason": "ErrImagePull", "message": "https://u:pass@host/\n" + "x" * 500}
    message = read_pool(deployment(), container(state={"waiting": waiting})).fact.message

    assert "pass" not in message
    assert message.isprintable()
    assert len(message) == 200


def test_two_templates_among_the_pods_are_a_rollout() -> None:
    assert read_pool(deployment(), pod("a"), pod("b", template="2")).rolling
    assert not read_pool(deployment(), pod("a"), pod("b")).rolling


@pytest.mark.parametrize(("written", "cost"), [("-1000", -1000), ("much", 0), (0, 0)])
def test_a_deletion_cost_that_is_no_number_counts_as_none(written: str | int, cost: int) -> None:
    assert read_pool(deployment(), pod("a", cost=written)).pods[0].deletion_cost == cost
