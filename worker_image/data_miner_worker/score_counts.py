"""How the scores of a video's frames are spread, in a few numbers that can be added up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

PROBABILITY_EDGES: Final = (0.001, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Dense below 0.1, where a sigmoid model puts most frames."""
LOGIT_EDGES: Final = (-20.0, -15.0, -10.0, -8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 10.0)
ABOVE: Final = "+Inf"


def score_counts(scores: NDArray[np.float64], space: str) -> Mapping[str, int]:
    """Frames by the upper edge (inclusive) of the interval that their score is in.

    All intervals are there, so that counts of many videos can be summed edge by edge. `space` is
    that of the thresholds: ``Probability`` or ``Logit``.
    """
    edges = LOGIT_EDGES if space == "Logit" else PROBABILITY_EDGES
    places = np.searchsorted(edges, scores, side="left")
    names = [*(f"{edge:g}" for edge in edges), ABOVE]
    counts = np.bincount(places, minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True)}
