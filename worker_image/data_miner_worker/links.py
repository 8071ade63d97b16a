"""Which videos look alike: the links that a split must not cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from data_miner_worker.near import Directions, are_near

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
        part, row_owners = everything.take(rows), owner[rows]
        for other in range(start, len(owner), _TILE):
            columns = slice(other, other + _TILE)
            near = are_near(part, everything.take(columns), threshold)
            found |= _owners_of(near, row_owners, owner[columns])
        tick(min(start + _TILE, len(owner)) / len(owner))
    return tuple(sorted((names[one], names[two]) for one, two in found))


def _owners_of(
    near: NDArray[np.bool_], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> set[tuple[int, int]]:
    """Pairs of different owners, lower first; each owner's rows and columns lie together."""
    row_owners, row_starts = np.unique(rows, return_index=True)
    column_owners, column_starts = np.unique(columns, return_index=True)
    joined = np.logical_or.reduceat(near, row_starts, axis=0)
    joined = np.logical_or.reduceat(joined, column_starts, axis=1)
    pairs = zip(*(axis.tolist() for axis in np.nonzero(joined)), strict=True)
    owners = ((int(row_owners[row]), int(column_owners[column])) for row, column in pairs)
    return {(min(pair), max(pair)) for pair in owners if pair[0] != pair[1]}
