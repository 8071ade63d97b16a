"""The files that the machines of the real cluster are started from."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Any

from support.certificates import Authority, signing_key
from support.go_programs import ROOT
from support.kubectl import write_kubeconfig
from support.realnode_build import Programs, images
from support.realnode_config import (
    CONTROL,
    FIRST_SERVICE,
    NODES,
    Machine,
    containerd,
    control_spec,
    kubelet,
    machine,
    network,
    node_spec,
    proxy,
    server,
)

USERS = {
    "admin": ("admin", "system:masters"),
    "manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    **{name: (f"system:node:{name}", "system:nodes") for name in NODES},
}
"""User and group of each who has a token."""


def write(state: Path, made: Programs) -> list[Path]:
    """Write everything into the empty folder `state`; the archives of the cluster's own images."""
    keys = state / "keys"
    keys.mkdir(mode=0o700)
    for folder in ("images", "kubectl", "volumes"):
        (state / folder).mkdir()
    (state / "bin").mkdir()
    (state / "bin" / "ctr").symlink_to(made.containerd / "ctr")
    (state / "bin" / "kubectl").symlink_to(made.control_plane / "kubectl")
    control = machine(CONTROL, state)
    _write_keys(keys, state / "kubeconfig", control)
    control.folder.mkdir()
    admin = str(state / "kubeconfig")
    disks = _module("realnode_disks", admin, str(state / "volumes"), *NODES)
    _write_json(control.spec, control_spec(control, made, keys, disks))
    for name in NODES:
        policies = _module("realnode_policies", admin, name)
        own = machine(name, state)
        _write_node(own, keys, node_spec(own, made, keys, policies))
    return images(made, state / "images")


def _write_keys(keys: Path, kubeconfig: Path, control: Machine) -> None:
    authority = Authority(keys)
    authority.server("kubernetes.default.svc", addresses=(control.address, FIRST_SERVICE))
    authority.client("kubelet-client", group="system:masters")
    signing_key(keys, "service-accounts")
    for name in NODES:
        authority.server(name, addresses=(Machine(name, keys).address,))
    tokens = {name: secrets.token_urlsafe(24) for name in USERS}
    rows = [f'{tokens[name]},{user},{name},"{group}"' for name, (user, group) in USERS.items()]
    (keys / "tokens.csv").touch(mode=0o600)
    (keys / "tokens.csv").write_text("\n".join(rows) + "\n")
    cluster = {"server": server(), "certificate-authority": str(authority.certificate)}
    for name, token in tokens.items():
        path = kubeconfig if name == "admin" else keys / f"{name}.kubeconfig"
        write_kubeconfig(path, cluster=cluster, token=token)


def _write_node(own: Machine, keys: Path, spec: dict[str, Any]) -> None:
    (own.folder / "cni").mkdir(parents=True)
    _write_json(own.spec, spec)
    _write_json(own.folder / "kubelet", kubelet(own, keys, reserved_mib=_reserved_mib()))
    _write_json(own.folder / "proxy", proxy(own, keys))
    _write_json(own.folder / "cni" / "pods.conflist", network(own))
    (own.folder / "containerd").write_text(containerd(own))
    (own.folder / "resolv").touch()


def _reserved_mib() -> int:
    """What a node leaves to the others of this host's memory."""
    first = Path("/proc/meminfo").read_text().splitlines()[0]
    total_mib = int(first.split()[1]) // 1024
    return total_mib - total_mib // len(NODES)


def _module(name: str, *arguments: str) -> list[str]:
    """The command of one of our own programs, which are modules beside this one."""
    return [
        *("env", f"PYTHONPATH={ROOT / 'tests'}", "PYTHONDONTWRITEBYTECODE=1"),
        *(sys.executable, "-m", f"support.{name}", *arguments),
    ]


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1))
