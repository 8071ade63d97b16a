"""Vectors on disk and their exact dot products.

Vectors are stored as float16. The product of two float16 numbers is a multiple of 2**-48, and so
is every sum of such products; while a sum stays below 2**5, float64 holds it without rounding.
For vectors of length 1 no partial sum exceeds 1.01. So a dot product taken in float64 has no
rounding at all: it is the same for every order of summation, thread count, BLAS and machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of some frames of one video.

    Attributes:
        frames: int32 (N,), rising.
        values: float16 (N, dimension), each row of length 1 within rounding.

    Raises:
        ValueError: the arrays do not fit these rules.
    """

    frames: NDArray[np.int32]
    values: NDArray[np.float16]

    def __post_init__(self) -> None:
        if self.frames.dtype != np.int32 or self.frames.ndim != 1:
            raise ValueError(f"frames must be int32 (N,), not {self.frames.dtype}")
        if self.values.dtype != np.float16 or self.values.ndim != 2:
            raise ValueError(f"values must be float16 (N, D), not {self.values.dtype}")
        if len(self.frames) != len(self.values):
            raise ValueError(f"{len(self.frames)} frames, but {len(self.values)} vectors")
        if np.any(np.diff(self.frames) <= 0):
            raise ValueError("frames must rise")

    def __len__(self) -> int:
        return len(self.frames)

    def has(self, frames: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of `frames` there are vectors for, bool (len(frames),)."""
        return np.isin(frames, self.frames)

    def rows(self, frames: NDArray[np.int32]) -> NDArray[np.float16]:
        """The vectors of `frames`, in that order. Raises LookupError for a frame without one."""
        missing = frames[~self.has(frames)]
        if len(missing):
            raise LookupError(f"no vector of frame {missing[0]} and {len(missing) - 1} others")
        return self.values[np.searchsorted(self.frames, frames)]


def to_half(unit: NDArray[np.float32]) -> NDArray[np.float16]:
    """Vectors as they are stored. Raises ValueError where a length is not 1, NaN included."""
    lengths = np.linalg.norm(unit.astype(np.float64), axis=1)
    if not np.all(np.abs(lengths - 1) < 1e-2):
        raise ValueError("vectors must have length 1")
    return unit.astype(np.float16)


def exact_dots(a: NDArray[np.float16], b: NDArray[np.float16]) -> NDArray[np.float64]:
    """(N, D) and (K, D) to (N, K), without rounding."""
    return a.astype(np.float64) @ b.astype(np.float64).T


def save(path: Path, vectors: Vectors) -> None:
    """Write the vectors; the same vectors give the same bytes."""
    np.savez(path, frames=vectors.frames, vectors=vectors.values)


def load(path: Path) -> Vectors:
    """Read what `save` wrote. Raises ValueError when the file is something else."""
    with np.load(path, allow_pickle=False) as archive:
        return Vectors(archive["frames"], archive["vectors"])
