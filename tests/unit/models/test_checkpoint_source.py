"""Where checkpoints come from, and on what terms; the hub is a server of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.go_programs import ROOT
from support.hub import COMMIT, Hub, hub

WEIGHTS = "model.safetensors"
FIND = """
import sys
from pathlib import Path
from data_miner_export.source import find
from data_miner_models.errors import ModelError
try:
    found = find("someone/own", revision="main", cache=Path(sys.argv[1]), accepted=sys.argv[2:])
except ModelError as error:
    sys.exit(str(error))
print(found.title, found.revision, found.licence, found.folder)
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Hub]:
    """A hub with one checkpoint, under terms of its own."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / WEIGHTS).write_bytes(b"weights")
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: Own-Terms\n---\n")
    (folder / "LICENSE.md").write_text("Terms\n")
    with hub(Hub({"someone/own": folder})) as made:
        yield made


def _find(served: Hub, tmp_path: Path, *accepted: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the library reads the hub's address when it is imported."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_ENDPOINT": served.url,
        # An environment for development may hold an older copy.
        "PYTHONPATH": str(ROOT / "ml_models" / "export"),
    }
    return subprocess.run(
        [sys.executable, "-c", FIND, str(tmp_path / "cache"), *accepted],
        env=environment,
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


def test_of_a_checkpoint_on_terms_that_nobody_has_accepted_no_weights_are_read(
    served: Hub, tmp_path: Path
) -> None:
    """They are gigabytes, and a Job in a cluster asks again and again."""
    refused = _find(served, tmp_path, "mit", "other")
    assert "LICENSE.md; with --accept-licence own-terms you agree to it" in refused.stderr
    assert not [path for path in served.seen if WEIGHTS in path]


def test_of_several_accepted_licences_each_counts(served: Hub, tmp_path: Path) -> None:
    """However it is written; what is read is the commit whose terms were read."""
    found = _find(served, tmp_path, "first", "OWN-terms")
    assert found.returncode == 0, found.stderr
    title, revision, licence, folder = found.stdout.split()
    assert (title, revision, licence) == ("someone/own", COMMIT, "own-terms")
    assert (Path(folder) / WEIGHTS).read_bytes() == b"weights"
