"""embed: every sampled frame of a video becomes a vector that prompts can be compared with."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from data_miner.stage import Context, Done, Outcome
from data_miner_worker import given, vectors
from data_miner_worker.encode import encode
from data_miner_worker.loaded_models import MODELS, find_card


class Embed:
    """Runs the image side of the filter's model, once for all projects that use it."""

    name: ClassVar[str] = "embed"

    def run(self, context: Context) -> Outcome:
        params = context.assignment.params
        extract = given.only(context, "extract")
        frames = given.numbers(given.table(context, extract, "index"), "frame")
        renders = given.renders(context, extract, params["preprocessing"])
        card = find_card(context, params["model"], params["digest"])
        values = encode(
            context, MODELS.image_encoder(card, context.provider), renders, np.arange(len(frames))
        )
        path = context.scratch / "vectors.npz"
        vectors.save(path, vectors.Vectors(frames.astype(np.int32), values))
        context.count("frames_embedded", len(frames))
        return Done(
            artifacts=(context.publish(path, "vectors"),),
            facts={"frames": len(frames), "dim": card.dimension},
        )
