"""Which vectors are near each other: float32 proposes, exact arithmetic decides.

The cosine of two stored vectors is dot / sqrt(length² · length²), each of the three an exact
float64 (see vectors.py), so the value is the same everywhere, and 1.0 for equal vectors.

float32 only leaves out pairs that cannot be near. A row scaled to length 1 and rounded to float32
is off by at most u = 2**-24 of each element, and a sum of D products rounds by at most
D·u·Σ|aᵢbᵢ| <= D·u·1.0001; so the quick cosine is within (D + 3)·u·1.001 of the true one.
`margin` is more than twice that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from data_miner_worker.vectors import exact_dots

_ROWS: Final = 8192
"""Rows that are widened to float64 at once: bounds memory, changes nothing else."""


@dataclass(frozen=True, slots=True)
class Directions:
    """Stored vectors made ready for comparing.

    Attributes:
        values: float16 (N, D).
        squares: float64 (N,), the exact squared lengths.
        quick: float32 (N, D), scaled to length 1.
    """

    values: NDArray[np.float16]
    squares: NDArray[np.float64]
    quick: NDArray[np.float32]

    @classmethod
    def of(cls, values: NDArray[np.float16]) -> Self:
        """Raises ValueError for a vector that has no direction (zero, not finite)."""
        squares = np.empty(len(values), np.float64)
        quick = np.empty(values.shape, np.float32)
        for start in range(0, len(values), _ROWS):
            rows = slice(start, start + _ROWS)
            wide = values[rows].astype(np.float64)
            squares[rows] = np.einsum("nd,nd->n", wide, wide)
            if not np.all((squares[rows] > 0.5) & (squares[rows] < 2)):
                raise ValueError("vectors must have length 1")
            quick[rows] = wide / np.sqrt(squares[rows])[:, None]
        return cls(values, squares, quick)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, which: slice | NDArray[np.int64]) -> Directions:
        """Some of the rows, in the order asked for."""
        return Directions(self.values[which], self.squares[which], self.quick[which])


def cosines(a: Directions, b: Directions) -> NDArray[np.float64]:
    """(N, K) cosines that decide."""
    return exact_dots(a.values, b.values) / np.sqrt(a.squares[:, None] * b.squares[None, :])


def margin(dimension: int) -> float:
    """How far a quick cosine may lie below the true one, with room to spare."""
    return (dimension + 8) * 2.0**-23


def near_pairs(
    a: Directions, b: Directions, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows of `a`, rows of `b` and the cosine of every pair at `threshold` or above, row by row.

    One tile: it makes a float32 matrix of len(a) x len(b), so callers bound both.
    """
    proposed = a.quick @ b.quick.T >= threshold - margin(a.quick.shape[1])
    rows, columns = np.flatnonzero(proposed.any(axis=1)), np.flatnonzero(proposed.any(axis=0))
    exact = cosines(a.take(rows), b.take(columns))
    at_rows, at_columns = np.nonzero(exact >= threshold)
    return rows[at_rows], columns[at_columns], exact[at_rows, at_columns]


def are_near(a: Directions, b: Directions, threshold: float) -> NDArray[np.bool_]:
    """bool (len(a), len(b)): which pairs have a cosine of `threshold` or more. One tile as well.

    Cheaper than the pairs where many are near: only what lies within the margin is computed again.
    """
    quick = a.quick @ b.quick.T
    slack = margin(a.quick.shape[1])
    near = quick >= threshold + slack
    doubtful = (quick >= threshold - slack) & ~near
    rows, columns = np.flatnonzero(doubtful.any(axis=1)), np.flatnonzero(doubtful.any(axis=0))
    where = np.ix_(rows, columns)
    near[where] |= doubtful[where] & (cosines(a.take(rows), b.take(columns)) >= threshold)
    return near
