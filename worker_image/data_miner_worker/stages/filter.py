"""filter: which frames show what the project wants. No model looks at an image here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_miner.stage import Context, Done, Outcome, StageError
from data_miner_models.cards import ModelCard
from data_miner_models.errors import ModelError
from data_miner_models.scoring import probabilities
from data_miner_worker import columns, given
from data_miner_worker.decide import Reason, Scores, Thresholds, decide, rounded
from data_miner_worker.loaded_models import MODELS, find_card, unusable
from data_miner_worker.score_counts import score_counts
from data_miner_worker.vectors import exact_dots, to_half


class Filter:
    """Compares stored vectors with the prompts' vectors and keeps the score of every frame."""

    name: ClassVar[str] = "filter"

    def run(self, context: Context) -> Outcome:
        params = context.assignment.params
        index = given.table(context, given.only(context, "extract"), "index")
        found: dict[str, Any]
        spread: dict[str, Any] = {}
        if params["model"] is None:
            reasons: Sequence[Reason] = (Reason.KEPT,) * len(index)
            found = dict.fromkeys(
                ("positive", "negative", "junk", "best_prompt"), pa.nulls(len(index))
            )
        else:
            scores, best = _score(context, given.numbers(index, "frame").astype(np.int32))
            reasons = decide(scores, Thresholds.of(params["thresholds"]))
            found = {
                "positive": scores.positive,
                "negative": _or_nulls(scores.negative, len(index)),
                "junk": _or_nulls(scores.junk, len(index)),
                "best_prompt": best,
            }
            spread["scores"] = dict(score_counts(scores.positive, params["space"]))
        path = context.scratch / "scores.parquet"
        columns.write(
            path,
            columns.SCORES,
            {
                **{name: index.column(name) for name in ("frame", "pts_seconds", "sharpness")},
                **found,
                "kept": [reason is Reason.KEPT for reason in reasons],
                "reason": [str(reason) for reason in reasons],
            },
        )
        counts = Counter(str(reason) for reason in reasons)
        kept = counts.pop(str(Reason.KEPT), 0)
        return Done(
            artifacts=(context.publish(path, "scores"),),
            facts={
                "frames": kept,
                "examined": len(index),
                "rejected": dict(sorted(counts.items())),
                **spread,
            },
        )


def _score(context: Context, frames: NDArray[np.int32]) -> tuple[Scores, NDArray[np.int64]]:
    """The best score of each frame in each list of prompts, and its best positive prompt."""
    params = context.assignment.params
    card = find_card(context, params["model"], params["digest"])
    embedded = given.unit_vectors(context, given.only(context, "embed"))
    try:
        images = embedded.rows(frames)
    except LookupError as error:
        raise given.missing(context, f"embed: {error}") from error
    every = {
        kind: _in_space(
            exact_dots(images, prompt_vectors(context, card, params[kind])), card, params
        )
        for kind in ("positive", "negative", "junk")
        if params[kind]
    }
    best = {kind: values.max(axis=1) for kind, values in every.items()}
    return (
        Scores(best["positive"], best.get("negative"), best.get("junk")),
        every["positive"].argmax(axis=1),
    )


def _in_space(
    cosines: NDArray[np.float64], card: ModelCard, params: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Rounded scores (frames, prompts) in the space of the thresholds."""
    if card.scoring is None:
        raise StageError(
            "model_unusable",
            f"model {card.name} does not compare images with texts",
            permanent=True,
        )
    if params["space"] == "Logit":
        return rounded(cosines * card.scoring.scale + card.scoring.bias)
    return rounded(probabilities(cosines, card.scoring.scale, card.scoring.bias))


def prompt_vectors(
    context: Context, card: ModelCard, prompts: Sequence[str]
) -> NDArray[np.float16]:
    """float16 (K, dimension). Whoever encodes a prompt first does it for all workers and runs."""
    rows = []
    for prompt in prompts:
        key = f"prompt-{card.digest}-{sha256(prompt.encode()).hexdigest()}"
        path = context.cache(key)
        if path is None:
            try:
                unit = MODELS.text_encoder(card, context.provider)([prompt])
            except ModelError as error:
                raise unusable(error) from error
            fresh = context.scratch / f"{key}.npy"
            np.save(fresh, to_half(unit)[0])
            path = context.remember(key, fresh)
        rows.append(np.load(path, allow_pickle=False))
        context.tick()
    return np.stack(rows)


def _or_nulls(values: NDArray[np.float64] | None, count: int) -> Any:
    return pa.nulls(count) if values is None else values
