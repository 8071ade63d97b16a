"""How the programs of the real cluster are told what to do. Nothing here acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from support.realnode_build import DNS, PAUSE, SOURCES, Programs

NODES = ("node-1", "node-2")
CONTROL = "control"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
PODS = "10.244.0.0/16"
NETWORK = "10.250.0"
"""Where the machines meet, a /24."""
HOST_ADDRESS = f"{NETWORK}.1"
CNI_PROGRAMS = Path("/usr/lib/cni")
SILENT_SECONDS = 16
"""After this time without a word a node is not Ready."""
EVICTED_SECONDS = 5
"""After this time more its pods are replaced, unless they say otherwise."""
CGROUP = "data-miner"
CONTROL_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE_PROGRAMS = ("containerd", "kubelet", "kube-proxy")

# What needs a cloud, or keys that nobody here has.
_CONTROLLERS_OFF = (
    "node-ipam-controller",
    "node-route-controller",
    "cloud-node-lifecycle-controller",
    "service-lb-controller",
    "certificatesigningrequest-signing-controller",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of the cluster and the folder with all that it knows."""

    name: str
    folder: Path

    @property
    def number(self) -> int:
        """0 for the control plane, 1 and up for the nodes."""
        return 0 if self.name == CONTROL else NODES.index(self.name) + 1

    @property
    def address(self) -> str:
        """On the network of the machines."""
        return f"{NETWORK}.{10 + self.number}"

    @property
    def pods(self) -> str:
        """The network of a node's pods."""
        return f"10.244.{self.number}.0/24"

    @property
    def cgroup(self) -> str:
        """What holds a node's pods, below the root of each hierarchy."""
        return f"{CGROUP}-{self.name}"

    @property
    def programs(self) -> tuple[str, ...]:
        """What runs on it, besides containers."""
        return CONTROL_PROGRAMS if self.name == CONTROL else NODE_PROGRAMS

    @property
    def spec(self) -> Path:
        """What its first process reads."""
        return self.folder / "spec.json"

    @property
    def wired(self) -> Path:
        """There when its network is."""
        return self.folder / "wired"

    @property
    def hold(self) -> Path:
        """The folder of programs that stay dead."""
        return self.folder / "hold"

    @property
    def logs(self) -> Path:
        """One file for each program."""
        return self.folder / "logs"


def machine(name: str, state: Path) -> Machine:
    """The machine of this name."""
    return Machine(name, state / name)


def server() -> str:
    """URL of the API server."""
    return f"https://{NETWORK}.10:6443"


def control_spec(own: Machine, made: Programs, keys: Path, disks: list[str]) -> dict[str, Any]:
    """The control plane; `disks` is the command that serves volume claims."""
    folder = made.control_plane
    commands = {
        "etcd": [str(folder / "etcd"), *_etcd(own)],
        "kube-apiserver": [str(folder / "kube-apiserver"), *_apiserver(own, keys)],
        "kube-controller-manager": [
            *(str(folder / "kube-controller-manager"), *_client("manager", keys)),
            f"--service-account-private-key-file={keys / 'service-accounts.key'}",
            f"--root-ca-file={keys / 'ca.crt'}",
            f"--controllers={','.join(['*', *(f'-{name}' for name in _CONTROLLERS_OFF)])}",
            "--use-service-account-credentials",
            "--node-monitor-period=1s",
            f"--node-monitor-grace-period={SILENT_SECONDS}s",
        ],
        "kube-scheduler": [str(folder / "kube-scheduler"), *_client("scheduler", keys)],
        "disks": disks,
    }
    return {**_spec(own, commands, {"PATH": made.path}), "binds": [], "temporary": []}


def node_spec(own: Machine, made: Programs, keys: Path, policies: list[str]) -> dict[str, Any]:
    """A node: what a kubelet and a container runtime write lies in the machine's own folder.

    `policies` is the command that enforces NetworkPolicies.
    """
    commands = {
        "containerd": [
            str(made.containerd / "containerd"),
            "--config",
            str(own.folder / "containerd"),
        ],
        "kubelet": [
            *(str(made.node / "kubelet"), f"--config={own.folder / 'kubelet'}"),
            f"--kubeconfig={keys / f'{own.name}.kubeconfig'}",
            *(f"--hostname-override={own.name}", f"--node-ip={own.address}"),
            f"--node-labels=topology.kubernetes.io/zone=zone-{own.number}",
        ],
        "kube-proxy": [str(made.node / "kube-proxy"), f"--config={own.folder / 'proxy'}"],
        "policies": policies,
    }
    return {
        **_spec(own, commands, {"PATH": made.path}),
        "binds": [[str(own.folder / "lib"), "/var/lib"], [str(own.folder / "log"), "/var/log"]],
        "temporary": ["/run"],
    }


