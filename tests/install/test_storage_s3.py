"""Artifacts and datasets elsewhere: in a bucket of somebody else's S3, or in a shared volume."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support.product import DEMO_PROJECT, Product
from support.realnode import OwnCluster
from support.release import HASTY, Release, alone

POOL: Final = "data-miner-worker-default"
ELSEWHERE: Final = "somebody-elses"
BUCKET: Final = "mined"
PORT: Final = 7070
SCALING: Final = {"workers": {"defaults": {"scaling": {**HASTY, "warmReplicas": 2}}}}


@pytest.fixture(scope="module")
def expected_digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a laptop makes of the demo."""
    mined = Product(tmp_path_factory.mktemp("laptop") / "home").mine(DEMO_PROJECT)
    return str(mined["dataset"]["digest"])


@pytest.fixture
def keys(real_nodes: OwnCluster) -> Iterator[dict[str, str]]:
    """An S3 server with an empty bucket in a namespace of its own, and who may use it."""
    made = {
        "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
    }
    kubectl = real_nodes.kubectl
    kubectl("create", "namespace", ELSEWHERE)
    kubectl("apply", f"--namespace={ELSEWHERE}", "--filename=-", stdin=server(made))
    limit = "--timeout=120s"
    kubectl("rollout", "status", "deployment/s3", f"--namespace={ELSEWHERE}", limit, seconds=150)
    yield made
    kubectl("delete", "namespace", ELSEWHERE, "--wait=false")


def server(keys: dict[str, str]) -> str:
    """versitygw on a folder, as a Deployment with a Service."""
    labels = {"app": "s3"}
    env = [
        {"name": "ROOT_ACCESS_KEY", "value": keys["AWS_ACCESS_KEY_ID"]},
        {"name": "ROOT_SECRET_KEY", "value": keys["AWS_SECRET_ACCESS_KEY"]},
    ]
    start = (
        f"mkdir -p /data/buckets/{BUCKET} /data/metadata && exec versitygw --port :{PORT}"
        " --health /health --quiet posix --sidecar /data/metadata /data/buckets"
    )
    container = {
        "name": "s3",
        "image": "localhost/versitygw:test",
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", start],
        "env": env,
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {"containers": [container], "volumes": [{"name": "data", "emptyDir": {}}]}
    objects: list[dict[str, Any]] = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "s3"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s3"},
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def sha256(release: Release, pod: str, namespace: str, file: str) -> str:
    """Of a file in a pod."""
    told = release.kubectl("exec", f"--namespace={namespace}", pod, "--", "sha256sum", file)
    return told.split()[0]


@pytest.mark.timeout(900)
def test_a_bucket_of_somebody_elses_holds_the_dataset_of_a_laptop(
    real_nodes: OwnCluster, keys: dict[str, str], tmp_path: Path, expected_digest: str
) -> None:
    """With a Secret, and with one rule more of egress: nothing else of the chart is changed."""
    storage = {
        "mode": "s3",
        "s3": {
            "uri": f"s3://{BUCKET}/team",
            "existingSecret": "bucket",
            "endpoint": f"http://s3.{ELSEWHERE}:{PORT}",
        },
    }
    to_bucket = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ELSEWHERE}}}],
        "ports": [{"port": PORT}],
    }
    policy = {"workers": {"internet": False, "extraEgress": [to_bucket]}}
    with alone(
        real_nodes, tmp_path, "s3-user", storage=storage, networkPolicy=policy, **SCALING
    ) as release:
        given = [f"--from-literal={name}={value}" for name, value in keys.items()]
        release.k("create", "secret", "generic", "bucket", *given)
        release.install()
        assert not release.kubectl.json(
            "get", "statefulsets", f"--namespace={release.namespace}",
            "--selector=app.kubernetes.io/component=store",
        )["items"]  # fmt: skip
        release.apply(DEMO_PROJECT)
        done = release.complete("demo", seconds=300)

        dataset = done["status"]["dataset"]
        assert dataset["digest"] == expected_digest
        assert dataset["uri"].startswith(f"s3://{BUCKET}/team/datasets/")
        # Not as the product says it is: as the bytes lie there.
        path = dataset["uri"].removeprefix("s3://")
        manifest = f"/data/buckets/{path}/manifest.json"
        assert sha256(release, "deployment/s3", ELSEWHERE, manifest) == expected_digest
        everything = json.dumps([done, release.kubectl.json("get", "events", "--all-namespaces")])
        assert keys["AWS_SECRET_ACCESS_KEY"] not in everything


@pytest.mark.timeout(900)
def test_a_volume_for_one_node_comes_while_there_is_no_worker_and_keeps_workers_on_one_node(
    real_nodes: OwnCluster, tmp_path: Path, expected_digest: str
) -> None:
    """The class waits for a pod before it makes a volume, and there is no worker: `--wait` ends
    all the same."""
    storage = {"mode": "pvc", "pvc": {"accessMode": "ReadWriteOnce", "size": "5Gi"}}
    with alone(real_nodes, tmp_path, "volume-user", **SCALING) as release:
        release.install()
        release.sized(POOL, 0)
        seconds = release.install(storage=storage)
        print(f"\nthe volume is there after {seconds:.0f} s")  # noqa: T201
        assert release.replicas(POOL) == 0
        release.apply(DEMO_PROJECT)
        release.sized(POOL, 2)
        done = release.complete("demo", seconds=300)
        places = set(release.sql("SELECT DISTINCT processed_by FROM results"))
        nodes = nodes_of(release, places)

        assert done["status"]["dataset"]["digest"] == expected_digest
        assert len(places) > 1, "one worker did it all"
        assert len(nodes) == 1


def nodes_of(release: Release, pods: set[str]) -> set[str]:
    """Where pods were placed, also those that have gone."""
    found = release.kubectl.json("get", "events", f"--namespace={release.namespace}")["items"]
    return {
        str(event["message"]).rpartition(" ")[2]
        for event in found
        if event["reason"] == "Scheduled" and event["involvedObject"]["name"] in pods
    }
