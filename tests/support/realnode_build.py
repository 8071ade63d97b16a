"""What the real cluster is made of: Kubernetes' programs, containerd, CoreDNS, and its own images.

All of it is built from Go modules under `tests/realnode/programs`, once, into the user's cache.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support import controlplane_build
from support.go_programs import ROOT, Module, programs_of

SOURCES = ROOT / "tests" / "realnode" / "programs"
PAUSE = "localhost/pause:test"
DNS = "localhost/coredns:test"
PROBE = "localhost/probe:test"
"""What `tests/realnode/programs/probe` says, as an image for the tests' own pods."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The folders that the programs lie in."""

    control_plane: Path
    node: Path
    containerd: Path
    dns: Path
    probe: Path

    @property
    def path(self) -> str:
        """As PATH wants it, the machine's own programs last."""
        own = (self.containerd, self.node, self.control_plane)
        system = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
        return ":".join([*map(str, own), *system])


def programs() -> Programs:
    """Build what is missing (some ten minutes on two cores, from nothing); raises BuildError."""
    return Programs(
        control_plane=controlplane_build.binaries(),
        containerd=programs_of(_containerd()),
        node=programs_of(_node()),
        dns=programs_of(Module("coredns", SOURCES / "dns", {"coredns": "."})),
        probe=programs_of(Module("probe", SOURCES / "probe", {"probe": "."})),
    )


def _containerd() -> Module:
    path = "github.com/containerd/containerd/v2"
    names = ("containerd", "containerd-shim-runc-v2", "ctr")
    return Module(
        name="containerd",
        source=SOURCES / "containerd",
        programs={name: f"{path}/cmd/{name}" for name in names},
        flags=("-tags", "no_btrfs,no_zfs,no_devmapper,osusergo,netgo"),
    )


def _node() -> Module:
    return Module(
        name="node",
        source=SOURCES / "node",
        programs={"node": "."},
        links={"kubelet": "node", "kube-proxy": "node"},
        stamps=controlplane_build.version_stamps(controlplane_build.kubernetes_version()),
    )


def images(made: Programs, folder: Path) -> list[Path]:
    """Archives of the cluster's own images, each of one program and nothing else."""
    probe = made.probe / "probe"
    return [
        _image(folder / "pause.tar", PAUSE, probe, ("pause",)),
        _image(folder / "probe.tar", PROBE, probe, ()),
        _image(folder / "coredns.tar", DNS, made.dns / "coredns", ()),
    ]


def _image(archive: Path, name: str, program: Path, arguments: Sequence[str]) -> Path:
    """Write an image as `docker save` does: a layer, what to run, and a list of both."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, program.name, program.read_bytes(), mode=0o755)
    config = {
        "architecture": machine,
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}", *arguments], "User": "65532:65532"},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"],
        },
    }
    listed = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        _add(tar, "layer.tar", layer.getvalue())
        _add(tar, "config.json", json.dumps(config).encode())
        _add(tar, "manifest.json", json.dumps(listed).encode())
    return archive


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
