"""DINOv2 and DINOv3: the class token after the last norm, which says how alike pictures are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from data_miner_export.checkpoint import Checkpoint, Parts
from data_miner_export.graph import GraphSpec, Normalise, described, unit
from data_miner_models.cards import Graph


class _Image(nn.Module):
    def __init__(self, model: Any, normalise: Normalise) -> None:
        super().__init__()
        self.normalise, self.model = normalise, model

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        pixels = self.normalise(frames).to(next(self.model.parameters()).dtype)
        return (unit(self.model(pixel_values=pixels).pooler_output),)


def parts(checkpoint: Checkpoint) -> Parts:
    """One tower."""
    from transformers import AutoModel  # noqa: PLC0415  # seconds, and only where it is needed

    model = checkpoint.load(AutoModel)
    preprocessing, mean, deviation = checkpoint.preprocessing()
    normalise = Normalise(mean, deviation)
    dimension = model.config.hidden_size
    height, width = preprocessing.height, preprocessing.width

    def reference(frames: Tensor) -> Mapping[str, Tensor]:
        tokens = model(pixel_values=normalise(frames)).last_hidden_state
        return {"embeds": torch.nn.functional.normalize(tokens[:, 0], dim=-1)}

    image = GraphSpec(
        role="image",
        module=_Image(model, normalise),
        reference=reference,
        example=lambda count, seed: (checkpoint.frames(count, height, width, seed),),
        graph=Graph(
            {"frames": described("frames", "uint8", "batch", height, width, 3)},
            {"embeds": described("image_embeds", "float32", "batch", dimension)},
        ),
        batches=(1, 2, 3, 16),
    )
    return Parts(family="dino", graphs=(image,), preprocessing=preprocessing, dimension=dimension)
