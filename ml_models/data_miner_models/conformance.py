"""Whether an ONNX file of a user's own can be a model here, and what is wrong if not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from data_miner_models.card_text import file_text, graph_text
from data_miner_models.cards import PATH, Graph, ModelFile, Tensor
from data_miner_models.errors import ModelError
from data_miner_models.external import external_files
from data_miner_models.golden import drawn
from data_miner_models.runtime import open_file
from data_miner_models.store import describe

Kind = Literal["image-encoder", "text-encoder", "detector"]
Values = Mapping[str, NDArray[Any]]
_ALIKE: Final = 0.9999
_UNIT: Final = 1e-3
_BATCHES: Final = (1, 3, 8)


@dataclass
class Report:
    """What was found.

    Attributes:
        problems: what is wrong and what to do, a line each; empty means that the file conforms.
        facts: what was found out.
        card: the lines of a card that describe the file; empty where there are problems.
    """

    problems: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    card: str = ""


def check(path: Path, kind: Kind) -> Report:
    """Run the file on a CPU with inputs of several batch sizes and look at what it gives.

    Raises ModelError where the file is no ONNX graph that can be loaded.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    session = open_file(path)
    report = Report()
    beside = external_files(path)
    _names_of_files(path.name, beside, report)
    looks = {"text-encoder": _text, "image-encoder": _image, "detector": _detector}
    try:
        looks[kind](session, report)
    except _StopError as error:
        report.problems.append(str(error))
    if not report.problems:
        role, given = _ROLES[kind]
        outputs = {
            _OUTPUTS.get(kind, node.name): _described(node)
            for node in session.get_outputs()
            if kind != "detector" or node.name in _FOUND
        }
        graph = Graph({given: _described(session.get_inputs()[0])}, outputs)
        files = [(role, path.name), *(("weights", name) for name in beside)]
        report.card = "".join(
            file_text(each, ModelFile(name, *describe(path.parent / name))) for each, name in files
        ) + graph_text(role, graph)
    return report


def _names_of_files(name: str, beside: tuple[str, ...], report: Report) -> None:
    for each in (name, *beside):
        if not re.fullmatch(PATH, each):
            report.problems.append(
                f"no card may name a file {each!r}: letters, digits, dots, hyphens and underscores"
            )
    if len(beside) > 1:
        report.problems.append(
            f"its weights are in {len(beside)} files ({', '.join(beside)}); a card names one: "
            "save it with onnx.save(..., all_tensors_to_one_file=True)"
        )


_ROLES: Final[Mapping[Kind, tuple[str, str]]] = {
    "image-encoder": ("image", "frames"),
    "text-encoder": ("text", "ids"),
    "detector": ("image", "frames"),
}
_OUTPUTS: Final[Mapping[Kind, str]] = {"image-encoder": "embeds", "text-encoder": "embeds"}
_FOUND: Final = frozenset({"boxes", "class_embeds", "shift", "scale", "objectness"})
"""What a detector may give; what else is in the file is not asked for."""
_TYPES: Final = {"tensor(uint8)": "uint8", "tensor(int64)": "int64", "tensor(float)": "float32"}


def _described(node: Any) -> Tensor:
    shape = tuple(
        size if isinstance(size, int) else str(size or f"axis_{axis}")
        for axis, size in enumerate(node.shape)
    )
    return Tensor(node.name, _TYPES[node.type], shape)  # type: ignore[arg-type]  # one of three


def _image(session: Any, report: Report) -> None:
    size = _frames_input(session, report)
    outputs = session.get_outputs()
    if len(outputs) != 1:
        report.problems.append(
            f"it has {len(outputs)} outputs ({_names(outputs)}); an image encoder has one vector"
        )
        return
    if size and _vector_output(outputs[0], report):
        height, width = size
        _vectors(session, report, lambda count: {_name(session): _frames(count, height, width)})


def _text(session: Any, report: Report) -> None:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        report.problems.append(
            f"it has {len(inputs)} inputs ({_names(inputs)}); a text encoder has one, the ids: "
            "what else it needs must be computed from them inside the graph"
        )
        return
    shape = inputs[0].shape
    if inputs[0].type != "tensor(int64)":
        report.problems.append(f"{inputs[0].name} is {inputs[0].type}; ids are tensor(int64)")
    if len(shape) != 2 or isinstance(shape[0], int) or not isinstance(shape[1], int):
        report.problems.append(
            f"{inputs[0].name} has shape {_spell(shape)}; expected (prompts, LENGTH) with a free "
            "number of prompts and a fixed number of ids"
        )
    outputs = session.get_outputs()
    if len(outputs) != 1:
        report.problems.append(
            f"it has {len(outputs)} outputs ({_names(outputs)}); a text encoder has one, the vector"
        )
    if report.problems or not _vector_output(outputs[0], report):
        return
    report.facts["length"] = shape[1]

    def ids(count: int) -> Values:
        noise = np.random.default_rng(0)
        return {inputs[0].name: noise.integers(1, 50, (count, shape[1]), dtype=np.int64)}

    _vectors(session, report, ids)


