"""DINOv2 and DINOv3: the class token after the last norm, which says how alike pictures are."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from data_miner_export.checkpoint import Checkpoint, Parts, image_encoder
from data_miner_export.graph import Normalise, unit


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

    def reference(frames: Tensor) -> Tensor:
        tokens: Tensor = model(pixel_values=normalise(frames)).last_hidden_state
        return tokens[:, 0]

    image = image_encoder(_Image(model, normalise), reference, preprocessing, dimension)
    return Parts(family="dino", graphs=(image,), preprocessing=preprocessing, dimension=dimension)
