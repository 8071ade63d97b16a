"""Which frames of a video are looked at: pure functions over its frames' times and kinds."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

_EARLY_SECONDS: Final = Fraction(1, 1000)

Indices = NDArray[np.int64]
"""Rising indices of frames in presentation order, from 0."""


def by_interval(frames: int, every: int) -> Indices:
    """Every `every`-th of `frames` frames, from the first."""
    return np.arange(0, frames, every, dtype=np.int64)


def by_time(pts: NDArray[np.int64], time_base: Fraction, every_seconds: float) -> Indices:
    """The first frame at or after each multiple of `every_seconds`, counted from the first frame.

    `pts` are the rising presentation times in units of `time_base` seconds. A frame that is one
    millisecond early counts as in time: containers round. A frame that answers for several
    multiples, because nothing is shown for a while, is taken once.
    """
    if not len(pts):
        return np.empty(0, np.int64)
    # Whole numbers throughout: with 0.1 s and floats, a long film would drift into other frames.
    step = Fraction(str(every_seconds)) / time_base
    early = int(_EARLY_SECONDS / time_base)
    first = int(pts[0]) - early
    count = int((int(pts[-1]) - first) / step) + 1
    # The smallest whole number that is at least first + k * step.
    wanted = np.array(
        [first - (-k * step.numerator // step.denominator) for k in range(count)], np.int64
    )
    found = np.searchsorted(pts, wanted, side="left")
    return np.unique(found[found < len(pts)]).astype(np.int64)


def by_keyframe(keyframe: NDArray[np.bool_] | Sequence[bool]) -> Indices:
    """The frames that are stored whole."""
    return np.flatnonzero(np.asarray(keyframe, np.bool_)).astype(np.int64)


def spread(candidates: Indices, most: int) -> Indices:
    """At most `most` of the candidates, evenly over all of them.

    It is the middle one of each of `most` equal parts, so no part of a video is favoured.
    """
    count = len(candidates)
    if count <= most:
        return candidates
    return candidates[[(2 * part + 1) * count // (2 * most) for part in range(most)]]
