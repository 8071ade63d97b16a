"""From cosines to probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def probabilities(cosines: NDArray[np.float64], scale: float, bias: float) -> NDArray[np.float64]:
    """sigmoid(cosines * scale + bias), element by element, without overflow at any input."""
    logits = np.asarray(cosines, np.float64) * scale + bias
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1.0, small) / (1.0 + small), np.float64)
