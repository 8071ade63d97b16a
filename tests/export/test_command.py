"""`data-miner models export`, as a user runs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_miner_models.cards import load_card, verify
from export.conftest import Exported
from support.hub import COMMIT, Hub, hub

TOKEN = "hf_secretsecretsecretsecret"


def _command(home: Path, *arguments: str) -> list[str]:
    program = Path(sys.executable).with_name("data-miner")
    return [
        str(program), "models", "export", *arguments,
        "--home", str(home), "--work", str(home / "work"),
    ]  # fmt: skip


def _environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | {"HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **more}


def _run(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(home, *arguments),
        capture_output=True,
        text=True,
        timeout=280,
        env=_environment(home, **more),
    )


def test_a_folder_becomes_a_model_of_the_installation(exported: Exported, tmp_path: Path) -> None:
    """Lines tell what is done; the model is there, described, and whole."""
    folder = exported.checkpoint("dinov2")
    done = _run(tmp_path, str(folder), "--name", "mine", "--int8")
    assert done.returncode == 0, done.stderr
    assert "image: exporting in fp32" in done.stdout
    assert "mine: published to" in done.stdout
    card = load_card("mine", [tmp_path / "models"])
    verify(card)
    assert card.licence == "apache-2.0"
    assert card.source == "dinov2"
    assert load_card("mine-int8", [tmp_path / "models"]).max_batch == 1
    assert list((tmp_path / "work" / "work").iterdir()) == []


def test_an_id_is_read_from_the_hub_at_its_commit(exported: Exported, tmp_path: Path) -> None:
    """A connection that breaks in the middle of the weights is taken up where it broke."""
    folder = exported.checkpoint("dinov2")
    with hub(Hub({"someone/Dino-Tiny": folder}, cut_after=100_000)) as served:
        done = _run(tmp_path, "someone/Dino-Tiny", "--no-fp16", HF_ENDPOINT=served.url)
    assert done.returncode == 0, done.stderr
    card = load_card("dino-tiny", [tmp_path / "models"])
    assert (card.source, card.revision) == ("someone/Dino-Tiny", COMMIT)
    assert set(card.files) == {"image", "golden"}


def test_a_gated_checkpoint_needs_a_token_which_nobody_sees(
    exported: Exported, tmp_path: Path
) -> None:
    """Without one it is said what to do; with one it works; neither output nor files have it."""
    folder = exported.checkpoint("dinov2")
    made = Hub({"someone/gated": folder}, token=TOKEN, gated=frozenset({"someone/gated"}))
    with hub(made) as served:
        refused = _run(tmp_path, "someone/gated", HF_ENDPOINT=served.url)
        done = _run(tmp_path, "someone/gated", "--no-fp16", HF_ENDPOINT=served.url, HF_TOKEN=TOKEN)
    assert refused.returncode == 6
    assert refused.stderr.startswith("error: someone/gated is gated: agree to its terms")
    assert "Traceback" not in refused.stderr
    assert done.returncode == 0, done.stderr
    assert TOKEN in made.tokens
    assert TOKEN not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("someone/nothing", "the hub has no someone/nothing"),
        ("someone/dino --revision old", "someone/dino has no revision 'old'"),
        ("./nothing", "no config.json; a checkpoint in the hub's layout is needed"),
        ("nothing", "is no folder, no id such as google/siglip2-base-patch16-256, and no name of"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(
    exported: Exported, tmp_path: Path, what: str, words: str
) -> None:
    """With exit code 6 and no traceback."""
    with hub(Hub({"someone/dino": exported.checkpoint("dinov2")})) as served:
        done = _run(tmp_path, *what.split(), HF_ENDPOINT=served.url)
    assert done.returncode == 6
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_licence_that_asks_for_more_must_be_accepted(exported: Exported, tmp_path: Path) -> None:
    """It is shown with the place of its text; accepted, it is on the card."""
    folder = Path(shutil.copytree(exported.checkpoint("dinov3"), tmp_path / "dinov3"))
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: dinov3-license\n---\n")
    (folder / "LICENSE.md").write_text("DINOv3 License\n")
    refused = _run(tmp_path, str(folder))
    assert refused.returncode == 6
    assert "--accept-licence dinov3-license you agree to it" in refused.stderr
    assert str(folder / "LICENSE.md") in refused.stderr
    done = _run(tmp_path, str(folder), "--accept-licence", "dinov3-license", "--no-fp16")
    assert done.returncode == 0, done.stderr
    assert load_card("dinov3", [tmp_path / "models"]).licence == "dinov3-license"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"dinov2"', '"siglip2"', "cannot be traced for more than one size"),
        ('"dinov2"', '"bert"', "model_type 'bert' is not supported; supported are dinov2"),
        ('"num_hidden_layers": 2', '"num_hidden_layers": 3', "weights are missing"),
        ('"hidden_size": 64', '"hidden_size": 96', "dinov2"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    exported: Exported, tmp_path: Path, before: str, after: str, words: str
) -> None:
    """Nothing is published of it."""
    folder = Path(shutil.copytree(exported.checkpoint("dinov2"), tmp_path / "dinov2"))
    text = (folder / "config.json").read_text()
    assert before in text
    (folder / "config.json").write_text(text.replace(before, after))
    done = _run(tmp_path, str(folder))
    assert done.returncode == 6
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "models").exists()


def test_an_export_that_was_killed_leaves_nothing_half_and_goes_on(
    exported: Exported, tmp_path: Path
) -> None:
    """Killed after its first graph: no model is there, and that graph is not made again."""
    folder = exported.checkpoint("dinov2")
    command = _command(tmp_path, str(folder), "--name", "mine")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=_environment(tmp_path)
    ) as killed:
        assert killed.stdout is not None
        for line in killed.stdout:
            if line.startswith("image-fp16: exporting"):
                break
        os.kill(killed.pid, signal.SIGKILL)
    assert not (tmp_path / "models").exists()
    done = _run(tmp_path, str(folder), "--name", "mine")
    assert done.returncode == 0, done.stderr
    assert "image: done before" in done.stdout
    verify(load_card("mine", [tmp_path / "models"]))
