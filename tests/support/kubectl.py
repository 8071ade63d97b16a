"""kubectl against one cluster, as the administrator or as a service account."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


class KubectlError(AssertionError):
    """kubectl said no: its own words."""


@dataclass(frozen=True)
class Kubectl:
    """A cluster as the command line reaches it."""

    program: Path
    kubeconfig: Path
    cache: Path
    """Where kubectl keeps what it discovers, so that no test reads another cluster's."""

    def __call__(self, *arguments: str, stdin: str = "", seconds: float = 60) -> str:
        """What it prints. Raises KubectlError with what it says when it fails."""
        done = self.run(*arguments, stdin=stdin, seconds=seconds)
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def run(
        self, *arguments: str, stdin: str = "", seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Its exit status and both its streams; raises only when it does not end in time."""
        return subprocess.run(
            [str(self.program), *arguments],
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """What it prints as JSON."""
        return json.loads(self(*arguments, "--output=json", stdin=stdin))

    def environment(self) -> dict[str, str]:
        """What a child process needs to reach this cluster, kubectl's folder on its PATH."""
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.cache),
            "PATH": f"{self.program.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }

    def signed_in(self, kubeconfig: Path) -> Kubectl:
        """The same program as whoever this kubeconfig belongs to."""
        return replace(self, kubeconfig=kubeconfig)

    def server(self) -> str:
        """URL of the API server."""
        return self("config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}")

    def kubeconfig_for(self, service_account: str, namespace: str, *, seconds: int = 3600) -> Path:
        """A kubeconfig that is this service account and nobody else, with `namespace` as default.

        The token is a real one of the TokenRequest API and is refused after `seconds`.
        """
        token = self(
            "create", "token", service_account, f"--namespace={namespace}", f"--duration={seconds}s"
        )
        cluster = json.loads(self("config", "view", "--minify", "--flatten", "--output=json"))
        path = self.kubeconfig.parent / f"kubeconfig.{namespace}.{service_account}"
        write_kubeconfig(
            path, cluster=cluster["clusters"][0]["cluster"], token=token, namespace=namespace
        )
        return path


def write_kubeconfig(
    path: Path, *, cluster: dict[str, Any], token: str, namespace: str = "default"
) -> None:
    """Write a kubeconfig of one context: `cluster` as a kubeconfig has it, and a bearer token."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [
            {
                "name": "test",
                "context": {"cluster": "test", "user": "test", "namespace": namespace},
            }
        ],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1))
