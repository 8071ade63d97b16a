"""Detectors that see the picture alone: each box has a vector, and prompts come afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_miner_models.cards import ModelCard
from data_miner_models.detector import Detections, chosen, to_frame
from data_miner_models.errors import ModelError
from data_miner_models.providers import Choice, Provider
from data_miner_models.runtime import open_session
from data_miner_models.scoring import probabilities
from data_miner_models.text_encoder import TextEncoder


class SplitDetector:
    """Runs a model of family open-vocabulary; a picture costs the same for any number of prompts.

    The score of a box for a prompt is sigmoid((cosine + shift) * scale) where the graph gives shift
    and scale for each box (OWLv2). Else it is the probability of the prompt by the card's scoring
    times the square root of the probability that there is anything.

    Raises:
        ModelError: as `open_session`; also for a model of another family.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        threads: int = 1,
        provider: Provider = "auto",
        engines: Path | None = None,
        nms_iou: float = 0.5,
    ) -> None:
        if card.family != "open-vocabulary":
            raise ModelError(f"model {card.name}: family {card.family} finds no boxes")
        self.card = card
        self._nms_iou = nms_iou
        self._session = open_session(
            card, "image", provider=provider, threads=threads, engines=engines
        )
        self._text = TextEncoder(card, threads=threads, provider=provider, engines=engines)
        self._known: tuple[tuple[str, ...], NDArray[np.float32]] | None = None

    @property
    def choice(self) -> Choice:
        """Where it runs, after "auto" has chosen."""
        return self._session.choice

    def __call__(
        self, frame_rgb: NDArray[np.uint8], prompts: Sequence[str], min_score: float
    ) -> Detections:
        """As `Detector`."""
        return self.like(frame_rgb, self._encode(tuple(prompts)), min_score)

    def like(
        self, frame_rgb: NDArray[np.uint8], queries: NDArray[np.float32], min_score: float
    ) -> Detections:
        """What is like `queries`, unit vectors (K, dimension) of prompts or examples; labels are
        their rows."""
        found = self._run(frame_rgb)
        boxes = self._boxes(found, frame_rgb)
        return chosen(boxes, self._score(found, queries), min_score, self._nms_iou)

    def example(
        self, frame_rgb: NDArray[np.uint8], box_xyxy: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """A query, (dimension,), for what a frame shows.

        Args:
            box_xyxy: where it is, in pixels of the frame; absent is whatever stands out most.

        Raises:
            ModelError: nothing that the model sees overlaps the box.
        """
        found = self._run(frame_rgb)
        ranks = np.asarray(found["objectness"][0], np.float64)
        if box_xyxy is not None:
            from data_miner_models.nms import intersection_over_union  # noqa: PLC0415

            ranks = intersection_over_union(
                np.asarray(box_xyxy, np.float32), self._boxes(found, frame_rgb)
            )
            if not ranks.max() > 0:
                raise ModelError(
                    f"model {self.card.name}: nothing is seen in the example's box {box_xyxy}"
                )
        return np.array(found["class_embeds"][0][int(np.argmax(ranks))])

    def _run(self, frame_rgb: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        return self._session.run(frames=self.card.preprocessing.render(frame_rgb)[None])

    def _boxes(
        self, found: dict[str, NDArray[np.float32]], frame_rgb: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        how = self.card.preprocessing
        height, width = frame_rgb.shape[:2]
        return to_frame(
            found["boxes"][0], (how.height, how.width), how.place(height, width), (height, width)
        )

    def _score(
        self, found: dict[str, NDArray[np.float32]], queries: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """(boxes, queries); summed query by query, as a matrix product rounds by its size."""
        wide = found["class_embeds"][0].astype(np.float64)
        cosines = np.empty((len(wide), len(queries)), np.float64)
        for column, query in zip(cosines.T, queries, strict=True):
            column[:] = (wide * query).sum(axis=1)
        scoring = self.card.scoring
        if scoring is None:
            shift, scale = (found[role][0].astype(np.float64)[:, None] for role in _PER_BOX)
            return probabilities((cosines + shift) * scale, 1, 0).astype(np.float32)
        named = probabilities(cosines, scoring.scale, scoring.bias)
        anything = probabilities(found["objectness"][0].astype(np.float64), 1, 0)
        return (named * np.sqrt(anything)[:, None]).astype(np.float32)

    def _encode(self, prompts: tuple[str, ...]) -> NDArray[np.float32]:
        """The prompts' vectors; the last prompts are remembered, as frames come in long rows."""
        if self._known is None or self._known[0] != prompts:
            self._known = (prompts, self._text(prompts))
        return self._known[1]


_PER_BOX = ("shift", "scale")
