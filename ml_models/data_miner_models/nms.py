"""Which of several overlapping boxes stay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def suppress(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    max_iou: float,
) -> NDArray[np.int64]:
    """Indices of the boxes to keep, best first.

    Going from the best score down (equal scores: the smaller index first), a box stays unless it
    overlaps one that stays, of the same label, by more than `max_iou`.
    """
    order = np.lexsort((np.arange(len(scores)), -scores))
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        overlap = intersection_over_union(boxes_xyxy[best], boxes_xyxy[rest])
        order = rest[(labels[rest] != labels[best]) | (overlap <= max_iou)]
    return np.array(kept, np.int64)


def intersection_over_union(
    box: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float64]:
    """IoU of one box (4,) with others (N, 4), all x0, y0, x1, y1; two empty boxes have IoU 0."""
    one, many = box.astype(np.float64), others.astype(np.float64)
    low, high = np.maximum(one[:2], many[:, :2]), np.minimum(one[2:], many[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    union = (one[2:] - one[:2]).prod() + (many[:, 2:] - many[:, :2]).prod(axis=1) - common
    shares = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return np.asarray(shares, np.float64)
