"""The process node: a small kubelet that runs the pods of real Deployments and Jobs as processes.

It registers a Node, the real scheduler binds pods to it, and for each container it starts what the
container's command says, from this Python environment. No image is pulled and nothing is isolated:
all pods share the machine, and volumes are not mounted. Everything else is told to the API server
as a kubelet tells it: phases, readiness, exit codes, restarts, back-off, deletion with grace.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import signal
import sys
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from support.kube_async import WATCH_SECONDS, AsyncKube, insistently, missing_is_none
from support.kube_client import Access
from support.node_pod import BackOff, Pod
from support.node_status import timestamp

T = TypeVar("T")
LABEL = "data-miner.io/test-node"
"""Label and taint of a process node; its value is the node's name."""
LEASE_SECONDS = 2.0
_addresses = itertools.count(2)


@dataclass(frozen=True)
class NodeSpec:
    """What a node offers."""

    name: str = "process-node"
    cpu: str = "64"
    memory: str = "256Gi"
    pods: int = 500
    gpus: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    tainted: bool = False
    """Nothing lands here that does not tolerate the taint LABEL; on a cluster with other work."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the image would set: every container has these, its own variables win."""
    back_off: BackOff = field(default_factory=lambda: BackOff(0.5, 5.0))


class ProcessNode:
    """One node. Its methods may be called from any thread; they return when the thing is done."""

    def __init__(self, access: Access, folder: Path, spec: NodeSpec | None = None) -> None:
        """Register the node and start to run what is bound to it; Ready when it returns."""
        self.spec = spec or NodeSpec()
        self.folder = folder
        self._access = access
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=self.spec.name, daemon=True)
        self._kubelet = Kubelet(self.spec, folder)
        self._thread.start()
        self._do(self._kubelet.begin(access))

    @property
    def name(self) -> str:
        """Of the Node object."""
        return self.spec.name

    def pids(self, pattern: str = "") -> dict[str, int]:
        """Process id of each running pod's first container, by pod name; those that match."""

        async def look() -> dict[str, int]:
            return {
                pod.name: next(iter(pids.values()))
                for pod in self._kubelet.matching(pattern)
                if (pids := pod.pids())
            }

        return self._do(look())

    def log(self, pod: str) -> str:
        """What the containers of a pod have written; pods of one name follow each other."""
        files = sorted(self.folder.glob(f"*/{pod}.*/*.log"), key=lambda f: f.stat().st_mtime)
        return "".join(file.read_text(errors="replace") for file in files)

    def kill(self, pattern: str, *, reason: str = "") -> list[str]:
        """SIGKILL every process of the pods that match, as the kernel does when memory is out.

        Returns their names. `reason` is what the status says of it ("OOMKilled"); "Error" without.
        """
        return self._signal(pattern, signal.SIGKILL, reason)

    def freeze(self, pattern: str) -> list[str]:
        """Stop every process of the pods that match; they exist and do nothing until `thaw`."""
        return self._signal(pattern, signal.SIGSTOP, "")

    def thaw(self, pattern: str) -> list[str]:
        """Let them go on."""
        return self._signal(pattern, signal.SIGCONT, "")

    def crash_next(self, pattern: str, *, times: int = 1, code: int = 1) -> None:
        """The next `times` starts of containers in pods that match end at once with this code."""

        async def plan() -> None:
            self._kubelet.crashes.append([re.compile(pattern), times, code])

        self._do(plan())

    def node_down(self) -> None:
        """Power off: all processes are gone at once and nobody hears of the node any more."""
        self._do(self._kubelet.power_off())

    def node_up(self) -> None:
        """Power on: what is still bound here is started again."""
        self._do(self._kubelet.power_on(self._access))

    def stop(self) -> None:
        """End everything and take the node out of the cluster. Raises what went wrong in it."""
        try:
            self._do(self._kubelet.retire(self._access))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        if self._kubelet.problems:
            raise ExceptionGroup(
                f"the node {self.name} failed",
                [p for p in self._kubelet.problems if isinstance(p, Exception)],
            )

    def __enter__(self) -> ProcessNode:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, pattern: str, number: signal.Signals, reason: str) -> list[str]:
        async def send() -> list[str]:
            pods = [pod for pod in self._kubelet.matching(pattern) if pod.pids()]
            for pod in pods:
                pod.signal(number, reason=reason)
            return [pod.name for pod in pods]

        return self._do(send())

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(60)


