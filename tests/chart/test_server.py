"""The chart on a real API server: it takes every object, judges every pod, and keeps what it must.

There is no node: nothing runs here. What runs is shown on the cluster with two nodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from support.chart import CASES, CHART, NAMES, pods, render, run_helm
from support.controlplane import ControlPlane, control_plane_in

CRD = "miningprojects.data-miner.io"
OPERATOR = "deployment/data-miner-operator"
POOL = "deployment/data-miner-worker-default"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this file's own."""
    with control_plane_in(tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    """A namespace in which Pod Security refuses whatever is not restricted."""
    name = f"test-{token_hex(4)}"
    plane.kubectl("create", "namespace", name)
    plane.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    return name


def helm(plane: ControlPlane, *arguments: str, fails: bool = False) -> str:
    """What helm says on this cluster; to stderr where it is to fail."""
    ended = run_helm(*arguments, env={"KUBECONFIG": str(plane.kubeconfig)})
    assert bool(ended.returncode) is fails, ended.stdout + ended.stderr
    return ended.stderr if fails else ended.stdout


@pytest.mark.parametrize("name", [name for name in NAMES if name != "cnpg"])
def test_the_api_server_takes_every_object(plane: ControlPlane, namespace: str, name: str) -> None:
    """As a dry run on the server: defaults, validation and admission, all but writing."""
    for other in ("doors", "shelves"):
        plane.kubectl.run("create", "namespace", other)
    file = ["--values", str(CASES[name])] if name in CASES else []
    said = helm(
        plane, "install", "data-miner", str(CHART), "--namespace", namespace, *file,
        "--dry-run=server", "--skip-schema-validation=false",
    )  # fmt: skip
    assert "STATUS: pending-install" in said or "MANIFEST" in said
    objects = [
        each
        for each in render(name, namespace=namespace, apis=())
        # The test's account is not there in a dry run; its pod is judged below.
        if each["kind"] not in {"CustomResourceDefinition", "Pod"}
    ]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=document)


@pytest.mark.parametrize("name", NAMES)
def test_pod_security_of_the_api_server_takes_every_pod(
    plane: ControlPlane, namespace: str, name: str
) -> None:
    found = []
    for number, pod in enumerate(pods(render(name, namespace=namespace))):
        spec = {**pod.spec, "serviceAccountName": "default"}
        spec.setdefault("restartPolicy", "Always")
        # Claims of a StatefulSet, and classes of this chart, are nowhere without it.
        for gone in ("runtimeClassName", "priorityClassName"):
            spec.pop(gone, None)
        known = {volume["name"] for volume in spec.get("volumes", ())}
        mounted = {m["name"] for c in pod.containers for m in c.get("volumeMounts", ())}
        spec["volumes"] = [
            *spec.get("volumes", ()),
            *({"name": each, "emptyDir": {}} for each in mounted - known),
        ]
        found.append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"pod-{number}", "namespace": namespace},
                "spec": spec,
            }
        )
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": found})
    plane.kubectl("apply", "--dry-run=server", "-f", "-", stdin=document)