def _spec(
    own: Machine, commands: Mapping[str, list[str]], environment: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "wired": str(own.wired),
        "hold": str(own.hold),
        "programs": [
            {
                "name": name,
                "command": command,
                "environment": {"HOME": "/root", **environment},
                "log": str(own.logs / f"{name}.log"),
            }
            for name, command in commands.items()
        ],
    }


def _etcd(own: Machine) -> list[str]:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return [
        f"--data-dir={own.folder / 'etcd'}",
        *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
        *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
        *(f"--initial-cluster=default={peer}", "--unsafe-no-fsync", "--log-level=warn"),
    ]


def _apiserver(own: Machine, keys: Path) -> list[str]:
    return [
        "--etcd-servers=http://127.0.0.1:2379",
        *(f"--bind-address={own.address}", f"--advertise-address={own.address}"),
        "--secure-port=6443",
        f"--tls-cert-file={keys / 'kubernetes.default.svc.crt'}",
        f"--tls-private-key-file={keys / 'kubernetes.default.svc.key'}",
        f"--token-auth-file={keys / 'tokens.csv'}",
        f"--kubelet-client-certificate={keys / 'kubelet-client.crt'}",
        f"--kubelet-client-key={keys / 'kubelet-client.key'}",
        f"--kubelet-certificate-authority={keys / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={keys / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={keys / 'service-accounts.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        *("--allow-privileged", "--profiling=false"),
        f"--default-not-ready-toleration-seconds={EVICTED_SECONDS}",
        f"--default-unreachable-toleration-seconds={EVICTED_SECONDS}",
    ]


def _client(user: str, keys: Path) -> list[str]:
    return [
        f"--kubeconfig={keys / f'{user}.kubeconfig'}",
        *("--leader-elect=false", "--secure-port=0"),
    ]


def kubelet(own: Machine, keys: Path, *, reserved_mib: int) -> dict[str, Any]:
    """A KubeletConfiguration. The machines share one memory: `reserved_mib` is what others have."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,  # from 1.35 on it refuses cgroup v1 without this
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{own.cgroup}",
        "enforceNodeAllocatable": ["pods"],
        "systemReserved": {"memory": f"{reserved_mib}Mi"},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "address": own.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(keys / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(keys / f"{own.name}.crt"),
        "tlsPrivateKeyFile": str(keys / f"{own.name}.key"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_SERVICE],
        "resolvConf": str(own.folder / "resolv"),
        "oomScoreAdj": 0,  # below it needs a right that root in a container lacks
        "failSwapOn": False,
        # An image that is thrown away cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": "1Gi",
            "imagefs.available": "1Gi",
        },
        "evictionPressureTransitionPeriod": "10s",
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "nodeLeaseDurationSeconds": SILENT_SECONDS * 3 // 4,
        "configMapAndSecretChangeDetectionStrategy": "Watch",
    }


def proxy(own: Machine, keys: Path) -> dict[str, Any]:
    """A KubeProxyConfiguration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(keys / "proxy.kubeconfig")},
        "hostnameOverride": own.name,
        "clusterCIDR": PODS,
        "oomScoreAdj": 0,
        # These belong to the host, whatever machine sets them.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "iptables": {"minSyncPeriod": "0s", "syncPeriod": "30s"},
    }


def network(own: Machine) -> dict[str, Any]:
    """A CNI configuration: pods are routed, so that each packet passes the node's filters."""
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": own.pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }


def containerd(own: Machine) -> str:
    """containerd's configuration."""
    return f"""
version = 3
oom_score = 0
disabled_plugins = ["io.containerd.nri.v1.nri"]

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"

[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
# A score below one's own needs a right that root in a container lacks; sandboxes want -998.
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
disable_hugetlb_controller = true

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{CNI_PROGRAMS}"]
conf_dir = "{own.folder / "cni"}"
use_internal_loopback = true

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd-opt"
"""


def dns_objects() -> str:
    """CoreDNS as YAML: a pod on each node. Outside the cluster no name exists."""
    text = (SOURCES.parent / "coredns.yaml").read_text()
    return Template(text).substitute(image=DNS, address=DNS_SERVICE, replicas=len(NODES))
