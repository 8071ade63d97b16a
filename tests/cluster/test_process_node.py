"""The node that runs what the real scheduler binds to it, as processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.cluster import Cluster, condition_of, on_node
from support.node import ProcessNode
from support.waiting import eventually
from support.worker import alive

SLEEP = "import time; time.sleep(600)"
COUNT = """
import itertools, time
for n in itertools.count():
    print(n, flush=True)
    time.sleep(0.01)
"""
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True)"


def python(code: str) -> dict[str, Any]:
    return {"command": ["python", "-c"], "args": [code]}


def job(cluster: Cluster, code: str, *, limit: int = 0, policy: str = "Never") -> dict[str, Any]:
    container = {"name": "main", "image": "none", **python(code)}
    pod = {"restartPolicy": policy, "containers": [container], **on_node(cluster.node)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {"backoffLimit": limit, "template": {"spec": pod}},
    }


def waiting_reasons(pod: dict[str, Any]) -> list[str]:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return [s["state"]["waiting"]["reason"] for s in statuses if "waiting" in s["state"]]


def container_status(cluster: Cluster) -> dict[str, Any]:
    (pod,) = cluster.list("Pod")
    (found,) = pod["status"]["containerStatuses"]
    assert isinstance(found, dict)
    return found


def ready_replicas(seen: dict[str, Any] | None) -> int:
    return int((seen or {}).get("status", {}).get("readyReplicas", 0))


def run_pool(cluster: Cluster, replicas: int, code: str = SLEEP, **options: Any) -> None:
    cluster.add_pool("pool", replicas, **python(code), **options)
    cluster.wait("Deployment", "pool", lambda d: ready_replicas(d) == replicas, what="all ready")


def test_a_deployment_has_as_many_processes_as_replicas(
    cluster: Cluster, node: ProcessNode
) -> None:
    """Scaled 0 → 3 → 1, a Deployment runs that many real processes."""
    run_pool(cluster, 0)
    assert node.pids() == {}
    cluster.scale("pool", 3)
    cluster.wait("Deployment", "pool", lambda d: ready_replicas(d) == 3, what="three")
    pids = node.pids("pool")
    assert len(pids) == 3
    assert all(alive(pid) for pid in pids.values())
    cluster.scale("pool", 1)
    eventually(lambda: sum(map(alive, pids.values())) == 1, what="two have ended")
    eventually(lambda: len(cluster.list("Pod")) == 1, what="two pods are gone")


def test_the_cost_of_deletion_decides_which_pod_goes(cluster: Cluster, node: ProcessNode) -> None:
    """Of three pods the one with the lowest pod-deletion-cost goes first."""
    run_pool(cluster, 3)
    names = sorted(node.pids())
    for name, cost in zip(names, ("10", "-10", "10"), strict=True):
        note = {"controller.kubernetes.io/pod-deletion-cost": cost}
        cluster.patch("Pod", name, {"metadata": {"annotations": note}})
    cluster.scale("pool", 2)
    cluster.wait_gone("Pod", names[1])
    assert sorted(node.pids()) == [names[0], names[2]]


def test_a_job_runs_to_its_end(cluster: Cluster, node: ProcessNode) -> None:
    """A Job is Complete when its process ended well, and what it wrote can be read."""
    cluster.apply(job(cluster, "import os; print('made on', os.environ['HOSTNAME'])"))
    cluster.wait_condition("Job", "once", "Complete")
    (pod,) = cluster.list("Pod", labels="job-name=once")
    assert pod["status"]["phase"] == "Succeeded"
    assert node.log(pod["metadata"]["name"]) == f"made on {pod['metadata']['name']}\n"


def test_a_job_that_fails_says_so(cluster: Cluster, node: ProcessNode) -> None:
    """A Job whose process ends badly is Failed after its last try, with the exit code."""
    cluster.apply(job(cluster, "raise SystemExit(3)"))
    cluster.wait_condition("Job", "once", "Failed", reason="BackoffLimitExceeded")
    (pod,) = cluster.list("Pod", labels="job-name=once")
    (status,) = pod["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 3
    assert pod["status"]["phase"] == "Failed"


def test_a_crash_loop_is_told(cluster: Cluster, node: ProcessNode) -> None:
    """A container that keeps ending waits in CrashLoopBackOff, with its restarts counted."""
    run_pool(cluster, 0)
    node.crash_next("pool", times=3, code=7)
    cluster.scale("pool", 1)

    def crashing() -> bool:
        return any("CrashLoopBackOff" in waiting_reasons(pod) for pod in cluster.list("Pod"))

    eventually(crashing, what="CrashLoopBackOff")
    eventually(lambda: container_status(cluster)["restartCount"] == 3, what="the third restart")
    cluster.wait("Deployment", "pool", lambda d: ready_replicas(d) == 1, what="it recovers")
    assert container_status(cluster)["lastState"]["terminated"]["exitCode"] == 7


def test_a_killed_process_is_started_again(cluster: Cluster, node: ProcessNode) -> None:
    """What the kernel kills comes back in the same pod; the status keeps how it ended."""
    run_pool(cluster, 1)
    ((name, pid),) = node.pids().items()
    assert node.kill("pool", reason="OOMKilled") == [name]
    eventually(lambda: node.pids().get(name, pid) != pid, what="another process")
    eventually(lambda: container_status(cluster)["restartCount"] == 1, what="it is told")
    ended = container_status(cluster)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


def test_a_pod_that_no_node_takes_stays_pending(cluster: Cluster, node: ProcessNode) -> None:
    """Without a GPU in the cluster a pod that wants one is Unschedulable, and says why."""
    cluster.add_pool("pool", 1, **python(SLEEP), gpus=1)
    eventually(lambda: len(cluster.list("Pod")) == 1, what="a pod")
    name = cluster.list("Pod")[0]["metadata"]["name"]
    pod = cluster.wait_condition(
        "Pod", name, "PodScheduled", status="False", reason="Unschedulable"
    )
    assert "Insufficient nvidia.com/gpu" in condition_of(pod, "PodScheduled")["message"]
    assert pod["status"]["phase"] == "Pending"
    assert node.pids() == {}


def test_who_does_not_go_is_killed_after_the_grace(cluster: Cluster, node: ProcessNode) -> None:
    """A pod gets SIGTERM; when its grace is over, what is left of it is killed."""
    run_pool(cluster, 1, f"{STUBBORN}\n{SLEEP}", grace_seconds=1)
    ((name, pid),) = node.pids().items()
    eventually(lambda: "deaf" in node.log(name), what="it is deaf")
    cluster.scale("pool", 0)
    cluster.wait_gone("Pod", name)
    assert not alive(pid)


def test_the_environment_is_what_the_pod_says(cluster: Cluster, node: ProcessNode) -> None:
    """Values, fields of the pod, Secrets and ConfigMaps arrive; nothing of the test's own does."""
    cluster.kubectl(
        *("create", "secret", "generic", "s", "--from-literal=key=hidden", "-n", cluster.namespace)
    )
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"X": "y"}}
    )
    wanted = job(cluster, "import os; print(sorted(os.environ.items()))")
    container = wanted["spec"]["template"]["spec"]["containers"][0]
    container["envFrom"] = [{"configMapRef": {"name": "c"}, "prefix": "C_"}]
    container["env"] = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
        {"name": "BOTH", "value": "$(S)-$(C_X)-$(NOT)"},
    ]
    cluster.apply(wanted)
    cluster.wait_condition("Job", "once", "Complete")
    (pod,) = cluster.list("Pod", labels="job-name=once")
    said = node.log(pod["metadata"]["name"])
    assert "('C_X', 'y')" in said
    assert "('BOTH', 'hidden-y-$(NOT)')" in said
    assert f"('IP', '{pod['status']['podIP']}')" in said
    assert "KUBECONFIG" not in said


