"""`data-miner models` with a store at a URI."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from data_miner_models import store
from data_miner_models.cache import ModelCache
from data_miner_models.cards import load_card
from data_miner_models.command import app
from support.media_server import MediaServer


class Program:
    """The command on an empty home, with a store that has the model `far`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = folder / "there"
        self.home = folder / "home"
        self.cache = ModelCache(self.home / "model-cache", 10**9)
        monkeypatch.setenv("DATA_MINER_HOME", str(self.home))
        monkeypatch.setenv("DATA_MINER_MODELS_URI", str(self.store))

    def run(self, *arguments: str) -> Result:
        """Run it to its end."""
        return CliRunner().invoke(app, list(arguments))

    def list(self) -> dict[str, dict[str, Any]]:
        """What it lists, but for the bundled models."""
        rows = json.loads(self.run("list", "--json").stdout)
        return {row["name"]: row for row in rows if not row["name"].startswith("tiny-")}


@pytest.fixture
def program(small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """One that knows no model but the bundled ones and `far`."""
    made = Program(tmp_path, monkeypatch)
    card = load_card("small", [small_store])
    store.publish(
        replace(card, name="far"), {"image": card.path("image")}, str(made.store), lambda *_: None
    )
    return made


def test_models_of_the_store_are_listed_without_their_files(program: Program) -> None:
    """With where they are; a bundled one is said to be in a folder."""
    assert (program.list()["far"]["place"], program.list()["far"]["cached"]) == ("store", False)
    assert not program.home.exists()
    lines = program.run("list").stdout.splitlines()
    assert lines[0].split() == ["model", "family", "width", "size", "where"]
    (far,) = [line for line in lines if line.startswith("far ")]
    assert far.split()[:6] == ["far", "dino", "5", "0.0", "MB", "store"]


def test_a_model_that_is_named_is_brought_and_verified(program: Program) -> None:
    """Afterwards it is in the cache, and is verified there with all the others."""
    named = program.run("verify", "far", "--no-run")
    assert (named.exit_code, named.stdout[:24]) == (0, "far: 1 file as the card ")
    assert program.list()["far"]["cached"]
    assert "store, cached" in program.run("list").stdout
    every = program.run("verify", "--no-run")
    assert "\nfar: 1 file" in every.stdout


def test_a_wrong_card_is_told_and_hides_no_other(program: Program) -> None:
    """In one line; what is right is listed and verified all the same."""
    folder = program.home / "models"
    folder.mkdir(parents=True)
    (folder / "broken.toml").write_text("name = ")
    for command in (["list"], ["verify", "--no-run"]):
        told = program.run(*command)
        assert (told.exit_code, told.stderr.count("\n")) == (6, 1)
        assert told.stderr.startswith(f"error: model card {folder}/broken.toml")
        assert "tiny-siglip" in told.stdout


def test_a_card_that_cannot_be_read_hides_no_other_of_the_store(program: Program) -> None:
    """It is told, and the rest is listed."""
    (program.store / "broken.toml").write_bytes(b"\xff")
    told = program.run("list")
    assert (told.exit_code, told.stderr.count("\n")) == (6, 1)
    assert "broken.toml: 'utf-8' codec" in told.stderr
    assert "\nfar " in told.stdout


def test_a_state_that_the_store_has_no_more_is_listed_from_the_cache(program: Program) -> None:
    """Projects that were made for it may still use it."""
    program.run("verify", "far", "--no-run")
    (program.store / "far.toml").unlink()
    assert program.list()["far"]["place"] == "cache"


def test_a_damaged_file_of_the_cache_is_said_and_brought_again(program: Program) -> None:
    """Exit code 6; the next look finds it whole."""
    program.run("verify", "far", "--no-run")
    (path,) = (program.home / "model-cache").rglob("*.onnx")
    path.write_bytes(b"?" + path.read_bytes()[1:])
    found = program.run("verify", "--no-run")
    assert found.exit_code == 6
    assert found.stderr.endswith("; it is brought again\n")
    assert program.run("verify", "far", "--no-run").exit_code == 0


def test_a_store_that_cannot_be_asked_is_said_below_what_is_here(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 6, and the bundled models all the same."""
    with MediaServer() as gone:
        monkeypatch.setenv("DATA_MINER_MODELS_URI", gone.url("/models"))
    found = program.run("list")
    assert found.exit_code == 6
    assert "tiny-siglip" in found.stdout
    assert found.stderr.startswith("error: cannot list http://127.0.0.1:")


def test_a_bound_that_is_no_number_is_refused(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of the setting."""
    monkeypatch.setenv("DATA_MINER_MODELS_CACHE_GB", "much")
    found = program.run("list")
    assert (found.exit_code, found.stderr) == (
        2, "error: DATA_MINER_MODELS_CACHE_GB='much': expected a number\n",
    )  # fmt: skip
