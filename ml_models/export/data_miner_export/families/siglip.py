"""SigLIP, and SigLIP 2 of fixed resolution, which is the same class with another vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from data_miner_export.checkpoint import Checkpoint, Parts, image_encoder
from data_miner_export.graph import GraphSpec, Normalise, described, unit
from data_miner_export.tokenizing import padded
from data_miner_models.cards import Graph, Scoring


class _Image(nn.Module):
    def __init__(self, model: Any, normalise: Normalise) -> None:
        super().__init__()
        self.normalise, self.tower = normalise, model.vision_model

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        pixels = self.normalise(frames).to(next(self.tower.parameters()).dtype)
        return (unit(self.tower(pixel_values=pixels).pooler_output),)


class _Text(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower = model.text_model

    def forward(self, ids: Tensor) -> tuple[Tensor]:
        # Trained without a mask: the padding is part of what is read.
        return (unit(self.tower(input_ids=ids).pooler_output),)


def parts(checkpoint: Checkpoint) -> Parts:
    """The two towers; vectors are compared by sigmoid(cosine * scale + bias)."""
    from transformers import SiglipModel  # noqa: PLC0415  # seconds, and only where it is needed

    model = checkpoint.load(SiglipModel)
    preprocessing, mean, deviation = checkpoint.preprocessing()
    length = model.config.text_config.max_position_embeddings
    vocabulary = model.config.text_config.vocab_size
    normalise = Normalise(mean, deviation)
    dimension = model.config.vision_config.hidden_size

    def image_reference(frames: Tensor) -> Tensor:
        vectors: Tensor = model.get_image_features(pixel_values=normalise(frames)).pooler_output
        return vectors

    def text_reference(ids: Tensor) -> Mapping[str, Tensor]:
        vectors = model.get_text_features(input_ids=ids).pooler_output
        return {"embeds": torch.nn.functional.normalize(vectors, dim=-1)}

    image = image_encoder(_Image(model, normalise), image_reference, preprocessing, dimension)
    text = GraphSpec(
        role="text",
        module=_Text(model),
        reference=text_reference,
        example=lambda count, seed: (checkpoint.ids(count, length, vocabulary, seed),),
        graph=Graph(
            {"ids": described("input_ids", "int64", "prompts", length)},
            {"embeds": described("text_embeds", "float32", "prompts", dimension)},
        ),
        batches=(1, 2, 3, 16),
    )
    return Parts(
        family="siglip",
        graphs=(image, text),
        preprocessing=preprocessing,
        dimension=dimension,
        scoring=Scoring(float(model.logit_scale.exp()), float(model.logit_bias)),
        tokenizer=padded(checkpoint.tokenizer(), length),
    )
