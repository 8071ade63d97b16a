"""Which frames stay when near-duplicates go.

Frames come in a fixed order. A frame stays iff no frame before it that stays is near: this is the
lexicographically first independent set of the graph of near pairs, and it is unique. So it does
not matter in which order, in how many blocks or by how many workers the pairs were compared, and
nothing is lost by chaining: a frame goes only because of a frame that is near and stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from data_miner_worker.near import Directions, cosines, near_pairs

_POOL_TILE = 4096
"""Kept frames that are compared at once; with the block size it bounds memory (8 MB)."""


class Status(StrEnum):
    """What became of a frame."""

    KEPT = "kept"
    DUPLICATE = "duplicate"
    BEYOND_TARGET = "beyond_target"


@dataclass(frozen=True, slots=True)
class Choice:
    """The answer for each of N frames.

    Attributes:
        statuses: one a frame.
        representatives: int64 (N,), for a duplicate the kept frame before it that is most alike
            (equal cosines: the earlier one) as an index into fixed frames followed by these
            frames; -1 for others.
        cosines: float64 (N,), with the representative; NaN for others.
    """

    statuses: tuple[Status, ...]
    representatives: NDArray[np.int64]
    cosines: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the order of a frame depends on."""

    source_sha256: str
    frame: int
    video_id: str
    sharpness: float


def canonical_order(candidates: list[Candidate], *, prefer_sharpest: bool) -> list[int]:
    """Indices of the candidates in the order in which they get their chance.

    By content, then frame: a name or a time of arrival never decides, except between two copies
    of the same file. With `prefer_sharpest`, sharper ones first; sharpness is rounded, so that
    noise in its last digits does not decide.
    """

    def key(index: int) -> tuple[float, str, int, str]:
        one = candidates[index]
        sharpness = -round(one.sharpness, 3) if prefer_sharpest else 0.0
        return sharpness, one.source_sha256, one.frame, one.video_id

    return sorted(range(len(candidates)), key=key)


def choose(
    fixed: NDArray[np.float16],
    ordered: NDArray[np.float16],
    threshold: float,
    *,
    room: int | None = None,
    block: int = 512,
    tick: Callable[[float], None] = lambda _: None,
) -> Choice:
    """Decide for each frame whether it stays.

    Args:
        fixed: float16 (F, D), frames that were kept before and stay, in their order.
        ordered: float16 (N, D), the frames to decide on, in canonical order.
        threshold: cosine from which two frames are near.
        room: how many may be kept at most; None for any number. What is near no kept frame once
            the room is used up is beyond the target.
        block: frames taken at once; the result does not depend on it.
        tick: told how much is done, 0..1, after each block.
    """
    everything = Directions.of(np.concatenate([fixed, ordered]))
    pool = _Pool(everything, len(fixed))
    statuses: list[Status] = []
    representatives = np.full(len(ordered), -1, np.int64)
    found = np.full(len(ordered), np.nan)
    for start in range(0, len(ordered), block):
        stop = min(start + block, len(ordered))
        part = everything.take(slice(len(fixed) + start, len(fixed) + stop))
        best, where = pool.nearest(part, threshold)
        among = cosines(part, part)
        kept_here: list[int] = []
        for row in range(stop - start):
            here = among[kept_here, row]
            if len(here) and here.max() >= max(threshold, np.nextafter(best[row], np.inf)):
                best[row] = here.max()
                where[row] = len(fixed) + start + kept_here[int(here.argmax())]
            if where[row] >= 0:
                statuses.append(Status.DUPLICATE)
                representatives[start + row], found[start + row] = where[row], best[row]
            elif room is not None and len(pool) + len(kept_here) - len(fixed) >= room:
                statuses.append(Status.BEYOND_TARGET)
            else:
                statuses.append(Status.KEPT)
                kept_here.append(row)
        pool.add(len(fixed) + start + np.array(kept_here, np.int64))
        tick(stop / len(ordered))
    return Choice(tuple(statuses), representatives, found)


class _Pool:
    """The frames that stay, in their order, as indices into all frames."""

    def __init__(self, everything: Directions, fixed: int) -> None:
        self._everything = everything
        self._indices = np.arange(fixed)

    def __len__(self) -> int:
        return len(self._indices)

    def add(self, indices: NDArray[np.int64]) -> None:
        self._indices = np.concatenate([self._indices, indices])

    def nearest(
        self, part: Directions, threshold: float
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Of each row the highest cosine with the pool and the frame it is with; -inf, -1 if none
        is near."""
        best = np.full(len(part), -np.inf)
        where = np.full(len(part), -1, np.int64)
        for start in range(0, len(self._indices), _POOL_TILE):
            tile = self._indices[start : start + _POOL_TILE]
            rows, columns, values = near_pairs(part, self._everything.take(tile), threshold)
            order = np.lexsort((columns, -values, rows))
            rows, first = np.unique(rows[order], return_index=True)
            columns, values = columns[order][first], values[order][first]
            better = values > best[rows]  # of equals the earlier tile's frame stays
            best[rows[better]] = values[better]
            where[rows[better]] = tile[columns[better]]
        return best, where