def test_pod_security_of_the_api_server_can_say_no(plane: ControlPlane, namespace: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root", "namespace": namespace},
        "spec": {"containers": [{"name": "root", "image": "x"}]},
    }
    ended = plane.kubectl.run("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    assert "violates PodSecurity" in ended.stderr


def test_the_life_of_a_release(plane: ControlPlane, namespace: str) -> None:
    """Install, upgrade, roll back, a second one beside it, uninstall, install under another name.

    One story on one definition, which a cluster has once.
    """
    here = ("--namespace", namespace)
    kubectl = plane.kubectl

    def get(what: str, path: str) -> str:
        return kubectl("get", *here, what, f"--output=jsonpath={{{path}}}")

    # An installation has one definition, and a password that nobody has typed.
    helm(plane, "install", "data-miner", str(CHART), *here)
    password = get("secret/data-miner-database", ".data.password")
    assert password
    assert get(OPERATOR, ".spec.replicas") == "2"
    generation = get(POOL, ".metadata.generation")

    # The operator sets the replicas of pools: an upgrade leaves them, and restarts no worker.
    kubectl("scale", *here, POOL, "--replicas=3")
    scaled = get(POOL, ".metadata.generation")
    helm(plane, "upgrade", "data-miner", str(CHART), *here, "--no-hooks",
         "--set", "operator.replicas=1")  # fmt: skip
    assert get(OPERATOR, ".spec.replicas") == "1"
    assert get(POOL, ".spec.replicas") == "3"
    assert get(POOL, ".metadata.generation") == scaled != generation
    assert get("secret/data-miner-database", ".data.password") == password

    # The definition goes with the upgrade, whatever was there before.
    older = '[{"op": "replace", "path": "/spec/names/shortNames", "value": ["old"]}]'
    kubectl("patch", "crd", CRD, "--type=json", "--patch", older)
    helm(plane, "upgrade", "data-miner", str(CHART), *here, "--no-hooks", "--force-conflicts")
    assert get(f"crd/{CRD}", ".spec.names.shortNames[0]") == "mp"

    helm(plane, "rollback", "data-miner", "1", *here, "--no-hooks")
    assert get(OPERATOR, ".spec.replicas") == "2"
    assert get(POOL, ".spec.replicas") == "3"
    assert get("secret/data-miner-database", ".data.password") == password

    # A second release in another namespace leaves the definition to the first.
    kubectl("create", "namespace", "beside")
    beside = ("--namespace", "beside", "--set", "operator.namespaces={beside}")
    said = helm(plane, "install", "second", str(CHART), *beside, fails=True)
    assert f"{namespace}/data-miner-operator serves every namespace already" in said
    helm(plane, "upgrade", "data-miner", str(CHART), *here, "--no-hooks",
         "--set", f"operator.namespaces={{{namespace}}}")  # fmt: skip
    said = helm(plane, "install", "second", str(CHART), *beside, fails=True)
    assert CRD in said
    assert "data-miner" in said
    helm(plane, "install", "second", str(CHART), *beside, "--set", "crds.enabled=false")
    helm(plane, "uninstall", "second", "--namespace", "beside", "--no-hooks")

    # Uninstalling keeps what cannot be made again.
    kubectl("apply", *here, "-f", "-", stdin=PROJECT)
    helm(plane, "uninstall", "data-miner", *here, "--no-hooks")
    assert get("mp/kept", ".metadata.name") == "kept"
    assert get("secret/data-miner-database", ".data.password") == password
    assert kubectl.run("get", *here, OPERATOR).returncode

    # Again under the same name: the password is still the one that the volume knows.
    helm(plane, "install", "data-miner", str(CHART), *here)
    assert get("secret/data-miner-database", ".data.password") == password
    helm(plane, "uninstall", "data-miner", *here, "--no-hooks")

    # Under another name the definition is taken over, if that is said.
    helm(plane, "install", "other", str(CHART), *here, "--take-ownership")
    assert get("mp/kept", ".metadata.name") == "kept"
    helm(plane, "uninstall", "other", *here, "--no-hooks")


PROJECT = json.dumps(
    {
        "apiVersion": "data-miner.io/v1alpha1",
        "kind": "MiningProject",
        "metadata": {"name": "kept"},
        "spec": {"sources": [{"urls": {"items": ["https://example.com/a.mp4"]}}]},
    }
)


def test_the_chart_that_is_packed_is_the_chart(tmp_path: Path) -> None:
    """Nothing that only tests need goes to users."""
    said = run_helm("package", str(CHART), "--destination", str(tmp_path))
    assert said.returncode == 0, said.stderr
    [packed] = tmp_path.iterdir()
    shown = run_helm("show", "all", str(packed))
    assert shown.returncode == 0, shown.stderr
    assert packed.stat().st_size < 200_000
