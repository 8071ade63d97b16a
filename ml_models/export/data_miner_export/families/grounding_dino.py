"""GroundingDINO and its kin: a picture and all prompts go through the network together.

Its pictures keep their aspect, so a graph is made for each of a few sizes; a picture runs through
the smallest that takes it in, with the rest masked as the published processor masks a batch.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from data_miner_export.checkpoint import Checkpoint, Parts
from data_miner_export.graph import GraphSpec, Normalise, described
from data_miner_models.cards import Graph
from data_miner_models.errors import ModelError
from data_miner_models.preprocessing import Preprocessing

ASPECTS: Final = ((9, 16), (16, 9))
"""Of pictures that get a graph of exactly their size; others share one for each orientation."""
_MASKS: Final = "generate_masks_with_special_tokens_and_transfer_map"
_EXAMPLE_TOKENS: Final = 9


class _Image(nn.Module):
    def __init__(self, model: Any, normalise: Normalise) -> None:
        super().__init__()
        self.normalise, self.model = normalise, model

    def forward(
        self, frames: Tensor, sizes: Tensor, ids: Tensor, phrases: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`sizes` are heights and widths of the pictures; tokens of one phrase see each other."""
        seen = _seen(frames, sizes)
        pixels = self.normalise(frames) * seen[:, None].to(torch.float32)
        sees = phrases[:, :, None] == phrases[:, None, :]
        with _given(self.model, sees, positions):
            found = self.model(
                pixel_values=pixels.to(next(self.model.parameters()).dtype),
                pixel_mask=seen.to(torch.int64),
                input_ids=ids,
            )
        # Behind the tokens there is only filling.
        return found.pred_boxes.to(torch.float32), found.logits[..., : ids.shape[1]].to(
            torch.float32
        )


def parts(checkpoint: Checkpoint) -> Parts:
    """One network for pictures and words, in several sizes."""
    from transformers import AutoModelForZeroShotObjectDetection  # noqa: PLC0415  # seconds

    model = checkpoint.load(AutoModelForZeroShotObjectDetection)
    preprocessing, mean, deviation = checkpoint.preprocessing()
    if preprocessing.mode != "shortest-side":
        raise ModelError(f"{checkpoint.folder}: the processor does not keep the aspect")
    normalise = Normalise(mean, deviation)
    return Parts(
        family="grounded",
        graphs=tuple(
            _graph(checkpoint, model, normalise, role, size)
            for role, size in _sizes(preprocessing).items()
        ),
        preprocessing=preprocessing,
        dimension=model.config.d_model,
        tokenizer=checkpoint.tokenizer(),
        # Which proposals it goes on with hangs on differences that half precision loses: boxes
        # moved by ten pixels in a hundred and sixty.
        halves=False,
    )


