"""A real Kubernetes cluster on this host: a control plane, and two nodes that run containers.

End-to-end tests ask `running()` for it; where KUBECONFIG and `support.users_cluster.SWITCH` name
the user's own cluster, they get that one. `scripts/cluster` is the command line of our own.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support import realnode_host as host
from support import realnode_up
from support.kubectl import Kubectl
from support.realnode_config import Machine, machine
from support.users_cluster import users_cluster, wanted
from support.waiting import eventually

SHIM = "containerd-shim-runc-v2"


@dataclass(frozen=True, slots=True)
class RealCluster:
    """A cluster with real nodes, as its administrator; from here none of its parts can be broken.

    Raises KubectlError with kubectl's own words when something does not come in time.
    """

    kubectl: Kubectl

    @property
    def kubeconfig(self) -> Path:
        """Of the administrator, with a token."""
        return self.kubectl.kubeconfig

    def nodes(self) -> list[str]:
        """Names of the nodes, in order."""
        found = self.kubectl.json("get", "nodes")["items"]
        return sorted(str(node["metadata"]["name"]) for node in found)

    def drain(self, node: str, *, seconds: float = 120) -> None:
        """Move every pod away from a node, which takes no new ones until `uncordon`."""
        what = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data")
        self.kubectl(*what, f"--timeout={seconds:.0f}s", seconds=seconds + 30)

    def uncordon(self, node: str) -> None:
        """A node takes pods again."""
        self.kubectl("uncordon", node)

    def wait_ready(self, node: str, *, seconds: float = 120) -> None:
        """Return when a node is Ready."""
        self._wait_node(node, "True", seconds)

    def wait_silent(self, node: str, *, seconds: float = 120) -> None:
        """Return when the control plane has noticed that it hears nothing of a node."""
        self._wait_node(node, "Unknown", seconds)

    def _wait_node(self, node: str, status: str, seconds: float) -> None:
        what = ("wait", f"node/{node}", f"--for=condition=Ready={status}")
        self.kubectl(*what, f"--timeout={seconds:.0f}s", seconds=seconds + 30)


@dataclass(frozen=True, slots=True)
class OwnCluster(RealCluster):
    """The cluster of `scripts/cluster`: images go into it, and its parts may be broken."""

    state: Path

    def load(self, *archives: Path) -> list[str]:
        """Give images to every node; their names. An archive is what `docker save` writes.

        Pods that use them say `imagePullPolicy: Never` or `IfNotPresent`: there is no registry.
        Raises HostError.
        """
        return realnode_up.load(self.state, archives)

    def offer_gpus(self, node: str, count: int) -> None:
        """Let a node say that it has GPUs, one at first; pods placed by them find no device."""
        realnode_up.offer_gpus(self.kubectl, node, count)

    def pid(self, node: str, program: str = "kubelet") -> int | None:
        """Process id of "kubelet", "containerd" or "kube-proxy"; None when it does not run."""
        return host.pid_of_program(self._machine(node), program)

    def kill(self, node: str, program: str = "kubelet") -> None:
        """End a node's program as `kill -9` does; a second later it is started again."""
        pid = self.pid(node, program)
        assert pid is not None, f"{program} does not run on {node}"
        os.kill(pid, signal.SIGKILL)

    def stop(self, node: str, program: str = "kubelet") -> None:
        """`kill`, and it stays dead until `start`."""
        (self._machine(node).hold / program).touch()
        self.kill(node, program)

    def start(self, node: str, program: str = "kubelet") -> None:
        """A program that was stopped runs again when this returns; also one that runs."""
        (self._machine(node).hold / program).unlink(missing_ok=True)
        eventually(lambda: self.pid(node, program) is not None, what=f"{program} on {node} starts")

    def kill_container(self, pod: str, namespace: str, container: str = "") -> None:
        """End all processes of a pod's container, its first by default, as `kill -9` does."""
        found = self.kubectl.json("get", "pod", pod, f"--namespace={namespace}")
        statuses = found["status"]["containerStatuses"]
        name = container or found["spec"]["containers"][0]["name"]
        own_id = next(s["containerID"] for s in statuses if s["name"] == name).partition("//")[2]
        node = self._machine(found["spec"]["nodeName"])
        pids = [pid for pid in host.processes_of(node) if own_id in _cgroups(pid)]
        assert pids, f"{pod} has no process"
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_shim(self, pod: str, namespace: str) -> None:
        """End the process that stands between containerd and a pod's containers."""
        found = self.kubectl.json("get", "pod", pod, f"--namespace={namespace}")
        node = self._machine(found["spec"]["nodeName"])
        chosen = f'labels."io.kubernetes.pod.uid"=="{found["metadata"]["uid"]}"'
        ids = set(realnode_up.ctr(node, "containers", "list", "--quiet", chosen).split())
        for pid, command in host.processes_of(node).items():
            if command and Path(command[0]).name == SHIM and ids & set(command):
                os.kill(pid, signal.SIGKILL)
                return
        raise AssertionError(f"{pod} has no shim on {node.name}")

    def cut_off(self, node: str) -> None:
        """Pull a node's network cable: it goes on, and nobody hears of it."""
        host.set_link(self._machine(node), up=False)

    def reconnect(self, node: str) -> None:
        """Put the cable back."""
        host.set_link(self._machine(node), up=True)

    def is_on(self, node: str) -> bool:
        """Whether a node has power."""
        return host.pid_of(self._machine(node)) is not None

    def power_off(self, node: str) -> None:
        """End a node with everything on it at once; its disk stays."""
        host.power_off(self._machine(node))

    def power_on(self, node: str) -> None:
        """Start a node from its disk; it is not Ready yet when this returns."""
        host.power_on(self._machine(node))

    def logs(self, machine_name: str, program: str) -> str:
        """What a program of a node, or of "control", has said since the cluster was made."""
        log = machine(machine_name, self.state).logs / f"{program}.log"
        return log.read_text(errors="replace")

    def _machine(self, node: str) -> Machine:
        return machine(node, self.state)


@contextmanager
def running() -> Iterator[RealCluster]:
    """The user's cluster where one is named, else our own: one that is up, or one for this block.

    Raises HostError or BuildError when our own cannot be started.
    """
    if wanted():
        with tempfile.TemporaryDirectory() as home, users_cluster(Path(home)) as theirs:
            yield RealCluster(theirs.kubectl)
        return
    state = realnode_up.state_folder()
    was_up = realnode_up.is_up(state)
    kubectl = realnode_up.up()
    try:
        yield OwnCluster(kubectl, state)
    finally:
        if not was_up:
            realnode_up.down()


def _cgroups(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cgroup").read_text()
    return ""
