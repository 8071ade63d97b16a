"""Where checkpoints come from, and on what terms; the hub is a server of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.go_programs import ROOT
from support.hub import COMMIT, Hub, hub

WEIGHTS = "model.safetensors"
TOKEN = "hf_secretsecretsecretsecret"
SIGNATURE = "aSignature"
FIND = """
import sys
from pathlib import Path
from data_miner_export.source import find
from data_miner_models.errors import ModelError
try:
    found = find("someone/own", revision="main", cache=Path(sys.argv[1]), accepted=sys.argv[2:])
except ModelError as error:
    sys.exit(f"{type(error).__name__}: {error}")
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


def _find(
    served: Hub, tmp_path: Path, *accepted: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the library reads the hub's address when it is imported."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_ENDPOINT": served.url,
        # An environment for development may hold an older copy.
        "PYTHONPATH": str(ROOT / "ml_models" / "export"),
        **more,
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


def test_a_token_that_ends_with_a_line_as_files_do_is_sent_without_it(
    served: Hub, tmp_path: Path
) -> None:
    """So are Secrets that were made from a file; a header with such an end is never sent."""
    served.token, served.gated = TOKEN, frozenset({"someone/own"})
    found = _find(served, tmp_path, "own-terms", HF_TOKEN=f"{TOKEN}\r\n")
    assert found.returncode == 0, found.stderr
    assert set(served.tokens) - {""} == {TOKEN}


def test_a_signed_address_is_not_shown_where_a_connection_breaks(
    served: Hub, tmp_path: Path
) -> None:
    """The download goes on, and says nothing."""
    served.signature, served.cut_after = SIGNATURE, 3
    found = _find(served, tmp_path, "own-terms")
    assert found.returncode == 0, found.stderr
    assert [path for path in served.seen if path.startswith("GET /cdn/") and WEIGHTS in path]
    assert served.cut_after is None
    assert SIGNATURE not in found.stdout + found.stderr
    assert "Error while downloading" not in found.stderr


def test_a_signed_address_is_not_shown_where_it_refuses(served: Hub, tmp_path: Path) -> None:
    """What it answered is said."""
    served.signature, served.refused = SIGNATURE, 403
    refused = _find(served, tmp_path, "own-terms")
    assert refused.returncode == 1
    assert "ModelError: someone/own cannot be downloaded: " in refused.stderr
    assert "403" in refused.stderr
    assert SIGNATURE not in refused.stderr


@pytest.mark.parametrize("status", [429, 503])
def test_a_hub_that_asks_for_patience_has_not_refused_the_model(
    served: Hub, tmp_path: Path, status: int
) -> None:
    """The same may go well in a minute."""
    served.busy = status
    assert _find(served, tmp_path).stderr.startswith("PassingError: someone/own cannot be downl")


def test_a_hub_that_nobody_reaches_has_not_refused_the_model(served: Hub, tmp_path: Path) -> None:
    """But one that was told not to be asked will not answer in a minute either."""
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert _find(served, tmp_path, **nobody).stderr.startswith("PassingError: someone/own cannot ")
    offline = _find(served, tmp_path, HF_HUB_OFFLINE="1")
    assert offline.stderr.startswith("ModelError: someone/own cannot be downloaded")


def test_what_killed_downloads_left_is_removed(served: Hub, tmp_path: Path) -> None:
    """Of any checkpoint, for none is gone on with; what is being written stays."""
    left = tmp_path / "cache" / "models--someone--else" / "blobs" / "0f.1234abcd.incomplete"
    written = left.with_name("0f.5678abcd.incomplete")
    whole = left.with_name("0f")
    left.parent.mkdir(parents=True)
    for path in (left, written, whole):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - 3600,) * 2)
    os.utime(written)
    assert _find(served, tmp_path, "own-terms").returncode == 0
    assert sorted(left.parent.iterdir()) == [whole, written]