def test_a_missing_secret_is_told_and_awaited(cluster: Cluster, node: ProcessNode) -> None:
    """A container whose Secret is not there waits and says which; it starts when that comes."""
    wanted = job(cluster, "pass")
    reference = {"name": "late", "key": "k"}
    wanted["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "S", "valueFrom": {"secretKeyRef": reference}}
    ]
    cluster.apply(wanted)

    def told() -> bool:
        return any('secret "late" not found' in str(pod["status"]) for pod in cluster.list("Pod"))

    eventually(told, what="the status names the Secret")
    cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "data": {"k": "eA=="}}
    )
    cluster.wait_condition("Job", "once", "Complete")


def test_a_frozen_pod_exists_and_does_nothing(cluster: Cluster, node: ProcessNode) -> None:
    """A frozen process neither works nor ends, until it is thawed."""
    run_pool(
        cluster,
        1,
        COUNT,
    )
    ((name, pid),) = node.pids().items()
    node.freeze("pool")
    eventually(lambda: _state(pid) == "T", what="it is stopped")
    before = node.log(name)
    assert node.log(name) == before
    node.thaw("pool")
    eventually(lambda: node.log(name) != before, what="it goes on")


def test_a_node_without_power_is_noticed_and_comes_back(
    cluster: Cluster, node: ProcessNode
) -> None:
    """A node that is off becomes NotReady; when it is on again its pods are started again."""
    run_pool(cluster, 1)
    ((name, pid),) = node.pids().items()
    node.node_down()
    assert not alive(pid)
    cluster.wait_condition("Node", node.name, "Ready", status="Unknown", seconds=120)
    node.node_up()
    cluster.wait_condition("Node", node.name, "Ready", seconds=30)
    eventually(lambda: name in node.pids(), what="the pod runs again")
    eventually(lambda: container_status(cluster)["restartCount"] == 1, what="a restart is counted")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
