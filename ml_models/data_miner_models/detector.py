"""What a detector finds, and which detector a model needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data_miner_models.nms import suppress
from data_miner_models.preprocessing import Placement
from data_miner_models.providers import Choice


@dataclass(frozen=True)
class Detections:
    """What was found in one frame, best first.

    Attributes:
        boxes_xyxy: float32 (N, 4), pixels of the frame, with x0 < x1 and y0 < y1.
        scores: float32 (N,), in 0..1, never rising.
        labels: int64 (N,), index into the prompts.

    Raises:
        ValueError: the arrays do not fit these rules.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(self.scores)
        for name, shape, dtype in (
            ("boxes_xyxy", (count, 4), np.float32),
            ("scores", (count,), np.float32),
            ("labels", (count,), np.int64),
        ):
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{name} must be {np.dtype(dtype)} {shape}, not {array.dtype} {array.shape}"
                )
        if not np.all(np.isfinite(self.boxes_xyxy)):
            raise ValueError("boxes_xyxy must be finite")
        if not np.all(self.boxes_xyxy[:, :2] < self.boxes_xyxy[:, 2:]):
            raise ValueError("boxes_xyxy must have x0 < x1 and y0 < y1")
        if not np.all((self.scores >= 0) & (self.scores <= 1)):
            raise ValueError("scores must lie in 0..1")
        if np.any(np.diff(self.scores) > 0):
            raise ValueError("scores must not rise: the best comes first")
        if np.any(self.labels < 0):
            raise ValueError("labels must not be negative")

    def __len__(self) -> int:
        return len(self.scores)


class Detector(Protocol):
    """Finds what prompts name."""

    @property
    def choice(self) -> Choice:
        """Where it runs, after "auto" has chosen."""

    def __call__(
        self, frame_rgb: NDArray[np.uint8], prompts: Sequence[str], min_score: float
    ) -> Detections:
        """Everything in a uint8 (H, W, 3) frame that scores at least `min_score` for a prompt.

        Overlapping boxes of one prompt are suppressed; boxes of different prompts never are.
        Raises ModelError where the model refuses the frame or a prompt.
        """


def chosen(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    min_score: float,
    nms_iou: float,
) -> Detections:
    """Boxes (N, 4) in pixels of the frame, with scores (N, prompts), as detections.

    Boxes without an area are dropped.
    """
    real = np.all(boxes_xyxy[:, :2] < boxes_xyxy[:, 2:], axis=1)
    rows, labels = np.nonzero((scores >= min_score) & real[:, None])
    boxes, best = boxes_xyxy[rows], scores[rows, labels]
    kept = suppress(boxes, best, labels, nms_iou)
    return Detections(boxes[kept], best[kept], labels[kept].astype(np.int64))


def to_frame(
    shares: NDArray[np.float32],
    render: tuple[int, int],
    placement: Placement,
    frame: tuple[int, int],
) -> NDArray[np.float32]:
    """Centre and size as shares of the render to corners in pixels of the frame, clipped to it.

    Args:
        render: height and width that the shares are of.
        frame: height and width of the frame.
    """
    wide = shares.astype(np.float64)
    corners = np.hstack([wide[:, :2] - wide[:, 2:] / 2, wide[:, :2] + wide[:, 2:] / 2])
    corners = placement.to_frame(corners * np.array([render[1], render[0]] * 2))
    limits = np.array([frame[1], frame[0]] * 2, np.float64)
    return np.clip(corners, 0, limits).astype(np.float32)
