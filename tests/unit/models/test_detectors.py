"""The two kinds of detectors, on graphs that are built here and whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from data_miner_models.card_text import card_text
from data_miner_models.cards import Graph, ModelCard, ModelFile, Tensor, load_card
from data_miner_models.errors import ModelError
from data_miner_models.open_detector import open_detector
from data_miner_models.preprocessing import Preprocessing
from data_miner_models.split_detector import SplitDetector
from data_miner_models.store import describe

WORDS = ["[UNK]", "[CLS]", "[SEP]", ".", "?", "cat", "dog", "red", "bird"]
ID = {word: number for number, word in enumerate(WORDS)}
CANVASES = ((9, 16), (16, 9), (12, 16), (16, 12))
UINT8, INT64, FLOAT = TensorProto.UINT8, TensorProto.INT64, TensorProto.FLOAT


def _save(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    **constants: Any,
) -> None:
    graph = helper.make_graph(
        list(nodes),
        path.stem,
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def _tokenizer(path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel(ID, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(path))


def _write(folder: Path, card: dict[str, Any], names: dict[str, str]) -> ModelCard:
    files = {}
    for role, name in names.items():
        digest, size = describe(folder / name)
        files[role] = ModelFile(name, digest, size)
    made = ModelCard(
        licence="Apache-2.0", summary="Known answers.", folder=folder, files=files, **card
    )
    (folder / f"{made.name}.toml").write_text(card_text(made))
    return load_card(made.name, [folder])


@pytest.fixture
def grounded(tmp_path: Path) -> ModelCard:
    """Box q lies at column q; its logit for a token is that token's id plus the picture's mean
    brightness, less 100 where q is odd."""
    boxes = [[[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]]]
    names = {"tokenizer": "tokenizer.json"}
    graphs = {}
    _tokenizer(tmp_path / "tokenizer.json")
    for height, width in CANVASES:
        role = f"image-{height}x{width}"
        nodes = [
            helper.make_node("Cast", ["frames"], ["pixels"], to=FLOAT),
            helper.make_node("ReduceSum", ["pixels"], ["light"], keepdims=0),
            helper.make_node("Mul", ["sizes", "ones"], ["spots"]),
            helper.make_node("ReduceProd", ["spots"], ["area"], keepdims=0),
            helper.make_node("Cast", ["area"], ["surface"], to=FLOAT),
            helper.make_node("Div", ["light", "surface"], ["mean"]),
            helper.make_node("Cast", ["ids"], ["values"], to=FLOAT),
            helper.make_node("Add", ["values", "mean"], ["bright"]),
            helper.make_node("Unsqueeze", ["bright", "axis"], ["row"]),
            helper.make_node("Add", ["row", "less"], ["logits"]),
            helper.make_node("Identity", ["where"], ["boxes"]),
            helper.make_node("Add", ["phrases", "positions"], ["unused"]),
        ]
        _save(
            tmp_path / f"{role}.onnx",
            nodes,
            [
                ("frames", UINT8, [1, height, width, 3]),
                ("sizes", INT64, [1, 2]),
                ("ids", INT64, [1, "tokens"]),
                ("phrases", INT64, [1, "tokens"]),
                ("positions", INT64, [1, "tokens"]),
            ],
            [
                ("boxes", FLOAT, [1, 2, 4]),
                ("logits", FLOAT, [1, 2, "tokens"]),
                ("unused", INT64, [1, "tokens"]),
            ],
            where=np.array(boxes, np.float32),
            less=np.array([[[-10.0], [-100.0]]], np.float32),
            ones=np.array([[1, 3]], np.int64),
            axis=np.array([1], np.int64),
        )
        names[role] = f"{role}.onnx"
        row = ("int64", (1, "tokens"))
        graphs[role] = Graph(
            {
                "frames": Tensor("frames", "uint8", (1, height, width, 3)),
                "sizes": Tensor("sizes", "int64", (1, 2)),
                "ids": Tensor("ids", *row),  # type: ignore[arg-type]
                "phrases": Tensor("phrases", *row),  # type: ignore[arg-type]
                "positions": Tensor("positions", *row),  # type: ignore[arg-type]
            },
            {
                "boxes": Tensor("boxes", "float32", (1, 2, 4)),
                "logits": Tensor("logits", "float32", (1, 2, "tokens")),
            },
        )
    card = {
        "name": "known",
        "family": "grounded",
        "preprocessing": Preprocessing("shortest-side", 12, 16, "bilinear"),
        "graphs": graphs,
        "dimension": 1,
    }
    return _write(tmp_path, card, names)


def _chance(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


@pytest.mark.parametrize("size", [(90, 160), (160, 90), (100, 100), (30, 120)])
def test_boxes_come_back_in_pixels_whatever_the_canvas(
    grounded: ModelCard, size: tuple[int, int]
) -> None:
    """The left half of the picture; its brightness is that of the picture, not of the canvas."""
    detector = open_detector(grounded, provider="cpu")
    found = detector(np.full((*size, 3), 1, np.uint8), ["cat", "red dog"], 0.1)
    assert found.boxes_xyxy.tolist() == [[0, 0, size[1] / 2, size[0]]]
    # The best token of the prompt counts: red. The cat has less than asked for.
    assert found.scores == pytest.approx([_chance(7 + 1 - 10)], abs=1e-6)
    assert found.labels.tolist() == [1]


def test_more_prompts_than_fit_are_read_in_turns(grounded: ModelCard) -> None:
    """Each prompt is asked for once, whatever caption it is in."""
    prompts = ["cat " * 100, "dog " * 100, "bird " * 100, "red"]
    detector = open_detector(grounded, provider="cpu")
    found = detector(np.full((90, 160, 3), 9, np.uint8), prompts, 0.5)
    assert sorted(found.labels.tolist()) == [0, 1, 2, 3]
    assert found.labels[0] == 2


def test_a_prompt_that_cannot_be_read_is_said(grounded: ModelCard) -> None:
    """With the model's name; no prompts at all find nothing."""
    detector = open_detector(grounded, provider="cpu")
    frame = np.zeros((90, 160, 3), np.uint8)
    with pytest.raises(ModelError, match=r"model known: prompt '\.' has no words"):
        detector(frame, ["cat", "."], 0.5)
    assert len(detector(frame, [], 0.0)) == 0


