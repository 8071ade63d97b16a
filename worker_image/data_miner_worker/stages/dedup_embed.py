"""dedup_embed: frames that passed the filter become vectors that tell how alike two frames are."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from data_miner.stage import Context, Done, Outcome
from data_miner_worker import given, vectors
from data_miner_worker.encode import encode
from data_miner_worker.loaded_models import MODELS, find_card


class DedupEmbed:
    """Embeds what no other project has embedded yet."""

    name: ClassVar[str] = "dedup_embed"

    def run(self, context: Context) -> Outcome:
        params = context.assignment.params
        extract = given.only(context, "extract")
        scores = given.table(context, given.only(context, "filter"), "scores")
        wanted = given.numbers(scores, "frame")[given.numbers(scores, "kept")].astype(np.int32)
        card = find_card(context, params["model"], params["digest"])
        values = np.empty((len(wanted), card.dimension), np.float16)
        there = _borrow(context, wanted, values)
        left = np.flatnonzero(~there)
        if len(left):
            sampled = given.numbers(given.table(context, extract, "index"), "frame")
            rows = np.searchsorted(sampled, wanted[left])
            renders = given.renders(context, extract, params["preprocessing"])
            values[left] = encode(
                context, MODELS.image_encoder(card, context.provider), renders, rows
            )
        path = context.scratch / "vectors.npz"
        vectors.save(path, vectors.Vectors(wanted, values))
        context.count("dedup_frames_embedded", len(left))
        return Done(
            artifacts=(context.publish(path, "vectors"),),
            facts={
                "frames": len(wanted),
                "dim": card.dimension,
                "reused": int(there.sum()),
                "source_sha256": extract.facts["source_sha256"],
            },
        )


def _borrow(
    context: Context, wanted: NDArray[np.int32], values: NDArray[np.float16]
) -> NDArray[np.bool_]:
    """Fill in the vectors that earlier results have; says which rows of `values` are filled."""
    source = given.only(context, "extract").facts["source_sha256"]
    there = np.zeros(len(wanted), np.bool_)
    for fact in context.assignment.previous:
        if there.all():
            break
        if fact.facts.get("source_sha256") != source:
            continue
        found = given.unit_vectors(context, fact)
        new = found.has(wanted) & ~there
        values[new] = found.rows(wanted[new])
        there |= new
    return there
