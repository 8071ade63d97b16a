"""Non-maximum suppression, against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_miner_models.nms import intersection_over_union, suppress

MAX_IOU = 0.5
corner = st.integers(min_value=0, max_value=12)
side = st.integers(min_value=1, max_value=8)
# Few values, so that ties and overlaps are common.
found = st.tuples(corner, corner, side, side, st.sampled_from([0.2, 0.5, 0.9]), st.integers(0, 2))


def arrays(rows: list[tuple[int, int, int, int, float, int]]) -> tuple[np.ndarray, ...]:
    table = np.array(rows, np.float64).reshape(-1, 6)
    boxes = np.hstack([table[:, :2], table[:, :2] + table[:, 2:4]]).astype(np.float32)
    return boxes, table[:, 4].astype(np.float32), table[:, 5].astype(np.int64)


@given(st.lists(found, max_size=12))
def test_exactly_the_right_boxes_stay(rows: list[tuple[int, int, int, int, float, int]]) -> None:
    """A box stays iff no better box that stays has its label and overlaps it too much."""
    boxes, scores, labels = arrays(rows)
    kept = suppress(boxes, scores, labels, MAX_IOU).tolist()
    assert kept == sorted(kept, key=lambda i: (-scores[i], i))
    for i in range(len(rows)):
        rivals = [
            k
            for k in kept
            if k != i and labels[k] == labels[i] and (-scores[k], k) < (-scores[i], i)
        ]
        overlapped = any(
            intersection_over_union(boxes[k], boxes[i : i + 1])[0] > MAX_IOU for k in rivals
        )
        assert (i in kept) == (not overlapped)


def test_iou_of_known_boxes() -> None:
    """Half of a box over the other: 1/3; itself: 1; apart or touching: 0."""
    box = np.array([0, 0, 2, 2], np.float32)
    others = np.array([[1, 0, 3, 2], [0, 0, 2, 2], [5, 5, 6, 6], [2, 0, 4, 2]], np.float32)
    assert intersection_over_union(box, others).tolist() == [1 / 3, 1, 0, 0]
