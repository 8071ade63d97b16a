"""How far a graph is from the published model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from data_miner_export.graph import GraphSpec
from data_miner_export.precision import Precision
from data_miner_models.errors import ModelError

Array = NDArray[np.float64]
Measured = Mapping[str, float]

LIMITS: Final[Mapping[Precision, Mapping[str, float]]] = {
    "fp32": {"cosine": 1e-6, "pixels": 0.5, "score": 1e-3, "line": 1e-3},
    "fp16": {"cosine": 1e-3, "pixels": 2.0, "score": 1e-2, "line": 2e-2},
    "int8": {"cosine": 2e-2, "pixels": 8.0, "score": 5e-2, "line": 1e-1},
}
"""1 - cosine of vectors; pixels of a box's corners in the render; probabilities; shift and scale
of logits, relative to their size."""
_ALIKE: Final = 0.9999
"""Cosine of different inputs' vectors above which a comparison would show nothing."""


_RANKED: Final = 0.02
"""Share of boxes that may differ where queries stand in the order of proposals' scores: each gets a
learnt vector by its place, so two scores that are equal but for the last bit change two boxes. The
published code differs so from itself: of 900 boxes 8, by up to 32 pixels, for noise of 1e-6."""


def measure(spec: GraphSpec, path: Path, *, batches: tuple[int, ...] = ()) -> Measured:
    """The largest differences over several batches of inputs that the export did not see.

    Raises ModelError where the published model itself says the same to different inputs.
    """
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst: dict[str, float] = {}
    for count in batches or spec.batches:
        inputs = spec.example(count, count)
        with torch.no_grad():
            expected = {
                role: value.to(torch.float64).numpy()
                for role, value in spec.reference(*inputs).items()
            }
        names = [tensor.name for tensor in spec.graph.inputs.values()]
        feeds = dict(zip(names, (value.numpy() for value in inputs), strict=True))
        outputs = {role: tensor.name for role, tensor in spec.graph.outputs.items()}
        found = session.run(list(outputs.values()), feeds)
        got = {
            role: np.asarray(value, np.float64) for role, value in zip(outputs, found, strict=True)
        }
        for name, value in _differences(spec, expected, got).items():
            worst[name] = max(worst.get(name, 0.0), value)
    return worst


def check(role: str, precision: Precision, measured: Measured) -> None:
    """Raise ModelError where a difference is larger than this precision may cause."""
    for name, value in measured.items():
        limit = LIMITS[precision][name]
        if not value <= limit:
            raise ModelError(
                f"{role} in {precision} is not what was published: {name} differs by {value:.3g}, "
                f"at most {limit:g} is allowed; nothing was published"
            )


def _differences(
    spec: GraphSpec, expected: Mapping[str, Array], got: Mapping[str, Array]
) -> Measured:
    for role, value in got.items():
        if value.shape != expected[role].shape:
            raise ModelError(f"{spec.role}: {role} is {value.shape}, not {expected[role].shape}")
        if not np.isfinite(value).all():
            raise ModelError(f"{spec.role}: {role} is not finite everywhere")
    if "logits" in expected:
        return matched(spec.role, _side(spec), expected, got)
    result: dict[str, float] = {}
    for role in expected:
        if role.endswith("embeds"):
            _refuse_alike(spec, expected[role])
            gap = float(np.max(1 - np.sum(expected[role] * got[role], axis=-1)))
            result["cosine"] = max(result.get("cosine", 0.0), gap)
        elif role == "boxes":
            result["pixels"] = float(np.max(np.abs(_corners(expected[role] - got[role])))) * _side(
                spec
            )
        elif role == "objectness":
            result["score"] = float(np.max(np.abs(_chance(expected[role]) - _chance(got[role]))))
        else:
            size = float(np.max(np.abs(expected[role]))) or 1.0
            gap = float(np.max(np.abs(expected[role] - got[role]))) / size
            result["line"] = max(result.get("line", 0.0), gap)
    return result


def matched(
    role: str, side: float, expected: Mapping[str, Array], got: Mapping[str, Array]
) -> Measured:
    """Boxes have no order: each expected one is compared with the nearest that is still free.

    Args:
        role: of the graph, for a person.
        side: longer side of the pictures, in pixels.
        expected: "boxes" (N, Q, 4), as centre and size in shares of the picture, and "logits"
            (N, Q, T), of the published model.
        got: the same of the graph.
    """
    pixels: list[float] = []
    scores: list[float] = []
    for boxes, logits, own_boxes, own_logits in zip(
        expected["boxes"], expected["logits"], got["boxes"], got["logits"], strict=True
    ):
        chances, own_chances = _chance(logits), _chance(own_logits)
        if np.ptp(chances.max(-1)) < 1e-4:
            raise ModelError(f"{role}: all boxes score alike; this comparison shows nothing")
        apart = np.abs(_corners(boxes)[:, None] - _corners(own_boxes)[None]).max(-1)
        cost = apart + np.abs(chances[:, None] - own_chances[None]).max(-1)
        free = np.ones(len(cost), bool)
        for row in np.argsort(cost.min(axis=1)):
            column = int(np.argmin(np.where(free, cost[row], np.inf)))
            free[column] = False
            pixels.append(float(apart[row, column]) * side)
            scores.append(float(np.abs(chances[row] - own_chances[column]).max()))
    last = len(pixels) - 1 - int(_RANKED * len(pixels))
    return {"pixels": sorted(pixels)[last], "score": sorted(scores)[last]}


def _refuse_alike(spec: GraphSpec, vectors: Array) -> None:
    rows = vectors.reshape(-1, vectors.shape[-1])[:64]
    if len(rows) > 1:
        cosines = rows @ rows.T
        if np.min(cosines) > _ALIKE:
            raise ModelError(
                f"{spec.role}: the published model gives all inputs the same vector; "
                "are these weights trained?"
            )


def _side(spec: GraphSpec) -> float:
    shape: Any = spec.graph.inputs["frames"].shape
    return float(max(shape[1], shape[2]))


def _corners(boxes: Array) -> Array:
    """From centre and size."""
    return np.concatenate(
        [boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], axis=-1
    )


def _chance(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))), np.float64)
