"""Models of a slow volume on the node's disk: the command of the pod, as the pod's user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.chart import pods, render
from support.database import enterable_folder

USER = 65532
PYTHON = "/usr/bin/python3" if os.geteuid() == 0 else sys.executable
"""One that the pod's user may run."""


@dataclass(frozen=True, slots=True)
class Volumes:
    """A claim with models and the node's disk, as a worker's pod has them mounted."""

    claim: Path
    disk: Path

    def copy(self) -> subprocess.CompletedProcess[str]:
        """Run the command of the init container."""
        [worker] = [pod for pod in pods(render("external")) if pod.component == "worker"]
        [one] = [each for each in worker.containers if each["name"] == "copy-models"]
        _, *arguments, source, target = one["command"]
        mounts = {mount["mountPath"] for mount in one["volumeMounts"]}
        assert {source, target} == mounts
        lent = USER if _root() else None
        return subprocess.run(
            [PYTHON, *arguments, str(self.claim), str(self.disk)],
            capture_output=True, text=True, check=False, cwd="/",
            user=lent, group=lent, extra_groups=None if lent is None else [lent],
        )  # fmt: skip


def _root() -> bool:
    return os.geteuid() == 0


@pytest.fixture
def volumes() -> Iterator[Volumes]:
    """Neither root is the user's own, and the claim has what file systems keep there."""
    home = enterable_folder()
    made = Volumes(home / "claim", home / "disk")
    (made.claim / "siglip" / "onnx").mkdir(parents=True)
    (made.claim / "siglip.toml").write_text("card")
    (made.claim / "siglip" / "onnx" / "model.onnx").write_bytes(b"weights")
    (made.claim / "lost+found").mkdir(mode=0)
    (made.claim / ".snapshot").mkdir(mode=0)
    # As a node makes an emptyDir for a pod that has an fsGroup.
    made.disk.mkdir()
    if _root():
        os.chown(made.disk, 0, USER)
    made.disk.chmod(0o2777)
    try:
        yield made
    finally:
        shutil.rmtree(home)


def copied(volumes: Volumes) -> dict[str, bytes]:
    """Files on the node's disk with their content."""
    return {
        str(path.relative_to(volumes.disk)): path.read_bytes()
        for path in volumes.disk.rglob("*")
        if path.is_file()
    }


def test_models_of_a_volume_are_copied_by_a_user_who_owns_neither_volume(volumes: Volumes) -> None:
    """What the volume's file system keeps for itself is left there."""
    ended = volumes.copy()
    assert ended.returncode == 0, ended.stderr
    assert copied(volumes) == {"siglip.toml": b"card", "siglip/onnx/model.onnx": b"weights"}


def test_a_copy_that_was_cut_off_is_made_anew(volumes: Volumes) -> None:
    """Also of files and folders that nobody may write."""
    (volumes.claim / "siglip" / "onnx" / "model.onnx").chmod(0o444)
    (volumes.claim / "siglip" / "onnx").chmod(0o555)
    assert volumes.copy().returncode == 0
    (volumes.claim / "siglip.toml").write_text("another card")
    again = volumes.copy()
    assert again.returncode == 0, again.stderr
    assert copied(volumes)["siglip.toml"] == b"another card"


def test_a_model_that_cannot_be_read_is_no_model_left_out(volumes: Volumes) -> None:
    """The pod says so instead of mining without it."""
    (volumes.claim / "siglip" / "onnx" / "model.onnx").chmod(0)
    ended = volumes.copy()
    assert ended.returncode != 0
    assert "Permission denied" in ended.stderr
