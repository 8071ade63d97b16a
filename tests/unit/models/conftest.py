"""A store with one small real model, built here, so that a test may break it in any way."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH, DIMENSION = 4, 6, 5


def build_small_graph() -> bytes:
    """An ONNX file: renders to unit vectors through one random matrix."""
    size = HEIGHT * WIDTH * 3
    matrix = np.random.default_rng(0).standard_normal((size, DIMENSION)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["rows"], axis=1),
        helper.make_node("MatMul", ["rows", "matrix"], ["raw"]),
        helper.make_node("LpNormalization", ["raw"], ["vectors"], axis=-1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", DIMENSION])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    opset = [helper.make_opsetid("", 18)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def write_small_card(store: Path) -> None:
    """Write small.toml beside small.onnx, with the file's true hash."""
    content = (store / "small.onnx").read_bytes()
    (store / "small.toml").write_text(
        f"""
name = "small"
family = "dino"
licence = "Apache-2.0"
summary = "A random matrix."
dimension = {DIMENSION}
[preprocessing]
mode = "squash"
height = {HEIGHT}
width = {WIDTH}
resample = "bilinear"
[files.image]
path = "small.onnx"
sha256 = "{hashlib.sha256(content).hexdigest()}"
bytes = {len(content)}
[graphs.image.inputs]
frames = {{ name = "frames", dtype = "uint8", shape = ["batch", {HEIGHT}, {WIDTH}, 3] }}
[graphs.image.outputs]
embeds = {{ name = "vectors", dtype = "float32", shape = ["batch", {DIMENSION}] }}
""",
        encoding="utf-8",
    )


@pytest.fixture
def small_store(tmp_path: Path) -> Path:
    """A folder with small.onnx and its card small.toml."""
    (tmp_path / "small.onnx").write_bytes(build_small_graph())
    write_small_card(tmp_path)
    return tmp_path