class Kubelet:
    """The node's own side; everything here runs in the node's thread."""

    def __init__(self, spec: NodeSpec, folder: Path) -> None:
        self.spec = spec
        self.back_off = spec.back_off
        self.problems: list[BaseException] = []
        self.crashes: list[list[Any]] = []
        self.kube: AsyncKube
        self._folder = folder
        self._pods: dict[str, Pod] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._duties: list[asyncio.Task[None]] = []

    async def begin(self, access: Access) -> None:
        """Register, and go on until `power_off`."""
        self.kube = AsyncKube(access)
        await self._register()
        await self._renew()
        await self._until_the_cluster_believes_it()
        self._duties = [
            asyncio.create_task(duty) for duty in (self._keep_alive(), self._follow_pods())
        ]
        for duty in self._duties:
            duty.add_done_callback(self._note_problem)

    async def power_off(self) -> None:
        """End all processes and tell nobody."""
        tasks = [*self._duties, *self._lives.values()]
        for pod in self._pods.values():
            pod.signal(signal.SIGKILL)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pods.clear()
        self._lives.clear()
        await self.kube.close()

    async def power_on(self, access: Access) -> None:
        """Register again; pods that are bound here come back through the list."""
        await self.begin(access)

    async def retire(self, access: Access) -> None:
        """Power off for good: the Node object goes, and with it what is bound to it."""
        await self.power_off()
        kube = AsyncKube(access)
        try:
            for path in (f"/api/v1/nodes/{self.spec.name}", self._lease_path()):
                with suppress(aiohttp.ClientError, TimeoutError):
                    await missing_is_none(kube.request("DELETE", path))
        finally:
            await kube.close()

    def matching(self, pattern: str) -> list[Pod]:
        """Pods whose name has the pattern in it, in the order in which they came."""
        return [pod for pod in self._pods.values() if re.search(pattern, pod.name)]

    def crash_code(self, pod_name: str) -> int | None:
        """Take one planned crash for this pod, if there is one."""
        for plan in self.crashes:
            if plan[1] > 0 and plan[0].search(pod_name):
                plan[1] -= 1
                return int(plan[2])
        return None

    def base_environment(self, pod: Mapping[str, Any], folder: Path) -> dict[str, str]:
        """What the image would set."""
        programs = Path(sys.executable).parent
        return {
            "PATH": f"{programs}{os.pathsep}/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "HOSTNAME": pod["metadata"]["name"],
            **self.spec.environment,
        }

    async def _register(self) -> None:
        path = f"/api/v1/nodes/{self.spec.name}"
        taints = [{"key": LABEL, "value": self.spec.name, "effect": "NoSchedule"}]
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.spec.name,
                "labels": {
                    "kubernetes.io/hostname": self.spec.name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    LABEL: self.spec.name,
                    **self.spec.labels,
                },
            },
            "spec": {"taints": taints if self.spec.tainted else []},
        }
        # A conflict: it is there, it was only off.
        await insistently(lambda: missing_is_none(self.kube.request("POST", "/api/v1/nodes", node)))
        await insistently(lambda: self.kube.patch(f"{path}/status", {"status": self._status()}))

    async def _until_the_cluster_believes_it(self) -> None:
        """Return when the taints are gone that a node has until it was seen to be Ready."""
        while True:
            node = await insistently(lambda: self.kube.get(f"/api/v1/nodes/{self.spec.name}"))
            taints = (node or {}).get("spec", {}).get("taints", ())
            if node and all(not taint["key"].startswith("node.kubernetes.io/") for taint in taints):
                return
            await asyncio.sleep(0.05)

    def _status(self) -> dict[str, Any]:
        resources = {
            "cpu": self.spec.cpu,
            "memory": self.spec.memory,
            "pods": str(self.spec.pods),
            "ephemeral-storage": "1Ti",
        }
        if self.spec.gpus:
            resources["nvidia.com/gpu"] = str(self.spec.gpus)
        now = timestamp()
        states = {"Ready": ("True", "KubeletReady")} | {
            f"{name}Pressure": ("False", f"KubeletHasSufficient{name}")
            for name in ("Memory", "Disk", "PID")
        }
        return {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": self.spec.name},
            ],
            "conditions": [
                {
                    "type": kind,
                    "status": holds,
                    "reason": reason,
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                }
                for kind, (holds, reason) in states.items()
            ],
        }

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS)
            await self._renew()

    async def _renew(self) -> None:
        spec = {
            "holderIdentity": self.spec.name,
            "leaseDurationSeconds": 40,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        if await insistently(lambda: self.kube.patch(self._lease_path(), {"spec": spec})) is None:
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.spec.name, "namespace": "kube-node-lease"},
                "spec": spec,
            }
            path = self._lease_path().rpartition("/")[0]
            await insistently(lambda: missing_is_none(self.kube.request("POST", path, lease)))

    def _lease_path(self) -> str:
        base = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        return f"{base}/{self.spec.name}"

    async def _follow_pods(self) -> None:
        """List, then watch from there; whatever breaks a watch, the next list heals."""
        path = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{self.spec.name}"
        while True:
            listed = await insistently(lambda: self.kube.request("GET", path))
            there = {pod["metadata"]["uid"] for pod in listed["items"]}
            for uid in self._pods.keys() - there:
                self._pods[uid].vanished()
            for pod in listed["items"]:
                self._pod_is(pod)
            seconds = WATCH_SECONDS // 2 + random.randrange(WATCH_SECONDS // 2)
            version = listed["metadata"]["resourceVersion"]
            with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
                async for event in self.kube.watch(
                    f"{path}&watch=true&resourceVersion={version}&timeoutSeconds={seconds}"
                ):
                    if event["type"] == "ERROR":
                        break
                    if event["type"] == "DELETED":
                        self._pod_is_gone(event["object"]["metadata"]["uid"])
                    else:
                        self._pod_is(event["object"])
            await asyncio.sleep(0.02)

    def _pod_is(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        known = self._pods.get(uid)
        if known is not None:
            known.seen(pod)
            return
        if self.spec.tainted and pod["spec"].get("nodeSelector", {}).get(LABEL) is None:
            return  # a DaemonSet of the user's cluster, which tolerates everything
        self._start(pod)

    def _start(self, pod: dict[str, Any]) -> None:
        uid, number = pod["metadata"]["uid"], next(_addresses)
        folder = (
            self._folder / pod["metadata"]["namespace"] / f"{pod['metadata']['name']}.{uid[:8]}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        # After a power cut it keeps the address that the API server knows.
        ip = (
            pod.get("status", {}).get("podIP")
            or f"127.{64 + number // 62500 % 64}.{number // 250 % 250}.{number % 250 + 2}"
        )
        started = Pod(self, pod, ip, folder)
        started.seen(pod)
        self._pods[uid] = started
        life = asyncio.create_task(started.live(), name=started.key)
        self._lives[uid] = life
        life.add_done_callback(lambda task: self._ended(uid, task))

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self._note_problem(task)
        self._lives.pop(uid, None)

    def _pod_is_gone(self, uid: str) -> None:
        pod = self._pods.pop(uid, None)
        if pod is not None:
            pod.vanished()

    def _note_problem(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (problem := task.exception()):
            self.problems.append(problem)
