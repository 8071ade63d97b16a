"""The script of `helm test` on a real API server that is away now and then."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

import pytest

from support.api_proxy import ApiProxy
from support.chart import CHART, of_kind, one, render
from support.controlplane import ControlPlane, control_plane_in
from support.go_programs import ROOT
from support.kube_client import access_of
from support.waiting import eventually

NAME = "data-miner-test"
DONE = {
    "phase": "Complete",
    "images": {"kept": 3},
    "conditions": [
        {
            "type": "Complete",
            "status": "True",
            "reason": "Exported",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


@dataclass(frozen=True, slots=True)
class PodOfTest:
    """What the pod of `helm test` has: an account with its rights, and the script."""

    plane: ControlPlane
    proxy: ApiProxy
    namespace: str
    home: Path

    def begin(self, seconds: float) -> subprocess.Popen[str]:
        """The container's command, which has so long."""
        script = (CHART / "files" / "test" / "mine.py").read_text()
        for path, here in (
            ("/var/run/secrets/kubernetes.io/serviceaccount", self.home),
            ("/etc/data-miner/test/project.json", CHART / "files" / "test" / "project.json"),
        ):
            assert script.count(f'"{path}"') == 1
            script = script.replace(path, str(here))
        server = urlsplit(self.proxy.url)
        return subprocess.Popen(
            [sys.executable, "-c", script],
            env={
                "TEST_NAMESPACE": self.namespace,
                "TEST_PROJECT": NAME,
                "TEST_SECONDS": str(seconds),
                "KUBERNETES_SERVICE_HOST": str(server.hostname),
                "KUBERNETES_SERVICE_PORT": str(server.port),
            },
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def complete(self) -> None:
        """What the operator does when the project is there."""
        here = (f"--namespace={self.namespace}", "miningproject", NAME)
        kubectl = self.plane.kubectl
        eventually(lambda: not kubectl.run("get", *here).returncode, what="the project is there")
        status = json.dumps({"status": DONE})
        kubectl("patch", *here, "--subresource=status", "--type=merge", f"--patch={status}")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this file's own, which knows projects."""
    with control_plane_in(tmp_path_factory.mktemp("control-plane")) as running:
        definition = ROOT / "crds" / "data-miner.io_miningprojects.yaml"
        running.kubectl("apply", "--server-side", "-f", str(definition))
        running.kubectl("wait", "--for=condition=Established", "-f", str(definition))
        yield running


@pytest.fixture
def pod(plane: ControlPlane, tmp_path: Path) -> Iterator[PodOfTest]:
    namespace = f"test-{token_hex(4)}"
    plane.kubectl("create", "namespace", namespace)
    objects = render(namespace=namespace)
    rights = [
        one(objects, "ServiceAccount", NAME),
        *(one(of_kind(objects, kind), kind, NAME) for kind in ("Role", "RoleBinding")),
    ]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": rights})
    plane.kubectl("apply", "-f", "-", stdin=document)
    access = access_of(plane.kubeconfig_for(NAME, namespace))
    with ApiProxy(access, tmp_path / "account") as proxy:
        (tmp_path / "account" / "token").write_text(access.token)
        yield PodOfTest(plane, proxy, namespace, tmp_path / "account")


FAULTS: dict[str, Callable[[ApiProxy], object]] = {
    "none": lambda proxy: None,
    "away": lambda proxy: proxy.cut(times=2),
    "no answer": lambda proxy: proxy.cut("create", "delete", times=2, after=True),
    "busy": lambda proxy: proxy.answer(429, times=2),
    "broken": lambda proxy: proxy.answer(503, times=2),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_api_server_that_is_away_for_a_moment_is_asked_again(pod: PodOfTest, name: str) -> None:
    FAULTS[name](pod.proxy)
    with pod.begin(seconds=120) as begun:
        try:
            pod.complete()
            out, err = begun.communicate(timeout=120)
        finally:
            begun.kill()
    assert begun.returncode == 0, err
    assert "a dataset was mined" in out
    assert ("asks again" in out) == (name != "none")
    here = (f"--namespace={pod.namespace}", "miningproject", NAME)
    assert pod.plane.kubectl.run("get", *here).returncode, "the project stays"


def test_an_api_server_that_stays_away_ends_the_test_at_its_deadline(pod: PodOfTest) -> None:
    pod.proxy.answer(503, times=None)
    begun = pod.begin(seconds=1)
    _, err = begun.communicate(timeout=60)
    assert begun.returncode == 1
    assert err.startswith("gave up asking the API server: DELETE /apis/data-miner.io/")
    assert ": 503 " in err


def test_what_the_test_may_not_do_ends_it_at_once(pod: PodOfTest) -> None:
    pod.plane.kubectl("delete", f"--namespace={pod.namespace}", "rolebinding", NAME)
    begun = pod.begin(seconds=120)
    _, err = begun.communicate(timeout=60)
    assert begun.returncode == 1
    assert ": 403 " in err
