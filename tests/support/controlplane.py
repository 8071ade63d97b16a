"""A real Kubernetes control plane for tests: etcd, API server, controller manager, scheduler.

Four processes of an ordinary user on loopback, all state in one folder. There is no kubelet:
`support.node` runs what the scheduler binds.
"""

from __future__ import annotations

import json
import random
import secrets
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support import processes
from support.certificates import Authority, signing_key
from support.controlplane_build import binaries
from support.kubectl import Kubectl, write_kubeconfig
from support.waiting import eventually

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
READY_SECONDS = 120.0
# Below the range from which the kernel takes ports for outgoing connections: a port stays free
# while its server is down between a kill and the next start.
PORTS = range(20000, 32000)
# What needs a cloud, or keys that nobody here has.
CONTROLLERS_OFF = (
    "node-ipam-controller",
    "node-route-controller",
    "cloud-node-lifecycle-controller",
    "service-lb-controller",
    "certificatesigningrequest-signing-controller",
)


class ControlPlane:
    """The four processes. `start` and `kill` take the names in COMPONENTS.

    What is written stays through `kill` and `start`: etcd's data are on disk. It does not survive
    a power cut of the machine, and nothing here has to.
    """

    def __init__(self, home: Path) -> None:
        """Start all of them in the empty folder `home`; ready when it returns.

        Raises BuildError without Go, AssertionError with a log's end when one does not come up.
        """
        self.home = home
        self._programs = binaries()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for folder in ("keys", "logs", "kubectl"):
            (home / folder).mkdir(mode=0o700, parents=True)
        self._write_keys()
        try:
            self._set_up()
        except BaseException:
            self.stop()
            raise
        self.kubectl = Kubectl(self._programs / "kubectl", self.kubeconfig, home / "kubectl")

    @property
    def kubeconfig(self) -> Path:
        """Of the administrator."""
        return self.home / "kubeconfig"

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://127.0.0.1:{self._port['kube-apiserver']}"

    @property
    def certificate_authority(self) -> Path:
        """What a client of the API server trusts."""
        return self._authority.certificate

    def kubeconfig_for(self, service_account: str, namespace: str) -> Path:
        """A kubeconfig that is this service account and nobody else."""
        return self.kubectl.kubeconfig_for(service_account, namespace)

    def kill(self, name: str) -> None:
        """End a component as a power cut would."""
        processes.end(self._processes[name])

    def start(self, name: str) -> None:
        """Start a component that was killed, on the same port with the same data.

        Returns when it serves; the controller manager and the scheduler serve nobody.
        """
        process = self._processes.get(name)
        assert process is None or process.poll() is not None, f"{name} is running"
        self._processes[name] = processes.start(
            [str(self._programs / name), *self._flags(name)],
            environment={"PATH": "", "HOME": str(self.home)},
            log=self._log(name),
            folder=self.home,
        )
        if name == "kube-apiserver":
            eventually(self._ready, seconds=READY_SECONDS, what="the API server is ready")

    def pid(self, name: str) -> int:
        """Process id of a component."""
        return self._processes[name].pid

    def logs(self, name: str) -> str:
        """What a component has said since it was first started."""
        return self._log(name).read_text(errors="replace")

    def stop(self) -> None:
        """End all of them."""
        for process in reversed(self._processes.values()):
            processes.end(process)

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _write_keys(self) -> None:
        keys = self.home / "keys"
        self._authority = Authority(keys)
        self._server = self._authority.server(
            "kubernetes.default.svc", addresses=("127.0.0.1", "10.96.0.1")
        )
        self._tokens = signing_key(keys, "service-accounts")
        self._token = {
            name: secrets.token_urlsafe(24) for name in ("admin", "manager", "scheduler")
        }
        users = {
            "admin": ("admin", "system:masters"),
            "manager": ("system:kube-controller-manager", ""),
            "scheduler": ("system:kube-scheduler", ""),
        }
        lines = [f'{self._token[k]},{user},{k},"{group}"' for k, (user, group) in users.items()]
        (keys / "tokens.csv").touch(mode=0o600)
        (keys / "tokens.csv").write_text("\n".join(lines) + "\n")

    def _set_up(self) -> None:
        with reserved_ports(4) as (client, http, peer, api):
            self._port = {
                "etcd": client,
                "etcd http": http,
                "etcd peer": peer,
                "kube-apiserver": api,
            }
        for name, path in (
            ("admin", self.kubeconfig),
            ("manager", self.home / "keys" / "manager.kubeconfig"),
            ("scheduler", self.home / "keys" / "scheduler.kubeconfig"),
        ):
            write_kubeconfig(
                path,
                cluster={
                    "server": self.url,
                    "certificate-authority": str(self._authority.certificate),
                },
                token=self._token[name],
            )
        for name in COMPONENTS:
            self.start(name)
        eventually(
            self._accounts_are_made, seconds=READY_SECONDS, what="the controllers have started"
        )

    def _ready(self) -> bool:
        for name in ("etcd", "kube-apiserver"):
            code = self._processes[name].poll()
            assert code is None, f"{name} ended with status {code}:\n{self.logs(name)[-3000:]}"
        return self._get("/readyz") == "ok"

    def _accounts_are_made(self) -> bool:
        return self._get("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def _get(self, path: str) -> str | None:
        request = urllib.request.Request(
            self.url + path, headers={"Authorization": f"Bearer {self._token['admin']}"}
        )
        trust = ssl.create_default_context(cafile=str(self._authority.certificate))
        try:
            with urllib.request.urlopen(request, timeout=5, context=trust) as answer:
                return str(answer.read().decode())
        except OSError:
            return None

    def _flags(self, name: str) -> list[str]:
        match name:
            case "etcd":
                return self._etcd_flags()
            case "kube-apiserver":
                return self._apiserver_flags()
            case "kube-controller-manager":
                return [
                    *self._client_flags("manager"),
                    f"--service-account-private-key-file={self._tokens.key}",
                    f"--root-ca-file={self._authority.certificate}",
                    f"--controllers={','.join(['*', *(f'-{c}' for c in CONTROLLERS_OFF)])}",
                    "--use-service-account-credentials",
                    *("--kube-api-qps=200", "--kube-api-burst=400"),
                    # A node that falls silent is noticed in seconds: nobody waits for a minute.
                    *("--node-monitor-period=1s", "--node-monitor-grace-period=16s"),
                ]
            case "kube-scheduler":
                return self._client_flags("scheduler")
        raise LookupError(name)

    def _etcd_flags(self) -> list[str]:
        client = f"http://127.0.0.1:{self._port['etcd']}"
        peer = f"http://127.0.0.1:{self._port['etcd peer']}"
        return [
            f"--data-dir={self.home / 'etcd'}",
            f"--listen-client-urls={client}",
            # Apart from gRPC: on one port for both, a request may hang until it times out.
            f"--listen-client-http-urls=http://127.0.0.1:{self._port['etcd http']}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver_flags(self) -> list[str]:
        return [
            f"--etcd-servers=http://127.0.0.1:{self._port['etcd']}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._port['kube-apiserver']}",
            f"--tls-cert-file={self._server.certificate}",
            f"--tls-private-key-file={self._server.key}",
            f"--token-auth-file={self.home / 'keys' / 'tokens.csv'}",
            f"--service-account-key-file={self._tokens.certificate}",
            f"--service-account-signing-key-file={self._tokens.key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            "--profiling=false",
        ]

    def _client_flags(self, user: str) -> list[str]:
        kubeconfig = self.home / "keys" / f"{user}.kubeconfig"
        return [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0"]


@contextmanager
def reserved_ports(count: int) -> Iterator[tuple[int, ...]]:
    """Free ports of loopback, held until the block ends."""
    with ExitStack() as held:
        found: list[int] = []
        deadline = time.monotonic() + 10
        while len(found) < count:
            assert time.monotonic() < deadline, "no free port"
            port = random.choice(PORTS)  # nothing depends on the choice
            holder = socket.socket()
            try:
                holder.bind(("127.0.0.1", port))
            except OSError:
                holder.close()
                continue
            held.enter_context(holder)
            found.append(port)
        yield tuple(found)


@contextmanager
def control_plane_in(home: Path) -> Iterator[ControlPlane]:
    """A control plane that ends with the block."""
    plane = ControlPlane(home)
    try:
        yield plane
    finally:
        plane.stop()
        shutil.rmtree(home / "etcd")  # the logs are for people, and etcd's files are large


def server_version(kubectl: Kubectl) -> str:
    """What the API server says that it is, as "v1.36.3"."""
    return str(json.loads(kubectl("get", "--raw", "/version"))["gitVersion"])
