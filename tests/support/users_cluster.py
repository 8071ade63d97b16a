"""A cluster of the user's own, for the same tests: nothing is started, little is left behind."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.controlplane_build import binaries
from support.kubectl import Kubectl, write_kubeconfig

HOURS = 8
SWITCH = "DATA_MINER_TEST_CLUSTER"


@dataclass(frozen=True)
class UsersCluster:
    """Looks like `ControlPlane` where that only reaches the API; has nothing to kill."""

    kubectl: Kubectl

    @property
    def kubeconfig(self) -> Path:
        """Of an administrator, with a token: a service account that is made for the tests."""
        return self.kubectl.kubeconfig

    def kubeconfig_for(self, service_account: str, namespace: str) -> Path:
        """A kubeconfig that is this service account and nobody else."""
        return self.kubectl.kubeconfig_for(service_account, namespace)


def wanted() -> bool:
    """Whether the user asks for the cluster of KUBECONFIG, and says that tests may change it."""
    return bool(os.environ.get("KUBECONFIG")) and os.environ.get(SWITCH) == "1"


@contextmanager
def users_cluster(home: Path) -> Iterator[UsersCluster]:
    """The cluster of KUBECONFIG, reached as an administrator of the tests' own.

    However the user signs in, the tests know only tokens: a service account bound to cluster-admin
    gets one. It goes when the block ends.
    """
    (home / "kubectl").mkdir(parents=True)
    name = f"data-miner-tests-{secrets.token_hex(4)}"
    theirs = Kubectl(
        binaries() / "kubectl", Path(os.environ["KUBECONFIG"]).absolute(), home / "kubectl"
    )
    theirs("create", "serviceaccount", name, "--namespace=kube-system")
    try:
        account = f"--serviceaccount=kube-system:{name}"
        theirs("create", "clusterrolebinding", name, "--clusterrole=cluster-admin", account)
        token = theirs(
            "create", "token", name, "--namespace=kube-system", f"--duration={HOURS}h"
        ).strip()
        seen = json.loads(
            theirs("config", "view", "--minify", "--flatten", "--raw", "--output=json")
        )
        ours = home / "kubeconfig"
        write_kubeconfig(ours, cluster=seen["clusters"][0]["cluster"], token=token)
        yield UsersCluster(Kubectl(theirs.program, ours, theirs.cache))
    finally:
        theirs("delete", "clusterrolebinding", name, "--ignore-not-found")
        theirs("delete", "serviceaccount", name, "--namespace=kube-system", "--ignore-not-found")
