"""What an export goes on with after a kill or a power loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_miner_export.finished import finish, finished

FIGURES = {"cosine": 1e-7}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Of a graph whose weights lie beside it."""
    (tmp_path / "graph.onnx").write_bytes(b"graph")
    (tmp_path / "graph.onnx.data").write_bytes(b"weights")
    return tmp_path / "graph.json"


def test_a_graph_with_all_its_files_is_gone_on_with(record: Path) -> None:
    """With the differences that were measured."""
    assert finished(record) is None
    finish(record, FIGURES)
    assert finished(record) == FIGURES


@pytest.mark.parametrize("name", ["graph.onnx", "graph.onnx.data"])
def test_a_graph_is_made_again_when_any_of_its_bytes_is_another(record: Path, name: str) -> None:
    """After a power loss a file may have its length and no content; or it is gone."""
    finish(record, FIGURES)
    path = record.with_name(name)
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    assert finished(record) is None
    path.unlink()
    assert finished(record) is None
    path.write_bytes(whole)
    assert finished(record) == FIGURES


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": {}, "parity": {}}', "\x00\x00"])
def test_a_record_that_says_nothing_is_none(record: Path, text: str) -> None:
    """The graph is made again."""
    record.write_text(text)
    assert finished(record) is None
