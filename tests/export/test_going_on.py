"""What an export goes on with, and that everything that can go wrong is one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from data_miner_export import graph
from data_miner_export import make as making
from data_miner_export.checkpoint import Checkpoint
from data_miner_export.make import Wanted, make
from data_miner_export.source import Source
from data_miner_models.cards import load_card, verify
from data_miner_models.errors import ModelError, StoreError
from export.conftest import Exported


def _make(folder: Path, tmp_path: Path, store: str, said: list[str]) -> None:
    wanted = Wanted("mine", frozenset({"fp32"}), str(tmp_path / store), tmp_path / "work")
    make(Source(folder, "dinov2", "", "apache-2.0"), wanted, said.append, lambda *_: None)


def test_a_graph_whose_weights_a_power_loss_took_is_made_again(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie beside it where they are large; one whose weights are whole is gone on with."""
    monkeypatch.setattr(graph, "INSIDE_BYTES", 10_000)
    folder, said = exported.checkpoint("dinov2"), list[str]()
    (tmp_path / "file").write_text("no store can be here")
    with pytest.raises(StoreError, match="cannot publish mine"):
        _make(folder, tmp_path, "file", said)
    with pytest.raises(StoreError, match="cannot publish mine"):
        _make(folder, tmp_path, "file", said)
    assert "image: done before" in said
    said.clear()
    weights = next((tmp_path / "work").rglob("graph.onnx.data"))
    weights.write_bytes(bytes(weights.stat().st_size))
    _make(folder, tmp_path, "store", said)
    assert "image: exporting in fp32" in said
    verify(load_card("mine", [tmp_path / "store"]))


def test_a_graph_that_does_not_run_is_one_line(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime's errors are under no class of others."""

    def broken(_: Any, path: Path) -> None:
        path.write_bytes(b"no graph")

    monkeypatch.setattr(making, "write_onnx", broken)
    with pytest.raises(ModelError, match=r"^image cannot be compared with what was published: "):
        _make(exported.checkpoint("dinov2"), tmp_path, "store", [])


def test_weights_that_are_cut_off_are_one_line(exported: Exported, tmp_path: Path) -> None:
    """Errors of safetensors are under no class of others either."""
    import transformers

    folder = Path(shutil.copytree(exported.checkpoint("dinov2"), tmp_path / "dinov2"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=str(folder)):
        Checkpoint(folder).load(transformers.Dinov2Model)
