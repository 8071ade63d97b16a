"""One set of boxes out of several detectors."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_miner_models.detector import Detections
from data_miner_worker.merge import Box, merge
from data_miner_worker.stages.detect import by_class


def test_a_tight_box_survives_a_loose_one_with_score_one() -> None:
    """Two tight boxes that agree stand for the object; the loose box counts towards agreement."""
    loose = Box((0, 0, 130, 130), 1.0, 0, 0)
    tight = [Box((10, 10, 110, 110), 0.4, 0, 1), Box((11, 10, 110, 111), 0.5, 0, 2)]

    (one,) = merge([loose, *tight], same_iou=0.5)

    assert one.agreement == 3
    assert one.box in tight


def test_agreement_counts_detectors_not_boxes() -> None:
    """Two boxes of one detector on one object agree with nobody."""
    boxes = [Box((0, 0, 10, 10), 0.9, 0, 0), Box((0, 0, 10, 11), 0.8, 0, 0)]

    (one,) = merge(boxes, same_iou=0.5)

    assert one.agreement == 1
    assert merge(boxes, same_iou=0.5, agreement=2) == ()


def test_classes_never_merge() -> None:
    """Boxes at one place but of two classes stay two objects."""
    boxes = [Box((0, 0, 10, 10), 0.9, 0, 0), Box((0, 0, 10, 10), 0.8, 1, 1)]

    assert [one.box.class_index for one in merge(boxes, same_iou=0.5)] == [0, 1]


def test_a_tie_goes_to_the_detector_listed_first() -> None:
    """Between two boxes that support each other the first detector's stays, whatever the scores."""
    first, second = Box((0, 0, 10, 10), 0.3, 0, 0), Box((0, 0, 10, 11), 0.9, 0, 1)

    (one,) = merge([second, first], same_iou=0.5)

    assert first == one.box


def test_overlap_at_the_limit_is_two_objects() -> None:
    """Only more overlap than the limit makes two boxes one object."""
    boxes = [Box((0, 0, 10, 10), 0.9, 0, 0), Box((0, 0, 10, 5), 0.8, 0, 1)]  # IoU 0.5

    assert len(merge(boxes, same_iou=0.5)) == 2
    assert len(merge(boxes, same_iou=0.49)) == 1


coordinate = st.integers(0, 20)
boxes_strategy = st.lists(
    st.builds(
        lambda x, y, w, h, score, class_index, detector: Box(
            (x, y, x + w + 1, y + h + 1), score / 10, class_index, detector
        ),
        coordinate,
        coordinate,
        coordinate,
        coordinate,
        st.integers(1, 10),
        st.integers(0, 1),
        st.integers(0, 2),
    ),
    max_size=12,
)


@given(boxes=boxes_strategy, seed=st.integers(0, 99), agreement=st.integers(1, 3))
def test_the_order_of_boxes_does_not_matter(boxes: list[Box], seed: int, agreement: int) -> None:
    """Shuffled boxes merge to the same answer."""
    shuffled = random.Random(seed).sample(boxes, len(boxes))

    expected = merge(boxes, same_iou=0.4, agreement=agreement)

    assert expected == merge(shuffled, same_iou=0.4, agreement=agreement)


@given(boxes=boxes_strategy)
def test_every_merged_box_is_one_that_was_found(boxes: list[Box]) -> None:
    """Merging invents nothing, and an empty answer comes only from no boxes."""
    merged = merge(boxes, same_iou=0.4)

    assert {one.box for one in merged} <= set(boxes)
    assert bool(boxes) == bool(merged)
    assert all(1 <= one.agreement <= 3 for one in merged)


def test_prompts_of_one_class_are_one_object_and_floors_are_by_class() -> None:
    """Two prompts that find the same thing give one box; each class has its own floor."""
    found = Detections(
        np.array([[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32),
        np.array([0.9, 0.8, 0.4], np.float32),
        np.array([0, 1, 2]),
    )

    by = by_class(found, np.array([0, 0, 1]), np.array([0.3, 0.5]), 0.5)

    assert by.labels.tolist() == [0]
    assert len(by) == 1
    assert len(by_class(found, np.array([0, 0, 1]), np.array([0.3, 0.4 - 1e-6]), 0.5)) == 2
