"""OWLv2: boxes with a vector each, which is compared with the vectors of prompts or examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from data_miner_export.checkpoint import Checkpoint, Parts
from data_miner_export.graph import GraphSpec, Normalise, described, unit
from data_miner_export.tokenizing import padded
from data_miner_models.cards import Graph


class _Image(nn.Module):
    """Everything that does not depend on prompts, so that it runs once a picture."""

    def __init__(self, model: Any, normalise: Normalise) -> None:
        super().__init__()
        self.normalise, self.model = normalise, model

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        model = self.model
        pixels = self.normalise(frames).to(next(model.parameters()).dtype)
        grid, _ = model.image_embedder(pixel_values=pixels)
        tokens = grid.flatten(1, 2)
        head = model.class_head
        boxes = torch.sigmoid(model.box_head(tokens).to(torch.float32) + model.box_bias)
        return (
            boxes,
            unit(head.dense0(tokens)),
            head.logit_shift(tokens)[..., 0].to(torch.float32),
            (head.elu(head.logit_scale(tokens)) + 1)[..., 0].to(torch.float32),
            model.objectness_head(tokens)[..., 0].to(torch.float32),
        )


class _Text(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower, self.projection = model.owlv2.text_model, model.owlv2.text_projection

    def forward(self, ids: Tensor) -> tuple[Tensor]:
        # Attention is causal and the vector is that of the end token: what pads is never seen.
        return (unit(self.projection(self.tower(input_ids=ids).pooler_output)),)


def parts(checkpoint: Checkpoint) -> Parts:
    """The image side with its heads, and the text tower.

    logit = (cosine + shift) * scale for each box; a box is given back by its centre and size, as
    shares of the padded square.
    """
    from transformers import Owlv2ForObjectDetection  # noqa: PLC0415  # seconds

    model = checkpoint.load(Owlv2ForObjectDetection)
    preprocessing, mean, deviation = checkpoint.preprocessing()
    normalise = Normalise(mean, deviation)
    text = model.config.text_config
    length, dimension = text.max_position_embeddings, model.config.projection_dim
    height, width = preprocessing.height, preprocessing.width
    patch = model.config.vision_config.patch_size
    tokens = (height // patch) * (width // patch)

    def image_reference(frames: Tensor) -> Mapping[str, Tensor]:
        # The published forward takes prompts as well; with the vector of each box as the query of
        # its own, the logits give shift and scale: logit(1) and logit(-1).
        grid, _ = model.image_embedder(pixel_values=normalise(frames))
        features = grid.reshape(len(frames), -1, grid.shape[-1])
        _, vectors = model.class_predictor(features)
        shift, scale = _line(model, features)
        return {
            "boxes": model.box_predictor(features, grid),
            "class_embeds": torch.nn.functional.normalize(vectors, dim=-1),
            "shift": shift,
            "scale": scale,
            "objectness": model.objectness_predictor(features),
        }

    def text_reference(ids: Tensor) -> Mapping[str, Tensor]:
        vectors = model.owlv2.get_text_features(
            input_ids=ids, attention_mask=torch.ones_like(ids)
        ).pooler_output
        return {"embeds": torch.nn.functional.normalize(vectors, dim=-1)}

    image_graph = Graph(
        {"frames": described("frames", "uint8", "batch", height, width, 3)},
        {
            "boxes": described("boxes", "float32", "batch", tokens, 4),
            "class_embeds": described("class_embeds", "float32", "batch", tokens, dimension),
            "shift": described("shift", "float32", "batch", tokens),
            "scale": described("scale", "float32", "batch", tokens),
            "objectness": described("objectness", "float32", "batch", tokens),
        },
    )
    text_graph = Graph(
        {"ids": described("input_ids", "int64", "prompts", length)},
        {"embeds": described("text_embeds", "float32", "prompts", dimension)},
    )

    def text_example(count: int, seed: int) -> tuple[Tensor, ...]:
        ids = checkpoint.ids(count, length, text.vocab_size - 1, seed)
        # The end token is the largest id: it must be there, once.
        ids[:, length // 2] = text.vocab_size - 1
        return (ids,)

    return Parts(
        family="open-vocabulary",
        graphs=(
            GraphSpec(
                role="image",
                module=_Image(model, normalise),
                reference=image_reference,
                example=lambda count, seed: (checkpoint.frames(count, height, width, seed),),
                graph=image_graph,
                batches=(1, 2, 3),
            ),
            GraphSpec(
                role="text",
                module=_Text(model),
                reference=text_reference,
                example=text_example,
                graph=text_graph,
                batches=(1, 2, 3, 16),
            ),
        ),
        preprocessing=preprocessing,
        dimension=dimension,
        tokenizer=padded(checkpoint.tokenizer(), length),
    )


def _line(model: Any, features: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and scale of each box, from what the published head says to two opposite queries."""
    _, vectors = model.class_predictor(features)
    ahead: list[Tensor] = []
    behind: list[Tensor] = []
    for row, picture in zip(vectors, features, strict=True):
        for query, kept in ((row, ahead), (-row, behind)):
            logits, _ = model.class_predictor(picture[None], query[None])
            kept.append(logits[0].diagonal())
    high, low = torch.stack(ahead), torch.stack(behind)
    scale = (high - low) / 2
    return (high + low) / 2 / scale, scale
