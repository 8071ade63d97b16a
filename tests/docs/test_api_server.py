"""The commands of the documents on a real API server without a node: it takes all that they send.

Each block stands alone, as a reader has chosen it, and has a namespace of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from support.chart import run_helm
from support.controlplane import ControlPlane, control_plane_in
from support.document_runs import cluster_environment
from support.documents import Block, documents, run, script

RUNNER = "api server"
CRD = "miningprojects.data-miner.io"


def wanted() -> list[list[Block]]:
    """Each block of commands, behind the files that its document shows before it."""
    found = []
    for name in documents():
        files: list[Block] = []
        for block in script(name, RUNNER):
            if block.mark == "save as":
                files.append(block)
            else:
                found.append([*files, block])
    return found


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this file's own."""
    with control_plane_in(tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture
def environment(plane: ControlPlane, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A shell whose kubectl is in an empty namespace, on a cluster without a definition of ours."""
    name = f"reader-{token_hex(4)}"
    plane.kubectl("create", "namespace", name)
    config = json.loads(plane.kubectl("config", "view", "--raw", "--output=json"))
    config["contexts"][0]["context"]["namespace"] = name
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(json.dumps(config))
    before = set(plane.kubectl("get", "namespaces", "--output=name").split())
    yield {**cluster_environment(plane.kubectl, tmp_path), "KUBECONFIG": str(kubeconfig)}
    made = set(plane.kubectl("get", "namespaces", "--output=name").split()) - before
    for namespace in (f"namespace/{name}", *made):
        run_helm(
            *("uninstall", "data-miner", "--ignore-not-found", "--namespace"),
            namespace.partition("/")[2],
            env={"KUBECONFIG": str(plane.kubeconfig)},
        )
        plane.kubectl("delete", namespace, "--wait=false")
    plane.kubectl("delete", "crd", CRD, "--ignore-not-found")


@pytest.mark.parametrize("blocks", wanted(), ids=[each[-1].place for each in wanted()])
def test_the_api_server_takes_what_the_commands_send(
    environment: dict[str, str], folder: Path, blocks: list[Block]
) -> None:
    print(run(blocks, folder, environment))  # noqa: T201 - shown when it fails
