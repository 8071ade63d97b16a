"""What several detectors say about one image, made into one set of boxes.

Scores of different models cannot be compared, so agreement decides first: a cluster gathers
around the box that most detectors support, and that box stands for it. A loose box with a high
score cannot displace tight ones that agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_miner_models.nms import intersection_over_union


@dataclass(frozen=True, slots=True)
class Box:
    """One box of one class.

    Attributes:
        box_xyxy: pixels of the image.
        score: 0..1, in the detector's own scale.
        class_index: index into the project's classes.
        detector: index into the project's detectors; a lower one is believed first in a tie.
    """

    box_xyxy: tuple[float, float, float, float]
    score: float
    class_index: int
    detector: int


@dataclass(frozen=True, slots=True)
class Merged:
    """A box that stands for its cluster, and how many detectors are in it."""

    box: Box
    agreement: int


def merge(boxes: Sequence[Box], *, same_iou: float, agreement: int = 1) -> tuple[Merged, ...]:
    """Collapse boxes that are one object.

    Boxes of one class that overlap by more than `same_iou` may be one object. Again and again the
    box that most detectors support is taken (then: the one that overlaps theirs most, the detector
    listed first, the higher score, the smaller coordinates) with all that overlap it. Clusters
    with fewer than `agreement` detectors are dropped.

    The order of `boxes` does not matter. Returned by class, then score, best first.
    """
    found: list[Merged] = []
    for class_index in sorted({box.class_index for box in boxes}):
        own = sorted(
            (box for box in boxes if box.class_index == class_index),
            key=lambda box: (box.detector, -box.score, box.box_xyxy),
        )
        found.extend(_collapse(own, same_iou))
    found = [one for one in found if one.agreement >= agreement]
    return tuple(
        sorted(found, key=lambda m: (m.box.class_index, -m.box.score, m.box.box_xyxy, m.agreement))
    )


def _collapse(boxes: Sequence[Box], same_iou: float) -> list[Merged]:
    """Clusters of boxes of one class; `boxes` in the order that breaks ties."""
    corners = np.array([box.box_xyxy for box in boxes], np.float32)
    overlaps = np.stack([intersection_over_union(corner, corners) for corner in corners])
    detectors = np.array([box.detector for box in boxes])
    left = np.arange(len(boxes))
    clusters = []
    while len(left):
        block = overlaps[np.ix_(left, left)]
        leader = _most_supported(block, detectors[left], same_iou)
        members = block[leader] > same_iou
        members[leader] = True
        clusters.append(Merged(boxes[left[leader]], len(np.unique(detectors[left][members]))))
        left = left[~members]
    return clusters


def _most_supported(
    overlaps: NDArray[np.float64], detectors: NDArray[np.int64], same_iou: float
) -> int:
    """The first row that most other detectors support, then the one that overlaps them most."""
    support = np.zeros(len(overlaps))
    closeness = np.zeros(len(overlaps))
    for detector in np.unique(detectors):
        best = overlaps[:, detectors == detector].max(axis=1)
        best[(detectors == detector) | (best <= same_iou)] = 0
        support += best > 0
        closeness += best
    # Rounded, so that the order of adding does not decide.
    return int(np.lexsort((np.arange(len(overlaps)), -np.round(closeness, 6), -support))[0])
