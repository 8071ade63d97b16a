"""What is wrong with an ONNX file of a user's own is said, with what to do about it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from data_miner_models.cards import BUNDLED, load_card, parse_card, verify
from data_miner_models.command import app
from data_miner_models.conformance import check

UINT8, INT64, FLOAT = TensorProto.UINT8, TensorProto.INT64, TensorProto.FLOAT
FRAMES = ["batch", 4, 6, 3]
_MATRIX = np.random.default_rng(0).standard_normal((72, 5)).astype(np.float32)
_CAST = [
    helper.make_node("Cast", ["frames"], ["pixels"], to=FLOAT),
    helper.make_node("Flatten", ["pixels"], ["rows"], axis=1),
    helper.make_node("MatMul", ["rows", "matrix"], ["raw"]),
]
_UNIT = helper.make_node("LpNormalization", ["raw"], ["vectors"], axis=-1, p=2)


def _file(
    folder: Path,
    nodes: Sequence[Any],
    frames: tuple[int, list[Any]] = (UINT8, FRAMES),
    outputs: Sequence[str] = ("vectors",),
    **constants: Any,
) -> Path:
    path = folder / "mine.onnx"
    graph = helper.make_graph(
        list(nodes),
        "mine",
        [helper.make_tensor_value_info("frames", *frames)],
        [helper.make_tensor_value_info(name, FLOAT, ["batch", 5]) for name in outputs],
        [numpy_helper.from_array(v, n) for n, v in {"matrix": _MATRIX, **constants}.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def test_the_bundled_text_side_conforms() -> None:
    """With what is found out about it."""
    report = check(BUNDLED / "tiny" / "text.onnx", "text-encoder")
    assert report.problems == []
    assert report.facts == {"length": 16, "dimension": 96}


def test_a_good_file_gets_the_lines_of_its_card(tmp_path: Path) -> None:
    """Put under a head they are a card that loads and verifies."""
    path = _file(tmp_path, [*_CAST, _UNIT])
    report = check(path, "image-encoder")
    assert report.problems == []
    assert report.facts == {"height": 4, "width": 6, "dimension": 5}
    head = (
        'name = "mine"\nfamily = "dino"\nlicence = "MIT"\nsummary = "Mine."\ndimension = 5\n'
        '[preprocessing]\nmode = "squash"\nheight = 4\nwidth = 6\nresample = "bilinear"\n'
    )
    (tmp_path / "mine.toml").write_text(head + report.card)
    card = load_card("mine", [tmp_path])
    assert parse_card(head + report.card, tmp_path / "mine.toml") == card


@pytest.mark.parametrize(
    ("nodes", "more", "words"),
    [
        ([*_CAST, _UNIT], {"frames": (FLOAT, FRAMES)}, "put the cast, the scaling by 255"),
        (
            [*_CAST, _UNIT],
            {"frames": (UINT8, ["batch", 3, 4, 6])},
            "put the transpose into the graph",
        ),
        ([*_CAST, _UNIT], {"frames": (UINT8, [1, 4, 6, 3])}, "with a free batch axis"),
        ([*_CAST, _UNIT], {"frames": (UINT8, ["batch", "h", "w", 3])}, "fixed height and width"),
        (
            [*_CAST, helper.make_node("Identity", ["raw"], ["vectors"])],
            {},
            "divide by the length in the graph",
        ),
        (
            [*_CAST, _UNIT, helper.make_node("Identity", ["raw"], ["again"])],
            {"outputs": ("vectors", "again")},
            "has 2 outputs (vectors, again)",
        ),
        (
            [*_CAST, helper.make_node("Log", ["minus"], ["nan"]),
             helper.make_node("Add", ["raw", "nan"], ["vectors"])],
            {"minus": np.array([-1], np.float32)},
            "vectors is not finite everywhere",
        ),
        (
            [*_CAST, helper.make_node("ReduceMean", ["raw", "axis"], ["mean"]),
             helper.make_node("Sub", ["raw", "mean"], ["centred"]),
             helper.make_node("LpNormalization", ["centred"], ["vectors"], axis=-1, p=2)],
            {"axis": np.array([0], np.int64)},
            "depends on what runs beside it",
        ),
        (
            [*_CAST, helper.make_node("Mul", ["raw", "none"], ["naught"]),
             helper.make_node("Add", ["naught", "same"], ["vectors"])],
            {"none": np.zeros(5, np.float32), "same": np.eye(5, dtype=np.float32)[0]},
            "are these weights trained?",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_to_do(
    tmp_path: Path, nodes: list[Any], more: dict[str, Any], words: str
) -> None:
    """One line for each thing, and no lines of a card."""
    report = check(_file(tmp_path, nodes, **more), "image-encoder")
    assert any(words in problem for problem in report.problems), report.problems
    assert report.card == ""


def test_a_text_encoder_takes_ids_alone() -> None:
    """An image side is none, and it is said why."""
    report = check(BUNDLED / "tiny" / "image.onnx", "text-encoder")
    assert any("ids are tensor(int64)" in problem for problem in report.problems)
    assert any("(prompts, LENGTH)" in problem for problem in report.problems)


def test_the_command_says_it_and_leaves_with_6(tmp_path: Path) -> None:
    """A missing file, one that is no graph, a wrong kind, a wrong and a right one."""
    runner = CliRunner()
    wrong = tmp_path / "no.onnx"
    wrong.write_bytes(b"no graph")
    right = _file(tmp_path, [*_CAST, _UNIT])

    missing = runner.invoke(app, ["check", str(tmp_path / "x.onnx"), "--as", "detector"])
    assert (missing.exit_code, "no such file" in missing.output) == (6, True)
    broken = runner.invoke(app, ["check", str(wrong), "--as", "detector"])
    assert (broken.exit_code, broken.output.count("\n")) == (6, 1)
    assert runner.invoke(app, ["check", str(right), "--as", "thing"]).exit_code == 2
    detector = runner.invoke(app, ["check", str(right), "--as", "detector"])
    assert detector.exit_code == 6
    assert "outputs boxes, class_embeds are missing; it has vectors" in detector.output
    good = runner.invoke(app, ["check", str(right), "--as", "image-encoder"])
    assert good.exit_code == 0
    assert good.output.startswith("# mine.onnx can be a model here as image-encoder: height 4")


HEAD = (
    'name = "mine"\nfamily = "{}"\nlicence = "MIT"\nsummary = "Mine."\ndimension = 5\n'
    '[preprocessing]\nmode = "squash"\nheight = 4\nwidth = 6\nresample = "bilinear"\n'
)


def test_weights_beside_the_file_are_among_the_lines(tmp_path: Path) -> None:
    """So that they are checked and travel with it; a card has a place for one such file."""
    path = _file(tmp_path, [*_CAST, _UNIT])
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="mine.data", size_threshold=0)
    report = check(path, "image-encoder")
    assert report.problems == []
    card = parse_card(HEAD.format("dino") + report.card, tmp_path / "mine.toml")
    assert card.files["weights"].path == "mine.data"
    verify(card)
    onnx.save(
        _two_matrices(onnx.load(path)),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=0,
    )
    (problem,) = check(path, "image-encoder").problems
    assert "its weights are in 2 files (again, matrix); a card names one" in problem


def _two_matrices(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.initializer.append(numpy_helper.from_array(_MATRIX, "again"))
    return model


def test_a_file_that_no_card_may_name_is_said(tmp_path: Path) -> None:
    """Not in lines that are no card."""
    path = _file(tmp_path, [*_CAST, _UNIT]).rename(tmp_path / "my model.onnx")
    report = check(path, "image-encoder")
    assert report.card == ""
    assert "no card may name a file 'my model.onnx'" in report.problems[0]


def test_a_detector_gets_lines_for_what_is_asked_of_it(tmp_path: Path) -> None:
    """Whatever else it gives, of any name and type; what is asked for must be float32."""
    nodes = [
        *_CAST,
        helper.make_node("Unsqueeze", ["raw", "one"], ["apart"]),
        helper.make_node("LpNormalization", ["apart"], ["class_embeds"], axis=-1, p=2),
        helper.make_node("Abs", ["class_embeds"], ["positive"]),
        helper.make_node("Slice", ["positive", "zero", "four", "two"], ["boxes"]),
        helper.make_node("ReduceSum", ["boxes", "two"], ["objectness"], keepdims=0),
        helper.make_node("Cast", ["raw"], ["head/out:0"], to=TensorProto.INT32),
    ]
    constants: dict[str, Any] = {
        name: np.array([value], np.int64)
        for name, value in {"zero": 0, "one": 1, "two": 2, "four": 4}.items()
    }
    outputs = ("class_embeds", "boxes", "objectness", "head/out:0")
    path = _file(tmp_path, nodes, outputs=outputs, **constants)
    model = onnx.load(path)
    shapes: list[list[Any]] = [["batch", 1, 5], ["batch", 1, 4], ["batch", 1], ["batch", 5]]
    for value, shape in zip(model.graph.output, shapes, strict=True):
        kind = TensorProto.INT32 if value.name == "head/out:0" else FLOAT
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shape))
    onnx.save(model, path)
    report = check(path, "detector")
    assert report.problems == []
    text = HEAD.format("dino").replace("dino", "open-vocabulary") + report.card
    graph = tomllib.loads(text)["graphs"]["image"]
    assert set(graph["outputs"]) == {"boxes", "class_embeds", "objectness"}

    model.graph.node[-1].output[0], model.graph.node[-2].output[0] = "objectness", "unused"
    model.graph.output[2].CopyFrom(
        helper.make_tensor_value_info("objectness", TensorProto.INT32, ["batch", 5])
    )
    del model.graph.output[3]
    onnx.save(model, path)
    assert "objectness is tensor(int32); expected tensor(float)" in check(path, "detector").problems
