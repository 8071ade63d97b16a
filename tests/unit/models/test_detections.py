"""Detections keep their promises, or do not exist."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_miner_models.cards import load_card
from data_miner_models.detector import Detections
from data_miner_models.errors import ModelError
from data_miner_models.open_detector import open_detector

GOOD = Detections(
    np.array([[0, 0, 4, 4], [1, 2, 3, 8]], np.float32),
    np.array([0.9, 0.9], np.float32),
    np.array([1, 0], np.int64),
)
NOTHING = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))


def test_no_detections_are_detections() -> None:
    """A frame without anything has length 0."""
    assert len(NOTHING) == 0
    assert len(GOOD) == 2


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"boxes_xyxy": np.zeros((2, 5), np.float32)}, "boxes_xyxy must be float32"),
        ({"boxes_xyxy": GOOD.boxes_xyxy.astype(np.float64)}, "boxes_xyxy must be float32"),
        ({"boxes_xyxy": GOOD.boxes_xyxy[:1]}, "boxes_xyxy must be float32"),
        ({"boxes_xyxy": GOOD.boxes_xyxy[:, ::-1].copy()}, "x0 < x1"),
        ({"boxes_xyxy": np.full((2, 4), np.nan, np.float32)}, "finite"),
        ({"boxes_xyxy": np.zeros((2, 4), np.float32)}, "x0 < x1"),
        ({"scores": np.array([0.1, 0.9], np.float32)}, "best comes first"),
        ({"scores": np.array([1.1, 0.9], np.float32)}, "0..1"),
        ({"scores": np.array([np.nan, np.nan], np.float32)}, "0..1"),
        ({"labels": np.array([0, -1], np.int64)}, "negative"),
        ({"labels": np.array([0, 1], np.int32)}, "labels must be int64"),
    ],
)
def test_arrays_that_break_a_rule_are_refused(
    changes: dict[str, np.ndarray], complaint: str
) -> None:
    """The message names the array and the rule."""
    with pytest.raises(ValueError, match=complaint):
        replace(GOOD, **changes)


def test_a_model_without_boxes_is_no_detector() -> None:
    """A card of the dino family is refused by name."""
    with pytest.raises(ModelError, match="tiny-dino: family dino finds no boxes"):
        open_detector(load_card("tiny-dino"))