def _graph(
    checkpoint: Checkpoint, model: Any, normalise: Normalise, role: str, size: tuple[int, int]
) -> GraphSpec:
    height, width = size
    queries = model.config.num_queries
    special = torch.tensor([101, 102, 1012, 1029])

    def example(count: int, seed: int) -> tuple[Tensor, ...]:
        # The first fills the canvas, others do not.
        used = (height, width) if seed == 0 else (height - height // 8, width - width // 5)
        frames = torch.zeros((count, height, width, 3), dtype=torch.uint8)
        frames[:, : used[0], : used[1]] = checkpoint.frames(count, *used, seed)
        tokens = _EXAMPLE_TOKENS + seed
        ids = checkpoint.ids(count, tokens, model.config.text_config.vocab_size, seed)
        ids[:, 0], ids[:, tokens // 2], ids[:, -2], ids[:, -1] = 101, 1012, 1012, 102
        phrases, positions = _phrases(ids, special)
        return frames, torch.tensor([used] * count), ids, phrases, positions

    def reference(frames: Tensor, sizes: Tensor, ids: Tensor, *_: Tensor) -> Mapping[str, Tensor]:
        seen = _seen(frames, sizes)
        found = model(
            pixel_values=normalise(frames) * seen[:, None],
            pixel_mask=seen.to(torch.int64),
            input_ids=ids,
        )
        return {"boxes": found.pred_boxes, "logits": found.logits[..., : ids.shape[1]]}

    return GraphSpec(
        role=role,
        module=_Image(model, normalise),
        reference=reference,
        example=example,
        graph=Graph(
            {
                "frames": described("frames", "uint8", 1, height, width, 3),
                "sizes": described("sizes", "int64", 1, 2),
                "ids": described("input_ids", "int64", 1, "tokens"),
                "phrases": described("phrases", "int64", 1, "tokens"),
                "positions": described("positions", "int64", 1, "tokens"),
            },
            {
                "boxes": described("boxes", "float32", 1, queries, 4),
                "logits": described("logits", "float32", 1, queries, "tokens"),
            },
        ),
        patches=lambda: _traceable(model),
    )


def _sizes(preprocessing: Preprocessing) -> Mapping[str, tuple[int, int]]:
    """Role and size of each graph; the last two take in any picture."""
    exact = [preprocessing.size(1000 * high, 1000 * wide) for high, wide in ASPECTS]
    shorter, longest = preprocessing.height, preprocessing.width
    return {
        f"image-{high}x{wide}": (high, wide)
        for high, wide in (*exact, (shorter, longest), (longest, shorter))
    }


def _seen(frames: Tensor, sizes: Tensor) -> Tensor:
    """bool (N, H, W): where the picture is."""
    rows = torch.arange(frames.shape[1])[None] < sizes[:, :1]
    columns = torch.arange(frames.shape[2])[None] < sizes[:, 1:]
    return rows[:, :, None] & columns[:, None, :]


def _phrases(ids: Tensor, special: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of the phrases and places in them, from what the published code says of `ids`."""
    from transformers.models.grounding_dino import modeling_grounding_dino  # noqa: PLC0415

    sees, positions = getattr(modeling_grounding_dino, _MASKS)(ids, special)
    return sees.to(torch.int64).argmax(-1), positions


@contextlib.contextmanager
def _given(model: Any, sees: Tensor, positions: Tensor) -> Iterator[None]:
    """The model uses this mask and these places instead of looking for delimiters itself.

    The search has no form in ONNX, and is a matter of words that is done before.
    """
    module = _module(model)
    own = getattr(module, _MASKS)
    setattr(module, _MASKS, lambda *_, **__: (sees, positions))
    try:
        yield
    finally:
        setattr(module, _MASKS, own)


@contextlib.contextmanager
def _traceable(model: Any) -> Iterator[None]:
    """Without checks of values, which have no form in ONNX either, and with masks made smaller as
    PyTorch does it: ONNX Runtime divides by a share of the size, and takes the row before where a
    picture ends exactly at a place, so that filling is looked at."""
    module = _module(model)
    own = module.torch_compilable_check, functional.interpolate
    module.torch_compilable_check = lambda *_, **__: None
    functional.interpolate = _interpolate
    try:
        yield
    finally:
        module.torch_compilable_check, functional.interpolate = own


def _interpolate(values: Tensor, size: Sequence[int]) -> Tensor:
    """As `interpolate` by the nearest, the only way that these models use while they are traced."""
    for axis, wanted in zip((-2, -1), size, strict=True):
        values = values.index_select(axis, torch.tensor(nearest(values.shape[axis], wanted)))
    return values


def nearest(there: int, wanted: int) -> list[int]:
    """Of `there` places those that PyTorch takes for `wanted`; it counts in single precision."""
    scale = np.float32(there) / np.float32(wanted)
    places = np.floor(np.arange(wanted, dtype=np.float32) * scale).astype(int)
    return [int(place) for place in np.minimum(places, there - 1)]


def _module(model: Any) -> Any:
    return sys.modules[type(model).__module__]
