"""Frames and prompts in, boxes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_miner_models.cards import ModelCard
from data_miner_models.errors import ModelError
from data_miner_models.nms import suppress
from data_miner_models.runtime import Device, Provider, open_session
from data_miner_models.scoring import probabilities
from data_miner_models.text_encoder import TextEncoder


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


class Detector:
    """Finds what the prompts name.

    A box's score for a prompt is the probability of the prompt times the square root of the
    probability that there is anything.

    Raises:
        ModelError: as `open_session`.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        threads: int = 1,
        provider: Provider = "auto",
        nms_iou: float = 0.5,
    ) -> None:
        if card.scoring is None:
            raise ModelError(f"model {card.name}: family {card.family} finds no boxes")
        self.card = card
        self._scoring = card.scoring
        self._nms_iou = nms_iou
        self._session = open_session(card, "image", provider=provider, threads=threads)
        self._text = TextEncoder(card, threads=threads, provider=provider)
        self._known: tuple[tuple[str, ...], NDArray[np.float32]] | None = None

    @property
    def device(self) -> Device:
        """Where it runs, after "auto" has chosen."""
        return self._session.device

    def __call__(
        self, frame_rgb: NDArray[np.uint8], prompts: Sequence[str], min_score: float
    ) -> Detections:
        """Everything in a uint8 (H, W, 3) frame that scores at least `min_score` for a prompt.

        Overlapping boxes of one prompt are suppressed; boxes of different prompts never are.
        """
        render = self.card.preprocessing.render(frame_rgb)
        found = self._session.run(frames=render[None])
        boxes = self._to_frame(found["boxes"][0], *frame_rgb.shape[:2])
        scores = self._score(found["class_embeds"][0], found["objectness"][0], prompts)
        real = np.all(boxes[:, :2] < boxes[:, 2:], axis=1)
        rows, labels = np.nonzero((scores >= min_score) & real[:, None])
        boxes, best = boxes[rows], scores[rows, labels]
        kept = suppress(boxes, best, labels, self._nms_iou)
        return Detections(boxes[kept], best[kept], labels[kept].astype(np.int64))

    def _score(
        self,
        vectors: NDArray[np.float32],
        objectness: NDArray[np.float32],
        prompts: Sequence[str],
    ) -> NDArray[np.float32]:
        """(tokens, prompts); summed prompt by prompt, as a matrix product rounds by its size."""
        wide = vectors.astype(np.float64)
        cosines = np.empty((len(vectors), len(prompts)), np.float64)
        for column, text in zip(cosines.T, self._encode(tuple(prompts)), strict=True):
            column[:] = (wide * text).sum(axis=1)
        named = probabilities(cosines, self._scoring.scale, self._scoring.bias)
        anything = probabilities(objectness.astype(np.float64), 1, 0)
        return (named * np.sqrt(anything)[:, None]).astype(np.float32)

    def _encode(self, prompts: tuple[str, ...]) -> NDArray[np.float32]:
        """The prompts' vectors; the last prompts are remembered, as frames come in long rows."""
        if self._known is None or self._known[0] != prompts:
            self._known = (prompts, self._text(prompts))
        return self._known[1]

    def _to_frame(self, boxes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
        """Centre, size as shares of the render to corners in pixels of the frame, clipped to it."""
        shares = boxes.astype(np.float64)
        corners = np.hstack([shares[:, :2] - shares[:, 2:] / 2, shares[:, :2] + shares[:, 2:] / 2])
        preprocessing = self.card.preprocessing
        corners *= np.array([preprocessing.width, preprocessing.height] * 2)
        corners = preprocessing.place(height, width).to_frame(corners)
        limits = np.array([width, height] * 2, np.float64)
        return np.clip(corners, 0, limits).astype(np.float32)
