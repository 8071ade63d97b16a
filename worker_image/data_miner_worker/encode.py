"""Renders to stored vectors, batch by batch."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from data_miner.stage import Context, StageError
from data_miner_models.errors import ModelError
from data_miner_models.image_encoder import ImageEncoder
from data_miner_worker.loaded_models import unusable
from data_miner_worker.vectors import to_half

_ROWS_PER_TICK: Final = 32
"""The largest batch of an encoder, so that asking piece by piece costs nothing."""


def encode(
    context: Context, encoder: ImageEncoder, renders: NDArray[np.uint8], rows: NDArray[np.int64]
) -> NDArray[np.float16]:
    """float16 (len(rows), dimension): the vectors of these rows of `renders`.

    A row's vector does not depend on which others are asked for. Raises StageError as `unusable`
    names it when the model refuses the renders, or could not be run.
    """
    values = np.empty((len(rows), encoder.card.dimension), np.float16)
    for start in range(0, len(rows), _ROWS_PER_TICK):
        part = rows[start : start + _ROWS_PER_TICK]
        try:
            values[start : start + len(part)] = to_half(encoder(np.asarray(renders[part])))
        except ModelError as error:
            raise unusable(error) from error
        except ValueError as error:
            raise StageError("model_unusable", str(error), permanent=True) from error
        context.tick((start + len(part)) / len(rows))
    return values