def _detector(session: Any, report: Report) -> None:
    size = _frames_input(session, report)
    by_name = {output.name: output for output in session.get_outputs()}
    needed = {"boxes", "class_embeds"}
    missing = sorted(needed - set(by_name))
    if missing:
        report.problems.append(
            f"outputs {', '.join(missing)} are missing; it has {_names(session.get_outputs())}; "
            "boxes are (batch, N, 4), class_embeds (batch, N, D)"
        )
    if not ({"shift", "scale"} <= set(by_name) or "objectness" in by_name):
        report.problems.append(
            "it has neither shift and scale, (batch, N) each, for sigmoid((cosine + shift) * "
            "scale), nor objectness, (batch, N)"
        )
    for name in sorted(_FOUND & set(by_name)):
        if by_name[name].type != "tensor(float)":
            report.problems.append(f"{name} is {by_name[name].type}; expected tensor(float)")
    if report.problems or size is None:
        return
    height, width = size
    found = _run(session, {_name(session): _frames(2, height, width)})
    boxes, vectors = found["boxes"], found["class_embeds"]
    if boxes.ndim != 3 or boxes.shape[2] != 4:
        report.problems.append(f"boxes came as {boxes.shape}; expected (batch, N, 4)")
        return
    if boxes.min() < -0.5 or boxes.max() > 1.5:
        report.problems.append(
            f"boxes go from {boxes.min():.3g} to {boxes.max():.3g}; centre and size are expected "
            "as shares of the render, 0 to 1: divide pixels by its width and height"
        )
    if vectors.shape[:2] != boxes.shape[:2]:
        report.problems.append(
            f"class_embeds came as {vectors.shape} for {boxes.shape[1]} boxes; one each is needed"
        )
    elif not _are_unit(vectors):
        report.problems.append(_unit_advice("class_embeds", vectors))
    report.facts |= {"dimension": int(vectors.shape[-1]), "boxes": int(boxes.shape[1])}
    if np.array_equal(boxes[0], boxes[1]) and np.array_equal(vectors[0], vectors[1]):
        report.problems.append("two different pictures give the same boxes and vectors")


def _frames_input(session: Any, report: Report) -> tuple[int, int] | None:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        report.problems.append(
            f"it has {len(inputs)} inputs ({_names(inputs)}); expected frames alone"
        )
        return None
    one, shape = inputs[0], inputs[0].shape
    if one.type != "tensor(uint8)":
        report.problems.append(
            f"{one.name} is {one.type}; frames are tensor(uint8): put the cast, the scaling by 255 "
            "and the normalisation into the graph"
        )
    if len(shape) == 4 and shape[1] == 3 and shape[3] != 3:
        report.problems.append(
            f"{one.name} has shape {_spell(shape)}, colours first; frames are (batch, HEIGHT, "
            "WIDTH, 3): put the transpose into the graph"
        )
    elif len(shape) != 4 or shape[3] != 3 or not all(isinstance(n, int) for n in shape[1:]):
        report.problems.append(
            f"{one.name} has shape {_spell(shape)}; expected (batch, HEIGHT, WIDTH, 3) with fixed "
            "height and width"
        )
    elif isinstance(shape[0], int):
        report.problems.append(
            f"{one.name} takes {shape[0]} frames at a time; export it with a free batch axis"
        )
    if report.problems:
        return None
    report.facts |= {"height": shape[1], "width": shape[2]}
    return int(shape[1]), int(shape[2])


def _vector_output(output: Any, report: Report) -> bool:
    if output.type != "tensor(float)" or len(output.shape) != 2:
        report.problems.append(
            f"{output.name} is {output.type} {_spell(output.shape)}; expected float32 (batch, D)"
        )
        return False
    return True


def _vectors(session: Any, report: Report, feeds: Callable[[int], Values]) -> None:
    """Of any batch size, finite, of length 1, different, and not touched by what runs beside."""
    name = session.get_outputs()[0].name
    whole: NDArray[Any] | None = None
    for count in reversed(_BATCHES):
        vectors = _run(session, feeds(count))[name]
        if vectors.shape[0] != count:
            report.problems.append(f"{count} inputs gave {vectors.shape[0]} vectors")
            return
        if whole is None:
            whole = vectors
        elif not np.allclose(vectors, whole[:count], atol=1e-4):
            apart = float(np.abs(vectors - whole[:count]).max())
            report.problems.append(
                f"a vector depends on what runs beside it (by {apart:.2g}): no statistics over the "
                "batch may be in the graph"
            )
            return
    assert whole is not None
    report.facts["dimension"] = int(whole.shape[1])
    if not _are_unit(whole):
        report.problems.append(_unit_advice(name, whole))
        return
    if float(np.min(whole @ whole.T)) > _ALIKE:
        report.problems.append("different inputs give the same vector: are these weights trained?")


class _StopError(Exception):
    """Something is so wrong that nothing more can be found out."""


def _run(session: Any, feeds: Values) -> dict[str, NDArray[Any]]:
    names = [output.name for output in session.get_outputs()]
    count = len(next(iter(feeds.values())))
    try:
        values = session.run(names, dict(feeds))
    except Exception as error:
        # ONNX Runtime has no public base class for what it raises.
        words = " ".join(str(error).split())[:200]
        raise _StopError(f"it does not run with {count} inputs: {words}") from error
    found = dict(zip(names, values, strict=True))
    for name, value in found.items():
        if not np.isfinite(value).all():
            raise _StopError(f"{name} is not finite everywhere")
    return found


def _are_unit(vectors: NDArray[Any]) -> bool:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1)
    return bool(np.all(np.abs(lengths - 1) < _UNIT))


def _unit_advice(name: str, vectors: NDArray[Any]) -> str:
    longest = float(np.linalg.norm(vectors.astype(np.float64), axis=-1).max())
    return f"{name} has vectors of length up to {longest:.3g}; divide by the length in the graph"


def _frames(count: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.stack([drawn(number, height, width) for number in range(count)])


def _name(session: Any) -> str:
    return str(session.get_inputs()[0].name)


def _names(nodes: list[Any]) -> str:
    return ", ".join(node.name for node in nodes) or "none"


def _spell(shape: Any) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"
