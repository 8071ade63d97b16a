"""Models small enough to know by heart: they see the mean colour of a frame and nothing else.

`colour` compares frames with the words red, green and blue; `alike` says how alike two frames are,
cell by cell; `boxer` finds one box in the middle of every frame and names its colour; on a frame
that is all black it breaks.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

SIDE = 16
WORDS = ("nothing", "red", "green", "blue")
LENGTH = 3
SCALE, BIAS = 10.0, -5.0


def write_models(store: Path) -> None:
    """Put the cards colour, alike and boxer, with their files, into a folder."""
    store.mkdir(parents=True, exist_ok=True)
    (store / "words.json").write_text(_tokenizer(), encoding="utf-8")
    (store / "text.onnx").write_bytes(_text_graph())
    (store / "colour.onnx").write_bytes(_colour_graph())
    (store / "alike.onnx").write_bytes(_alike_graph())
    (store / "boxer.onnx").write_bytes(_boxer_graph())
    vectors = {"embeds": ("vectors", ["batch", 3])}
    words = {"tokenizer": "words.json", "text": "text.onnx"}
    _card(store, "colour", "siglip", 3, files={"image": "colour.onnx", **words}, outputs=vectors)
    alike = {"embeds": ("vectors", ["batch", 48])}
    _card(store, "alike", "dino", 48, files={"image": "alike.onnx"}, outputs=alike)
    found = {
        "boxes": ("boxes", ["batch", 1, 4]),
        "class_embeds": ("classes", ["batch", 1, 3]),
        "objectness": ("anything", ["batch", 1]),
    }
    _card(
        store, "boxer", "open-vocabulary", 3, files={"image": "boxer.onnx", **words}, outputs=found
    )


def _tokenizer() -> str:
    words = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token=WORDS[0])
    )
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.enable_padding(length=LENGTH, pad_id=0, pad_token=WORDS[0])
    words.enable_truncation(LENGTH)
    text: str = words.to_str()
    return text


def _model(nodes: list[Any], inputs: Any, outputs: list[Any], constants: dict[str, Any]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [inputs],
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=9)
    content: bytes = made.SerializeToString()
    return content


_FRAMES = helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])


def _output(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _mean_colour() -> list[Any]:
    """Nodes from `frames` to `colour`, a vector of length 1 that points to the mean colour."""
    return [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "plane"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "one"], ["positive"]),  # black has a direction as well
        helper.make_node("LpNormalization", ["positive"], ["colour"], axis=-1, p=2),
    ]


_MEAN = {"plane": np.array([1, 2], np.int64), "one": np.ones(3, np.float32)}


def _colour_graph() -> bytes:
    nodes = [*_mean_colour(), helper.make_node("Identity", ["colour"], ["vectors"])]
    return _model(nodes, _FRAMES, [_output("vectors", "batch", 3)], _MEAN)


def _alike_graph() -> bytes:
    """The mean colours of 4 x 4 cells, less the middle grey, as one vector of 48."""
    cell = SIDE // 4
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]
        ),
        helper.make_node("Flatten", ["cells"], ["flat"], axis=1),
        helper.make_node("Sub", ["flat", "grey"], ["raw"]),
        helper.make_node("LpNormalization", ["raw"], ["vectors"], axis=-1, p=2),
    ]
    grey = {"grey": np.full(48, 127.3, np.float32)}
    return _model(nodes, _FRAMES, [_output("vectors", "batch", 48)], grey)


def _text_graph() -> bytes:
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [1, LENGTH])
    table = np.array([[0.577, 0.577, 0.577], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    nodes = [
        helper.make_node("Gather", ["ids", "zero"], ["first"], axis=1),
        helper.make_node("Gather", ["table", "first"], ["raw"], axis=0),
        helper.make_node("LpNormalization", ["raw"], ["vectors"], axis=-1, p=2),
    ]
    constants = {"zero": np.array(0, np.int64), "table": table}
    return _model(nodes, ids, [_output("vectors", 1, 3)], constants)


def _boxer_graph() -> bytes:
    nodes = [
        *_mean_colour(),
        helper.make_node("Unsqueeze", ["colour", "axis"], ["classes"]),
        helper.make_node("MatMul", ["colour", "no4"], ["zeros4"]),
        helper.make_node("Add", ["zeros4", "middle"], ["box"]),
        helper.make_node("Unsqueeze", ["box", "axis"], ["boxes"]),
        helper.make_node("MatMul", ["colour", "no1"], ["zeros1"]),
        helper.make_node("Add", ["zeros1", "sure"], ["certain"]),
        # A table of one row: for a black frame the index is 1, which is an error.
        helper.make_node("ReduceMax", ["mean", "last"], ["brightest"], keepdims=1),
        helper.make_node("Equal", ["brightest", "black"], ["is_black"]),
        helper.make_node("Cast", ["is_black"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["nothing"], axis=0),
        helper.make_node("Add", ["certain", "nothing"], ["anything"]),
    ]
    constants = {
        **_MEAN,
        "axis": np.array([1], np.int64),
        "no4": np.zeros((3, 4), np.float32),
        "no1": np.zeros((3, 1), np.float32),
        "middle": np.array([0.5, 0.5, 0.5, 0.25], np.float32),
        "sure": np.array([6], np.float32),
        "last": np.array([-1], np.int64),
        "black": np.array(0, np.float32),
        "table": np.zeros(1, np.float32),
    }
    outputs = [
        _output("boxes", "batch", 1, 4),
        _output("classes", "batch", 1, 3),
        _output("anything", "batch", 1),
    ]
    return _model(nodes, _FRAMES, outputs, constants)


def _card(
    store: Path,
    name: str,
    family: str,
    dimension: int,
    *,
    files: dict[str, str],
    outputs: dict[str, tuple[str, list[Any]]],
) -> None:
    lines = [
        f'name = "{name}"',
        f'family = "{family}"',
        'licence = "Apache-2.0"',
        'summary = "For tests."',
        f"dimension = {dimension}",
        "[preprocessing]",
        'mode = "squash"',
        f"height = {SIDE}",
        f"width = {SIDE}",
        'resample = "bilinear"',
    ]
    if family != "dino":
        lines += ["[scoring]", f"scale = {SCALE}", f"bias = {BIAS}"]
    for role, file in files.items():
        content = (store / file).read_bytes()
        lines += [
            f"[files.{role}]",
            f'path = "{file}"',
            f'sha256 = "{hashlib.sha256(content).hexdigest()}"',
            f"bytes = {len(content)}",
        ]
    lines += [
        "[graphs.image.inputs]",
        _tensor("frames", "frames", "uint8", ["batch", SIDE, SIDE, 3]),
    ]
    lines.append("[graphs.image.outputs]")
    lines += [_tensor(role, tensor, "float32", shape) for role, (tensor, shape) in outputs.items()]
    if "text" in files:
        lines += ["[graphs.text.inputs]", _tensor("ids", "ids", "int64", [1, LENGTH])]
        lines += ["[graphs.text.outputs]", _tensor("embeds", "vectors", "float32", [1, 3])]
    (store / f"{name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tensor(role: str, name: str, dtype: str, shape: list[Any]) -> str:
    sizes = ", ".join(f'"{size}"' if isinstance(size, str) else str(size) for size in shape)
    return f'{role} = {{ name = "{name}", dtype = "{dtype}", shape = [{sizes}] }}'
