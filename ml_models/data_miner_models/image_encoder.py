"""Renders in, unit vectors out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_miner_models.cards import ModelCard
from data_miner_models.errors import ModelError
from data_miner_models.providers import Choice, Provider
from data_miner_models.runtime import open_session


def plan_batches(count: int, buckets: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Split `count` rows into (start, stop, bucket), bucket the padded size; buckets ascend."""
    start = 0
    while start < count:
        left = count - start
        bucket = next((size for size in buckets if size >= left), buckets[-1])
        stop = min(start + bucket, count)
        yield start, stop, bucket
        start = stop


class ImageEncoder:
    """Encodes renders of a siglip or dino model.

    A render's vector has the same bits alone and at any place in any batch, for any number of
    threads, on one machine and device.

    Raises:
        ModelError: as `open_session`.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        threads: int = 1,
        provider: Provider = "auto",
        engines: Path | None = None,
    ) -> None:
        self.card = card
        self._session = open_session(
            card, "image", provider=provider, threads=threads, engines=engines
        )

    @property
    def choice(self) -> Choice:
        """Where it runs, after "auto" has chosen."""
        return self._session.choice

    def __call__(self, renders: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, height, width, 3) of the card's preprocessing to float32 (N, dimension).

        Raises ModelError for renders of another shape or type, and for vectors that are not of
        length 1.
        """
        size = (self.card.preprocessing.height, self.card.preprocessing.width, 3)
        if renders.ndim != 4 or renders.shape[1:] != size or renders.dtype != np.uint8:
            raise ModelError(
                f"model {self.card.name}: takes uint8 renders (N, {size[0]}, {size[1]}, 3), "
                f"not {renders.dtype} {renders.shape}"
            )
        vectors = np.empty((len(renders), self.card.dimension), np.float32)
        for start, stop, bucket in plan_batches(len(renders), self.choice.buckets):
            batch = np.zeros((bucket, *size), np.uint8)
            batch[: stop - start] = renders[start:stop]
            found = self._session.run(frames=batch)["embeds"]
            check_length(found, self.card)
            vectors[start:stop] = found[: stop - start]
        check_unit(vectors, self.card)
        return vectors


def check_length(vectors: NDArray[np.float32], card: ModelCard) -> None:
    """Raise ModelError unless vectors are as long as the card says, which it may leave free."""
    if vectors.shape[1:] != (card.dimension,):
        raise ModelError(
            f"model {card.name}: gave {vectors.shape}, its card says dimension {card.dimension}"
        )


def check_unit(vectors: NDArray[np.float32], card: ModelCard) -> None:
    """Raise ModelError unless every row has length 1, within rounding."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not np.all(np.abs(lengths - 1) < 1e-3):
        raise ModelError(f"model {card.name}: gave vectors that are not of length 1")