@pytest.fixture
def split(tmp_path: Path) -> ModelCard:
    """Two boxes with the vectors (1, 0) and (0, 1), shift .5 and -.5, scale 2 and 4; the second
    is the one that stands out. A prompt's vector is that of its word: cat (1, 0), dog (0, 1)."""
    flat = {"shift": [[0.5, -0.5]], "scale": [[2.0, 4.0]], "objectness": [[-1.0, 3.0]]}
    boxes = np.array([[[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5]]], np.float32)
    vectors = np.array([[[1, 0], [0, 1]]], np.float32)
    roles = {"boxes": boxes, "class_embeds": vectors} | {
        name: np.array(value, np.float32) for name, value in flat.items()
    }
    shapes = {name: ("batch", *value.shape[1:]) for name, value in roles.items()}
    nodes = [
        helper.make_node("Shape", ["frames"], ["all"]),
        helper.make_node("Slice", ["all", "zero", "one"], ["batch"]),
    ]
    for name, value in roles.items():
        nodes += [
            helper.make_node("Concat", ["batch", f"rest_{name}"], [f"shape_{name}"], axis=0),
            helper.make_node("Expand", [f"value_{name}", f"shape_{name}"], [name]),
        ]
        assert value.shape[0] == 1
    _save(
        tmp_path / "image.onnx",
        nodes,
        [("frames", UINT8, ["batch", 32, 32, 3])],
        [(name, FLOAT, list(shape)) for name, shape in shapes.items()],
        zero=np.array([0], np.int64),
        one=np.array([1], np.int64),
        **{f"value_{name}": value for name, value in roles.items()},
        **{f"rest_{name}": np.array(value.shape[1:], np.int64) for name, value in roles.items()},
    )
    table = np.zeros((len(WORDS), 2), np.float32)
    table[ID["cat"]], table[ID["dog"]] = (1, 0), (0, 1)
    _save(
        tmp_path / "text.onnx",
        [
            helper.make_node("Gather", ["table", "ids"], ["found"]),
            helper.make_node("Squeeze", ["found", "axis"], ["vectors"]),
        ],
        [("ids", INT64, ["prompts", 1])],
        [("vectors", FLOAT, ["prompts", 2])],
        table=table,
        axis=np.array([1], np.int64),
    )
    _tokenizer(tmp_path / "tokenizer.json")
    card = {
        "name": "owl",
        "family": "open-vocabulary",
        "preprocessing": Preprocessing("pad", 32, 32, "gaussian"),
        "graphs": {
            "image": Graph(
                {"frames": Tensor("frames", "uint8", ("batch", 32, 32, 3))},
                {name: Tensor(name, "float32", shape) for name, shape in shapes.items()},
            ),
            "text": Graph(
                {"ids": Tensor("ids", "int64", ("prompts", 1))},
                {"embeds": Tensor("vectors", "float32", ("prompts", 2))},
            ),
        },
        "dimension": 2,
    }
    names = {"image": "image.onnx", "text": "text.onnx", "tokenizer": "tokenizer.json"}
    return _write(tmp_path, card, names)


def test_each_box_shifts_and_scales_its_own_cosine(split: ModelCard) -> None:
    """sigmoid((cosine + shift) * scale); boxes are scaled by the longer side of the picture."""
    detector = open_detector(split, provider="cpu")
    found = detector(np.zeros((100, 200, 3), np.uint8), ["cat", "dog"], 0.0)
    rows = {
        (label, tuple(box)): score
        for label, box, score in zip(
            found.labels.tolist(), found.boxes_xyxy.tolist(), found.scores.tolist(), strict=True
        )
    }
    left, right = (0.0, 0.0, 100.0, 100.0), (100.0, 0.0, 200.0, 100.0)
    assert rows == pytest.approx(
        {
            (0, left): _chance(1.5 * 2),
            (0, right): _chance(-0.5 * 4),
            (1, left): _chance(0.5 * 2),
            (1, right): _chance(0.5 * 4),
        }
    )


def test_an_example_stands_for_a_prompt(split: ModelCard) -> None:
    """What stands out most, or what its box shows."""
    detector = SplitDetector(split, provider="cpu")
    frame = np.zeros((100, 200, 3), np.uint8)
    assert detector.example(frame).tolist() == [0, 1]
    assert detector.example(frame, (10, 10, 80, 80)).tolist() == [1, 0]
    with pytest.raises(ModelError, match="nothing is seen in the example's box"):
        detector.example(np.zeros((200, 200, 3), np.uint8), (10, 150, 80, 180))
    found = detector.like(frame, np.array([[1, 0]], np.float32), 0.9)
    assert found.boxes_xyxy.tolist() == [[0, 0, 100, 100]]


@pytest.mark.parametrize("family", ["siglip", "dino"])
def test_a_model_without_boxes_is_refused(family: str) -> None:
    """By the name of its family."""
    with pytest.raises(ModelError, match=f"family {family} finds no boxes"):
        open_detector(load_card(f"tiny-{family}"))
