"""From a torch module to an ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from data_miner_models.cards import Graph
from data_miner_models.cards import Tensor as Described

OPSET: Final = 23
"""The first with an operator for attention, which runs a sixth faster on a CPU."""


class Normalise(nn.Module):
    """uint8 (N, H, W, 3) to float (N, 3, H, W), less the mean and divided by the deviation."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        scale = torch.tensor(deviation, dtype=torch.float32) * 255
        self.register_buffer("scale", 1 / scale)
        self.register_buffer("shift", -torch.tensor(mean, dtype=torch.float32) * 255 / scale)

    def forward(self, frames: Tensor) -> Tensor:
        """In single precision, whatever the model computes in."""
        return (frames.to(torch.float32) * self.scale + self.shift).permute(0, 3, 1, 2)


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1 along the last axis, in single precision."""
    wide = vectors.to(torch.float32)
    return wide / wide.norm(p=2, dim=-1, keepdim=True)


@dataclass(frozen=True)
class GraphSpec:
    """One graph of a model, ready to be exported.

    Attributes:
        role: the name of its file in the card.
        module: takes the inputs in the order of `graph` and gives a tuple of its outputs.
        reference: what the published model itself says to the same inputs, by output; another way
            through its code than `module` takes, or the comparison would prove nothing.
        example: inputs for a batch of this many; different ones for different seeds.
        graph: names, types and shapes; an axis with a name is free.
        batches: how many at once the graph is made for; empty where it takes one only.
    """

    role: str
    module: nn.Module
    reference: Callable[..., Mapping[str, Tensor]]
    example: Callable[[int, int], tuple[Tensor, ...]]
    graph: Graph
    batches: tuple[int, ...] = (1,)
    patches: Callable[[], contextlib.AbstractContextManager[None]] = field(
        default=contextlib.nullcontext
    )


INSIDE_BYTES: Final = 1_500_000_000
"""More weights than that lie beside their graph: a file of ONNX holds less than 2 GiB."""


def write_onnx(spec: GraphSpec, path: Path) -> None:
    """Trace the module and write it, with large weights in a file beside it.

    Raises what torch raises.
    """
    weights = sum(value.numel() * value.element_size() for value in spec.module.parameters())
    axes = _free_axes(spec.graph)
    with quiet(), spec.patches(), torch.no_grad():
        # Two of everything: an axis of one would be taken for a constant.
        program = torch.onnx.export(
            spec.module.eval(),
            spec.example(2 if len(spec.batches) > 1 else 1, 0),
            input_names=[tensor.name for tensor in spec.graph.inputs.values()],
            output_names=[tensor.name for tensor in spec.graph.outputs.values()],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=axes,
            optimize=True,
            verbose=False,
        )
        program.save(path, external_data=weights > INSIDE_BYTES)


def count_flops(spec: GraphSpec) -> float:
    """Operations that one input takes; matrix products, convolutions and attention count."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        spec.module.eval()(*spec.example(1, 0))
    return float(counter.get_total_flops())


def _free_axes(graph: Graph) -> tuple[Mapping[int, torch.export.Dim], ...]:
    known: dict[str, torch.export.Dim] = {}
    return tuple(
        {
            axis: known.setdefault(size, torch.export.Dim(size, min=1, max=4096))
            for axis, size in enumerate(tensor.shape)
            if isinstance(size, str)
        }
        for tensor in graph.inputs.values()
    )


def described(name: str, dtype: str, *shape: int | str) -> Described:
    """Short for an input or output of a graph."""
    return Described(name, dtype, shape)  # type: ignore[arg-type]  # one of the three


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Exporter and quantiser talk of their own steps, in logs and on stdout."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
