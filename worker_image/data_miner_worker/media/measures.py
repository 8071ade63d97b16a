"""What can be said about a frame without a model: whole-number arithmetic, the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WIDTH, _HEIGHT = 320, 180
_HASH_SIDE: Final = 32
_BITS_SIDE: Final = 8
_SCALE: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Measures:
    """Of the frame's luma (ITU-R 601), scaled to 320 x 180 whatever its shape."""

    sharpness: float
    """Variance of the Laplacian; the larger, the sharper."""
    luma: float
    """Mean, 0..255."""
    phash: int
    """64 bits as a signed number: similar pictures differ in few of them."""


def measure(frame_rgb: NDArray[np.uint8]) -> Measures:
    """Measures of a uint8 RGB frame (H, W, 3)."""
    small = Image.fromarray(frame_rgb).resize((_WIDTH, _HEIGHT), Image.Resampling.BOX)
    luma = small.convert("L")
    pixels = np.asarray(luma, np.int64)
    square = np.asarray(luma.resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BOX), np.int64)
    return Measures(laplacian_variance(pixels), float(pixels.sum() / pixels.size), phash(square))


def laplacian_variance(luma: NDArray[np.int64]) -> float:
    """Variance of the 4-neighbour Laplacian inside the border; luma (H, W) of 0..255."""
    inner = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    count = laplacian.size
    total, squares = int(laplacian.sum()), int((laplacian**2).sum())
    return (squares * count - total * total) / (count * count)


def phash(luma: NDArray[np.int64]) -> int:
    """Perceptual hash of a (32, 32) luma: signs of the low cosine coefficients round their median.

    The cosines are whole numbers, so that a flat picture has coefficients of exactly 0 and no
    machine's rounding decides a bit.
    """
    coefficients = (_COSINES @ luma @ _COSINES.T).ravel()
    # Without the first coefficient, the mean, which says nothing about the picture's structure.
    bits = coefficients > int(np.partition(coefficients[1:], 31)[31])
    bits[0] = False
    packed = np.packbits(bits)
    return int(packed.view(">i8")[0])


def _cosines() -> NDArray[np.int64]:
    frequency, place = np.arange(_BITS_SIDE)[:, None], np.arange(_HASH_SIDE)[None, :]
    angle = np.pi * frequency * (2 * place + 1) / (2 * _HASH_SIDE)
    cosines: NDArray[np.float64] = np.cos(angle)
    return np.rint(cosines * _SCALE).astype(np.int64)


_COSINES: Final = _cosines()
