"""Which videos look alike: the links that a split must not cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from data_miner_worker.near import Directions, near_pairs

_TILE: Final = 1024


def alike_videos(
    vectors: Mapping[str, NDArray[np.float16]],
    threshold: float,
    tick: Callable[[float], None] = lambda _: None,
) -> tuple[tuple[str, str], ...]:
    """Pairs of videos with at least one pair of frames at `threshold` cosine or above, sorted.

    Args:
        vectors: float16 (N, D) by video_id: all frames that passed the filter, kept or not.
        threshold: cosine.
        tick: told how much is done, 0..1.
    """
    names = sorted(name for name, rows in vectors.items() if len(rows))
    if not names:
        return ()
    everything = Directions.of(np.concatenate([vectors[name] for name in names]))
    owner = np.repeat(np.arange(len(names)), [len(vectors[name]) for name in names])
    found: set[tuple[int, int]] = set()
    for start in range(0, len(owner), _TILE):
        rows = slice(start, start + _TILE)
        part = everything.take(rows)
        for other in range(start, len(owner), _TILE):
            columns = slice(other, other + _TILE)
            one, two, _ = near_pairs(part, everything.take(columns), threshold)
            pairs = np.stack([owner[rows][one], owner[columns][two]], axis=1)
            found.update((int(a), int(b)) for a, b in np.unique(pairs, axis=0) if a != b)
        tick(min(start + _TILE, len(owner)) / len(owner))
    return tuple(sorted({(names[min(a, b)], names[max(a, b)]) for a, b in found}))
