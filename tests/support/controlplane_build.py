"""The programs of the control plane for tests: built once from `tests/cluster/controlplane`.

Knows the standard library only, so that `scripts/controlplane` runs it before anything is set up.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from support.go_programs import ROOT, BuildError, Module, programs_of, required

SOURCE: Final = ROOT / "tests" / "cluster" / "controlplane"
ONE: Final = "controlplane"
"""All five are one program, that looks at the name by which it is called."""
PROGRAMS: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")


def binaries() -> Path:
    """The folder with the five programs, built when it is not there (minutes, from nothing).

    Raises BuildError when Go is missing or the build failed.
    """
    return programs_of(
        Module(
            name=ONE,
            source=SOURCE,
            programs={ONE: "."},
            links=dict.fromkeys(PROGRAMS, ONE),
            stamps=version_stamps(kubernetes_version()),
        )
    )


def kubernetes_version() -> str:
    """The release that the sources name, as "1.36.3"."""
    return required(SOURCE, r"k8s\.io/kubernetes v(\S+)")


def etcd_version() -> str:
    """The release of etcd that the sources name."""
    return required(SOURCE, r"go\.etcd\.io/etcd/server/v3 v(\S+)")


def version_stamps(release: str) -> dict[str, str]:
    """What makes a program of Kubernetes tell its release, which clients and charts ask for."""
    major, minor, _ = release.split(".")
    values = {
        "gitVersion": f"v{release}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{name}": value for package in packages for name, value in values.items()}


if __name__ == "__main__":
    try:
        print(binaries())  # noqa: T201  # the answer
    except BuildError as error:
        sys.exit(f"{ONE}: {error}")
