"""Serves the real cluster's volume claims with folders of the host.

A claim gets a folder as soon as the scheduler has chosen a node for its pod. What is written once
or by one node alone stays on that node; a claim for many nodes is the same folder on all of them.
A folder goes with its claim.

Run as `python -m support.realnode_disks KUBECONFIG FOLDER NODE…`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import urllib3

from support.kube_client import KubeClient, KubeError, access_of

PROVISIONER = "data-miner.io/test-disks"
LOOK_SECONDS = 3.0
CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"


def wanted(
    claims: Iterable[dict[str, Any]],
    volumes: Iterable[dict[str, Any]],
    *,
    folder: Path,
    nodes: Sequence[str],
) -> list[dict[str, Any]]:
    """The volumes to make for claims that have been given a node and no volume yet."""
    there = {volume["metadata"]["name"] for volume in volumes}
    made = [
        _volume(claim, folder, nodes)
        for claim in claims
        if _of(claim, "volume.kubernetes.io/storage-provisioner") == PROVISIONER
        and _of(claim, "volume.kubernetes.io/selected-node")
        and claim["status"]["phase"] == "Pending"
    ]
    return [volume for volume in made if volume["metadata"]["name"] not in there]


def released(volumes: Iterable[dict[str, Any]]) -> list[str]:
    """Names of the volumes whose claims are gone."""
    return [
        volume["metadata"]["name"]
        for volume in volumes
        if _of(volume, "pv.kubernetes.io/provisioned-by") == PROVISIONER
        and volume["status"]["phase"] == "Released"
        and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    ]


def _of(thing: dict[str, Any], annotation: str) -> str:
    return str(thing["metadata"].get("annotations", {}).get(annotation, ""))


def _volume(claim: dict[str, Any], folder: Path, nodes: Sequence[str]) -> dict[str, Any]:
    name = f"pvc-{claim['metadata']['uid']}"
    modes = claim["spec"]["accessModes"]
    shared = {"ReadWriteMany", "ReadOnlyMany"} & set(modes)
    where = list(nodes) if shared else [_of(claim, "volume.kubernetes.io/selected-node")]
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": where}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": modes,
            "storageClassName": claim["spec"]["storageClassName"],
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                **{key: claim["metadata"][key] for key in ("namespace", "name", "uid")},
            },
            "local": {"path": str(folder / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}},
        },
    }


def serve(api: KubeClient, folder: Path, nodes: Sequence[str]) -> None:
    """Never returns; an API server that is away is waited for."""
    while True:
        # Whatever changes first is the time to look; what is released is found by the clock.
        with suppress(KubeError, urllib3.exceptions.HTTPError):
            version = api.request("GET", CLAIMS, limit="1")["metadata"]["resourceVersion"]
            _look(api, folder, nodes)
            with api.watch(CLAIMS, seconds=LOOK_SECONDS, resourceVersion=version) as events:
                next(events, None)


def _look(api: KubeClient, folder: Path, nodes: Sequence[str]) -> None:
    volumes = api.items(VOLUMES)
    for volume in wanted(api.items(CLAIMS), volumes, folder=folder, nodes=nodes):
        (folder / volume["metadata"]["name"]).mkdir(parents=True, exist_ok=True)
        with suppress(KubeError):  # made by a look that was cut off
            api.request("POST", VOLUMES, volume)
    for name in released(volumes):
        shutil.rmtree(folder / name, ignore_errors=True)
        api.request("DELETE", f"{VOLUMES}/{name}")


if __name__ == "__main__":
    serve(KubeClient(access_of(Path(sys.argv[1]))), Path(sys.argv[2]), sys.argv[3:])
