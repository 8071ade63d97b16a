"""Weights of several graphs in one file are those of the graphs that were measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from data_miner_export.weights import share
from data_miner_models.errors import ModelError

WIDTH = 64
LARGE = np.random.default_rng(1).standard_normal((WIDTH, WIDTH)).astype(np.float32)


def _graph(path: Path, *, own: float, beside: bool = False) -> Path:
    """x @ LARGE + own, with its weights in it or beside it."""
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "large"], ["product"]),
                helper.make_node("Add", ["product", "own"], ["y"]),
            ],
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, WIDTH])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, WIDTH])],
            [
                numpy_helper.from_array(LARGE, "large"),
                numpy_helper.from_array(np.full(WIDTH, own, np.float32), "own"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(
        model,
        path,
        save_as_external_data=beside,
        location=f"{path.name}.data",
        size_threshold=0,
    )
    return path


@pytest.fixture
def graphs(tmp_path: Path) -> dict[Path, Path]:
    """Two with a large weight in common; from, to."""
    (tmp_path / "shared").mkdir()
    return {
        _graph(tmp_path / "a.onnx", own=1.0): tmp_path / "shared" / "a.onnx",
        _graph(tmp_path / "b.onnx", own=2.0, beside=True): tmp_path / "shared" / "b.onnx",
    }


def test_graphs_with_their_weights_in_one_file_say_the_same(graphs: dict[Path, Path]) -> None:
    """What they have in common lies in it once."""
    weights = next(iter(graphs.values())).with_name("weights.bin")
    share(graphs, weights)
    assert weights.stat().st_size == LARGE.nbytes
    given = {"x": LARGE[:1]}
    for source, target in graphs.items():
        before, after = (ort.InferenceSession(path).run(None, given) for path in (source, target))
        assert np.array_equal(before[0], after[0])


def test_a_weight_that_is_another_in_the_one_file_is_refused(
    graphs: dict[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those graphs are published, and nobody has measured them."""
    whole = external_data_helper.set_external_data

    def elsewhere(tensor: Any, location: str, offset: int, length: int) -> None:
        whole(tensor, location, offset + 4, length - 4)

    monkeypatch.setattr(external_data_helper, "set_external_data", elsewhere)
    weights = next(iter(graphs.values())).with_name("weights.bin")
    with pytest.raises(ModelError, match=r"a\.onnx: the weight large is not as in .*a\.onnx"):
        share(graphs, weights)


def test_a_graph_that_computes_something_else_beside_the_one_file_is_refused(
    graphs: dict[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are right, and that is not enough."""
    save = onnx.save

    def other(model: Any, path: Path) -> None:
        model.graph.node[1].op_type = "Sub"
        save(model, path)

    monkeypatch.setattr(onnx, "save", other)
    weights = next(iter(graphs.values())).with_name("weights.bin")
    with pytest.raises(ModelError, match=re.escape("what it computes is not as in")):
        share(graphs, weights)
