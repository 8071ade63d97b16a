"""A pool that is placed by `nvidia.com/gpu`, of which each node offers one.

The extended resource is real, and there is no device behind it: the pool runs the CPU image, and
serves a stage that asks no model. What is shown is where its pods go, and what is said of the one
that goes nowhere.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from support.kubectl import KubectlError
from support.product import Product
from support.realnode import OwnCluster
from support.release import Release
from support.release_chaos import Mined, long_project
from support.waiting import eventually

POOL: Final = "data-miner-worker-gpu"
WANTED: Final = 3
GPU: Final = "nvidia.com/gpu"
VALUES: Final[dict[str, Any]] = {
    "images": {
        "workerGpu": {"registry": "localhost", "repository": "data-miner-worker", "tag": "test"}
    },
    "workers": {
        "pools": {
            "default": {
                "stages": "discover,download,embed,filter,dedup_embed,dedup,cut,detect,export"
            },
            "gpu": {
                "stages": "extract",
                "gpu": {"count": 1},
                "scaling": {
                    # As many as there are videos, at once.
                    "maxReplicas": WANTED,
                    "warmReplicas": WANTED,
                    "unschedulableSeconds": 5,
                },
                # Little processor: a video takes longer than the pool's trouble takes to be told.
                "resources": {
                    "requests": {"cpu": "50m", "memory": "256Mi"},
                    "limits": {"cpu": "150m", "memory": "1Gi"},
                },
                "taskMemoryMb": 768,
            },
        }
    },
}


class Pods(dict[str, dict[str, Any]]):
    """Every pod of the pool that was ever seen, as last seen."""


@pytest.fixture
def with_gpus(release: Release, real_nodes: OwnCluster) -> Iterator[Release]:
    """The shared release with a GPU pool beside its own, on nodes with one GPU each."""
    for node in real_nodes.nodes():
        real_nodes.offer_gpus(node, 1)
    release.install(**VALUES)
    yield release
    release.install()


@contextmanager
def watched(release: Release) -> Iterator[Pods]:
    """Look at the pool's pods again and again beside the block."""
    seen, over = Pods(), threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            with suppress(KubectlError):
                seen.update({pod["metadata"]["name"]: pod for pod in pods(release)})

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def pods(release: Release) -> list[dict[str, Any]]:
    """Of the GPU pool, as of now."""
    found = release.pods("worker")
    return [pod for pod in found if pod["metadata"]["labels"]["data-miner.io/pool"] == "gpu"]


def told(release: Release, namespace: str) -> str:
    """What the project says of the pool; empty while all is well."""
    status = release.project("struck", namespace=namespace).get("status", {})
    for one in status.get("conditions", ()):
        if (one["type"], one["status"]) == ("WorkersAvailable", "False"):
            return f"{one['reason']}: {one['message']}"
    return ""


def notes(release: Release, reason: str) -> list[str]:
    """Events of the pool's Deployment with this reason."""
    found = release.kubectl.json("get", "events", f"--namespace={release.namespace}")["items"]
    return [
        str(event["message"])
        for event in found
        if event["reason"] == reason and event["involvedObject"]["name"] == POOL
    ]


@pytest.mark.timeout(900)
def test_a_third_pod_that_finds_no_gpu_waits_is_reported_and_is_not_multiplied(
    with_gpus: Release, tmp_path: Path
) -> None:
    """Two work on a GPU each, the third waits; the project completes, and the pool goes."""
    release = with_gpus
    file = long_project(tmp_path)
    mined = Mined(release, "wants-gpus", file, "three pods for two GPUs")
    release.sized(POOL, 0)

    with watched(release) as seen:
        mined.begin()
        release.sized(POOL, WANTED)
        eventually(lambda: told(release, mined.namespace).startswith("Unschedulable"),
                   seconds=180, what="the project says that a pod finds no place")  # fmt: skip
        message = told(release, mined.namespace)
        print(f"\nreported after {time.monotonic() - mined.began:.0f} s: {message}")  # noqa: T201
        now = pods(release)
        eventually(lambda: bool(notes(release, "Unschedulable")), what="an Event says it too")
        done = release.complete("struck", namespace=mined.namespace, seconds=400)
        release.sized(POOL, 0)
        eventually(lambda: not pods(release), seconds=120, what="the pool's pods are gone")
    mined.end()

    assert GPU in message
    assert any(GPU in note for note in notes(release, "Unschedulable"))
    placed = [pod["spec"]["nodeName"] for pod in now if pod["spec"].get("nodeName")]
    assert len(now) == WANTED
    assert sorted(placed) == release.cluster.nodes()
    [waiting] = [pod for pod in now if not pod["spec"].get("nodeName")]
    assert waiting["status"]["phase"] == "Pending"
    for pod in now:
        assert pod["spec"]["containers"][0]["resources"]["limits"][GPU] == "1"
    assert len(seen) == WANTED, f"more pods than were wanted: {sorted(seen)}"
    laptop = Product(tmp_path / "laptop").mine(file)
    assert done["status"]["dataset"]["digest"] == laptop["dataset"]["digest"]
